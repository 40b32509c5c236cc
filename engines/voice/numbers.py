"""What is written in digits and signs, as English words."""

from __future__ import annotations

import re

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ("", "thousand", "million", "billion", "trillion")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_MONEY = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny"), "¥": ("yen", "")}
_SIGNS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "#": "number", "°": "degrees", "×": "times", "/": "slash"}
_UNITS = {
    "km": "kilometers", "kg": "kilograms", "cm": "centimeters", "mm": "millimeters", "ms": "milliseconds", "kHz": "kilohertz",
    "Hz": "hertz", "MB": "megabytes", "GB": "gigabytes", "fps": "frames per second", "km/h": "kilometers per hour",
}  # fmt: skip
_ABBREVIATIONS = {
    "e.g.": "for example",
    "i.e.": "that is",
    "etc.": "et cetera",
    "vs.": "versus",
    "approx.": "approximately",
    "No.": "number",
}


def cardinal(number: int) -> str:
    """A whole number below 10**15 in words; larger ones digit by digit."""
    if number >= 10**15:
        return digits(str(number))
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10] + (f" {_ONES[number % 10]}" if number % 10 else "")
    if number < 1000:
        return f"{_ONES[number // 100]} hundred" + (f" {cardinal(number % 100)}" if number % 100 else "")
    parts, scale = [], 0
    while number:
        number, part = divmod(number, 1000)
        if part:
            parts.append(f"{cardinal(part)} {_SCALES[scale]}".strip())
        scale += 1
    return " ".join(reversed(parts))


def ordinal(number: int) -> str:
    """A whole number as a place in an order."""
    before, _, last = cardinal(number).rpartition(" ")
    last = _ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last.removesuffix('t')}th")
    return f"{before} {last}".strip()


def year(number: int) -> str:
    """A number of four digits as a year is said."""
    century, rest = divmod(number, 100)
    if number % 1000 < 10:
        return cardinal(number)
    return f"{cardinal(century)} {'hundred' if not rest else f'oh {_ONES[rest]}' if rest < 10 else cardinal(rest)}"


def digits(text: str) -> str:
    """One digit after the other."""
    return " ".join(_ONES[int(digit)] for digit in text if digit.isdigit())


def spoken(text: str) -> str:
    """English text in which numbers, money, times, signs and the commonest abbreviations are words."""
    for short, words in _ABBREVIATIONS.items():
        text = re.sub(rf"(?<!\w){re.escape(short)}", words, text)
    text = re.sub(
        r"(?:https?://)?(?:www\.)?(\w[\w-]*(?:\.\w[\w-]*)*\.[a-z]{2,})\b(?=[/\s,;:!?)]|\.?$|\.\s)",
        lambda found: found[1].replace(".", " dot "),
        text,
    )
    text = re.sub(r"([$€£¥])(\d[\d,]*)(?:\.(\d\d))?\b(?:\s(thousand|million|billion))?", _money, text)
    text = re.sub(r"\b(\d{1,2}):(\d\d)\b(?:\s?([ap])\.?m\b\.?)?", _time, text)
    text = re.sub(r"\b(\d[\d,]*)(st|nd|rd|th)\b", lambda found: ordinal(int(found[1].replace(",", ""))), text)
    text = re.sub(r"\b(1[1-9]|20)(\d)0s\b", lambda found: f"{year(int(found[1] + found[2] + '0'))}s".replace("ys", "ies"), text)
    units = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
    text = re.sub(rf"(?<=\d)\s?({units})(?!\w)", lambda found: f" {_UNITS[found[1]]}", text)
    text = re.sub(r"(?<![\w.])(1[1-9]\d\d|20\d\d)(?![\w,.:]*\d|\s?%)", lambda found: year(int(found[1])), text)
    text = re.sub(r"(?<![\w.])-(?=\d)", "minus ", text)
    text = re.sub(r"(?<=\d)[-—](?=\d)", " to ", text)
    text = re.sub(r"\d[\d,]*\d(?:\.\d+)?|\d(?:\.\d+)?|\.\d+", _number, text)
    return re.sub("[" + re.escape("".join(_SIGNS)) + "]", lambda found: f" {_SIGNS[found[0]]} ", text)


def _number(found: re.Match[str]) -> str:
    whole, point, rest = found[0].replace(",", "").partition(".")
    said = digits(whole) if len(whole) > 1 and whole[0] == "0" else cardinal(int(whole or 0))
    return f" {said} point {digits(rest)} " if point else f" {said} "


def _money(found: re.Match[str]) -> str:
    one, small = _MONEY[found[1]]
    whole, rest = int(found[2].replace(",", "")), int(found[3] or 0)
    if found[4]:
        return f"{cardinal(whole)} {found[4]} {one}s"
    said = f"{cardinal(whole)} {one}" + ("s" if whole != 1 and one != "yen" else "")
    return said + (
        f" and {cardinal(rest)} {small}{'s' if rest != 1 and small == 'cent' else ''}".replace("penny", "pence") if rest and small else ""
    )


def _time(found: re.Match[str]) -> str:
    hour, minute = int(found[1]), int(found[2])
    said = "" if minute == 0 else f" oh {cardinal(minute)}" if minute < 10 else f" {cardinal(minute)}"
    if found[3]:
        return f"{cardinal(hour)}{said} {found[3]} m"
    return f"{cardinal(hour)}{said or ' oh clock'}".replace("oh clock", "o'clock")

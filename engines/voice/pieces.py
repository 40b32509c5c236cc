"""Text cut into pieces that are spoken one after the other, the first of them short: it is heard while the next is made."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

FIRST = 30
"""Characters of the first piece, at most, where it can be cut: what is heard soon."""
MOST = 220
"""Characters of any other, at most: a net is given no more at a time."""
LEAST = 10
"""No piece that is cut from a sentence is shorter, where it can be helped: a word alone sounds like one."""
PAUSES = {".": 0.35, "!": 0.35, "?": 0.35, "…": 0.4, "\n": 0.5, ",": 0.14, ";": 0.22, ":": 0.22, "—": 0.18}
"""Seconds of silence after a piece, by how it ends."""
_SHORT = {"mr", "mrs", "ms", "dr", "st", "prof", "sr", "jr", "vs", "etc", "e.g", "i.e", "no", "approx", "inc", "ltd", "co"}
_LINKS = r"(?:and|but|or|so|because|that|which|who|when|while|if|as|with|for|to|of|in|on|at|by|from|into|than|then)"


@dataclass(frozen=True)
class Piece:
    """Some words, with the mark that ends them, and the silence after them in seconds."""

    text: str
    pause: float


def pieces(text: str, first: int = FIRST) -> list[Piece]:
    """The text as pieces: a sentence each, long ones cut at their commas, else between words. None where it has no letter or digit."""
    found: list[Piece] = []
    for sentence in _sentences(_plain(text)):
        rest = sentence
        while rest:
            most = MOST if found else first
            piece, rest = (rest, "") if len(rest) <= most else _cut(rest, most)
            if re.search(r"\w", piece):
                found.append(Piece(piece.strip(), 0.0 if not piece.strip() else PAUSES.get(_end(piece), 0.35 if not rest else 0.0)))
    return found


def _plain(text: str) -> str:
    """One kind of quotes, dashes and spaces, and no control characters."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("...", "…"))
    for theirs, ours in (("‘", "'"), ("’", "'"), ("“", '"'), ("”", '"'), ("«", '"'), ("»", '"'), (" - ", " — "), ("–", "—"), ("--", "—")):
        text = text.replace(theirs, ours)
    text = "".join(" " if unicodedata.category(letter)[0] in "ZC" and letter != "\n" else letter for letter in text)
    return re.sub(r"[^\S\n]+", " ", text)


def _sentences(text: str) -> list[str]:
    """Cut behind marks that end a sentence: not behind abbreviations, initials, and points that
    lower case follows."""
    cut, begin = [], 0
    for mark in re.finditer(r"[.!?…]+[\"')\]]*(?=\s|$)|\n+|[。！？]", text):
        word = re.search(r"([\w.]+)$", text[begin : mark.start()])
        short = mark[0] == "." and word and (word[1].lower() in _SHORT or re.fullmatch(r"[A-Z](\.[A-Z])*", word[1]))
        goes_on = mark[0] == "." and re.match(r"\s*[a-zß-ÿ]", text[mark.end() :])  # "at 5 p.m. yesterday"
        if not (short or goes_on) or mark.end() == len(text):
            cut.append(text[begin : mark.end()].replace("\n", " ").strip())
            begin = mark.end()
    return [sentence for sentence in [*cut, text[begin:].strip()] if sentence]


def _cut(sentence: str, most: int) -> tuple[str, str]:
    """The longest beginning that is no longer than `most`: at a comma, before a word that links, between words."""
    for pattern, beyond in ((r"[,;:—]+\s", 1.2), (rf"\s(?={_LINKS}\s)", 1.0), (r"\s", 1.0)):
        ends = [found.end() for found in re.finditer(pattern, sentence) if LEAST <= found.end() <= most * beyond]
        near = [end for end in ends if end <= most] or ends[:1]
        if near and len(sentence) - near[-1] >= LEAST:
            return sentence[: near[-1]], sentence[near[-1] :]
    return (sentence[:most], sentence[most:]) if len(sentence) > 2 * most else (sentence, "")


def _end(piece: str) -> str:
    return piece.rstrip().rstrip("\"')]")[-1:]

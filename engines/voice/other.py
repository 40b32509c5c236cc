"""Phones of other languages than English, as espeak-ng writes them, in Kokoro's alphabet."""

from __future__ import annotations

import re
from collections.abc import Callable

_MARKS = ".,!?;:—…"
_LETTERS = (("dʒ", "ʤ"), ("tʃ", "ʧ"), ("ts", "ʦ"), ("dz", "ʣ"), ("\u0361", ""), ("\u0329", ""), ("-", ""), ("_", ""))


def phones(text: str, language: str, ipa: Callable[[str, str], str]) -> str:
    """The phones of a text with its marks. `ipa` gives those of words in a language, without marks."""
    parts = re.findall(rf"[^{_MARKS}]+|[{_MARKS}]+", text)
    said = "".join(part if part[0] in _MARKS else f" {ipa(part, language).strip()}" for part in parts if part.strip())
    for theirs, ours in _LETTERS:
        said = said.replace(theirs, ours)
    said = re.sub(r"\([a-z]{2,3}\)", "", said)  # espeak-ng says in brackets where it changes the language
    return re.sub(r"\s+(?=[.,!?;:…])", "", re.sub(r"\s+", " ", said)).strip()

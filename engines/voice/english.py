"""English text to the phones that Kokoro reads: a dictionary of 180,000 words, and rules for those that are not in it.

The dictionary is that of misaki, Kokoro's own front end (see NOTICE), without its heteronyms: each word has one pronunciation here.
"""

from __future__ import annotations

import lzma
import re
from functools import cached_property
from importlib.resources import files

from engines.voice.numbers import spoken

VOWELS = "AIOQWYaiueoæɑɐəɛɜɪʊʌɔɒᵻᵊ"
_MARKS = '.,!?;:—…"()'
_TITLES = "Mr|Mrs|Ms|Dr|St|Prof|Sr|Jr|Inc|Ltd|Co"
_LETTERS = {"a": "ˈA", "z": "zˈi", "w": "dˈʌbᵊlju"}
# Spelling to sound, the longest first, for names and new words: at the end of a word ("$"), before certain letters ("+"), anywhere.
_RULES = (
    ("tch", "ʧ"), ("sch", "ʃ"), ("tion$", "ʃᵊn"), ("sion$", "ʒᵊn"), ("ough", "O"), ("augh", "ɔ"), ("eigh", "A"), ("igh", "I"), ("qu", "kw"),
    ("ck", "k"), ("ch", "ʧ"), ("sh", "ʃ"), ("ph", "f"), ("th", "θ"), ("wh", "w"), ("ng$", "ŋ"), ("nk", "ŋk"), ("gh", "ɡ"), ("kn", "n"),
    ("wr", "ɹ"), ("dge", "ʤ"), ("ee", "i"), ("ea", "i"), ("oo", "u"), ("ou", "W"), ("ow$", "O"), ("ow", "W"), ("oa", "O"), ("oi", "Y"),
    ("oy", "Y"), ("ai", "A"), ("ay", "A"), ("ei", "A"), ("ey$", "i"), ("ey", "A"), ("ie$", "i"), ("ie", "i"), ("au", "ɔ"), ("aw", "ɔ"),
    ("ew", "ju"), ("ue$", "u"), ("er", "əɹ"), ("ir", "ɜɹ"), ("ur", "ɜɹ"), ("ar", "ɑɹ"), ("or", "ɔɹ"), ("le$", "ᵊl"), ("es$", "z"),
    ("y$", "i"), ("a$", "ə"), ("o$", "O"), ("i$", "i"), ("e$", ""), ("c+", "s"), ("g+", "ʤ"), ("x", "ks"), ("c", "k"), ("g", "ɡ"),
    ("j", "ʤ"), ("q", "k"), ("r", "ɹ"), ("y", "i"), ("a", "æ"), ("e", "ɛ"), ("i", "ɪ"), ("o", "ɑ"), ("u", "ʌ"),
)  # fmt: skip
_LONG = {"a": "A", "e": "i", "i": "I", "o": "O", "u": "u", "y": "I"}


class English:
    """What turns English text into phones. Made once: the dictionary is unpacked with the first word."""

    @cached_property
    def _words(self) -> dict[str, str]:
        text = lzma.decompress(files(str(__package__)).joinpath("english.txt.xz").read_bytes()).decode()
        return dict(line.split("\t") for line in text.splitlines())

    def phones(self, text: str) -> str:
        """The phones of a text, with its marks and stresses, as one string. Letters that are not Latin are left out."""
        words = re.sub(rf"\b({_TITLES})\.", r"\1", spoken(text))
        words = re.sub(r"(?<=[a-z])(?=[A-Z]{2})|[-_]", " ", words)  # WebRTC, lip-synced
        tokens = re.findall(rf"[^\W\d_]+(?:'[^\W\d_]+)*'?|[{re.escape(_MARKS)}]|\s+", words)
        said = [token if token in _MARKS else " " if token.isspace() else self.word(token) for token in tokens]
        for at, token in enumerate(tokens):
            after = next((phones for phones in said[at + 1 :] if phones.strip() and phones not in _MARKS), "")
            said[at] = _weak(token, after.lstrip("ˈˌ")[:1]) or said[at]
        return re.sub(r"\s+", " ", re.sub(r"\s+([.,!?;:…])", r"\1", "".join(said))).strip()

    def word(self, word: str) -> str:
        """The phones of one word."""
        word, written = _plain(word), word
        return self._known(written) or self._known(word) or self._spelled(word) or self._compound(word.lower()) or _by_rule(word.lower())

    def _known(self, word: str) -> str:
        """From the dictionary: as it is, or as a word with an ending."""
        for form in (word, word.lower(), word.capitalize()):
            if form in self._words:
                return self._words[form]
        low = word.lower().rstrip("'")
        for end, stems in (("'s", ("",)), ("s", ("", "es")), ("ed", ("", "e")), ("ing", ("", "e")), ("ly", ("",)), ("er", ("", "e"))):
            if not low.endswith(end) or len(low) < len(end) + 3:
                continue
            stem = low.removesuffix(end)
            forms = [stem + more for more in stems if more != "es"] + ([stem[:-1]] if len(stem) > 3 and stem[-1] == stem[-2] else [])
            if end == "s" and stem.endswith("e"):
                forms.append(stem[:-1])
            if stem.endswith("i"):
                forms.append(f"{stem[:-1]}y")
            for form in forms:
                found = self._words.get(form) or self._words.get(form.capitalize())
                if found:
                    return found + _ending(end.lstrip("'"), found)
        return ""

    def _spelled(self, word: str) -> str:
        """Letter by letter, where it is written in capitals or has no vowel."""
        if not (word.isupper() and len(word) <= 5) and re.search("[aeiouy]", word.lower()):
            return ""
        letters = [_LETTERS.get(letter) or self._words.get(letter.upper(), "") for letter in word.lower() if letter.isalpha()]
        return "".join(letters) if all(letters) else ""

    def _compound(self, word: str) -> str:
        """Two words of the dictionary in one."""
        for at in sorted(range(3, len(word) - 2), key=lambda at: abs(at - len(word) / 2)):
            first, second = self._known(word[:at]), self._known(word[at:])
            if first and second:
                return first + second.replace("ˈ", "ˌ")
        return ""


def _plain(word: str) -> str:
    """Without accents."""
    table = str.maketrans("àáâãäåçèéêëìíîïñòóôõöøùúûüýÿ", "aaaaaaceeeeiiiinoooooouuuuyy")
    return word.replace("ß", "ss").replace("æ", "ae").replace("œ", "oe").translate(table)


def _weak(word: str, after: str) -> str:
    """How a few small words are said before what follows; nothing for others."""
    if word in ("a", "an"):
        return "ɐ" if word == "a" else "ɐn"
    if word.lower() == "the":
        return "ði" if after and after in VOWELS else "ðə"
    if word == "to":
        return "tʊ" if after and after in VOWELS else "tə"
    return "ˌI" if word == "I" else ""


def _ending(end: str, phones: str) -> str:
    last = phones[-1]
    if end == "s":
        return "ᵻz" if last in "szʃʒʧʤ" else "s" if last in "ptkfθ" else "z"
    if end == "ed":
        return "ᵻd" if last in "td" else "t" if last in "pkfθsʃʧ" else "d"
    return {"ing": "ɪŋ", "ly": "li", "er": "əɹ"}[end]


def _by_rule(word: str) -> str:
    """By spelling alone, stressed at its first syllable, or at the last but one where there are three or more."""
    word = re.sub(r"(.)\1+", lambda found: found[0][:2] if found[1] in "eo" else found[1], re.sub("[^a-z]", "", word))
    parts: list[str] = []
    at = 0
    while at < len(word):
        long = re.match(r"([aiouy])[bcdfgklmnprstvz]e$", word[at:])
        if long:
            parts.append(_LONG[long[1]])
            at += 1
            continue
        for spelling, sound in _RULES:
            core, kind = spelling.rstrip("$+"), spelling[-1]
            rest = word[at + len(core) :]
            if word.startswith(core, at) and (kind != "$" or (not rest and at)) and (kind != "+" or rest[:1] in ("e", "i", "y")):
                parts.append(sound)
                at += len(core)
                break
        else:
            parts.append(word[at])
            at += 1
    syllables = [place for place, part in enumerate(parts) if part and any(sound in VOWELS for sound in part)]
    if syllables:
        stressed = syllables[-2] if len(syllables) > 2 else syllables[0]
        parts[stressed] = re.sub(f"([{VOWELS}])", r"ˈ\1", parts[stressed], count=1)
    return "".join(parts)

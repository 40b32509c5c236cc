"""Synthetic speech with exact phone times: espeak-ng (Debian package `espeak-ng`) through its C library."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from engines.spec import RATE

Float = NDArray[np.float32]
SENTENCES: dict[str, list[str]] = json.loads((Path(__file__).parent / "sentences.json").read_text())
"""Text by espeak-ng's name of a language."""
_SYNCHRONOUS, _PHONEMES, _IPA, _UTF8 = 2, 1, 2, 1
_RATE, _PITCH = 1, 3
_PHONEME = 7


@dataclass(frozen=True)
class Phone:
    """A phone and when it begins, seconds."""

    name: str
    """In the letters of the IPA; empty for a pause."""
    begin: float


@dataclass(frozen=True)
class Said:
    """A text, said."""

    speech: Float
    """(N,) at 16 kHz."""
    phones: list[Phone]


class _Event(ctypes.Structure):
    class _Id(ctypes.Union):
        _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))

    _fields_ = (
        ("type", ctypes.c_int), ("identifier", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int), ("user_data", ctypes.c_void_p), ("id", _Id),
    )  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@cache
def _library() -> tuple[Any, int]:
    """libespeak-ng, and the rate of its speech in Hz."""
    found = ctypes.util.find_library("espeak-ng")
    if found is None:
        raise RuntimeError("espeak-ng is not installed: apt-get install espeak-ng.")
    library = ctypes.CDLL(found)
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEMES | _IPA)
    if rate <= 0:
        raise RuntimeError("espeak-ng cannot start: install espeak-ng-data.")
    return library, rate


def _hear(said: list[Float], phones: list[tuple[int, str]]) -> Callable[..., int]:
    """A callback of espeak-ng that fills lists: blocks of samples, and (sample, phone)."""

    def callback(wave: Any, count: int, events: Any) -> int:
        if wave and count:
            said.append(np.ctypeslib.as_array(wave, (count,)).astype(np.float32) / np.float32(32768))
        at = 0
        while events[at].type:
            if events[at].type == _PHONEME:
                phones.append((events[at].sample, events[at].id.string.decode("utf-8", "ignore")))
            at += 1
        return 0

    return callback


def say(text: str, voice: str, speed: int = 165, pitch: int = 50) -> Said:
    """Say a text; `voice` is a language with a variant, such as "en-gb+f3"; speed in words a minute, pitch 0 to 100."""
    library, rate = _library()
    blocks: list[Float] = []
    events: list[tuple[int, str]] = []
    callback = _CALLBACK(_hear(blocks, events))
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()):
        raise RuntimeError(f"espeak-ng has no voice {voice!r}.")
    library.espeak_SetParameter(_RATE, speed, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    data = text.encode()
    library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None)
    whole = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    frame = av.AudioFrame.from_ndarray(whole[None], "flt", "mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler("flt", "mono", RATE)
    parts = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))]
    return Said(np.concatenate(parts).astype(np.float32), [Phone(name.strip("ˈˌ"), sample / rate) for sample, name in events])


@cache
def voices(held_out: bool = False) -> list[str]:
    """Names of espeak-ng's variants that sound like people: those to train on, or the others, that only judge."""
    path = next(Path("/usr").glob("lib/*/espeak-ng-data/voices/!v"), None) or Path("/usr/share/espeak-ng-data/voices/!v")
    odd = ("robo", "Robo", "whisper", "Demonic", "announcer", "Tweaky", "croak", "fast")
    people = sorted(file.name for file in path.iterdir() if not any(word in file.name for word in odd))
    return [name for at, name in enumerate(people) if (at % 7 == 3) == held_out]

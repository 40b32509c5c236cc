"""Speech to train the encoder on: recordings without faces, the clips' own sound, Debian's studio prompts, synthetic voices.

Packed once into windows of 8 s, which is what the teacher hears. Nothing of the people in `val-*` is in it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from engines.spec import RATE, TICK
from engines.train.data import Clip
from engines.train.voices import SENTENCES, say, voices

Float = NDArray[np.float32]
WINDOW = 8 * RATE
PROMPTS = Path("/usr/share/asterisk/sounds")  # apt-get install asterisk-core-sounds-{en,es,fr,it,ru}-g722
SPEECH = "speech.npy"
HELD_OUT = "librispeech-test-other"
"""The set of `speech.csv` that only judges."""
_LEVEL = 10 ** (-25 / 20)  # every utterance's root mean square
_SPEEDS = (0.85, 1.18)


def decode(path: Path, form: str | None = None) -> Float:
    """A sound file as mono speech (N,) at 16 kHz."""
    resampler, blocks = av.AudioResampler("flt", "mono", RATE), []
    with av.open(str(path), format=form) as container:
        for frame in container.decode(audio=0):
            blocks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    blocks += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(blocks).astype(np.float32) if blocks else np.zeros(0, np.float32)


def recorded(data: Path, clips: list[Clip]) -> Iterator[tuple[str, Float]]:
    """Names of sets and utterances of real people: `speech.csv`, the clips of `train` but those for no commerce, Debian's prompts."""
    with (data / "speech.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            yield row["set"], decode(data / row["file"])
    for clip in clips:
        if clip.split.startswith("train") and clip.free != "no":
            yield "clips", clip.speech
    for path in sorted(PROMPTS.glob("*_*_*/**/*.g722")):
        if "silence" not in path.parts and "silence" not in path.name:
            yield "prompts", decode(path, "g722")


def synthetic(minutes: float, seed: int = 0) -> Iterator[tuple[str, Float]]:
    """Sentences in many languages and voices by espeak-ng, until so many minutes are said."""
    random, left = np.random.default_rng(seed), minutes * 60 * RATE
    known = voices()
    while left > 0:
        language = str(random.choice(sorted(SENTENCES)))
        text = " ".join(random.choice(SENTENCES[language], 2))
        voice = str(random.choice(known))
        said = say(text, f"{language}+{voice}", speed=int(random.integers(120, 220)), pitch=int(random.integers(20, 80)))
        left -= len(said.speech)
        yield "synthetic", said.speech


def sound(window: NDArray[np.int16]) -> Float:
    """A window as it is packed, as speech in -1..1."""
    return np.asarray(window, np.float32) / np.float32(32768)


def windows(utterances: Iterator[tuple[str, Float]], random: np.random.Generator) -> Iterator[tuple[str, Float]]:
    """Windows of 8 s, (128000,), filled with a set's utterances at one level, half of them faster or slower, short pauses between."""
    filled: dict[str, list[Float]] = {}
    for name, found in utterances:
        speech = found
        if len(speech) < RATE // 4 or (power := float(np.sqrt((speech**2).mean()))) < 1e-4:
            continue
        if random.random() < 0.5:
            speed = random.uniform(*_SPEEDS)
            speech = np.interp(np.arange(0, len(speech) - 1, speed), np.arange(len(speech)), speech).astype(np.float32)
        pause = np.zeros(int(random.uniform(0.05, 0.5) * RATE), np.float32)
        filled.setdefault(name, []).extend([speech * np.float32(_LEVEL / power), pause])
        while sum(map(len, filled[name])) >= WINDOW:
            whole = np.concatenate(filled[name])
            yield name, whole[:WINDOW]
            filled[name] = [whole[WINDOW:]] if len(whole) > WINDOW + RATE else []
    for name, rest in filled.items():
        if sum(map(len, rest)) > WINDOW // 4:
            yield name, np.pad(np.concatenate(rest), (0, WINDOW))[:WINDOW]


def prepare_speech(data: Path, cache: Path, clips: list[Clip], minutes: float = 75) -> tuple[NDArray[np.int16], list[str]]:
    """The windows (N, 128000) int16, memory-mapped, and their sets' names; made if `cache` does not hold them."""
    path, names = cache / SPEECH, cache / "speech.txt"
    if not names.exists():
        random = np.random.default_rng(0)
        pieces, sets = [], []
        for part in (recorded(data, clips), synthetic(minutes)):
            for name, window in windows(part, random):
                pieces.append(np.round(np.clip(window, -1, 1) * 32767).astype(np.int16))
                sets.append(name)
        np.save(path, np.stack(pieces))
        names.write_text("\n".join(sets))
    return np.load(path, mmap_mode="r"), names.read_text().split("\n")


assert WINDOW % TICK == 0

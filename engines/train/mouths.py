"""Synthetic mouths for synthetic speech: a co-articulation model over exact phone times.

Every phone has targets of opening and width, and dominance functions that rise and fall around it; the mouth is where the
dominant phones want it (after Cohen and Massaro, 1993). Landmarks follow from opening and width as they do in real clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.motion.space import IDENTITY
from engines.spec import FPS, TICK
from engines.train.augment import spoil
from engines.train.data import Clip, in_units
from engines.train.figures import speech_frames
from engines.train.pairs import SYNTHETIC, Hears, Lesson, Space
from engines.train.voices import SENTENCES, Phone, Said, say, voices

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Target:
    """Where a phone wants the mouth: opening 0 to 1 (of the range), width -1 to 1 (pursed to spread), how strongly each."""

    opening: float
    width: float = 0.0
    strength: float = 0.5
    rounding: float = 0.3


_TARGETS = {
    "p b m": Target(0.0, 0.0, 6.0, 0.1),
    "f v ɱ": Target(0.06, 0.1, 3.0, 0.2),
    "w ʍ": Target(0.12, -1.0, 1.6, 3.0),
    "ʃ ʒ ɕ ʑ ʂ ʐ": Target(0.22, -0.5, 0.8, 1.2),
    "ɹ ɻ": Target(0.28, -0.35, 0.4, 0.5),
    "s z t d n l ɾ r θ ð ɬ ɫ ɭ ɳ ʈ ɖ c ɟ ɲ ʎ": Target(0.24, 0.15, 0.4, 0.15),
    "j": Target(0.22, 0.4, 0.5, 0.5),
    "k ɡ g ŋ x ɣ h ɦ q χ ʁ ʔ ç ħ": Target(0.32, 0.1, 0.25, 0.1),
    "β": Target(0.1, 0.0, 2.0, 0.2),
    "a ɑ æ ɐ ɒ": Target(0.95, 0.1, 1.0, 0.5),
    "ʌ ɜ ɞ": Target(0.65, 0.0, 0.8, 0.4),
    "ɛ e": Target(0.55, 0.45, 0.9, 0.8),
    "ə ɘ ɪ ɨ ᵻ": Target(0.35, 0.15, 0.5, 0.3),
    "i": Target(0.3, 0.7, 0.8, 1.0),
    "ɔ o": Target(0.6, -0.7, 0.9, 1.6),
    "u ʊ ʉ ɯ": Target(0.24, -0.95, 0.9, 2.0),
    "y ʏ ø œ ɵ": Target(0.3, -0.85, 0.9, 1.8),
}
_BY_LETTER = {letter: target for letters, target in _TARGETS.items() for letter in letters.split()}
_PAUSE = Target(0.0, 0.0, 1.2, 0.4)
CLOSED, TOOTHED, ROUND = frozenset("pbm"), frozenset("fv"), frozenset("wuo")
_FADE = 0.055  # seconds in which a phone's dominance falls to 1/e outside it


def letter_of(phone: Phone) -> str:
    """The first letter that says where the lips go; empty for a pause or an unknown sign."""
    return next((letter for letter in phone.name if letter in _BY_LETTER), "")


def curves(said: Said, random: np.random.Generator | None = None) -> tuple[Float, Float]:
    """Opening (N,) of 0 to 1 and width (N,) of -1 to 1, 25 a second; chance makes each saying a little different."""
    count = len(said.speech) // TICK
    time = (np.arange(count) / FPS)[:, None]
    begin = np.array([phone.begin for phone in said.phones] + [len(said.speech) / (TICK * FPS)])
    targets = [_BY_LETTER.get(letter_of(phone), _PAUSE) for phone in said.phones]
    if not targets:
        return np.zeros(count, np.float32), np.zeros(count, np.float32)
    first, last = begin[:-1][None], np.maximum(begin[1:], begin[:-1] + 0.02)[None]
    away = np.maximum(np.maximum(first + 0.25 * (last - first) - time, time - last + 0.25 * (last - first)), 0)

    def chance(low: float, high: float) -> NDArray[np.float64]:
        return np.ones(len(targets)) if random is None else random.uniform(low, high, len(targets))

    fade = _FADE * chance(0.8, 1.3)

    def blended(values: list[float], strengths: list[float]) -> Float:
        weight = np.array(strengths) * np.exp(-((away / fade) ** 1.3)) + 1e-4
        return ((weight * np.array(values)).sum(1) / weight.sum(1)).astype(np.float32)

    opening = blended([t.opening * c for t, c in zip(targets, chance(0.7, 1.15), strict=True)], [t.strength for t in targets])
    width = blended([t.width * c for t, c in zip(targets, chance(0.7, 1.2), strict=True)], [t.rounding for t in targets])
    return opening, width


class Mouth:
    """How opening and width show in components, learned from clips of people who speak."""

    def __init__(self, clips: list[Clip], space: Space) -> None:
        inputs, outputs = [], []
        for clip in clips:
            moved, _, _ = in_units(clip)
            speaking = speech_frames(clip.speech, len(moved)) & clip.seen
            inputs.append(_shape(moved)[speaking])
            outputs.append(space.encode(moved)[speaking])
        shape, wanted = np.concatenate(inputs), np.concatenate(outputs)
        self.open = 1.5 * float(np.percentile(shape[:, 0], 93))  # blending keeps vowels from their targets
        self.middle, self.spread = float(np.median(shape[:, 1])), float(shape[:, 1].std()) * 1.4
        self.space, self.rest = space, space.encode(np.zeros((1, face.L, 2), np.float32))[0]
        self.map = np.linalg.lstsq(_powers(shape), wanted - self.rest, rcond=None)[0].astype(np.float32)

    def components(self, opening: Float, width: Float) -> Float:
        """(N, C) for curves of 0 to 1 and -1 to 1."""
        wide = (self.middle * np.minimum(1, opening * 4) + width * self.spread).astype(np.float32)
        return (self.rest + _powers(np.stack([opening * self.open, wide], 1)) @ self.map).astype(np.float32)


def _shape(moved: Float) -> Float:
    """(N, 2): how much further than at rest a mouth is open and wide, in the actor's units."""
    at = {int(point): place for place, point in enumerate(face.MOTION)}
    return np.stack([moved[:, at[14], 1] - moved[:, at[13], 1], moved[:, at[291], 0] - moved[:, at[61], 0]], 1)


def _powers(shape: Float) -> Float:
    opening, width = shape.T
    return np.stack([opening, width, opening * width, opening**2], 1)


def sayings(minutes: float, seed: int) -> Iterator[Said]:
    """Texts said by voices to train on, in all languages: a language's own words in chance order, three seconds and more of each."""
    random, left, known = np.random.default_rng(seed), minutes * 60, voices()
    words = {language: " ".join(texts).split() for language, texts in SENTENCES.items()}
    while left > 0:
        language = str(random.choice(sorted(words)))
        text = " ".join(random.choice(words[language], 9))
        voice = f"{language}+{random.choice(known)}"
        said = say(text, voice, speed=int(random.integers(120, 210)), pitch=int(random.integers(20, 80)))
        if len(said.speech) > 2 * TICK * FPS:
            left -= len(said.speech) / (TICK * FPS)
            yield said


def synthetic(mouth: Mouth, minutes: float, seed: int, random: np.random.Generator) -> Iterator[tuple[Float, Float]]:
    """Speech (N * 640,) of synthetic voices, and its mouths, components (N, C)."""
    for said in sayings(minutes, seed):
        speech = np.pad(said.speech[: len(said.speech) // TICK * TICK], (0, 8 * TICK)) * np.float32(random.uniform(0.2, 1))
        yield speech.astype(np.float32), mouth.components(*curves(Said(speech, said.phones), random))


def synthetic_lessons(hears: Hears, mouth: Mouth, minutes: float, seed: int, other: Callable[[], Float]) -> list[Lesson]:
    """Lessons of synthetic voices with synthetic mouths, half of them as they might have been recorded."""
    random = np.random.default_rng(seed)
    made = [
        (spoil(speech, random, other, codecs=False) if random.random() < 0.5 else speech, components)
        for speech, components in synthetic(mouth, minutes, seed, random)
    ]
    heard = hears(speech for speech, _ in made)
    return [
        Lesson(SYNTHETIC, given, components, np.ones(len(components), np.float32), random.normal(0, 0.7, IDENTITY).astype(np.float32))
        for given, (_, components) in zip(heard, made, strict=True)
    ]

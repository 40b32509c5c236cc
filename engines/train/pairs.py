"""Pairs of speech and motion to learn from: clips heard through our encoder, as they are and as they might have been recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines import face, features
from engines.motion.net import Ears
from engines.motion.space import identity, rest_and_range
from engines.spec import TICK
from engines.train.augment import spoil
from engines.train.data import Clip, in_units
from engines.train.device import array, half

Float = NDArray[np.float32]
Random = np.random.Generator
Hears = Callable[[Iterable[Float]], list[NDArray[np.float16]]]
"""Speeches (N * 640,) to features (N, 2 * W) of each."""
COMPONENTS = 20
SYNTHETIC, FACELESS = "synthetic", "faceless"
"""The persons of lessons without a real face: mouths that a model made, and mouths that nets believed in."""
SILENT = 0.3  # weight of a tick of silence against one of speech
_CALM = 4  # ticks next to speech that may still move
SHARE = np.array([1.0] * 20 + [1.5] * 20 + [0.5] * 20, np.float32)  # outer lips, inner lips, jaw


@dataclass(frozen=True)
class Space:
    """PCA of motion in an actor's units: (L * 2,) = mean + components (C,) @ decode (C, L * 2); components have variance 1."""

    mean: Float
    decode: Float
    weight: Float
    """(C,) standard deviations, the first 1: what a component's error counts."""

    def encode(self, moved: Float) -> Float:
        """Components (N, C) of differences (N, L, 2)."""
        return ((moved.reshape(len(moved), -1) - self.mean) @ np.linalg.pinv(self.decode)).astype(np.float32)

    def motion(self, components: Float) -> Float:
        """Differences (N, L, 2) of components (N, C)."""
        return (self.mean + components @ self.decode).reshape(-1, face.L, 2)


def make_space(moved: list[Float]) -> Space:
    """The space of the given differences, each (N, L, 2)."""
    rows = np.concatenate(moved).reshape(-1, face.L * 2)[::3]
    share = np.repeat(SHARE, 2)
    mean = rows.mean(0)
    _, scale, axes = np.linalg.svd((rows - mean) * share, full_matrices=False)
    deviation = (scale[:COMPONENTS] / np.sqrt(len(rows))).astype(np.float32)
    decode = (axes[:COMPONENTS] * deviation[:, None] / share).astype(np.float32)
    return Space(mean, decode, (deviation / deviation[0]).astype(np.float32))


@dataclass(frozen=True)
class Lesson:
    """Something said, ready to learn from, N ticks."""

    person: str
    heard: NDArray[np.float16]
    """(N, 2 * W) what the encoder gives for it; of tick n after the encoder's look-ahead."""
    components: Float
    """(N, C)."""
    weight: Float
    """(N,)."""
    who: Float
    """(I,) `engines.motion.space.identity`."""


def hear(ears: Ears, speech: Iterable[Float], group: int = 8) -> list[NDArray[np.float16]]:
    """Features (N, 2 * W) for each speech (N * 640,)."""
    known = list(speech)
    order = np.argsort([len(s) for s in known])
    found: dict[int, NDArray[np.float16]] = {}
    for at in range(0, len(order), group):
        rows = order[at : at + group]
        longest = max(len(known[row]) for row in rows)
        heard = torch.tensor(np.stack([mel(np.pad(known[row], (0, longest - len(known[row])))) for row in rows]))
        with torch.no_grad(), half():
            given = array(ears(heard, torch.zeros(len(rows), dtype=torch.long)))
        found |= {int(row): part[: len(known[row]) // TICK].astype(np.float16) for row, part in zip(rows, given, strict=True)}
    return [found[row] for row in range(len(known))]


def mel(speech: Float) -> Float:
    """Features (3 + N * 4, 80) of speech (N * 640,) with the silence before it that the encoder's stem reads."""
    _, heard = features.step(features.start(), speech)
    return np.concatenate([np.full((3, features.BANDS), features.FLOOR, np.float32), heard])


def who(clip: Clip) -> Float:
    """The identity of a clip's person, from the clip."""
    rest, reach, wide = rest_and_range(clip.motion[clip.seen])
    return identity(rest, reach, wide)


def recorded(clip: Clip, space: Space, random: Random, other: Callable[[], Float] | None) -> tuple[Float, Float, Float]:
    """Speech, components and weights of a clip; with `other`, with chance speed, as it may be recorded, and with silence around it."""
    moved, _, _ = in_units(clip)
    components, weight, speech = space.encode(moved), clip.seen.astype(np.float32), clip.speech
    if other is None:
        return speech, components, weight
    if random.random() < 0.5:  # faster or slower, pitch with it
        speed = random.uniform(0.8, 1.25)
        speech = np.interp(np.arange(0, len(speech) - 1, speed), np.arange(len(speech)), speech).astype(np.float32)
        at = np.arange(len(speech) // TICK) * speed
        low = np.minimum(at.astype(int), len(components) - 1)
        high = np.minimum(low + 1, len(components) - 1)
        components = components[low] + (at - low)[:, None].astype(np.float32) * (components[high] - components[low])
        weight, speech = weight[low], speech[: len(low) * TICK]
    before, after = int(random.integers(0, 12)), int(random.integers(2, 15))
    rest = space.encode(np.zeros((1, face.L, 2), np.float32))
    speech = np.concatenate([np.zeros(before * TICK, np.float32), speech, np.zeros(after * TICK, np.float32)])
    components = np.concatenate([np.repeat(rest, before, 0), components, np.repeat(rest, after, 0)])
    silent = [np.r_[np.full(max(n - _CALM, 0), SILENT), np.zeros(min(n, _CALM))] for n in (before, after)]
    weight = np.concatenate([silent[0], weight, silent[1][::-1]])
    return spoil(speech, random, other), components.astype(np.float32), weight.astype(np.float32)


def lessons(clips: list[Clip], hears: Hears, space: Space, variants: int, seed: int, other: Callable[[], Float]) -> list[Lesson]:
    """Every clip as it is, and in so many variants, heard by an encoder or its teacher."""
    random = np.random.default_rng(seed)
    made = [(clip, *recorded(clip, space, random, other if variant else None)) for clip in clips for variant in range(variants + 1)]
    heard = hears(speech for _, speech, _, _ in made)
    return [
        Lesson(clip.person, given, components[: len(given)], weight[: len(given)], who(clip))
        for (clip, _, components, weight), given in zip(made, heard, strict=True)
    ]


@dataclass(frozen=True)
class Batch:
    """B pieces of T ticks."""

    heard: Tensor
    """(B, T, 2 * W)."""
    components: Tensor
    """(B, T, C)."""
    weight: Tensor
    """(B, T)."""
    who: Tensor
    """(B, I)."""
    person: Tensor
    """(B,) numbers of people, in the order of what is known."""


def batch(known: dict[str, list[Lesson]], share: Float, size: int, ticks: int, random: Random) -> Batch:
    """`size` pieces of `ticks` ticks, people drawn by their share."""
    people = list(known)
    width, motion = known[people[0]][0].heard.shape[1], known[people[0]][0].components.shape[1]
    heard, components = np.zeros((size, ticks, width), np.float32), np.zeros((size, ticks, motion), np.float32)
    weight, persons = np.zeros((size, ticks), np.float32), []
    drawn = random.choice(len(people), size, p=share)
    for b in range(size):
        own = known[people[int(drawn[b])]]
        chosen = own[int(random.integers(len(own)))]
        start = int(random.integers(0, max(1, len(chosen.heard) - ticks // 2)))
        piece = slice(start, start + ticks)
        count = len(chosen.heard[piece])
        heard[b, :count], components[b, :count], weight[b, :count] = chosen.heard[piece], chosen.components[piece], chosen.weight[piece]
        if start:
            weight[b, :3] = 0
        persons.append(chosen.who)
    return Batch(*(torch.tensor(part) for part in (heard, components, weight, np.stack(persons), drawn)))

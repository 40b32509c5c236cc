"""Things before the mouth: hands, captions, microphones, masks. Each frame's chip is held against the actor's usual one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.backends.cpu import CpuNet
from engines.backends.weights import read_weights
from engines.chips import HEIGHT, WIDTH
from engines.shots import Shots

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
WEIGHTS = "covered.onnx"
ROWS = slice(24, 56)
"""Of a chip, from the nose on down."""
_SURE, _LIKELY = 2.5, 0.0  # logits: something is before the mouth; and is so still, in frames beside such ones
_BATCH, _USUAL = 64, 15  # chips at once; frames that show what is usual in a shot


@cache
def _net() -> CpuNet:
    return CpuNet(read_weights(WEIGHTS))


def covered(chips: Sequence[Bytes | None], seen: Flags, shots: Shots) -> Flags:
    """(N,) frames in which something is before the mouth, of chips of N frames (`chips.chip`); none where the face is not `seen` (N,).

    Raises WeightsFault where the net is damaged.
    """
    found = np.full(len(seen), -np.inf, np.float32)
    usable = np.array([chip is not None for chip in chips]) & seen
    if not usable.any():
        return np.zeros(len(seen), np.bool_)
    every = _usual(chips, np.flatnonzero(usable))
    for shot in range(shots.count):
        own = np.flatnonzero(usable & (shots.number == shot))
        usual = _usual(chips, own) if len(own) >= _USUAL else every
        for part in np.array_split(own, -(-len(own) // _BATCH) or 1):
            if len(part):
                pairs = np.stack([np.concatenate([_whole(chips[int(at)])[ROWS], usual[ROWS]], 2).transpose(2, 0, 1) for at in part])
                found[part] = _net().run({"chips": np.ascontiguousarray(pairs, np.float32)})["covered"]
        if len(own) > 2:  # a frame alone is an accident
            padded = np.pad(found[own], 1, mode="edge")
            found[own] = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), 0)
    hidden, likely = found > _SURE, found > _LIKELY
    edges = np.flatnonzero(np.diff(likely) | np.diff(shots.number).astype(np.bool_)) + 1
    for run in np.split(np.arange(len(seen)), edges):
        if hidden[run].any():
            hidden[run] = True
    return hidden


def _usual(chips: Sequence[Bytes | None], at: NDArray[np.int64]) -> Bytes:
    """The median of chips `at` some frames: (HEIGHT, WIDTH, 3) YUV."""
    some = at[np.linspace(0, len(at) - 1, min(len(at), 2 * _BATCH)).astype(int)]
    return np.median([_whole(chips[int(index)]) for index in some], 0).astype(np.uint8)


def _whole(chip: Bytes | None) -> Bytes:
    """A chip (I420) as (HEIGHT, WIDTH, 3) YUV."""
    assert chip is not None
    flat, luma = chip.ravel(), HEIGHT * WIDTH
    half = flat[luma:].reshape(2, HEIGHT // 2, WIDTH // 2)
    return np.stack([flat[:luma].reshape(HEIGHT, WIDTH), *(np.asarray(cv2.resize(plane, (WIDTH, HEIGHT)), np.uint8) for plane in half)], 2)

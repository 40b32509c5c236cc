"""Recorded speech without a face, as whole-sentence ears hear it: it teaches hearing, and the lips that a sentence tells."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.train.corpus import HELD_OUT, decode, sound, windows
from engines.train.whole import Whole

Float = NDArray[np.float32]
_SOUND, _HEARD = "pool.npy", "pool-heard.npy"
_SHARES = {"speechocean762": 0.6, "precise-community": 0.3, "audio-cmn": 0.3}
"""Of these sets a share is used, of others all."""


def pooled(data: Path, cache: Path, whole: Whole, most: int) -> list[tuple[Float, Float]]:
    """Windows of 8 s, (128000,), and what was heard in each tick, (200, 512): so many at most; made if `cache` does not hold them."""
    packed, known = cache / _SOUND, cache / _HEARD
    if not packed.exists():
        pieces = [np.round(np.clip(one, -1, 1) * 32767).astype(np.int16) for _, one in windows(_recorded(data), np.random.default_rng(0))]
        _keep(packed, np.stack(pieces))
    said = np.load(packed, mmap_mode="r")
    said = said[np.sort(np.random.default_rng(1).permutation(len(said))[:most])]
    if not known.exists() or len(np.load(known, mmap_mode="r")) != len(said):
        heard = [whole.hear_all(sound(one)).reshape(-1, 2, whole.places.shape[1]).mean(1) for one in said]
        _keep(known, np.stack(heard).astype(np.float16))
    return [(sound(one), heard.astype(np.float32)) for one, heard in zip(said, np.load(known), strict=True)]


def _recorded(data: Path) -> Iterator[tuple[str, Float]]:
    """Names of sets and utterances."""
    random = np.random.default_rng(0)
    with (data / "speech.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["set"] != HELD_OUT and random.random() < _SHARES.get(row["set"], 1.0):
                yield row["set"], decode(data / row["file"])


def _keep(path: Path, made: NDArray[np.generic]) -> None:
    partial = path.with_suffix(".part.npy")
    np.save(partial, made)
    partial.replace(path)

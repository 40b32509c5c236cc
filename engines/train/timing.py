"""Finer timing of the clips: by how much, below a frame, a clip's sound and lips are apart, and whether they agree at all.

A ridge regression from the teacher's features (which know whole sentences) to opening says what lips should do; it has never
seen the person that it judges. Where its curve fits best, that is the clip's lag. GRID's recordings are the zero.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.spec import RATE
from engines.train.data import Clip
from engines.train.figures import LEAST, correlation, speech_frames

Float = NDArray[np.float32]
AGREES = 0.4
"""Correlation under which a clip's lips and sound are not trusted."""
_KEPT, _AROUND, _RIDGE = 96, (-3, -2, -1, 0, 1, 2, 3), 300.0
_FURTHEST = 0.1  # s of lag that are looked at: the manifest's alignment was to a whole frame
_STEP = 0.005
_FOLDS, _ROUNDS = 6, 2
_WEIGHT = 50  # ticks of speech for which a clip's own lag counts half


@dataclass(frozen=True)
class Timing:
    """Of a clip."""

    lag: float
    """Seconds by which its lips come after its sound; the sound is moved later by it."""
    agrees: float
    """Correlation of opening with what was expected, at that lag; NaN where too little is spoken."""


def find_timing(clips: list[Clip], taught: list[Float]) -> dict[str, Timing]:
    """The timing of every clip, by its file; `taught` are the teacher's features (N * 2, W) of each.

    Clips of `train` are judged by people of other folds, those of `val-*` by all of `train`: the map never knew the person.
    """
    training = [at for at, clip in enumerate(clips) if clip.split == "train"]
    rows = np.concatenate([taught[at][::4] for at in training])
    mean = rows.mean(0)
    axes = np.linalg.svd(rows - mean, full_matrices=False)[2][:_KEPT].T
    reduced = [(part - mean) @ axes for part in taught]
    people = sorted({clips[at].person for at in training})
    fold = {person: at % _FOLDS for at, person in enumerate(people)}
    wanted = [_standard(face.opening(clip.motion)) for clip in clips]
    spoken = [speech_frames(clip.speech, len(clip.motion)) & clip.seen for clip in clips]
    found = {clip.file: Timing(0.0, 1.0) for clip in clips}
    for _ in range(_ROUNDS):
        kept = [at for at in training if spoken[at].sum() >= LEAST and found[clips[at].file].agrees > AGREES]
        inputs = {at: _around(reduced[at], len(wanted[at]), found[clips[at].file].lag)[spoken[at]] for at in kept}
        for part in range(_FOLDS + 1):  # the last one judges `val-*`
            known = [at for at in kept if fold[clips[at].person] != part]
            ridge = _fit(np.concatenate([inputs[at] for at in known]), np.concatenate([wanted[at][spoken[at]] for at in known]))
            for at, clip in enumerate(clips):
                if (fold[clip.person] if clip.split == "train" else _FOLDS) == part:
                    found[clip.file] = _judge(clip, reduced[at], wanted[at], spoken[at], ridge)
        lab = [found[clip.file].lag for clip in clips if clip.set == "grid" and clip.split == "train"]
        zero = float(np.median(lab)) if lab else 0.0
        for clip, speaking in zip(clips, spoken, strict=True):  # a short clip's own lag is a guess: it moves as far as it is believed
            own, count = found[clip.file], float(speaking.sum())
            lag = 0.0 if clip.set == "grid" else (own.lag - zero) * count / (count + _WEIGHT)
            found[clip.file] = Timing(lag, own.agrees)
    return found


def _judge(clip: Clip, features: Float, wanted: Float, spoken: NDArray[np.bool_], ridge: Float) -> Timing:
    if spoken.sum() < LEAST:
        return Timing(0.0, float("nan"))
    lags = np.arange(-_FURTHEST, _FURTHEST + _STEP / 2, _STEP)
    r = np.array([correlation(wanted[spoken], (_around(features, len(wanted), lag) @ ridge)[spoken]) for lag in lags])
    best = int(np.argmax(r))
    return Timing(float(lags[best]), float(r[best]))


def _around(features: Float, count: int, lag: float) -> Float:
    """(count, D): features around each tick, of the sound `lag` seconds before it; and a one."""
    at = (np.arange(count)[:, None] + np.array(_AROUND)[None]) * 2 + 1 - lag * 50  # 50 Hz; a tick's middle
    at = np.clip(at, 0, len(features) - 1)
    low = np.minimum(at.astype(int), len(features) - 2)
    part = (at - low)[..., None].astype(np.float32)
    rows = features[low] * (1 - part) + features[low + 1] * part
    return np.concatenate([rows.reshape(count, -1), np.ones((count, 1), np.float32)], 1)


def _fit(inputs: Float, wanted: Float) -> Float:
    scale = inputs.std(0) + 1e-3
    scale[-1] = 1
    x = inputs / scale
    return np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ wanted) / scale


def _standard(curve: Float) -> Float:
    return (curve - curve.mean()) / max(float(curve.std()), 1e-4)


def write(path: Path, timing: dict[str, Timing]) -> None:
    """The table as CSV."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file", "lag_ms", "agrees"])
        table.writerows([[name, f"{1000 * found.lag:.0f}", f"{found.agrees:.2f}"] for name, found in sorted(timing.items())])


def read(path: Path) -> dict[str, Timing]:
    """The table from CSV."""
    with path.open(newline="") as file:
        return {row["file"]: Timing(float(row["lag_ms"]) / 1000, float(row["agrees"])) for row in csv.DictReader(file)}


def moved(clip: Clip, timing: Timing) -> Clip:
    """The clip with its sound where its lips say that it is."""
    shift = round(timing.lag * RATE)
    speech = np.zeros_like(clip.speech)
    if shift >= 0:
        speech[shift:] = clip.speech[: len(speech) - shift]
    else:
        speech[:shift] = clip.speech[-shift:]
    return replace(clip, speech=speech)


def trusted(clips: list[Clip], timing: dict[str, Timing]) -> list[Clip]:
    """Clips whose lips and sound agree, moved."""
    return [moved(clip, timing[clip.file]) for clip in clips if timing[clip.file].agrees >= AGREES]

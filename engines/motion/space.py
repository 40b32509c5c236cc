"""The space of motion: an actor's rest, range and habit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines import face

Float = NDArray[np.float32]
USUAL_RANGE = 0.15
"""Opening range of a usual person, IOD."""
NEAR = 0.5
"""Of `parted` in speech, in the actor's unit. By people held out of training: closures 0.85 -> 0.91, opening r 0.666 -> 0.665.

The cube in `parted`, where there was a square: lips of synthetic voices meet at 0.94 of /p b m/ for 0.88, filmed closures 0.93 for
0.91, opening r 0.706 for 0.712 (57 clips and 33 sentences of voices of training).
"""
_MOVES = 0.015  # IOD, of the opening's standard deviation over `_AROUND` frames: the mouth speaks, or at least moves
_AROUND = 9
_BELIEVED = 20  # frames of a habit that weigh as much as not to know it; by people held out of training: lip error 5.5 -> 4.8
_USUAL = np.array([0.791, -0.105, 0.195, 0.007, 1.125, 1.847, 0.178, -0.366])
_SPREAD = np.array([0.056, 0.033, 0.035, 0.012, 0.066, 0.066, 0.388, 0.594])
IDENTITY = len(_USUAL)


def rest_and_range(motion: Float) -> tuple[Float, float, float]:
    """The mouth at rest and how far it moves, from motion (T, L, 2) of a person's own frames.

    Returns the neutral motion (L, 2): the mean of the tenth of frames with the smallest opening (at least 3); the
    opening's 95th percentile above neutral, at least 0.05 IOD; the width's standard deviation, at least 0.01 IOD.
    """
    opening = face.opening(motion)
    closed = np.argsort(opening, kind="stable")[: max(3, len(motion) // 10)]
    neutral = motion[closed].mean(0)
    reach = float(np.percentile(opening, 95) - face.opening(neutral))
    return neutral, max(reach, 0.05), max(float(face.width(motion).std()), 0.01)


@dataclass(frozen=True)
class Habit:
    """Where somebody's mouth is while it speaks."""

    mean: Float
    """(L, 2) the mean motion, in the head's frame."""
    frames: int
    """From so many."""


def habit(motion: Float) -> Habit | None:
    """The habit seen in motion (T, L, 2) of a person's own frames, in those in which the mouth moves; None where it does not."""
    opening = np.pad(face.opening(motion), _AROUND // 2, mode="edge")
    moves = np.lib.stride_tricks.sliding_window_view(opening, _AROUND).std(1) > _MOVES
    return Habit(motion[moves].mean(0), int(moves.sum())) if moves.any() else None


def lean(habit: Habit | None, neutral: Float, unit: float, usual: Float) -> Float:
    """(L, 2), IOD: by how much more than a usual person's an actor's mouth is elsewhere in speech than at rest (L, 2).

    `usual` (L, 2) is the usual difference, in `unit`. The fewer frames the habit is from, the less it is believed. It does not part the
    lips: how far they open is the range's part, and they must still meet.
    """
    if habit is None:
        return np.zeros_like(neutral)
    away = habit.frames / (habit.frames + _BELIEVED) * (habit.mean - neutral - unit * usual)
    away[_UPPER] = away[_LOWER] = (away[_UPPER] + away[_LOWER]) / 2
    return away.astype(np.float32)


def unit(opening_range: float) -> float:
    """The unit, in IOD, of what the motion net gives: the geometric mean of the actor's range and a usual one.

    Measured on people held out of training: better than the actor's range alone (a noisy number from a short video), and
    nearer to the lips than no range at all.
    """
    return float(np.sqrt(USUAL_RANGE * opening_range))


def identity(neutral: Float, opening_range: float, width_range: float) -> Float:
    """(8,) who speaks, for the net: width and heights of the mouth at rest, its place, how far it opens and widens; about -2..2."""
    at = {int(point): place for place, point in enumerate(face.MOTION)}
    left, right, top, bottom, upper, lower, chin = (neutral[at[p]] for p in (61, 291, 0, 17, 13, 14, 152))
    found = np.array([
        np.linalg.norm(right - left), top[1] - (left[1] + right[1]) / 2, bottom[1] - (left[1] + right[1]) / 2, lower[1] - upper[1],
        (left[1] + right[1]) / 2, chin[1], np.log(opening_range / USUAL_RANGE), np.log(width_range / 0.05),
    ])  # fmt: skip
    return ((found - _USUAL) / _SPREAD).astype(np.float32)


_PAIRS = [(81, 178), (82, 87), (13, 14), (312, 317), (311, 402), (80, 88), (310, 318), (191, 95), (415, 324)]
_UPPER, _LOWER = (np.array([int(np.flatnonzero(pair[side] == face.MOTION)[0]) for pair in _PAIRS]) for side in (0, 1))


def parted(motion: Float, near: float | Float = 0.0) -> Float:
    """The motion (..., L, 2) with inner lips that do not pass through each other: they meet half-way.

    Lips less than `near` apart (IOD; one number, or (..., 1)) come still nearer, as soft lips do that touch before their edges
    meet: a regression's /p/ is nearly shut, a person's is shut.
    """
    gap = motion[..., _LOWER, 1] - motion[..., _UPPER, 1]
    kept = np.maximum(gap, 0)
    kept = np.where(kept < near, kept**3 / np.maximum(near, 1e-9) ** 2, kept)
    out = motion.astype(np.float32)
    out[..., _UPPER, 1] += (gap - kept) / 2
    out[..., _LOWER, 1] -= (gap - kept) / 2
    return out

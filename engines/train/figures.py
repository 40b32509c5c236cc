"""Figures of motion: how well lips follow, of training and of `benchmarks` alike.

Motion is (N, L, 2) in the head's frame, 25 a second, IOD; figures of lengths are in % IOD. `speaking` (N,) says which
ticks count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.features import speech_frames as speech_frames

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
_LIPS = len(face.LIPS)
_FURTHEST = 6  # ticks of lag that are looked at
_WINDOW, _COMPONENTS = 5, 8
LEAST = 15  # ticks of speech that a clip needs for its correlations to mean anything


def correlation(a: Float, b: Float) -> float:
    """Pearson's r; 0 where one of them does not move."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-9 else 0.0


def lag(true: Float, shown: Float, speaking: Mask) -> float:
    """Milliseconds by which the shown opening is late (negative: early): the peak of opening r over -6..6 ticks."""
    a, b, at = face.opening(true), face.opening(shown), np.flatnonzero(speaking)
    r = []
    for shift in range(-_FURTHEST, _FURTHEST + 1):
        there = at[(at + shift >= 0) & (at + shift < len(b))]
        r.append(correlation(a[there], b[there + shift]) if len(there) > 2 else -1.0)
    best = int(np.argmax(r))
    offset = 0.0
    if 0 < best < 2 * _FURTHEST:
        bend = r[best - 1] - 2 * r[best] + r[best + 1]
        offset = 0.5 * (r[best - 1] - r[best + 1]) / bend if bend else 0.0
    return (best - _FURTHEST + offset) * 40


def closure_recall(true: Float, shown: Float, speaking: Mask) -> float:
    """Share of true closures that are shown within a tick; NaN where there are none.

    A true closure is a local minimum of opening under 15 % of the clip's 95th percentile, at least 80 ms from the last;
    it is hit where the shown opening is under 20 % of its own 95th percentile.
    """
    a, b = face.opening(true), face.opening(shown)
    low, reach = 0.15 * np.percentile(a, 95), 0.2 * np.percentile(b, 95)
    hits, closures, last = 0, 0, -9
    for at in np.flatnonzero(speaking):
        if 0 < at < len(a) - 1 and a[at] < low and a[at] <= a[at - 1] and a[at] <= a[at + 1] and at - last >= 2:
            closures, last = closures + 1, int(at)
            hits += bool(b[at - 1 : at + 2].min() < reach)
    return hits / closures if closures else float("nan")


def lip_error(true: Float, shown: Float, speaking: Mask | None = None) -> float:
    """Mean distance of the 40 lip points, % IOD, over all ticks unless `speaking` is given."""
    error = face.lips_apart(true, shown)
    return float(error.mean() if speaking is None else error[speaking].mean()) * 100


def jitter(motion: Float) -> float:
    """Mean absolute second difference of the lip points."""
    return float(np.abs(np.diff(motion[:, :_LIPS], 2, axis=0)).mean())


def distribution_distance(true: Sequence[Float], shown: Sequence[Float]) -> float:
    """Frechet distance between the distributions of true and shown movement, over all clips, each (N, L, 2) from rest.

    Movement is windows of 5 ticks of the leading 8 principal components of the true motion, in standard deviations of the
    first: 40 numbers. Needs some hundred windows.
    """
    flat = [motion.reshape(len(motion), -1).astype(np.float64) for motion in true]
    mean = np.concatenate(flat).mean(0)
    _, scale, axes = np.linalg.svd(np.concatenate(flat) - mean, full_matrices=False)
    basis = axes[:_COMPONENTS].T / (scale[0] / np.sqrt(sum(map(len, flat))))

    def windows(clips: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        moved = [(clip - mean) @ basis for clip in clips]
        return np.concatenate([np.lib.stride_tricks.sliding_window_view(m, _WINDOW, 0).reshape(-1, _WINDOW * _COMPONENTS) for m in moved])

    a, b = windows(flat), windows([motion.reshape(len(motion), -1).astype(np.float64) for motion in shown])
    over, under = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(over @ under).real, 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(over) + np.trace(under) - 2 * roots)


def all_figures(true: Float, shown: Float, speaking: Mask) -> dict[str, float]:
    """Every figure of a clip by its name; empty where too little is spoken."""
    if speaking.sum() < LEAST:
        return {}
    opening, width = face.opening, face.width
    still = np.repeat(np.median(true, 0)[None], len(true), 0)
    return {
        "opening r": correlation(opening(true)[speaking], opening(shown)[speaking]),
        "width r": correlation(width(true)[speaking], width(shown)[speaking]),
        "lag, ms, absolute": abs(lag(true, shown, speaking)),
        "lip error": lip_error(true, shown, speaking),
        "lip error of a still mouth": lip_error(true, still, speaking),
        "closure recall": closure_recall(true, shown, speaking),
        "amplitude ratio": float(opening(shown)[speaking].std() / max(opening(true)[speaking].std(), 1e-6)),
        "jitter ratio": jitter(shown) / max(jitter(true), 1e-9),
    }

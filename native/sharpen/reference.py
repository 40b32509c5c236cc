"""The definition of `sharpen`, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def blurred(picture: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Under a Gaussian of three standard deviations to each side, mirrored at the borders, in bytes."""
    reach = (round(6 * sigma + 1) | 1) // 2
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    padded: Array = np.pad(picture.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    rows = sum(weight * padded[at : at + picture.shape[0]] for at, weight in enumerate(weights))
    both = sum(weight * rows[:, at : at + picture.shape[1]] for at, weight in enumerate(weights))
    return np.floor(both + 0.5).astype(np.uint8)


def nearest(own: float, both: float, fine: float, wanted: float) -> float:
    """The a in 0..1 at which own + 2 a both + a^2 fine comes up to `wanted`, by its roots; 0 where it is there, 1 where it never is."""
    if own >= wanted or fine <= 1e-6:
        return 0.0
    return float(min(max(np.roots([fine, 2 * both, own - wanted]).real), 1))


def sharpen(
    patch: NDArray[np.uint8], box: tuple[int, int, int, int], sigma: float, wanted: float, before: float, quick: float
) -> tuple[NDArray[np.uint8], float]:
    """See `op.sharpen`."""
    top, bottom, left, right = box
    if min(bottom - top, right - left) < 8:
        return patch, before
    soft = blurred(patch, sigma)
    laplacians = []
    for green in (patch[top:bottom, left:right, 1], soft[top:bottom, left:right, 1]):
        p = np.pad(green.astype(np.float64), 1, mode="reflect")
        laplacians.append(p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * p[1:-1, 1:-1])
    x, f = laplacians[0], laplacians[0] - laplacians[1]
    count = x.size - 1
    own, fine = ((part - part.mean()) ** 2 for part in (x, f))
    both = ((x - x.mean()) * (f - f.mean())).sum() / count
    amount = nearest(own.sum() / count, both, fine.sum() / count, wanted)
    amount = amount if before < 0 else before + quick * (amount - before)
    out = patch + amount * (patch.astype(np.float64) - soft)
    return np.clip(np.floor(out + 0.5), 0, 255).astype(np.uint8), amount

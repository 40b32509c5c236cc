"""The quick twin of `reference.py`, with OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SMALLEST = 8
"""Pixels: a box with a shorter side tells nothing."""


def sharpen(
    patch: NDArray[np.uint8], box: tuple[int, int, int, int], sigma: float, wanted: float, before: float, quick: float
) -> tuple[NDArray[np.uint8], float]:
    """See `op.sharpen`."""
    top, bottom, left, right = box
    if min(bottom - top, right - left) < SMALLEST:
        return patch, before
    soft = np.asarray(cv2.GaussianBlur(patch, (0, 0), sigma), np.uint8)
    x, y = edges(patch, box), edges(soft, box)
    (own, both), (_, fine) = np.cov(x.ravel(), (x - y).ravel())
    amount = detail(float(own), float(both), float(fine), wanted)
    amount = amount if before < 0 else before + quick * (amount - before)
    return np.asarray(cv2.addWeighted(patch, 1 + amount, soft, -amount, 0), np.uint8), amount


def detail(own: float, both: float, fine: float, wanted: float) -> float:
    """The a in 0..1 for which own + 2 a both + a^2 fine, the variance of x + a (x - y), is nearest to `wanted`.

    own: the variance of x. fine: that of x - y. both: their covariance.
    """
    lacking = wanted - own
    if lacking <= 0 or fine <= 1e-6:
        return 0.0
    return float(np.clip((np.sqrt(both**2 + fine * lacking) - both) / fine, 0, 1))


def edges(picture: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Laplacian of a box of a picture's green."""
    top, bottom, left, right = box
    if bottom - top < 2 or right - left < 2:
        return np.zeros((1, 1), np.float32)
    return np.asarray(cv2.Laplacian(np.ascontiguousarray(picture[top:bottom, left:right, 1]), cv2.CV_32F), np.float32)

"""The operator `sharpen`: one signature, checks in words, dispatch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.sharpen import cpu


def sharpen(
    patch: NDArray[np.uint8], box: tuple[int, int, int, int], sigma: float, wanted: float, before: float, quick: float
) -> tuple[NDArray[np.uint8], float]:
    """A patch with so much fine detail given back that a box of it is as sharp as wanted; and how much that was.

    out = patch + a * (patch - soft), where soft is the patch under a Gaussian of standard deviation `sigma` (pixels), in bytes.
    Sharpness is the variance of green's Laplacian over the box. It is quadratic in a; the a in 0..1 that brings it nearest to
    `wanted` is gone towards from `before`, a share `quick` of the way, or all of it where `before` is below 0.

    patch: (h, w, 3) RGB uint8. box: first and last row, first and last column, the last ones excluded. A box of under 8 pixels
    a side tells nothing: the patch is returned as it is, and `before`. Raises ValueError where the box does not fit.
    """
    top, bottom, left, right = box
    if not (0 <= top <= bottom <= patch.shape[0] and 0 <= left <= right <= patch.shape[1]):
        raise ValueError(f"the box {box} does not fit a patch of {patch.shape[:2]}")
    return cpu.sharpen(patch, box, sigma, wanted, before, quick)

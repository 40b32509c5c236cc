"""The operator `composite`: one signature, checks in words, dispatch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.composite import cpu

Float = NDArray[np.float32]


def composite(
    frame: NDArray[np.uint8],
    corner: tuple[int, int],
    patch: NDArray[np.uint8],
    alpha: Float,
    ring: Float | None = None,
    shade: float = 1.0,
) -> NDArray[np.uint8]:
    """Blend a patch into a copy of a frame, after matching its colour to the frame around it.

    out = frame + alpha * (patch + s - frame) in RGB, where s is a smooth field: the difference frame - patch on the ring
    (weights `ring`, less where the difference is that of another thing), spread over the patch by a normalised Gaussian
    of standard deviation `shade` (pixels). Without a ring s is 0: the patch has the frame's colours already.
    Only pixels with alpha > 0 change; the chroma of a 2x2 block is written where the block's alpha is above 0.

    frame: I420 (H * 3 / 2, W) uint8. corner: x and y of the patch's top left pixel, both even, inside the frame.
    patch: (h, w, 3) RGB uint8, h and w even. alpha, ring: (h, w) float32 in 0..1. Returns a new I420 frame.
    Raises ValueError where shapes do not fit.
    """
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    (x, y), (h, w) = corner, patch.shape[:2]
    if x % 2 or y % 2 or h % 2 or w % 2:
        raise ValueError(f"corner {corner} and patch {(h, w)} must be even")
    if x < 0 or y < 0 or x + w > width or y + h > height:
        raise ValueError(f"a patch of {(h, w)} at {corner} does not fit a frame of {(height, width)}")
    for name, weights in (("alpha", alpha), ("ring", ring)):
        if weights is not None and weights.shape != (h, w):
            raise ValueError(f"{name} must be {(h, w)}, got {weights.shape}")
    return cpu.composite(frame, corner, patch, alpha, ring, shade)

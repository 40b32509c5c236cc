"""The definition of `composite`, in float64 and at full size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.composite.field import OUTLIER
from native.planes import cut, from_rgb, planes, to_rgb

Float = NDArray[np.float32]


def colour_field(frame: Float, patch: Float, ring: Float, shade: float) -> Float:
    """The smooth field s of `op.composite`: a sum over all pixels of the patch."""
    height, width = ring.shape
    row, column = (np.exp(-((np.arange(n)[:, None] - np.arange(n)[None]) ** 2) / (2.0 * shade**2)) for n in (height, width))
    difference = frame.astype(np.float64) - patch
    ring = ring / (1 + (difference**2).mean(2) / OUTLIER**2)
    weight = row @ ring @ column
    difference *= ring[:, :, None]
    spread = np.stack([row @ difference[:, :, c] @ column for c in range(3)], -1)
    return (spread / np.maximum(weight, 1e-9)[:, :, None]).astype(np.float32)


def composite(
    frame: NDArray[np.uint8], corner: tuple[int, int], patch: NDArray[np.uint8], alpha: Float, ring: Float | None, shade: float
) -> NDArray[np.uint8]:
    """See `op.composite`."""
    (x, y), (h, w) = corner, patch.shape[:2]
    under = to_rgb(cut(frame, corner, (h, w))).astype(np.float64)
    match = 0.0 if ring is None else colour_field(under.astype(np.float32), patch.astype(np.float32), ring, shade)
    over = patch + match
    mixed = from_rgb(np.clip(np.floor(under + alpha[:, :, None] * (over - under) + 0.5), 0, 255).astype(np.uint8))
    out = frame.copy()
    for plane, new, step in zip(planes(out), planes(mixed), (1, 2, 2), strict=True):
        for row in range(h // step):
            for column in range(w // step):
                if (alpha[row * step : (row + 1) * step, column * step : (column + 1) * step] > 0).any():
                    plane[y // step + row, x // step + column] = new[row, column]
    return out

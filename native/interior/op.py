"""The operator `interior`: one signature, checks in words, dispatch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.interior import cpu

Float = NDArray[np.float32]


def interior(
    patch: NDArray[np.uint8], corner: tuple[int, int], inside: NDArray[np.uint8], upper: Float, lower: Float, above: int,
    unit: float, share: float,
) -> NDArray[np.uint8]:  # fmt: skip
    """Draw the inside of a mouth into a copy of a patch: dark, a tongue below, a soft row of teeth above.

    patch: (h, w, 3) RGB uint8. corner: x and y of the part that is drawn, (rows, columns). inside: (rows, columns) uint8, 1 in the
    mouth; its edge is softened. upper, lower: (columns,) float32, the y of the upper and the lower lip's edge in the part's rows.
    above: a row of the patch on the skin, whose colour over the part's columns tells the light. unit: pixels in an IOD.
    share: opacity, 0..1. Raises ValueError where shapes do not fit.
    """
    (x, y), (rows, columns) = corner, inside.shape
    if x < 0 or y < 0 or y + rows > patch.shape[0] or x + columns > patch.shape[1] or not 0 <= above < patch.shape[0]:
        raise ValueError(f"a part of {(rows, columns)} at {corner} with its skin in row {above} does not fit a patch of {patch.shape[:2]}")
    if upper.shape != (columns,) or lower.shape != (columns,):
        raise ValueError(f"the lips' edges must be {(columns,)}, got {upper.shape} and {lower.shape}")
    return cpu.interior(patch, corner, inside, upper, lower, above, unit, share)

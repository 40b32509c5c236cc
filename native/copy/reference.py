"""The definition of `copy`. On the CPU arrays are sliced: there is no twin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNIT = 16
"""Bytes that move together: all sizes are counted in so many."""


def copy(
    source: NDArray[np.uint8], target: NDArray[np.uint8], lines: int, length: int, from_step: int, to_step: int
) -> NDArray[np.uint8]:  # fmt: skip
    """The target (N,) after `lines` lines of `length` were copied into it from the source (M,).

    The lines of the source begin `from_step` apart, those of the target `to_step`, which is no less than a line: none lies over another.
    """
    out = target.copy()
    for line in range(lines):
        there, here = line * to_step * UNIT, line * from_step * UNIT
        out[there : there + length * UNIT] = source[here : here + length * UNIT]
    return out

"""The grid of cells on which a mesh is painted, for twin and kernels."""

from __future__ import annotations

import numpy as np

BEYOND = 1.2
"""Cells that a triangle may be read beyond its edges."""
_MOST = 144  # cells a side


def grid(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the grid of an output of a size (height, width)."""
    step = max(1.0, max(size) / _MOST)
    return int(np.ceil(size[0] / step)), int(np.ceil(size[1] / step))

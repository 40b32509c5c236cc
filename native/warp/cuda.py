"""What `cuda.cu` is told of each session, as one row of an array."""

from __future__ import annotations

import numpy as np

TILE = 16
DESCRIPTOR = np.dtype(
    [
        *((name, np.uint64) for name in ("pictures", "weights", "sources", "target", "triangles", "values", "flow", "bins", "out")),
        *((n, np.int32) for n in ("count", "height_in", "width_in", "vertices", "faces", "channels", "height", "width", "planar", "cubic")),
        ("gain", np.float32), ("offset", np.float32),
    ],
    align=True,
)  # fmt: skip
"""Addresses (0: no flow), sizes, layout (planar or eight channels last), and colours = gain * colour + offset."""


def bins(faces: int, size: tuple[int, int]) -> int:
    """How many uint32 of scratch a session of `faces` triangles and an output of `size` (height, width) needs."""
    return -(-size[0] // TILE) * -(-size[1] // TILE) * -(-faces // 32)

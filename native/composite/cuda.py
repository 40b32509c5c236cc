"""What `cuda.cu` is told of each session, as one row of an array."""

from __future__ import annotations

import numpy as np

from native.composite.cpu import OUTLIER, field_size

DESCRIPTOR = np.dtype(
    [
        *((name, np.uint64) for name in ("frame", "out", "patch", "small", "spread")),
        *((n, np.int32) for n in ("height", "width", "x", "y", "h", "w", "height_in", "width_in", "rows", "columns")),
        ("nv12_in", np.int32), ("nv12_out", np.int32),
        ("inverse", np.float32, 6), ("gain", np.float32), ("offset", np.float32), ("strength", np.float32),
        ("sigma", np.float32), ("outlier", np.float32),
    ],
    align=True,
)  # fmt: skip
"""Addresses, sizes, formats, the inverse crop, colours = gain * stored + offset, and the colour field's constants."""


def field(row: np.void, shade: float) -> None:
    """Write into a descriptor that has its part's size how its colours are matched. shade: pixels of the frame."""
    columns, rows, scale = field_size(int(row["h"]), int(row["w"]))
    row["rows"], row["columns"], row["sigma"], row["outlier"] = rows, columns, max(shade * scale, 1e-3), OUTLIER

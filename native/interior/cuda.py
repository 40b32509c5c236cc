"""What `cuda.cu` is told of each session, as one row of an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.interior.profile import ROWS

DESCRIPTOR = np.dtype(
    [
        ("colours", np.uint64), ("profile", np.uint64),
        *((name, np.int32) for name in ("h", "w", "x", "y", "rows", "columns", "samples")),
        ("place", np.float32, (2, 3)), ("light", np.float32, (2, 3)), *((name, np.float32) for name in ("unit", "soft", "share")),
    ],
    align=True,
)  # fmt: skip
"""Addresses, the patch's size, the part's corner and size, the profile's samples; then as `op.interior` has them."""
ALIGNED = {"colours": 4, "profile": 4}


def extents(sessions: NDArray[np.void]) -> dict[str, NDArray[np.int64]]:
    """Bytes that each session has at each of its addresses."""
    area = sessions["h"].astype(np.int64) * sessions["w"]
    return {"colours": 4 * area, "profile": 4 * len(ROWS) * sessions["samples"].astype(np.int64)}


def threads(sessions: NDArray[np.void]) -> list[int]:
    """The most that a session of each kernel has to do."""
    return [int((sessions["rows"].astype(np.int64) * sessions["columns"]).max(initial=0))]


def misfit(sessions: NDArray[np.void]) -> str:
    """What is wrong with the numbers of a session, or nothing."""
    s = sessions
    inside = (s["x"] >= 0) & (s["y"] >= 0) & (s["rows"] >= 0) & (s["columns"] >= 0)
    if not (inside & (s["y"] + s["rows"] <= s["h"]) & (s["x"] + s["columns"] <= s["w"])).all():
        return "a part does not fit its patch"
    if not (s["soft"] >= 1)[s["rows"] * s["columns"] > 0].all():
        return "an edge is less than a pixel wide"
    if not ((s["samples"] >= 2) | (s["rows"] * s["columns"] == 0)).all():
        return "a profile has less than 2 samples"
    return ""

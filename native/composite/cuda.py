"""What `cuda.cu` is told of each session, as one row of an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.composite.field import OUTLIER, field_size

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
_WIDEST = 1000
ALIGNED = {"frame": 1, "out": 1, "patch": 16, "small": 4, "spread": 4}


def field(sessions: NDArray[np.void], shade: NDArray[np.float64]) -> None:
    """Write into descriptors (B,) that have their parts' sizes how their colours are matched. shade: (B,) pixels of the frames."""
    sizes = np.array([field_size(int(h), int(w)) for h, w in zip(sessions["h"], sessions["w"], strict=True)])
    sessions["columns"], sessions["rows"] = sizes[:, :2].T
    sessions["sigma"], sessions["outlier"] = np.maximum(shade * sizes[:, 2], 1e-3), OUTLIER


def extents(sessions: NDArray[np.void]) -> dict[str, NDArray[np.int64]]:
    """Bytes that each session has at each of its addresses."""
    s = {name: sessions[name].astype(np.int64) for name in ("height", "width", "height_in", "width_in", "rows", "columns")}
    frame, field = s["height"] * s["width"] * 3 // 2, 16 * s["rows"] * s["columns"]
    return {"frame": frame, "out": frame, "patch": 16 * s["height_in"] * s["width_in"], "small": field, "spread": field}


def threads(sessions: NDArray[np.void]) -> list[int]:
    """The most that a session of each kernel has to do."""
    cells = int((sessions["rows"].astype(np.int64) * sessions["columns"]).max(initial=0))
    blocks = int((sessions["height"].astype(np.int64) // 2 * (sessions["width"] // 2)).max(initial=0))
    return [cells, cells, cells, blocks]


def misfit(sessions: NDArray[np.void]) -> str:
    """What is wrong with the numbers of a session, or nothing."""
    s = sessions
    if any((s[name] < 0).any() for name in ("height", "width", "x", "y", "h", "w", "height_in", "width_in", "rows", "columns")):
        return "a size is negative"
    if any((s[name] % 2).any() for name in ("height", "width", "x", "y", "h", "w")):
        return "a frame or a part of it is not even"
    if ((s["x"] + s["w"] > s["width"]) | (s["y"] + s["h"] > s["height"])).any():
        return "a part does not fit its frame"
    if ((s["rows"] > 0) & ~((s["sigma"] > 0) & (s["sigma"] <= _WIDEST))).any():
        return f"a colour field's Gaussian is not between 0 and {_WIDEST} cells wide"
    return ""

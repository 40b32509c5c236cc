"""What `cuda.cu` is told of each session, as one row of an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.composite.field import OUTLIER, field_size

DESCRIPTOR = np.dtype(
    [
        *((name, np.uint64) for name in ("frame", "out", "colours", "mask", "small", "spread")),
        *((n, np.int32) for n in ("height", "width", "x", "y", "h", "w", "rows", "columns", "grey")),
        *((n, np.float32) for n in ("strength", "sigma", "outlier")),
    ],
    align=True,
)
"""Addresses, sizes, whether the frame's own tint stays, and the colour field's constants."""
_WIDEST = 1000
ALIGNED = {"frame": 1, "out": 1, "colours": 4, "mask": 4, "small": 4, "spread": 4}


def field(sessions: NDArray[np.void], shade: NDArray[np.float64]) -> None:
    """Write into descriptors (B,) that have their parts' sizes how their colours are matched. shade: (B,) pixels of the frames."""
    sizes = np.array([field_size(int(h), int(w)) for h, w in zip(sessions["h"], sessions["w"], strict=True)])
    sessions["columns"], sessions["rows"] = sizes[:, :2].T
    sessions["sigma"], sessions["outlier"] = np.maximum(shade * sizes[:, 2], 1e-3), OUTLIER


def extents(sessions: NDArray[np.void]) -> dict[str, NDArray[np.int64]]:
    """Bytes that each session has at each of its addresses."""
    s = {name: sessions[name].astype(np.int64) for name in ("height", "width", "h", "w", "rows", "columns")}
    frame, field = s["height"] * s["width"] * 3 // 2, 16 * s["rows"] * s["columns"]
    patch = 4 * s["h"] * s["w"]
    return {"frame": frame, "out": frame, "colours": patch, "mask": patch, "small": field, "spread": field}


def threads(sessions: NDArray[np.void]) -> list[int]:
    """The most that a session of each kernel has to do."""
    cells = int((sessions["rows"].astype(np.int64) * sessions["columns"]).max(initial=0))
    blocks = int((sessions["height"].astype(np.int64) // 2 * (sessions["width"] // 2)).max(initial=0))
    return [cells, cells, cells, blocks]


def misfit(sessions: NDArray[np.void]) -> str:
    """What is wrong with the numbers of a session, or nothing."""
    s = sessions
    if any((s[name] < 0).any() for name in ("height", "width", "x", "y", "h", "w", "rows", "columns")):
        return "a size is negative"
    if any((s[name] % 2).any() for name in ("height", "width", "x", "y", "h", "w")):
        return "a frame or a part of it is not even"
    if ((s["x"] + s["w"] > s["width"]) | (s["y"] + s["h"] > s["height"])).any():
        return "a part does not fit its frame"
    if ((s["rows"] > 0) & ~((s["sigma"] > 0) & (s["sigma"] <= _WIDEST))).any():
        return f"a colour field's Gaussian is not between 0 and {_WIDEST} cells wide"
    return ""

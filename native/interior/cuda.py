"""What `cuda.cu` is told of each session, as one row of an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.interior.softness import softness

REACH = 32
DESCRIPTOR = np.dtype(
    [
        *((name, np.uint64) for name in ("patch", "inside", "upper", "lower", "skin")),
        *((n, np.int32) for n in ("h", "w", "x", "y", "rows", "columns", "above", "reach")),
        ("taps", np.float32, REACH), ("unit", np.float32), ("share", np.float32),
    ],
    align=True,
)  # fmt: skip
"""Addresses, sizes, the part's corner, the row of the skin, the soft edge's Gaussian (`soften`), and the IOD and opacity."""
ALIGNED = {"patch": 16, "inside": 4, "upper": 4, "lower": 4, "skin": 4}


def soften(row: np.void, unit: float) -> None:
    """Write into a descriptor how soft the mouth's edge is. unit: pixels in an IOD. What lies `REACH` pixels away is left out."""
    sigma = softness(unit)
    reach = min((round(8 * sigma + 1) | 1) // 2, REACH - 1)
    taps = np.zeros(REACH)
    taps[: reach + 1] = np.exp(-(np.arange(reach + 1) ** 2) / (2 * sigma**2))
    row["taps"], row["reach"], row["unit"] = taps / (2 * taps.sum() - taps[0]), reach, unit


def packed(inside: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """A mask (rows, columns) of 0 and 1 as bits: (rows, ceil(columns / 32))."""
    bits = np.zeros((len(inside), -(-inside.shape[1] // 32) * 32), np.uint8)
    bits[:, : inside.shape[1]] = inside
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")


def extents(sessions: NDArray[np.void]) -> dict[str, NDArray[np.int64]]:
    """Bytes that each session has at each of its addresses."""
    rows, columns = sessions["rows"].astype(np.int64), sessions["columns"].astype(np.int64)
    area = sessions["h"].astype(np.int64) * sessions["w"]
    return {
        "patch": 16 * area, "inside": 4 * rows * -(-columns // 32), "upper": 4 * columns, "lower": 4 * columns, "skin": 16 * np.sign(area),
    }  # fmt: skip


def threads(sessions: NDArray[np.void]) -> list[int]:
    """The most that a session of each kernel has to do."""
    return [3, int((sessions["rows"].astype(np.int64) * sessions["columns"]).max(initial=0))]


def misfit(sessions: NDArray[np.void]) -> str:
    """What is wrong with the numbers of a session, or nothing."""
    s = sessions
    inside = (s["x"] >= 0) & (s["y"] >= 0) & (s["rows"] >= 0) & (s["columns"] >= 0)
    inside &= (s["y"] + s["rows"] <= s["h"]) & (s["x"] + s["columns"] <= s["w"])
    if not (inside & (s["above"] >= 0) & ((s["above"] < s["h"]) | (s["columns"] == 0))).all():
        return "a part does not fit its patch"
    if not ((s["reach"] >= 0) & (s["reach"] < REACH)).all():
        return f"an edge is {REACH} pixels soft or more"
    return ""

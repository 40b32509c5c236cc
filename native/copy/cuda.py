"""What `cuda.cu` is told of each session, as one row of an array. All sizes count `UNIT`s of bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.copy.reference import UNIT

DESCRIPTOR = np.dtype(
    [
        *((name, np.uint64) for name in ("source", "target")),
        *((name, np.int64) for name in ("from_step", "to_step")),
        *((name, np.int32) for name in ("lines", "length")),
    ],
    align=True,
)
"""Addresses, from where a line begins to where the next does, and the lines and their length."""
ALIGNED = {"source": UNIT, "target": UNIT}


def extents(sessions: NDArray[np.void]) -> dict[str, NDArray[np.int64]]:
    """Bytes that each session has at each of its addresses."""
    lines, length = sessions["lines"].astype(np.int64), sessions["length"].astype(np.int64)
    some = np.sign(lines * length)
    return {
        name: UNIT * some * ((lines - 1) * sessions[step] + length) for name, step in (("source", "from_step"), ("target", "to_step"))
    }  # fmt: skip


def threads(sessions: NDArray[np.void]) -> list[int]:
    """The most that a session of each kernel has to do."""
    return [int((sessions["lines"].astype(np.int64) * sessions["length"]).max(initial=0))]


def misfit(sessions: NDArray[np.void]) -> str:
    """What is wrong with the numbers of a session, or nothing."""
    s = sessions
    if any((s[name] < 0).any() for name in ("from_step", "to_step", "lines", "length")):
        return "a size is negative"
    if ((s["lines"] > 1) & (s["to_step"] < s["length"])).any():
        return "lines would lie over each other"
    return ""

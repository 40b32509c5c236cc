"""What `cuda.cu` is told of each session, as one row of an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PARTS, TAPS = 128, 16
DESCRIPTOR = np.dtype(
    [
        *((name, np.uint64) for name in ("colours", "across", "soft", "sums", "amount")),
        *((n, np.int32) for n in ("h", "w", "top", "bottom", "left", "right", "reach")),
        ("taps", np.int32, TAPS), ("wanted", np.float32), ("before", np.float32), ("quick", np.float32),
    ],
    align=True,
)  # fmt: skip
"""Addresses, sizes, the box, the Gaussian (`blur`), and what `op.sharpen` calls wanted, before and quick."""
ALIGNED = {"colours": 4, "across": 8, "soft": 4, "sums": 8, "amount": 4}


def blur(sessions: NDArray[np.void], sigma: NDArray[np.float64]) -> None:
    """Write Gaussians of standard deviations `sigma` (B,), pixels, into descriptors (B,): OpenCV's for bytes, three of them to each side.

    Wider ones than `TAPS` pixels to a side are cut off there.
    """
    sigma = np.asarray(sigma, np.float64)
    reach = np.minimum((np.rint(6 * sigma + 1).astype(np.int64) | 1) // 2, TAPS - 1)
    away = np.arange(TAPS)
    shares = np.where(away <= reach[:, None], np.exp(-(away**2) / (2 * sigma[:, None] ** 2)), 0)
    shares *= 256 / (2 * shares.sum(1) - shares[:, 0])[:, None]
    taps, error = np.zeros((len(sigma), TAPS), np.int64), np.zeros(len(sigma))
    for at in range(TAPS - 1, 0, -1):  # from the outside inwards; what rounding loses is given to the next
        taps[:, at] = np.rint(shares[:, at] + error)
        error += shares[:, at] - taps[:, at]
    taps[:, 0] = 256 - 2 * taps[:, 1:].sum(1)
    sessions["reach"], sessions["taps"] = reach, taps


def extents(sessions: NDArray[np.void]) -> dict[str, NDArray[np.int64]]:
    """Bytes that each session has at each of its addresses."""
    area = sessions["h"].astype(np.int64) * sessions["w"]
    one = np.sign(area)
    return {"colours": 4 * area, "across": 8 * area, "soft": 4 * area, "sums": 40 * PARTS * one, "amount": 4 * one}


def threads(sessions: NDArray[np.void]) -> list[int]:
    """The most that a session of each kernel has to do."""
    area = int((sessions["h"].astype(np.int64) * sessions["w"]).max(initial=0))
    return [area, area, PARTS, 1, area]


def misfit(sessions: NDArray[np.void]) -> str:
    """What is wrong with the numbers of a session, or nothing."""
    s = sessions
    inside = (s["top"] >= 0) & (s["top"] <= s["bottom"]) & (s["bottom"] <= s["h"])
    inside &= (s["left"] >= 0) & (s["left"] <= s["right"]) & (s["right"] <= s["w"])
    if not inside.all():
        return "a box does not fit its patch"
    if not ((s["reach"] >= 0) & (s["reach"] < TAPS)).all():
        return f"a Gaussian reaches {TAPS} pixels or more"
    return ""

"""The definition of `interior`, in float64, pixel by pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
CAVITY, TONGUE, GUM = np.array([0.37, 0.17, 0.18]), np.array([0.86, 0.61, 0.6]), np.array([0.80, 0.52, 0.53])  # of a tooth's colour


def interior(
    patch: NDArray[np.uint8], corner: tuple[int, int], size: tuple[int, int], place: Float, profile: Float, light: Float,
    unit: float, soft: float, share: float,
) -> NDArray[np.uint8]:  # fmt: skip
    """See `op.interior`."""
    (x, y), (rows, columns), last = corner, size, profile.shape[1] - 1
    sharp, grow = unit / soft, soft * np.hypot(*place[0, :2].astype(np.float64))  # samples over which an edge goes
    out = patch.copy()
    for row in range(rows):
        for column in range(columns):
            at, v = place.astype(np.float64) @ (column, row, 1)
            if not 0 <= at <= last:
                continue
            first = min(int(at), last - 1)
            here = profile[:, first] + (at - first) * (profile[:, first + 1].astype(np.float64) - profile[:, first])
            upper, lower, edge, gum, lustre, low_edge, low_gum, low_lustre, tongue, shade, lean = here
            gap, below, above = lower - upper, v - upper, lower - v
            opacity = share * step(min(below, above) * lean * sharp + 0.5) * step(gap * sharp) * step(min(at, last - at) / grow)
            colour = np.zeros(3) + CAVITY
            way = step((v - tongue) / 0.07)
            colour += way * way * (3 - 2 * way) * (TONGUE * (0.55 + 0.45 * step((v - tongue) / 0.16)) - colour)
            into = v - low_edge
            tooth = low_lustre * (0.82 + 0.18 * step(into / 0.03)) + step((v - low_gum) * 0.3 * sharp + 0.5) * (
                GUM * low_lustre - low_lustre
            )
            colour += step(into * sharp + 0.5) * (tooth - colour)
            colour *= 1 - 0.4 * step(1 + (edge - v) / 0.05)  # in the upper teeth's shadow
            into = edge - v
            tooth = lustre * (0.82 + 0.18 * step(into / 0.03)) + step((gum - v) * 0.3 * sharp + 0.5) * (GUM * lustre - lustre)
            colour += step(into * sharp + 0.5) * (tooth - colour)
            dim = shade * (1 - 0.4 * step(1 - below / (0.02 + 0.15 * gap)) ** 2) * (1 - 0.15 * step(1 - above / 0.04) ** 2)
            colour *= dim * (light[0] + at / last * (light[1].astype(np.float64) - light[0]))
            old = patch[y + row, x + column].astype(np.float64)
            out[y + row, x + column] = np.floor(old + opacity * (np.clip(colour, 0, 255) - old) + 0.5).astype(np.uint8)
    return out


def step(value: float) -> float:
    """The value, between 0 and 1."""
    return float(min(max(value, 0.0), 1.0))

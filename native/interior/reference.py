"""The definition of `interior`, in float64, pixel by pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.interior.softness import softness

Float = NDArray[np.float32]


def interior(
    patch: NDArray[np.uint8], corner: tuple[int, int], inside: NDArray[np.uint8], upper: Float, lower: Float, above: int,
    unit: float, share: float,
) -> NDArray[np.uint8]:  # fmt: skip
    """See `op.interior`."""
    (x, y), (rows, columns) = corner, inside.shape
    mask = softened(inside, softness(unit))
    skin = patch[above, x : x + columns].astype(np.float64).mean(0) + 1
    light, tint = min(skin.mean() / 170, 1.15), 0.25 + 0.75 * skin / skin.max()
    dark, tongue, ivory = (np.array(colour) * light for colour in ((70, 36, 34), (150, 74, 72), (206, 198, 188)))
    out = patch.copy()
    for row in range(rows):
        for column in range(columns):
            gap, below = float(lower[column]) - float(upper[column]), row - float(upper[column])
            side = min(abs(column - columns / 2) / (columns / 2), 1)
            low = np.clip((np.clip(below / max(gap, 1), 0, 1) - 0.4) * 1.6, 0, 0.8) * np.clip(1.1 - 1.6 * side**2, 0, 1)
            colour = dark * tint + low * (tongue * (0.5 + 0.5 * tint) - dark * tint)
            reach = min(0.17 * unit, 0.65 * gap) * (1 - 0.55 * side**2)
            tooth = np.clip((reach - below) / max(0.03 * unit, 1), 0, 1) * np.clip((0.92 - side) * 6, 0, 1)
            shade = (0.6 + 0.4 * np.clip(below / (0.05 * unit), 0, 1)) * (1 - 0.35 * side**2)
            colour = np.clip(colour + 0.8 * tooth * (ivory * (1 + 2 * tint) / 3 * shade - colour), 0, 255)
            old = patch[y + row, x + column].astype(np.float64)
            out[y + row, x + column] = np.floor(old + mask[row, column] * share * (colour - old) + 0.5).astype(np.uint8)
    return out


def softened(inside: NDArray[np.uint8], sigma: float) -> NDArray[np.float64]:
    """Under a Gaussian of four standard deviations to each side, mirrored at the borders."""
    reach = (round(8 * sigma + 1) | 1) // 2
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    padded = np.pad(inside.astype(np.float64), reach, mode="reflect")
    rows = sum(weight * padded[at : at + inside.shape[0]] for at, weight in enumerate(weights))
    return np.asarray(sum(weight * rows[:, at : at + inside.shape[1]] for at, weight in enumerate(weights)))

"""The quick twin of `reference.py`: only of pixels that lie between the lips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.interior.profile import LOWER, UPPER

Float = NDArray[np.float32]
_CAVITY, _TONGUE, _GUM = (0.26, 0.11, 0.12), (0.76, 0.54, 0.56), (0.80, 0.52, 0.53)  # as in `reference.py`


def interior(
    patch: NDArray[np.uint8], corner: tuple[int, int], size: tuple[int, int], place: Float, profile: Float, light: Float,
    unit: float, share: float,
) -> NDArray[np.uint8]:  # fmt: skip
    """See `op.interior`."""
    (x, y), (rows, columns), last = corner, size, profile.shape[1] - 1
    sharp = np.float32(unit / max(1.6, 0.008 * unit))
    across, down = np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)[:, None]
    at, v = (axis[0] * across + (axis[1] * down + axis[2]) for axis in place)
    first = np.clip(at, 0, last - 1).astype(np.intp)
    part = at - first
    between = profile[UPPER : LOWER + 1]
    upper, lower = between.take(first, 1) + part * np.diff(between).take(first, 1)
    near = np.minimum(v - upper, lower - v) * sharp > -2  # less where lips are steep
    where = np.flatnonzero(near & (at >= 0) & (at <= last) & (lower > upper))
    at, v, first, part = (array.ravel()[where] for array in (at, v, first, part))
    here = np.diff(profile).take(first, 1)
    here *= part
    here += profile.take(first, 1)
    upper, lower, edge, gum, lustre, low_edge, low_lustre, tongue, shade, lean = here
    gap, below, above = lower - upper, v - upper, lower - v
    opacity = _step(np.minimum(below, above) * lean * sharp + 0.5) * _step(gap * unit) * _step(np.minimum(at, last - at) * 0.5 + 0.5) * np.float32(share)
    soft, body = _step((v - tongue) * 10), 0.55 + 0.45 * _step((v - tongue) * 5)
    soft *= soft * (3 - 2 * soft)
    low, high = v - low_edge, edge - v
    cover_low, cover_high = _step(low * sharp + 0.5), _step(high * sharp + 0.5)
    gum_low, gum_high = _step((low - 0.14) * (0.3 * sharp)), _step((gum - v) * (0.3 * sharp) + 0.5)
    tooth_low, tooth_high = low_lustre * (0.82 + 0.18 * _step(low * (1 / 0.03))), lustre * (0.82 + 0.18 * _step(high * (1 / 0.03)))
    dim = shade * (1 - 0.4 * _step(1 - below / (0.02 + 0.15 * gap)) ** 2) * (1 - 0.25 * _step(1 - above * 25) ** 2)
    way = at * np.float32(1 / last)
    out = patch.copy()
    drawn = out[y : y + rows, x : x + columns].reshape(-1, 3)  # a copy
    old = drawn[where].T.astype(np.float32)
    for channel in range(3):
        colour = _CAVITY[channel] + soft * (_TONGUE[channel] * body - _CAVITY[channel])
        colour += cover_low * (tooth_low + gum_low * (low_lustre * np.float32(_GUM[channel] - 1)) - colour)
        colour += cover_high * (tooth_high + gum_high * (lustre * np.float32(_GUM[channel] - 1)) - colour)
        colour *= dim * (light[0, channel] + way * (light[1, channel] - light[0, channel]))
        old[channel] += opacity * (np.clip(colour, 0, 255) - old[channel]) + 0.5
    drawn[where] = old.T.astype(np.uint8)
    out[y : y + rows, x : x + columns] = drawn.reshape(rows, columns, 3)
    return out


def _step(value: Float) -> Float:
    return np.clip(value, 0, 1, out=value)

"""The quick twin of `reference.py`: only of pixels that lie between the lips."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from native.interior.profile import LOWER, UPPER

Float = NDArray[np.float32]
_COLOURS = np.array([[0.37, 0.17, 0.18], [0.86, 0.61, 0.6], [1, 1, 1], [0.80, 0.52, 0.53]], np.float32)
"""As in `reference.py`: cavity, tongue, tooth, gum."""


def interior(
    patch: NDArray[np.uint8], corner: tuple[int, int], size: tuple[int, int], place: Float, profile: Float, light: Float,
    unit: float, soft: float, share: float,
) -> NDArray[np.uint8]:  # fmt: skip
    """See `op.interior`."""
    (x, y), (rows, columns), last = corner, size, profile.shape[1] - 1
    sharp, grow = np.float32(unit / soft), np.float32(soft * np.hypot(place[0, 0], place[0, 1]))
    across, down = np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)[:, None]
    at, v = (axis[0] * across + (axis[1] * down + axis[2]) for axis in place)
    first = np.clip(at, 0, last - 1).astype(np.intp)
    high = np.minimum(profile[UPPER, :-1], profile[UPPER, 1:]) - 2 / sharp  # beyond, nothing is drawn
    low = np.maximum(profile[LOWER, :-1], profile[LOWER, 1:]) + 2 / sharp
    where = np.flatnonzero((v > high.take(first)) & (v < low.take(first)) & (at >= 0) & (at <= last))
    if not len(where):
        return patch.copy()
    at, v, first = (array.ravel().take(where) for array in (at, v, first))
    pairs = np.concatenate([profile[:, :-1], np.diff(profile)]).T.copy()  # row by row is quicker to take
    here = cv2.transpose(pairs.take(first, 0))
    here, change = here[: len(profile)], here[len(profile) :]
    change *= at - first
    here += change
    upper, lower, edge, gum, lustre, low_edge, low_gum, low_lustre, tongue, shade, lean = here
    gap, below, above = lower - upper, v - upper, lower - v
    opacity = _step(np.minimum(below, above) * lean * sharp + 0.5) * _step(gap * sharp) * np.float32(share)
    opacity *= _step(np.minimum(at, last - at) / grow)
    into = v - tongue
    flesh, body = _step(into * (1 / 0.07)), 0.55 + 0.45 * _step(into * (1 / 0.16))
    flesh *= flesh * (3 - 2 * flesh)
    low, high = v - low_edge, edge - v
    cover_low, cover_high = _step(low * sharp + 0.5), _step(high * sharp + 0.5)
    tooth_low, tooth_high = low_lustre * (0.82 + 0.18 * _step(low * (1 / 0.03))), lustre * (0.82 + 0.18 * _step(high * (1 / 0.03)))
    gum_low, gum_high = low_lustre * _step((v - low_gum) * (0.3 * sharp) + 0.5), lustre * _step((gum - v) * (0.3 * sharp) + 0.5)
    lip, rim = _step(1 - below / (0.02 + 0.15 * gap)), _step(1 - above * 25)
    dim = shade * (1 - 0.4 * lip * lip) * (1 - 0.15 * rim * rim)
    behind = (1 - cover_high) * (1 - 0.4 * _step(1 + high * 20))
    cover_low *= behind
    behind -= cover_low
    white = cover_high * (tooth_high - gum_high) + cover_low * (tooth_low - gum_low)
    parts = np.stack([behind - behind * flesh, behind * flesh * body, white, cover_high * gum_high + cover_low * gum_low])
    bright = np.stack([dim, dim * at * np.float32(1 / last)])
    colour = _COLOURS.T @ parts
    colour *= np.stack([light[0], light[1] - light[0]], 1) @ bright
    drawn = [plane.reshape(-1) for plane in cv2.split(patch[y : y + rows, x : x + columns])]
    old = np.stack([plane.take(where) for plane in drawn]).astype(np.float32)
    colour = np.clip(colour, 0, 255, out=colour)
    colour -= old
    colour *= opacity
    colour += old
    colour += 0.5
    for plane, values in zip(drawn, colour.astype(np.uint8), strict=True):
        plane[where] = values
    out = patch.copy()
    out[y : y + rows, x : x + columns] = cv2.merge(drawn).reshape(rows, columns, 3)
    return out


def _step(value: Float) -> Float:
    return np.clip(value, 0, 1, out=value)

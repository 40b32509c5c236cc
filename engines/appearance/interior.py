"""The inside of a mouth that no reference shows: dark, with a soft row of upper teeth and a tongue."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.config import WarpConfig
from engines.spec import Float

_RING = [face.LIPS.index(point) for point in face.INNER_LIPS]
_LOWER, _UPPER = slice(0, 11), [10, *range(11, 20), 0]  # of the ring: corner to corner, the corners in both
_DARK, _TONGUE = np.array([52, 20, 20], np.float32), np.array([150, 74, 72], np.float32)


def missing(config: WarpConfig, actor: Actor, chosen: NDArray[np.int64], motion: Float) -> float:
    """How much of the mouth's inside, when it says `motion` (L, 2), none of the chosen references shows: 0..1."""
    opening = float(face.opening(motion))
    shown = float(face.opening(actor.references.motion[chosen]).max())
    return float(np.clip((opening - config.stretch * shown - 0.02) / 0.03, 0, 1))


def draw_interior(patch: NDArray[np.uint8], lips: Float, unit: float, share: float) -> NDArray[np.uint8]:
    """The patch (h, w, 3) RGB with the inside of the mouth drawn in, at opacity `share` (0..1).

    lips: the 40 lip points (40, 2) in the patch's pixels, as motion orders them. unit: pixels in an IOD.
    The light is taken from the skin just above the upper lip.
    """
    ring = lips[_RING]
    low, high = np.floor(ring.min(0)).astype(int) - 2, np.ceil(ring.max(0)).astype(int) + 3
    low, high = np.maximum(low, 0), np.minimum(high, [patch.shape[1], patch.shape[0]])
    width, height = int(high[0] - low[0]), int(high[1] - low[1])
    if width < 3 or height < 3:
        return patch
    inside = np.zeros((height, width), np.float32)
    cv2.fillPoly(inside, [np.round((ring - low) * 16).astype(np.int32)], 1.0, lineType=cv2.LINE_8, shift=4)
    inside = np.asarray(cv2.GaussianBlur(inside, (0, 0), max(0.6, 0.012 * unit)), np.float32)
    across = np.arange(width, dtype=np.float32)[None, :]
    down = np.arange(height, dtype=np.float32)[:, None]
    upper, lower = _line(ring[_UPPER], low, width), _line(ring[_LOWER], low, width)
    depth = np.clip((down - upper) / np.maximum(lower - upper, 1), 0, 1)
    half = np.clip(np.abs(across - width / 2) / (width / 2), 0, 1)
    # skin above the lip tells the light
    nose = np.clip((lips.min(0) - [0, 0.12 * unit]).astype(int)[1], 0, patch.shape[0] - 1)
    skin = patch[nose, low[0] : high[0]].reshape(-1, 3).mean(0).astype(np.float32) + 1
    light = float(min(skin.mean() / 170, 1.15))
    tint = 0.25 + 0.75 * skin / skin.max()  # a warm light, or an old varnish, is on teeth and tongue, too
    colour = _DARK * tint * light + np.zeros((height, width, 3), np.float32)
    tongue = np.clip((depth - 0.5) * 1.6, 0, 0.75) * np.clip(1.1 - half**2 * 1.6, 0, 1)
    colour += tongue[:, :, None] * (_TONGUE * (0.5 + 0.5 * tint) * light - colour)
    reach = np.minimum(0.085 * unit, 0.55 * (lower - upper))  # the teeth end here, or earlier at the sides
    teeth = np.clip((reach * (1 - 0.55 * half**2) - (down - upper)) / max(0.03 * unit, 1), 0, 1) * np.clip((0.92 - half) * 6, 0, 1)
    shade = (0.5 + 0.5 * np.clip((down - upper) / (0.07 * unit), 0, 1)) * (1 - 0.35 * half**2)
    ivory = np.array([206, 198, 188], np.float32) * tint * light * shade[:, :, None]
    colour += teeth[:, :, None] * 0.8 * (ivory - colour)
    out = patch.copy()
    part = out[low[1] : high[1], low[0] : high[0]]
    mixed = part + (inside * share)[:, :, None] * (np.clip(colour, 0, 255) - part)
    part[:] = (mixed + 0.5).astype(np.uint8)
    return out


def _line(points: Float, low: NDArray[np.int64], width: int) -> Float:
    """The y of a line of points at each of `width` columns from `low` on: (1, width)."""
    points = points[np.argsort(points[:, 0], kind="stable")]
    return np.interp(np.arange(width) + low[0], points[:, 0], points[:, 1] - low[1])[None].astype(np.float32)

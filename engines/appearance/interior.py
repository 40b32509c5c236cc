"""The inside of a mouth that no reference shows: dark, with a soft row of upper teeth and a tongue."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.appearance.config import WarpConfig
from engines.spec import Float
from native.interior.op import interior

_RING = [face.LIPS.index(point) for point in face.INNER_LIPS]
_LOWER, _UPPER = slice(0, 11), [10, *range(11, 20), 0]  # of the ring: corner to corner, the corners in both


@dataclass(frozen=True)
class Gap:
    """Where in a patch a mouth's inside is drawn: what `native.interior` calls corner, inside, upper, lower and above."""

    corner: tuple[int, int]
    inside: NDArray[np.uint8]
    upper: Float
    lower: Float
    above: int


def missing(config: WarpConfig, opening: Float, shown: Float) -> Float:
    """How much of a mouth's inside, `opening` open (...), references do not show of which the widest is `shown` open (...): 0..1."""
    return np.asarray(np.clip((opening - config.stretch * shown - 0.02) / 0.03, 0, 1), np.float32)


def draw_interior(patch: NDArray[np.uint8], lips: Float, unit: float, share: float) -> NDArray[np.uint8]:
    """The patch (h, w, 3) RGB with the inside of the mouth drawn in, at opacity `share` (0..1).

    lips: the 40 lip points (40, 2) in the patch's pixels, as motion orders them. unit: pixels in an IOD.
    The light is taken from the skin just above the upper lip.
    """
    gap = gap_of(lips, unit, patch.shape[:2])
    return patch if gap is None else interior(patch, gap.corner, gap.inside, gap.upper, gap.lower, gap.above, unit, share)


def gap_of(lips: Float, unit: float, size: tuple[int, int]) -> Gap | None:
    """The gap between lips (40, 2) in a patch of a size (height, width), None where there is none; unit: pixels in an IOD."""
    ring = lips[_RING]
    low, high = np.floor(ring.min(0)).astype(int) - 2, np.ceil(ring.max(0)).astype(int) + 3
    low, high = np.maximum(low, 0), np.minimum(high, [size[1], size[0]])
    width, height = int(high[0] - low[0]), int(high[1] - low[1])
    if width < 3 or height < 3:
        return None
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [np.round((ring - low) * 16).astype(np.int32)], 1, lineType=cv2.LINE_8, shift=4)
    nose = np.clip((lips.min(0) - [0, 0.12 * unit]).astype(int)[1], 0, size[0] - 1)
    upper, lower = (_line(ring[side], low, width) for side in (_UPPER, _LOWER))
    return Gap((int(low[0]), int(low[1])), inside, upper, lower, int(nose))


def _line(points: Float, low: NDArray[np.int64], width: int) -> Float:
    """The y of a line of points at each of `width` columns from `low` on: (width,)."""
    points = points[np.argsort(points[:, 0], kind="stable")]
    return np.interp(np.arange(width) + low[0], points[:, 0], points[:, 1] - low[1]).astype(np.float32)

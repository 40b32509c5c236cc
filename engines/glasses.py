"""Glasses: whether a face wears any, as its picture shows.

Over a bare nose the colours change slowly from brow to tip. A bridge of glasses is a line across it: dark, bright or coloured.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.frames import Picture
from native.planes import planes

Float = NDArray[np.float32]

_BROW, _RIDGE = 9, 195  # landmarks between which a bridge lies
_ROWS, _HALF_WIDTH, _LINE = 60, 0.07, 0.06  # looked at; IOD; IOD: half a line's height
_SHARP, _COLOURED = 0.16, 5.0  # share of the brightness; of 255


def wears_glasses(picture: Picture, landmarks: Float) -> bool:
    """Whether the face (478, 3) in a picture (I420) wears glasses with a bridge that can be seen."""
    unit = float(face.iod(landmarks))
    top, tip = landmarks[_BROW, :2], landmarks[_RIDGE, :2]
    down = (tip - top) / max(float(np.linalg.norm(tip - top)), 1e-3)
    across = np.array([down[1], -down[0]], np.float32) * _HALF_WIDTH * unit
    at = top + np.linspace(0, 1, _ROWS)[:, None, None] * (tip - top) + np.linspace(-1, 1, 9)[None, :, None] * across
    rows = max(1, round(_LINE * unit * _ROWS / max(float(np.linalg.norm(tip - top)), 1e-3)))
    if 2 * rows >= _ROWS:
        return False
    low = np.maximum(np.floor(at.min((0, 1)) / 2).astype(int) * 2 - 8, 0)
    high = np.ceil(at.max((0, 1)) / 2).astype(int) * 2 + 8
    found = []
    for plane, half in zip(planes(picture), (1, 2, 2), strict=True):
        part = plane[low[1] // half : high[1] // half, low[0] // half : high[0] // half]
        if not part.size:
            return False
        soft = cv2.GaussianBlur(part, (0, 0), max(0.012 * unit / half, 0.5)).astype(np.float32)
        x, y = (np.asarray((at[..., k] - low[k] + 0.5) / half - 0.5, np.float32) for k in (0, 1))
        line = np.median(cv2.remap(soft, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), 1)
        apart = np.abs(line[rows:-rows] - (line[2 * rows :] + line[: -2 * rows]) / 2).max()
        found.append(float(apart) / max(float(np.median(line)), 12.0) if half == 1 else float(apart))
    return found[0] > _SHARP or max(found[1:]) > _COLOURED

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

_RIDGE = (9, 8, 168, 6, 197, 195)  # landmarks down the nose, from between the brows to where a bridge cannot lie
_ROWS, _HALF_WIDTH, _LINE = 60, 0.07, 0.06  # looked at; IOD; IOD: half a line's height
_SHARP, _COLOURED = 0.15, 5.0  # share of the brightness; of 255


def wears_glasses(picture: Picture, landmarks: Float) -> bool:
    """Whether the face (478, 3) in a picture (I420) wears glasses with a bridge that can be seen."""
    unit = float(face.iod(landmarks))
    ridge = landmarks[list(_RIDGE), :2]
    passed = np.append(0, np.cumsum(np.linalg.norm(np.diff(ridge, axis=0), axis=1)))
    middle = np.column_stack([np.interp(np.linspace(0, passed[-1], _ROWS), passed, ridge[:, k]) for k in (0, 1)])
    one, other = face.eye_centres(landmarks)[:, :2]
    at = middle[:, None] + np.linspace(-_HALF_WIDTH, _HALF_WIDTH, 9)[None, :, None] * (other - one)
    rows = max(1, round(_LINE * unit * _ROWS / max(float(passed[-1]), 1e-3)))
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

"""A face's chip: its picture, small, laid into the head's frame, so that chips of different frames can be held against each other."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from native.planes import planes

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]

WIDTH, HEIGHT = 48, 56
LEFT, TOP, SCALE = -1.0, -0.6, 24.0  # head's frame, IOD; pixels in an IOD
CHIP = WIDTH * HEIGHT * 3 // 2
"""Bytes of a chip, which is I420 itself."""
_DEPTH = -0.25  # IOD: of the plane that is laid flat, about where cheeks and lips are


def chip(picture: Bytes, pose: Float) -> Bytes:
    """The chip (HEIGHT * 3 / 2, WIDTH) of a face of pose (3, 4) in a picture (I420); outside of the picture it is dark and grey."""
    x, y = pose[:2, 0] / SCALE, pose[:2, 1] / SCALE
    origin = pose[:2, 0] * LEFT + pose[:2, 1] * TOP + pose[:2, 2] * _DEPTH + pose[:2, 3]
    corners = np.stack([origin, origin + x * WIDTH, origin + y * HEIGHT, origin + x * WIDTH + y * HEIGHT])
    shrink = max(float(np.linalg.norm(x)), 1e-6)  # the picture's pixels in one of the chip
    parts: list[Bytes] = []
    for plane, half, fill in zip(planes(picture), (1, 2, 2), (16, 128, 128), strict=True):
        low = np.maximum(np.floor(corners.min(0) / half).astype(int) - 2, 0)
        high = np.minimum(np.ceil(corners.max(0) / half).astype(int) + 2, plane.shape[::-1])
        width, height = WIDTH // half, HEIGHT // half
        if (high - low).min() < max(2, shrink):
            parts.append(np.full(width * height, fill, np.uint8))
            continue
        step = max(int(shrink / 2), 1)  # two pixels of each are enough to average
        high = low + (high - low) // step * step
        first = low + (step - 1) // 2
        part = np.ascontiguousarray(plane[first[1] : high[1] : step, first[0] : high[0] : step])
        if shrink > 1.5:  # against aliasing, since warpAffine does not average
            columns, rows = np.maximum(np.round((high - low) / shrink), 1).astype(int).tolist()
            part = np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
        matrix = np.stack([x, y, (origin + (x + y) * half / 2) / half - low], 1) * (np.array(part.shape[::-1]) / (high - low))[:, None]
        matrix[:, 2] -= 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        laid = cv2.warpAffine(part, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
        parts.append(np.asarray(laid, np.uint8).ravel())
    return np.concatenate(parts).reshape(HEIGHT * 3 // 2, WIDTH)


def whole(chip: Bytes) -> Bytes:
    """A chip (I420) as (HEIGHT, WIDTH, 3) YUV."""
    flat, luma = chip.ravel(), HEIGHT * WIDTH
    half = flat[luma:].reshape(2, HEIGHT // 2, WIDTH // 2)
    return np.stack([flat[:luma].reshape(HEIGHT, WIDTH), *(np.asarray(cv2.resize(plane, (WIDTH, HEIGHT)), np.uint8) for plane in half)], 2)

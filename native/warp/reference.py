"""The definition of `warp`, in float64 and loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def warp(
    pictures: Sequence[NDArray[np.uint8]],
    weights: Float,
    sources: Float,
    target: Float,
    triangles: NDArray[np.int32],
    values: Float,
    size: tuple[int, int],
) -> tuple[NDArray[np.uint8], Float]:
    """See `op.warp`."""
    height, width = size
    picture = np.zeros((height, width, 3))
    carried = np.zeros((height, width, values.shape[1]))
    places = []
    for a, b, c in triangles[::-1]:
        edges = np.array([target[b] - target[a], target[c] - target[a]], np.float64).T
        if abs(np.linalg.det(edges)) >= 1e-3:
            places.append(((a, b, c), np.linalg.inv(edges), target[a].astype(np.float64)))
    for y in range(height):
        for x in range(width):
            for (a, b, c), inverse, first in places:
                v, w = inverse @ (x - first[0], y - first[1])
                if v < -1e-9 or w < -1e-9 or v + w > 1 + 1e-9:
                    continue
                u = np.array([1 - v - w, v, w])
                carried[y, x] = u @ values[[a, b, c]]
                for k, source in enumerate(pictures):
                    picture[y, x] += weights[k] * _sample(source, *(u @ sources[k][[a, b, c]]))
                break
    return np.clip(np.round(picture), 0, 255).astype(np.uint8), carried.astype(np.float32)


def _sample(picture: NDArray[np.uint8], x: float, y: float) -> NDArray[np.float64]:
    height, width = picture.shape[:2]
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    u, v = x - left, y - top
    upper = picture[top, left] * (1 - u) + picture[top, right] * u
    lower = picture[bottom, left] * (1 - u) + picture[bottom, right] * u
    return np.asarray(upper * (1 - v) + lower * v, np.float64)

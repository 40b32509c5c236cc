"""Who somebody is: a face in a picture becomes a point; points of one person lie near each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.backends.cpu import CpuNet
from engines.backends.weights import read_weights
from engines.frames import Picture
from native.planes import cut, to_rgb

Float = NDArray[np.float32]
WEIGHTS = "identity.onnx"
SIDE, _MARGIN = 150, 0.25
SAME = 0.55
"""Points of one person are nearer than this as a rule: among held-out clips 95 % are, and 0.6 % of strangers'."""
_POINTS = np.array([33, 133, 263, 362, 2])  # corners of the eyes, foot of the nose
_PLACES = np.array([[0.1206, 0.2137], [0.3341, 0.2291], [0.8596, 0.2135], [0.6461, 0.2290], [0.4901, 0.6278]])  # of dlib's mean face


@cache
def _net() -> CpuNet:
    return CpuNet(read_weights(WEIGHTS))


def aligned(picture: Picture, landmarks: Float) -> NDArray[np.uint8]:
    """A face with the landmarks (478, 3) of a picture (I420), as the net wants it: (SIDE, SIDE, 3) RGB."""
    points = landmarks[_POINTS, :2].astype(np.float64)
    places = (_PLACES + _MARGIN) / (1 + 2 * _MARGIN) * SIDE
    a, b = points - points.mean(0), places - places.mean(0)
    turn = (a * b).sum() / (b**2).sum(), (b[:, 0] * a[:, 1] - b[:, 1] * a[:, 0]).sum() / (b**2).sum()
    back = np.array([[turn[0], -turn[1]], [turn[1], turn[0]]])
    matrix = np.concatenate([back, (points.mean(0) - back @ places.mean(0))[:, None]], 1)
    corners = np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]]) @ back.T + matrix[:, 2]
    size = np.array([picture.shape[1], picture.shape[0] * 2 // 3])
    low = np.clip(np.floor(corners.min(0) / 2).astype(int) * 2, 0, size - 2)
    high = np.clip(np.ceil(corners.max(0) / 2).astype(int) * 2, low + 2, size)
    part = to_rgb(cut(picture, (int(low[0]), int(low[1])), (int(high[1] - low[1]), int(high[0] - low[0]))))
    matrix[:, 2] -= low
    shrink = float(np.hypot(*turn))
    if shrink > 1.5:  # against aliasing, since warpAffine does not average
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.4 * shrink), np.uint8)
    return np.asarray(cv2.warpAffine(part, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), np.uint8)


def points_of(faces: Sequence[NDArray[np.uint8]]) -> Float:
    """Points (F, 128) of faces that are `aligned`. Raises WeightsFault where the net is damaged."""
    rows = [_net().run({"faces": np.ascontiguousarray(one.transpose(2, 0, 1)[None], np.float32)})["who"][0] for one in faces]
    return np.stack(rows).astype(np.float32)


def persons(points: Float, weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Who is who: a number (S,) for each of S points (S, 128), those of one person the same. `weights`: frames that each stands for.

    The two groups nearest to each other are joined, again and again, while their mean distance is below `SAME`.
    """
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1).astype(np.float64)
    np.fill_diagonal(apart, np.inf)
    mass, number = weights.astype(np.float64), np.arange(len(points))
    while len(points) > 1:
        one, other = np.unravel_index(np.argmin(apart), apart.shape)
        if not apart[one, other] < SAME:
            break
        joined = (mass[one] * apart[one] + mass[other] * apart[other]) / (mass[one] + mass[other])
        apart[one], apart[:, one] = joined, joined
        apart[other], apart[:, other] = np.inf, np.inf
        apart[one, one] = np.inf
        mass[one] += mass[other]
        number[number == other] = one
    return np.asarray(np.unique(number, return_inverse=True)[1], np.int64)


def nearest(who: NDArray[np.uint8], faces: Sequence[NDArray[np.uint8]]) -> int:
    """Which of faces that are `aligned` is most like one."""
    points = points_of([who, *faces])
    return int(np.argmin(np.linalg.norm(points[1:] - points[0], axis=1)))

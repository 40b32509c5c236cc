"""Who somebody is: a face in a picture becomes a point; points of one person lie near each other.

The net knows photographs. To it, drawn people are all alike: they are told apart by their colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.backends.cpu import CpuNet
from engines.backends.weights import read_weights
from engines.drawn import draw
from engines.frames import Picture
from engines.person import PRESENTER, Head, Mouth
from engines.shots import SIDE as SIDE_LUMA
from engines.shots import thumbnail
from native.planes import cut, from_rgb, to_rgb

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
WEIGHTS = "identity.onnx"
SIDE, _MARGIN = 150, 0.25
SAME = 0.55
"""Points of one person are nearer than this as a rule: among held-out clips 95 % are, and 0.6 % of strangers'."""
_DRAWN = 0.55  # photographs are farther than this from the drawn presenter; drawn people are nearer
_COLOURS, _ALIKE = 10.0, 0.993  # levels between drawn people; a correlation of pictures that are the same but for their grading
_POINTS = np.array([33, 133, 263, 362, 2])  # corners of the eyes, foot of the nose
_PLACES = np.array([[0.1206, 0.2137], [0.3341, 0.2291], [0.8596, 0.2135], [0.6461, 0.2290], [0.4901, 0.6278]])  # of dlib's mean face


@cache
def _net() -> CpuNet:
    return CpuNet(read_weights(WEIGHTS))


def aligned(picture: Picture, landmarks: Float) -> Bytes:
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


def points_of(faces: Sequence[Bytes]) -> Float:
    """Points (F, 128) of faces that are `aligned`. Raises WeightsFault where the net is damaged."""
    rows = [_net().run({"faces": np.ascontiguousarray(one.transpose(2, 0, 1)[None], np.float32)})["who"][0] for one in faces]
    return np.stack(rows).astype(np.float32)


@dataclass(frozen=True)
class Sign:
    """What somebody is known by in a shot."""

    point: Float
    """(128,)."""
    colours: Float
    """(6,) RGB of skin and hair, 0..255."""
    thumb: Bytes
    """Of a picture, see `shots.thumbnail`."""


def sign(pictures: Sequence[Picture], landmarks: Float) -> Sign:
    """Of F pictures (I420) of somebody with the landmarks (F, 478, 3). Raises WeightsFault where the net is damaged."""
    faces = [aligned(picture, points) for picture, points in zip(pictures, landmarks, strict=True)]
    colours = [[np.median(part.reshape(-1, 3), 0) for part in (one[30:75, 40:110], one[:8])] for one in faces]
    return Sign(points_of(faces).mean(0), np.median(colours, 0).reshape(6).astype(np.float32), thumbnail(pictures[len(pictures) // 2]))


def apart(one: Sign, other: Sign) -> float:
    """How unlike two are: of one person, less than `SAME`."""
    away = float(np.linalg.norm(one.point - other.point))
    if away < SAME and min(float(np.linalg.norm(which.point - _presenter())) for which in (one, other)) < _DRAWN:
        luma = np.stack([which.thumb[: SIDE_LUMA**2].astype(np.float32) for which in (one, other)])
        like = float(np.asarray(np.corrcoef(luma))[0, 1])
        same = float(np.abs(one.colours - other.colours).max()) < _COLOURS or like > _ALIKE
        return away if same else 2 * SAME
    return away


@cache
def _presenter() -> Float:
    """(128,) the point of the drawn presenter."""
    picture, landmarks = draw(PRESENTER, Mouth(), Head(), 320)
    return np.asarray(points_of([aligned(from_rgb(picture), landmarks)])[0], np.float32)


def persons(signs: Sequence[Sign], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Who is who: a number (S,) for each of S signs, those of one person the same. `weights` (S,): frames that each stands for.

    The two groups nearest to each other are joined, again and again, while their mean distance is below `SAME`.
    """
    distance = np.full((len(signs), len(signs)), np.inf)
    for a, b in combinations(range(len(signs)), 2):
        distance[a, b] = distance[b, a] = apart(signs[a], signs[b])
    mass, number = weights.astype(np.float64), np.arange(len(signs))
    while True:
        one, other = divmod(int(np.argmin(distance)), len(signs))
        if not distance[one, other] < SAME:
            return np.asarray(np.unique(number, return_inverse=True)[1], np.int64)
        joined = (mass[one] * distance[one] + mass[other] * distance[other]) / (mass[one] + mass[other])
        distance[one], distance[:, one] = joined, joined
        distance[other], distance[:, other] = np.inf, np.inf
        distance[one, one] = np.inf
        mass[one] += mass[other]
        number[number == other] = one


def nearest(who: Bytes, faces: Sequence[Bytes]) -> int:
    """Which of faces that are `aligned` is most like one."""
    points = points_of([who, *faces])
    return int(np.argmin(np.linalg.norm(points[1:] - points[0], axis=1)))

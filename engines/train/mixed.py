"""Two pictures of faces in one, as in the middle of a dissolve: chips mixed with chips, moved as a tracker between both would have it.

They teach `engines/weights/covered.onnx` what is no face of one moment: `python -m engines.train covered`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.chips import HEIGHT, WIDTH

Bytes = NDArray[np.uint8]
_BORDERS = (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT)
_BLUR = 4.0  # pixels that a head goes at most while a picture is taken


def mix(chip: Bytes, other: Bytes, alike: bool, random: np.random.Generator) -> tuple[Bytes, float]:
    """A chip (HEIGHT, WIDTH, 3) YUV with another laid over it, and how plain that is: the weaker one's share.

    It is less where they nearly coincide. `alike`: both are of one person, and graded alike.
    """
    share = float(random.uniform(0.04, 0.96))
    reach = float(np.exp(random.uniform(np.log(0.7), np.log(30)))) if alike else float(random.uniform(0, 14))
    angle, scale, turn = random.uniform(0, 2 * np.pi), np.exp(random.normal(0, 0.12 if alike and reach > 4 else 0.02)), random.normal(0, 3)
    apart = reach * np.array([np.cos(angle), np.sin(angle)])
    where = float(np.clip(share + random.normal(0, 0.25), 0, 1))  # of the two faces, the tracker's place
    one, two = _moved(chip, -where * apart, 1, 0, random), _moved(other, (1 - where) * apart, float(scale), float(turn), random)
    weak = min(share, 1 - share)
    away = reach + 20 * abs(float(np.log(scale)))
    return np.round(one * (1 - share) + two * share).astype(np.uint8), weak * (min(away / 3, 1) if alike else 1)


def alone(chip: Bytes, random: np.random.Generator) -> Bytes:
    """A chip as a tracker may have it that is a little wrong, or as a head that moves: nothing is mixed."""
    angle, reach = random.uniform(0, 2 * np.pi), float(np.exp(random.uniform(np.log(0.3), np.log(12))))
    moved = _moved(chip, reach * np.array([np.cos(angle), np.sin(angle)]), 1, 0, random)
    if random.random() < 0.5:
        return moved
    size, along = 9, random.uniform(0, _BLUR) * np.array([np.cos(angle), np.sin(angle)]) / 2
    kernel = np.zeros((size * 4, size * 4), np.float32)
    ends = [tuple(np.round((size / 2 + sign * along) * 4).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 4)
    kernel = np.asarray(cv2.resize(kernel, (size, size), interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(cv2.filter2D(moved, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def _moved(chip: Bytes, by: NDArray[np.float64], scale: float, turn: float, random: np.random.Generator) -> Bytes:
    matrix = np.asarray(cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), turn, scale), np.float64)
    matrix[:, 2] += by
    return np.asarray(
        cv2.warpAffine(chip, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=int(random.choice(_BORDERS))), np.uint8
    )

"""Regions: turned squares in a picture, cut out for a net to look at."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Matrix = NDArray[np.float64]
Picture = NDArray[np.uint8]

MARGIN = 1.5
"""A face is looked at in a square that is so much larger than the box around it."""


class Region(NamedTuple):
    """A square, in pixels of a picture (H, W, 3)."""

    x: float
    """Its centre, from the left."""
    y: float
    side: float
    angle: float = 0.0
    """Radians from the picture's rows to its own, clockwise."""

    def scaled(self, by: float) -> Region:
        """The same, larger or smaller around its centre."""
        return self._replace(side=self.side * by)

    def matrix(self, cells: int) -> Matrix:
        """(2, 3): from its own pixels, `cells` a side, to the picture's."""
        cos, sin, half = np.cos(self.angle), np.sin(self.angle), self.side / 2
        turn = np.array([[cos, -sin], [sin, cos]])
        return np.column_stack([turn * (self.side / cells), np.array([self.x, self.y]) - turn @ [half, half]])

    def out_of(self, matrix: Matrix) -> Region:
        """This region of a cut-out in the picture that it was cut from; `matrix` as `cut_out` gives it."""
        x, y = matrix @ [self.x, self.y, 1]
        scale, turned = np.hypot(*matrix[:, 0]), np.arctan2(matrix[1, 0], matrix[0, 0])
        return Region(float(x), float(y), float(self.side * scale), float(self.angle + turned))


def around(landmarks: Float) -> Region:
    """Where to look for a face of these landmarks (478, 3) in the next picture."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    x, y = (low + high) / 2
    across, down = landmarks[263, :2] - landmarks[33, :2]  # outer corners of the eyes
    return Region(float(x), float(y), MARGIN * float((high - low).max()), float(np.arctan2(down, across)))


def whole(picture: Picture) -> Region:
    """The least square that holds a picture."""
    height, width = picture.shape[:2]
    return Region(width / 2, height / 2, float(max(height, width)))


def overlap(one: Region, other: Region) -> float:
    """Intersection over union of two regions, as if neither were turned."""
    wide, high = (
        max(0.0, min(a + one.side / 2, b + other.side / 2) - max(a - one.side / 2, b - other.side / 2))
        for a, b in ((one.x, other.x), (one.y, other.y))
    )
    return wide * high / max(one.side**2 + other.side**2 - wide * high, 1e-9)


def cut_out(
    picture: Picture, region: Region, cells: int, border: int = cv2.BORDER_REPLICATE, *, averaged: bool = True
) -> tuple[Picture, Matrix]:
    """A region as a picture (cells, cells, 3), and the matrix (2, 3) from its pixels to the picture's.

    Between pixels linearly, as MediaPipe does; where that would skip pixels they are `averaged` first.
    """
    matrix = region.matrix(cells)
    reach = np.abs(matrix[:, :2]).sum(1) * cells / 2 + 2
    middle, size = np.array([region.x, region.y]), np.array(picture.shape[1::-1])
    low = np.clip(np.floor(middle - reach), 0, size - 1).astype(int)
    high = np.clip(np.ceil(middle + reach), low + 1, size).astype(int)
    part: Picture = picture[low[1] : high[1], low[0] : high[0]]
    to_part = matrix.copy()
    to_part[:, 2] -= low
    by = int(region.side / cells)
    if averaged and by > 2 and min(part.shape[:2]) >= by:
        tall, wide = (n // by for n in part.shape[:2])
        part = np.asarray(cv2.resize(part[: tall * by, : wide * by], (wide, tall), interpolation=cv2.INTER_AREA), np.uint8)
        to_part[:, 2] -= (by - 1) / 2  # the centre of the first pixel of those that became one
        to_part /= by
    cut = cv2.warpAffine(part, to_part, (cells, cells), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)
    return np.asarray(cut, np.uint8), matrix

"""The two nets, MediaPipe's: one finds faces in a small picture, the other gives a face's landmarks."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from engines.backends.cpu import CpuNet
from engines.backends.weights import read_weights
from engines.tracking.region import MARGIN, Float, Picture, Region, cut_out

DETECTOR, MESH = "face_detector", "face_mesh"
"""Files of the weights, without .xml and .bin."""
SEEN = 128
"""The detector looks at pictures of so many pixels a side."""
_LOOKED_AT = 192  # the mesh's
_SAME = 0.3  # boxes that overlap by more are one face


def _anchors() -> Float:
    """(896, 2): the cells that boxes are told from, in pixels: two each of 16 x 16, six each of 8 x 8."""
    grids = [np.repeat(np.stack(np.meshgrid(*[np.arange(n) + 0.5] * 2), -1).reshape(-1, 2) * SEEN / n, k, 0) for n, k in ((16, 2), (8, 6))]
    return np.concatenate(grids).astype(np.float32)


class Sighting(NamedTuple):
    """A face that the detector believes to see."""

    region: Region
    """Around the face, `MARGIN` times its box, turned as the line between the eyes is."""
    logit: float
    """How sure it is: above 0 rather a face than not."""


class Detector:
    """BlazeFace: faces of 6 to 60 pixels between the eyes, turned in any way, in a picture of 128 x 128.

    Of a face that is upside down it may take the chin for the forehead.
    """

    def __init__(self) -> None:
        self._net = _net(DETECTOR)
        self._anchors = _anchors()

    def look(self, picture: Picture, least: float, most: int) -> list[Sighting]:
        """At most so many faces in an RGB picture (128, 128, 3), the surest first; `least` is a logit."""
        made = self._net.run({"picture": (picture.astype(np.float32) / 127.5 - 1)[None]})
        logits = made["scores"][0, :, 0]
        kept = np.flatnonzero(logits >= least)
        kept = kept[np.argsort(-logits[kept], kind="stable")]
        told, anchors = made["boxes"][0, kept], self._anchors[kept]
        centres, halves = told[:, :2] + anchors, told[:, 2:4] / 2
        eyes = told[:, 4:8] + np.tile(anchors, 2)
        boxes = np.concatenate([centres - halves, centres + halves, eyes], 1)
        weights = 1 / (1 + np.exp(-logits[kept]))
        found: list[Sighting] = []
        while len(kept) and len(found) < most:  # each face is the mean of all that was said of it
            near = _overlaps(boxes[0], boxes) > _SAME
            box = (boxes[near] * weights[near, None]).sum(0) / weights[near].sum()
            angle = float(np.arctan2(box[7] - box[5], box[6] - box[4]))
            x, y = (box[:2] + box[2:4]) / 2
            region = Region(float(x), float(y), MARGIN * float((box[2:4] - box[:2]).max()), angle)
            found.append(Sighting(region, float(logits[kept[0]])))
            kept, boxes, weights = kept[~near], boxes[~near], weights[~near]
        return found

    def look_at(self, picture: Picture, region: Region, least: float, most: int, *, averaged: bool = True) -> list[Sighting]:
        """The same for a region of any picture; beyond the picture's edge it is black. For `averaged` see `cut_out`."""
        small, matrix = cut_out(picture, region, SEEN, cv2.BORDER_CONSTANT, averaged=averaged)
        return [Sighting(found.region.out_of(matrix), found.logit) for found in self.look(small, least, most)]


class Mesh:
    """The face mesh with attention: 478 landmarks, those of lips, eyes and irises looked at twice."""

    def __init__(self) -> None:
        self._net = _net(MESH)

    def look_at(self, picture: Picture, region: Region) -> tuple[Float, float]:
        """Landmarks (478, 3) of the face in a region, in the picture's pixels, and how sure it is, 0 to 1, that there is a face."""
        small, matrix = cut_out(picture, region, _LOOKED_AT)
        made = self._net.run({"picture": (small.astype(np.float32) * np.float32(1 / 255))[None]})
        points = made["landmarks"]
        places = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        depths = points[:, 2:] * (region.side / _LOOKED_AT)
        return np.concatenate([places, depths], 1).astype(np.float32), float(made["score"][0])


def _net(name: str) -> CpuNet:
    return CpuNet(read_weights(f"{name}.xml"), read_weights(f"{name}.bin"))


def _overlaps(box: Float, boxes: Float) -> Float:
    """Intersection over union (n,) of a box (left, top, right, bottom, ...) with others."""
    shared = np.maximum(np.minimum(box[2:4], boxes[:, 2:4]) - np.maximum(box[:2], boxes[:, :2]), 0).prod(1)
    areas = (boxes[:, 2:4] - boxes[:, :2]).prod(1)
    return np.asarray(shared / np.maximum((box[2:4] - box[:2]).prod() + areas - shared, 1e-9))

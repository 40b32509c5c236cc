"""What the refiner is given of a finished picture: one text for training and serving.

All of it lies in a *zone* around the lower face that follows the head and not the mouth, so that the opening cannot be read
off its place. The net sees it at one size, whatever the frame's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.engine import Asked
from engines.spec import Float, Picture
from native.planes import cut, to_rgb
from native.warp.cpu import mesh_values

SIDE = 112
"""Of the picture that the net sees, and of the colours that it adds."""
CELLS = 56
"""Of the references and landmarks that it sees, and of the flow that it says: a side."""
K = 4
"""References that it sees; where there are fewer the last one is repeated, with weight 0."""
NUMBERS = 4 * K + 2
"""Of each reference: its weight, how much more open, wider and otherwise turned it is; then opening and width asked for."""
_CENTRE, _REACH = np.array([0.0, 1.3, 0.0], np.float32), 0.95  # head's frame, IOD
_BORDER = 4  # cells over which the mask fades to the zone's edge: beyond it nothing is refined
_FINE = 4  # landmarks are drawn so many times as fine
_SCALE = np.array([1, 8, 8, 4], np.float32)  # of the numbers of a reference: so that all are near 1
_RING = [face.LIPS.index(point) for point in face.INNER_LIPS]
_OUTER = [face.LIPS.index(point) for point in face.OUTER_LIPS]
_ACTORS = 8  # whose coarse references are kept

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Zone:
    """A square of whole pixels of a frame; it may stick out of the frame. All even."""

    x: int
    y: int
    side: int

    def place(self, points: Float, cells: int) -> Float:
        """Points (..., 2) of the frame, in cells of the zone cut into `cells` a side; the first cell's centre is (0, 0)."""
        corner = np.array([self.x, self.y], np.float32)
        return ((points[..., :2] + 0.5 - corner) * (cells / self.side) - 0.5).astype(np.float32)

    def cut(self, frame: Picture) -> Bytes:
        """The zone of a frame (I420) at the frame's resolution, RGB; what is outside the frame repeats its edge."""
        height, width = frame.shape[0] * 2 // 3, frame.shape[1]
        x0, y0 = (int(np.clip(v, 0, most - 2)) for v, most in ((self.x, width), (self.y, height)))
        x1, y1 = (int(np.clip(v + self.side, low + 2, most)) for v, low, most in ((self.x, x0, width), (self.y, y0, height)))
        part = to_rgb(cut(frame, (x0, y0), (y1 - y0, x1 - x0)))
        if part.shape[:2] == (self.side, self.side):
            return part
        left, top = max(x0 - self.x, 0), max(y0 - self.y, 0)
        right, under = (max(self.side - size - before, 0) for size, before in ((part.shape[1], left), (part.shape[0], top)))
        wider = np.asarray(cv2.copyMakeBorder(part, top, under, left, right, cv2.BORDER_REPLICATE), np.uint8)
        return wider[: self.side, : self.side]


def zone_of(pose: Float) -> Zone:
    """The zone of a head's pose (3, 4)."""
    middle = face.from_head(_CENTRE[None], pose)[0, :2]
    half = max(round(_REACH * float(face.unit(pose))), 4) // 2 * 2
    x, y = (round((float(value) - half) / 2) * 2 for value in middle)
    return Zone(x, y, 2 * half)


def border(side: int) -> Float:
    """(side, side): 1 inside a zone, falling to 0 at its edge."""
    at = np.minimum(np.arange(side) + 0.5, side - 0.5 - np.arange(side)) * (CELLS / side / _BORDER)
    return np.clip(np.minimum(at[:, None], at[None]), 0, 1).astype(np.float32)


def resized(picture: Bytes, side: int) -> Bytes:
    """A square picture at another size: averaged where it gets smaller."""
    how = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.uint8)


@dataclass(frozen=True)
class View:
    """What the refiner is given of a picture."""

    zone: Zone
    whole: Bytes
    """(zone.side, zone.side, 3) RGB: the picture, at the frame's resolution."""
    picture: Bytes
    """(SIDE, SIDE, 3) the same as the net sees it."""
    references: Bytes
    """(K, CELLS, CELLS, 3), each warped alone, the heaviest first, with the picture's mean colour."""
    drawn: Bytes
    """(CELLS, CELLS, 4) the mouth's inside, lips and jaw, drawn; the mask."""
    numbers: Float
    """(NUMBERS,)."""


class Views:
    """Makes views; of the last actors it keeps what is made of their references alone."""

    def __init__(self) -> None:
        self._border = border(CELLS)
        self._coarse: OrderedDict[int, tuple[Actor, dict[int, tuple[Bytes, float]]]] = OrderedDict()

    def of(self, asked: Asked, picture: Picture) -> View:
        """The view of a picture that was made as asked."""
        actor, pose = asked.actor, asked.actor.poses[asked.index]
        where = zone_of(pose)
        whole = where.cut(picture)
        order = np.argsort(-asked.weights, kind="stable")[:K]
        chosen = asked.chosen[order]
        coarse = [self._reference(actor, int(k)) for k in chosen]
        target = asked.target + np.array(asked.corner, np.float32)
        places = [(asked.sources[k] + 0.5) * scale - 0.5 for k, (_, scale) in zip(chosen, coarse, strict=True)]
        field = mesh_values(
            where.place(target, CELLS), asked.triangles, np.concatenate([*places, asked.values], 1).astype(np.float32), (CELLS, CELLS)
        )
        alpha = np.clip(field[:, :, -2], 0, 1)
        near, mass = resized(whole, CELLS).astype(np.float32), max(float(alpha.sum()), 1.0)
        shown = []
        for at, (reference, _) in enumerate(coarse):
            x, y = (np.ascontiguousarray(field[:, :, 2 * at + axis]) for axis in (0, 1))
            one = cv2.remap(reference, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
            one += ((near - one) * alpha[:, :, None]).sum((0, 1)) / mass
            shown.append(np.clip(one + 0.5, 0, 255).astype(np.uint8))
        shown += [shown[-1]] * (K - len(shown))
        outlines = draw(where.place(target[: face.L], CELLS * _FINE))
        mask = np.round(alpha * self._border * (255 * asked.shown)).astype(np.uint8)
        return View(
            where, whole, resized(whole, SIDE), np.stack(shown), np.dstack([outlines, mask]), _numbers(asked, chosen, asked.weights[order])
        )

    def _reference(self, actor: Actor, k: int) -> tuple[Bytes, float]:
        """A reference as coarse as the net sees it, against aliasing, and by how much smaller it is."""
        known = self._coarse.setdefault(id(actor), (actor, {}))[1]  # what is kept holds its actor: the id is not another's
        self._coarse.move_to_end(id(actor))
        if len(self._coarse) > _ACTORS:
            self._coarse.popitem(last=False)
        if k not in known:
            references = actor.references
            picture = references.pictures[k]
            unit = float(actor.units[references.frame[k]] * references.crops[k, 2])
            side = max(8, round(picture.shape[0] * min(1.0, CELLS / (2 * _REACH) / unit)))
            known[k] = resized(picture, side), side / picture.shape[0]
        return known[k]


def draw(points: Float) -> Bytes:
    """Motion's points (L, 2), in cells `_FINE` times as fine as CELLS: inside of the mouth, lips, jaw (CELLS, CELLS, 3), 0 and 255."""
    lips, jaw = points[: len(face.LIPS)], points[len(face.LIPS) :][:17]
    shown = []
    for outline in (lips[_RING], lips[_OUTER], jaw):
        fine = np.zeros((CELLS * _FINE, CELLS * _FINE), np.uint8)
        cv2.fillPoly(fine, [np.round(outline * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
        shown.append(cv2.resize(fine, (CELLS, CELLS), interpolation=cv2.INTER_AREA))
    return np.stack(shown, -1).astype(np.uint8)


def _numbers(asked: Asked, chosen: NDArray[np.int64], weights: Float) -> Float:
    references, turns = asked.actor.references, asked.actor.turns
    motion, opening, width = references.motion[chosen], face.opening(asked.motion), face.width(asked.motion)
    each = np.zeros((K, 4), np.float32)
    each[: len(chosen), 0] = weights
    each[: len(chosen), 1] = face.opening(motion) - opening
    each[: len(chosen), 2] = face.width(motion) - width
    each[: len(chosen), 3] = np.linalg.norm(turns[references.frame[chosen]] - turns[asked.index], axis=1)
    return np.concatenate([(each * _SCALE).ravel(), [4 * opening, width]]).astype(np.float32)

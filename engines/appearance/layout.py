"""What the renderer's nets are given: one text for training and serving.

All of it lies in a *square* around the lower face that follows the head and not the mouth, so that the opening cannot be
read off the crop. Fields are `GRID` cells a side; the nets may look at the square at any resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.mesh import Mesh, anchors, visible
from engines.spec import Float, Picture
from native.composite.field import OUTLIER
from native.planes import cut, to_rgb
from native.warp.cpu import mesh_values

GRID = 96
FINE, COARSE = 2, 2  # landmarks are drawn twice as fine; colours are matched twice as coarse
CENTRE, REACH = np.array([0.0, 1.3, 0.0], np.float32), 1.25  # head's frame, IOD
TINTS = 24
_HIDDEN = 0.3  # IOD that an open jaw may carry the mask down
_SHADE = 0.35  # IOD: standard deviation of the colour matching's Gaussian
_EVERYWHERE = 0.02  # weight of the mean difference: far from the ring it is all that is known
_RING = [face.LIPS.index(point) for point in face.INNER_LIPS]
_OUTER = [face.LIPS.index(point) for point in face.OUTER_LIPS]


@dataclass(frozen=True)
class Square:
    """A square of whole pixels of a frame; it may stick out of the frame."""

    x: int
    y: int
    side: int
    """All even."""

    def place(self, points: Float, cells: int) -> Float:
        """Points (..., 2) of the frame, in cells of the square cut into `cells` a side; the first cell's centre is (0, 0)."""
        corner = np.array([self.x, self.y], np.float32)
        return ((points[..., :2] + 0.5 - corner) * (cells / self.side) - 0.5).astype(np.float32)


def square(pose: Float) -> Square:
    """The square of a head's pose (3, 4)."""
    middle = face.from_head(CENTRE[None], pose)[0, :2]
    half = max(round(REACH * float(face.unit(pose))), 4) // 2 * 2
    x, y = (round((float(value) - half) / 2) * 2 for value in middle)
    return Square(x, y, 2 * half)


def vertices(actor: Actor, mesh: Mesh, index: int, motion: Float) -> Float:
    """The mesh (V, 3) in the actor's frame `index` when the face says `motion` (L, 2): pixels and depth."""
    return moved(at_rest(actor, mesh), motion - face.motion_of(actor.neutral), actor.poses[index], mesh)


def at_rest(actor: Actor, mesh: Mesh) -> Float:
    """The mesh (V, 3) in the head's frame, the mouth at rest."""
    return np.concatenate([actor.neutral[mesh.points], anchors(actor.neutral)])


def moved(rest: Float, motion: Float, poses: Float, mesh: Mesh) -> Float:
    """Meshes (..., V, 3) in pictures, from meshes at rest (..., V, 3), motion against rest (..., L, 2) and heads' poses (..., 3, 4)."""
    solid = rest.copy()
    solid[..., : len(mesh.points), :2] += face.followers()[mesh.points] @ motion
    return face.from_head(solid, poses)


def sources(actor: Actor, mesh: Mesh) -> Float:
    """The mesh (K, V, 2) in each reference's crop, as shares of its side: pixel centres run from 0.5/S to 1 - 0.5/S."""
    references = actor.references
    side = references.pictures.shape[1]
    at = [
        ((vertices(actor, mesh, int(frame), motion)[:, :2] - crop[:2]) * crop[2] + 0.5) / side
        for frame, motion, crop in zip(references.frame, references.motion, references.crops, strict=True)
    ]
    return np.stack(at).astype(np.float32)


@dataclass(frozen=True)
class Layout:
    """The geometry of a picture to be made from K references."""

    square: Square
    places: Float
    """(GRID, GRID, K, 2): where each cell lies in each reference, as shares of its side."""
    alpha: Float
    """(GRID, GRID) the mask."""
    ring: Float
    """(GRID, GRID) where colours are matched."""
    drawn: NDArray[np.uint8]
    """(GRID, GRID, 3) the landmarks, drawn: inside of the mouth, lips, jaw."""


def lay_out(actor: Actor, mesh: Mesh, sources: Float, index: int, motion: Float) -> Layout:
    """The layout of the actor's frame `index` saying `motion` (L, 2), from references with the mesh at `sources` (K, V, 2)."""
    solid = vertices(actor, mesh, index, motion)
    where = square(actor.poses[index])
    columns = np.concatenate([*sources, mesh.values], 1)
    field = mesh_values(where.place(solid, GRID), visible(mesh.triangles, solid[None])[0], columns, (GRID, GRID))
    alpha, ring = np.clip(field[:, :, -2:], 0, 1).transpose(2, 0, 1)
    moved = face.from_head(face.with_motion(actor.neutral, motion)[face.MOTION], actor.poses[index])
    return Layout(where, field[:, :, :-2].reshape(GRID, GRID, -1, 2), alpha, ring, draw(where.place(moved, GRID * FINE)))


def draw(points: Float) -> NDArray[np.uint8]:
    """Motion's points (L, 2), in cells of a grid twice as fine, as pictures (GRID, GRID, 3) of 0 and 255 with soft edges."""
    lips, jaw = points[: len(face.LIPS)], points[len(face.LIPS) :][:17]
    shown = []
    for outline in (lips[_RING], lips[_OUTER], jaw):
        fine = np.zeros((GRID * FINE, GRID * FINE), np.uint8)
        cv2.fillPoly(fine, [np.round(outline * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
        shown.append(cv2.resize(fine, (GRID, GRID), interpolation=cv2.INTER_AREA))
    return np.stack(shown, -1).astype(np.uint8)


def hidden(actor: Actor, mesh: Mesh, index: int) -> NDArray[np.bool_]:
    """(GRID, GRID): the cells of frame `index` that the nets never see, whatever is said: the mask, and where an open jaw carries it."""
    solid = vertices(actor, mesh, index, face.motion_of(actor.neutral))
    where = square(actor.poses[index])
    alpha = mesh_values(where.place(solid, GRID), visible(mesh.triangles, solid[None])[0], mesh.values, (GRID, GRID))[:, :, 0] > 0
    down = alpha.copy()
    for step in range(1, round(_HIDDEN / (2 * REACH) * GRID) + 1):
        down[step:] |= alpha[:-step]
    return np.asarray(down)


def cut_out(frame: Picture, where: Square) -> NDArray[np.uint8]:
    """The square of a frame (I420) at the frame's resolution, RGB."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    x0, y0 = (int(np.clip(v, 0, most - 2)) for v, most in ((where.x, width), (where.y, height)))
    x1, y1 = (int(np.clip(v + where.side, low + 2, most)) for v, low, most in ((where.x, x0, width), (where.y, y0, height)))
    part = to_rgb(cut(frame, (x0, y0), (y1 - y0, x1 - x0)))
    if part.shape[:2] != (where.side, where.side):
        left, top = max(x0 - where.x, 0), max(y0 - where.y, 0)
        rest = (where.side - part.shape[0] - top, where.side - part.shape[1] - left)
        part = np.asarray(cv2.copyMakeBorder(part, top, max(rest[0], 0), left, max(rest[1], 0), cv2.BORDER_REPLICATE), np.uint8)
        part = part[: where.side, : where.side]
    return part


def resized(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A square picture at another size: averaged where it gets smaller."""
    smaller = side < picture.shape[0]
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)


def tints(frame: NDArray[np.uint8], small: Sequence[NDArray[np.uint8]], layout: Layout) -> Float:
    """What to add to each reference so that it has the frame's colours where both are seen: (K, TINTS, TINTS, 3), of 255.

    frame: the square, (GRID, GRID, 3). small: K references, of any size near it. The difference on the ring, less where it is
    that of another thing, spread by a normalised Gaussian: as `native.composite` does for one picture.
    """
    some = np.s_[::COARSE, ::COARSE]  # cells as they are: a mean over cells would mix in what lies outside the mesh
    ring, places = layout.ring[some], layout.places[some]
    sigma = _SHADE * len(ring) / (2 * REACH)
    under = frame[some].astype(np.float32)
    stack = []
    for k, picture in enumerate(small):
        x, y = np.ascontiguousarray(places[:, :, k].transpose(2, 0, 1) * picture.shape[0] - 0.5)
        # in two maps: with one of two channels, OpenCV 5.0 interpolates linearly between wrong pixels
        over = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        difference = under - over
        weight = ring / (1 + (difference**2).mean(2) / OUTLIER**2)
        everywhere = (difference * weight[:, :, None]).sum((0, 1)) / max(float(weight.sum()), 1e-4)
        spread = cv2.GaussianBlur(np.dstack([difference * weight[:, :, None], weight]), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        field = (spread[:, :, :3] + _EVERYWHERE * everywhere) / (spread[:, :, 3:] + _EVERYWHERE)
        stack.append(cv2.resize(field, (TINTS, TINTS), interpolation=cv2.INTER_AREA))
    return np.stack(stack).astype(np.float32)

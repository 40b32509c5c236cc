"""The first appearance engine: the actor's own mouth pixels, warped onto the motion, matched in colour, and composited."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.config import WarpConfig
from engines.appearance.interior import draw_interior, missing
from engines.appearance.layout import sources, vertices
from engines.appearance.mesh import Mesh, mesh, visible
from engines.appearance.references import shown, weigh
from engines.spec import Float, Picture
from native.composite.op import composite
from native.sharpen.cpu import edges
from native.sharpen.op import sharpen
from native.warp.op import warp


@dataclass(frozen=True)
class WarpState:
    """What a conversation keeps between ticks."""

    actor: Actor
    weights: Float
    """(K,) the references' weights in the last picture, zeros before the first."""
    sources: Float
    """(K, V, 2) the mesh in each reference's crop; the same for all conversations of the actor."""
    sharpness: Float
    """(K,) how sharp each reference's mouth is; the same for all conversations of the actor."""
    crisp: float
    """How much fine detail was given back in the last picture; below 0 before the first."""


@dataclass(frozen=True)
class Asked:
    """A picture to be made: all that is decided before pixels are touched. The patch is the part of the frame that changes."""

    actor: Actor
    sources: Float
    """(K, V, 2) as in `WarpState`."""
    index: int
    """Of the frame."""
    corner: tuple[int, int]
    """x, y of the patch in the frame."""
    size: tuple[int, int]
    """Height and width of the patch; both even, 0 where the frame is shown as it is."""
    chosen: NDArray[np.int64]
    """(C,) the references that are blended."""
    weights: Float
    """(C,) theirs."""
    target: Float
    """(V, 2) the mesh, in the patch's pixels."""
    triangles: NDArray[np.int32]
    """(T, 3) those that are seen, the farthest first."""
    shown: float
    """How much of the patch is shown, 0..1."""
    unit: float
    """Pixels in an IOD."""
    mouth: tuple[int, int, int, int]
    """The box of the patch in which sharpness is measured: first and last row, first and last column."""
    sharpness: float
    """That it should have."""
    crisp: float
    """As in `WarpState`."""
    missing: float
    """How much of the mouth's inside is to be drawn, 0..1."""

    @property
    def lips(self) -> Float:
        """(40, 2) in the patch's pixels: the mesh begins with motion's points."""
        return self.target[: len(face.LIPS)]


class Painter(Protocol):
    """Who makes the pixels."""

    def paint(self, asked: Sequence[Asked]) -> list[tuple[Picture, float]]:
        """The pictures (I420), and how much fine detail was given back to each."""
        ...


class CpuPainter:
    """Makes the pixels on the CPU, one picture after the other."""

    def __init__(self, config: WarpConfig) -> None:
        self._config, self._mesh = config, mesh()

    def paint(self, asked: Sequence[Asked]) -> list[tuple[Picture, float]]:
        """See `Painter.paint`."""
        return [self._one(one) for one in asked]

    def _one(self, asked: Asked) -> tuple[Picture, float]:
        frame, config = asked.actor.frames[asked.index], self._config
        if not any(asked.size):
            return frame, asked.crisp
        patch, carried = warp(
            [asked.actor.references.pictures[k] for k in asked.chosen], asked.weights, asked.sources[asked.chosen],
            asked.target, asked.triangles, self._mesh.values, asked.size,
        )  # fmt: skip
        alpha, ring = np.clip(carried, 0, 1).transpose(2, 0, 1)
        softness = config.softness(asked.unit)
        patch, crisp = sharpen(patch, asked.mouth, softness, config.crisp * asked.sharpness, asked.crisp, config.quick)
        if asked.missing > 0:
            patch = draw_interior(patch, asked.lips, asked.unit, asked.missing)
        return composite(frame, asked.corner, patch, alpha * np.float32(asked.shown), ring, config.shade * asked.unit), crisp


class WarpAppearance:
    """Implements `engines.spec.AppearanceEngine`. `painter` makes the pixels; on the CPU if not given."""

    def __init__(self, config: WarpConfig | None = None, painter: Painter | None = None) -> None:
        self.config = config or WarpConfig()
        self.painter = painter or CpuPainter(self.config)
        self._mesh: Mesh = mesh()
        self._known: OrderedDict[int, WarpState] = OrderedDict()

    def start(self, actor: Actor) -> WarpState:
        """See `AppearanceEngine.start`. What is computed of the actor alone is kept for the next conversation."""
        known = self._known.get(id(actor))
        if known is None:
            references = actor.references
            at = sources(actor, self._mesh) * references.pictures.shape[1] - 0.5
            sharpness = [
                edges(picture, _around(place[: len(face.LIPS)], self.config.around, picture.shape)).var()
                for picture, place in zip(references.pictures, at, strict=True)
            ]
            known = self._known[id(actor)] = WarpState(
                actor, np.zeros(len(at), np.float32), at.astype(np.float32), np.array(sharpness, np.float32), -1.0
            )
            while len(self._known) > _ACTORS:  # a state holds its actor: while it is kept, the id is not another's
                self._known.popitem(last=False)
        return known

    def step(self, states: Sequence[WarpState], index: Sequence[int], motion: Float) -> tuple[list[WarpState], list[Picture]]:
        """See `AppearanceEngine.step`."""
        weights = [
            weigh(state.actor, self.config, at, moved, state.weights) for state, at, moved in zip(states, index, motion, strict=True)
        ]
        made = self.painter.paint([self._ask(*one) for one in zip(states, index, motion, weights, strict=True)])
        after = [replace(state, weights=own, crisp=crisp) for state, own, (_, crisp) in zip(states, weights, made, strict=True)]
        return after, [picture for picture, _ in made]

    def _ask(self, state: WarpState, index: int, motion: Float, weights: Float) -> Asked:
        actor, config = state.actor, self.config
        solid = vertices(actor, self._mesh, index, motion)
        corner, size = _box(solid[self._mesh.used, :2], actor.size)
        there = shown(actor, config, index)
        if min(size) < 2 or there == 0:  # the mouth is outside the frame, or not to be seen
            size = (0, 0)
        chosen = np.flatnonzero(weights)
        target = solid[:, :2] - np.array(corner, np.float32)
        return Asked(
            actor, state.sources, index, corner, size, chosen, weights[chosen], target, visible(self._mesh.triangles, solid), there,
            unit=float(face.unit(actor.poses[index])), mouth=_around(target[: len(face.LIPS)], config.around, size),
            sharpness=float(weights @ state.sharpness), crisp=state.crisp, missing=missing(config, actor, chosen, motion),
        )  # fmt: skip


_ACTORS = 8  # whose first states are kept


def _around(lips: Float, reach: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The box of lips (40, 2), so many times as large, in a picture of a shape: first and last row, first and last column."""
    middle, half = (lips.min(0) + lips.max(0)) / 2, (lips.max(0) - lips.min(0)) / 2 * reach
    (x0, y0), (x1, y1) = (np.clip(np.round(p).astype(int), 0, [shape[1], shape[0]]) for p in (middle - half, middle + half))
    return int(y0), int(y1), int(x0), int(x1)


def _box(target: Float, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Corner (x, y) and size (h, w), all even, of the part of a frame (width, height) that the mesh covers."""
    low = np.maximum(np.floor(target.min(0) / 2).astype(int) * 2, 0)
    high = np.minimum(np.ceil(target.max(0) / 2).astype(int) * 2, np.array(size))
    return (int(low[0]), int(low[1])), (int(max(high[1] - low[1], 0)), int(max(high[0] - low[0], 0)))

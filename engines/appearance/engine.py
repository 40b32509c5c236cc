"""The first appearance engine: the actor's own mouth pixels, warped onto the motion, matched in colour, and composited."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.blur import blurs
from engines.appearance.config import WarpConfig
from engines.appearance.grey import colourless, in_colours_of
from engines.appearance.interior import Inside, draw_interior, inside_of, meets, missing, where_lips_meet
from engines.appearance.layout import at_rest, bands, chins, moved, sources, trimmed
from engines.appearance.light import lights
from engines.appearance.mesh import Mesh, mesh, seen_values, visible
from engines.appearance.references import covered, moves, weigh
from engines.spec import Float, Picture
from native.composite.op import composite
from native.sharpen.cpu import edges
from native.sharpen.op import sharpen
from native.warp.op import warp


@dataclass(frozen=True)
class Known:
    """What is computed once of an actor: a memory, not a state."""

    actor: Actor
    rest: Float
    """(V, 3) the mesh in the head's frame, the mouth at rest."""
    neutral: Float
    """(L, 2) motion at rest."""
    sources: Float
    """(2, K, V, 2) the mesh in each reference's crop: as it is there, and trimmed (`engines.appearance.layout.trimmed`)."""
    sharpness: Float
    """(K,) how sharp each reference's mouth is."""
    covered: Float
    """(N,) how much of the made mouth each frame can show, 0..1."""
    lights: Float
    """(K, 2, 3) how each reference is lit: see `light.lights`."""
    blurs: Float
    """(K,) how blurred each reference is, IOD: see `blur.blurs`."""


@dataclass(frozen=True)
class WarpState:
    """What a conversation keeps between ticks."""

    known: Known
    weights: Float
    """(K,) the references' weights in the last picture, zeros before the first."""
    crisp: float
    """How much fine detail was given back in the last picture; below 0 before the first."""


@dataclass(frozen=True)
class Asked:
    """A picture to be made: all that is decided before pixels are touched. The patch is the part of the frame that changes."""

    actor: Actor
    sources: Float
    """(2, K, V, 2) as in `Known`."""
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
    values: Float
    """(V, 2) of the mesh under this head's pose (`engines.appearance.mesh.seen_values`)."""
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
    meets: float
    """How much of the line is to be drawn where lips meet that references have apart, 0..1; 0 where an inside is drawn."""
    light: Float
    """(2, 3) in which it is drawn: the colour of a well-lit tooth on the mouth's left and right."""
    blur: float
    """How blurred what is shown is, pixels."""
    motion: Float
    """(L, 2) that is to be shown."""

    @property
    def lips(self) -> Float:
        """(40, 2) in the patch's pixels: the mesh begins with motion's points."""
        return self.target[: len(face.LIPS)]

    @property
    def places(self) -> Float:
        """(K, V, 2) the mesh in each reference's crop, trimmed where lips meet that references have apart."""
        return np.asarray(self.sources[int(self.meets > 0)])

    @property
    def inside(self) -> Inside | None:
        """What of the mouth's inside is to be drawn, if anything, and at which opacity: `drawn`."""
        if not self.drawn > 0:
            return None
        pose = self.actor.poses[self.index]
        inside = inside_of(self.lips, self.corner, self.size, pose, self.actor.neutral, self.motion, self.blur)
        return inside if self.missing > 0 or inside is None else where_lips_meet(inside)

    @property
    def drawn(self) -> float:
        """The opacity of what is drawn between the lips, 0..1."""
        return max(self.missing, self.meets)


class Painter(Protocol):
    """Who makes the pixels."""

    def paint(self, asked: Sequence[Asked], *, plain: bool = False) -> list[tuple[Picture, float]]:
        """The pictures (I420), and how much fine detail was given back to each; `plain`: not refined."""
        ...

    def hold(self, actor: Actor, sources: Float) -> None:
        """Have ready what an actor's pictures are made from, before the first is asked for. May be called in another thread."""
        ...


Refine = Callable[[Asked, Picture, Float], Picture]
"""Corrects a picture that was made as asked, where the mask of its patch (h, w) is above 0."""


class CpuPainter:
    """Makes the pixels on the CPU, one picture after the other; then `refine` corrects them, if there is one."""

    def __init__(self, config: WarpConfig, refine: Refine | None = None) -> None:
        self._config, self._refine = config, refine

    def paint(self, asked: Sequence[Asked], *, plain: bool = False) -> list[tuple[Picture, float]]:
        """See `Painter.paint`."""
        return [self._one(one, None if plain else self._refine) for one in asked]

    def hold(self, actor: Actor, sources: Float) -> None:
        """See `Painter.hold`: there is nothing to do."""

    def _one(self, asked: Asked, refine: Refine | None) -> tuple[Picture, float]:
        frame, config = asked.actor.frames[asked.index], self._config
        if not any(asked.size):
            return frame, asked.crisp
        patch, carried = warp(
            [asked.actor.references.pictures[k] for k in asked.chosen], asked.weights, asked.places[asked.chosen],
            asked.target, asked.triangles, asked.values, asked.size,
        )  # fmt: skip
        alpha, ring = np.clip(carried, 0, 1).transpose(2, 0, 1)
        softness = config.softness(asked.unit)
        patch, crisp = sharpen(patch, asked.mouth, softness, config.crisp * asked.sharpness, asked.crisp, config.quick)
        if (inside := asked.inside) is not None:
            patch = draw_interior(patch, inside, asked.light, asked.unit, asked.drawn)
        alpha = alpha * np.float32(asked.shown)
        picture = composite(frame, asked.corner, patch, alpha, ring, config.shade * asked.unit)
        if refine is not None:
            picture = refine(asked, picture, alpha)
        return in_colours_of(picture, frame) if colourless(frame, asked.corner, asked.size) else picture, crisp


class WarpAppearance:
    """Implements `engines.spec.AppearanceEngine`. `painter` makes the pixels; on the CPU if not given."""

    def __init__(self, config: WarpConfig | None = None, painter: Painter | None = None) -> None:
        self.config = config or WarpConfig()
        self.painter = painter or CpuPainter(self.config)
        self._mesh: Mesh = mesh()
        self._known: OrderedDict[int, Known] = OrderedDict()

    def start(self, actor: Actor) -> WarpState:
        """See `AppearanceEngine.start`. What is computed of the actor alone is kept for the next conversation."""
        known = self._known.get(id(actor))
        if known is None:
            references = actor.references
            both = (sources(actor, self._mesh, motion) for motion in (references.motion, trimmed(references.motion)))
            at = np.stack([*both]) * references.pictures.shape[1] - 0.5
            sharpness = [
                edges(picture, tuple(_around(place[: len(face.LIPS)], self.config.around, np.array(picture.shape[:2])).tolist())).var()
                for picture, place in zip(references.pictures, at[0], strict=True)
            ]
            known = self._known[id(actor)] = Known(
                actor, at_rest(actor, self._mesh), face.motion_of(actor.neutral), at.astype(np.float32), np.array(sharpness, np.float32),
                covered(actor, self.config), lights(actor), blurs(actor),
            )  # fmt: skip
            while len(self._known) > _ACTORS:  # what is known holds its actor: while it is kept, the id is not another's
                self._known.popitem(last=False)
        self.painter.hold(actor, known.sources)
        return WarpState(known, np.zeros(len(known.sharpness), np.float32), -1.0)

    def step(
        self, states: Sequence[WarpState], index: Sequence[int], motion: Float, *, plain: bool = False
    ) -> tuple[list[WarpState], list[Picture]]:
        """See `AppearanceEngine.step`."""
        if not states:
            return [], []
        asked = self.ask(states, np.array(index, np.int64), motion)
        made = self.painter.paint(asked, plain=plain)
        after = []
        for state, one, (_, crisp) in zip(states, asked, made, strict=True):
            weights = np.zeros_like(state.weights)
            weights[one.chosen] = one.weights
            after.append(replace(state, weights=weights, crisp=crisp))
        return after, [picture for picture, _ in made]

    def ask(self, states: Sequence[WarpState], index: NDArray[np.int64], motion: Float) -> list[Asked]:
        """All that is decided of B pictures; together, because a thousand small sums cost more than a few large ones."""
        known, config, lips = [state.known for state in states], self.config, len(face.LIPS)
        poses = np.stack([one.actor.poses[at] for one, at in zip(known, index, strict=True)])
        shown = np.array([one.covered[at] for one, at in zip(known, index, strict=True)], np.float32)
        mouths = np.stack([one.actor.mouths[at] for one, at in zip(known, index, strict=True)])
        weights, needed = self._weigh(states, index, motion)
        there = shown * needed
        # where the made mouth fades, it goes the frame's own way: two mouths over each other would be seen
        motion = np.where(np.isnan(mouths) | (shown == 1)[:, None, None], motion, mouths + shown[:, None, None] * (motion - mouths))
        said = motion - np.stack([one.neutral for one in known])
        lower = chins(self._mesh, motion, mouths)
        rest = np.stack([one.rest for one in known])
        solid = moved(rest, said, poses, self._mesh, bands(lower))
        corner, size = _boxes(solid[:, self._mesh.used, :2], np.array([one.actor.size for one in known]))
        size[(size.min(1) < 2) | (there == 0)] = 0  # the mouth is outside the frame, or not to be seen
        target = (solid[..., :2] - corner[:, None]).astype(np.float32)
        boxes = _around(target[:, :lips], config.around, size)
        seen, values = visible(self._mesh, solid, face.from_head(rest, poses)), seen_values(self._mesh, poses, lower)
        units = face.unit(poses).tolist()
        openings = face.opening(motion)
        asked = []
        for b, one in enumerate(known):
            chosen = np.flatnonzero(weights[b])
            own, opened = weights[b][chosen], one.actor.references.opening
            asked.append(Asked(
                one.actor, one.sources, int(index[b]), tuple(corner[b].tolist()), tuple(size[b].tolist()), chosen, own, target[b], seen[b],
                values[b], float(there[b]), units[b], tuple(boxes[b].tolist()), sharpness=float(own @ one.sharpness[chosen]),
                crisp=states[b].crisp, missing=missing(config, float(openings[b]), opened[chosen], own, float(opened.max())),
                meets=meets(float(openings[b]), float(own @ opened[chosen])),
                light=np.tensordot(own, one.lights[chosen], 1), blur=float(own @ one.blurs[chosen]) * units[b], motion=motion[b],
            ))  # fmt: skip
        return asked

    def _weigh(self, states: Sequence[WarpState], index: NDArray[np.int64], motion: Float) -> tuple[list[Float], Float]:
        """Of each picture the weights of its actor's references, and how much of it is needed; actor by actor."""
        rows: dict[int, list[int]] = {}
        for b, state in enumerate(states):
            rows.setdefault(id(state.known.actor), []).append(b)
        weights, needed = [np.empty(0, np.float32)] * len(states), np.empty(len(states), np.float32)
        for own in rows.values():
            actor, before = states[own[0]].known.actor, np.stack([states[b].weights for b in own])
            needed[own] = moves(actor, self.config, index[own], motion[own])
            for b, row in zip(own, weigh(actor, self.config, index[own], motion[own], before), strict=True):
                weights[b] = row
        return weights, needed


_ACTORS = 8  # whose first states are kept


def _around(lips: Float, reach: float, size: NDArray[np.int64]) -> NDArray[np.int64]:
    """The boxes of lips (..., 40, 2), so many times as large, in pictures of a size (..., 2: height, width).

    (..., 4): first and last row, first and last column.
    """
    low, high = lips.min(-2), lips.max(-2)
    middle, half = (low + high) / 2, (high - low) / 2 * np.float32(reach)
    (x0, y0), (x1, y1) = (
        np.moveaxis(np.minimum(np.maximum(np.round(corner).astype(np.int64), 0), size[..., ::-1]), -1, 0)
        for corner in (middle - half, middle + half)
    )
    return np.stack([y0, y1, x0, x1], -1)


def _boxes(target: Float, size: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corners (B, 2: x, y) and sizes (B, 2: h, w), all even, of the parts of frames (B, 2: width, height) that meshes (B, V, 2) cover."""
    low = np.maximum(np.floor(target.min(1) / 2).astype(np.int64) * 2, 0)
    high = np.minimum(np.ceil(target.max(1) / 2).astype(np.int64) * 2, size)
    return low, np.maximum(high - low, 0)[:, ::-1].copy()

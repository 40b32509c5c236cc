"""The first appearance engine: the actor's own mouth pixels, warped onto the motion, matched in colour, and composited."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
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


class WarpAppearance:
    """Implements `engines.spec.AppearanceEngine`."""

    def __init__(self, config: WarpConfig | None = None) -> None:
        self.config = config or WarpConfig()
        self._mesh: Mesh = mesh()
        self._known: OrderedDict[int, WarpState] = OrderedDict()

    def start(self, actor: Actor) -> WarpState:
        """See `AppearanceEngine.start`. What is computed of the actor alone is kept for the next conversation."""
        known = self._known.get(id(actor))
        if known is None:
            references = actor.references
            at = sources(actor, self._mesh) * references.pictures.shape[1] - 0.5
            sharpness = [
                _edges(picture, *_around(place[: len(face.LIPS)], self.config.around, picture.shape)).var()
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
        done = [self._one(state, at, moved) for state, at, moved in zip(states, index, motion, strict=True)]
        return [state for state, _ in done], [picture for _, picture in done]

    def _one(self, state: WarpState, index: int, motion: Float) -> tuple[WarpState, Picture]:
        actor = state.actor
        frame, unit = actor.frames[index], float(face.unit(actor.poses[index]))
        weights = weigh(actor, self.config, index, motion, state.weights)
        solid = vertices(actor, self._mesh, index, motion)
        corner, size = _box(solid[self._mesh.used, :2], actor.size)
        there = shown(actor, self.config, index)
        if min(size) < 2 or there == 0:  # the mouth is outside the frame, or not to be seen
            return replace(state, weights=weights), frame
        chosen = np.flatnonzero(weights)
        patch, carried = warp(
            [actor.references.pictures[k] for k in chosen], weights[chosen], state.sources[chosen],
            solid[:, :2] - np.array(corner, np.float32), visible(self._mesh.triangles, solid), self._mesh.values, size,
        )  # fmt: skip
        alpha, ring = np.clip(carried, 0, 1).transpose(2, 0, 1)
        lips = solid[: len(face.LIPS), :2] - np.array(corner, np.float32)  # the mesh begins with motion's points
        patch, crisp = self._crisp(patch, lips, unit, float(weights @ state.sharpness), state.crisp)
        share = missing(self.config, actor, chosen, motion)
        if share > 0:
            patch = draw_interior(patch, lips, unit, share)
        picture = composite(frame, corner, patch, alpha * np.float32(there), ring, self.config.shade * unit)
        return replace(state, weights=weights, crisp=crisp), picture

    def _crisp(
        self, patch: NDArray[np.uint8], lips: Float, unit: float, sharpness: float, before: float
    ) -> tuple[NDArray[np.uint8], float]:
        """The patch with so much fine detail given back that its mouth is as sharp as the references'; and how much that was.

        The variance of (1 + a) x - a y, x and y the edges of the patch and of a softer one, is quadratic in a.
        """
        soft = np.asarray(cv2.GaussianBlur(patch, (0, 0), max(self.config.crisp_radius * unit, 0.3)), np.uint8)
        box = _around(lips, self.config.around, patch.shape)
        if min(box[1] - box[0], box[3] - box[2]) < 8:
            return patch, before
        x, y = _edges(patch, *box), _edges(soft, *box)
        (own, both), (_, fine) = np.cov(x.ravel(), (x - y).ravel())
        lacking = self.config.crisp * sharpness - own
        amount = 0.0
        if lacking > 0 and fine > 1e-6:
            amount = float(np.clip((np.sqrt(both**2 + fine * lacking) - both) / fine, 0, 1))
        amount = amount if before < 0 else before + self.config.quick * (amount - before)
        return np.asarray(cv2.addWeighted(patch, 1 + amount, soft, -amount, 0), np.uint8), amount


_ACTORS = 8  # whose first states are kept


def _around(lips: Float, reach: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The box of lips (40, 2), so many times as large, in a picture of a shape: first and last row, first and last column."""
    middle, half = (lips.min(0) + lips.max(0)) / 2, (lips.max(0) - lips.min(0)) / 2 * reach
    (x0, y0), (x1, y1) = (np.clip(np.round(p).astype(int), 0, [shape[1], shape[0]]) for p in (middle - half, middle + half))
    return int(y0), int(y1), int(x0), int(x1)


def _edges(picture: NDArray[np.uint8], y0: int, y1: int, x0: int, x1: int) -> Float:
    """Laplacian of a box of a picture's green."""
    if y1 - y0 < 2 or x1 - x0 < 2:
        return np.zeros((1, 1), np.float32)
    return np.asarray(cv2.Laplacian(np.ascontiguousarray(picture[y0:y1, x0:x1, 1]), cv2.CV_32F), np.float32)


def _box(target: Float, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Corner (x, y) and size (h, w), all even, of the part of a frame (width, height) that the mesh covers."""
    low = np.maximum(np.floor(target.min(0) / 2).astype(int) * 2, 0)
    high = np.minimum(np.ceil(target.max(0) / 2).astype(int) * 2, np.array(size))
    return (int(low[0]), int(low[1])), (int(max(high[1] - low[1], 0)), int(max(high[0] - low[0], 0)))

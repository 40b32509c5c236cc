"""The first appearance engine: the actor's own mouth pixels, warped onto the motion, matched in colour, and composited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.config import WarpConfig
from engines.appearance.interior import draw_interior
from engines.appearance.mesh import Mesh, anchors, mesh, visible
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


class WarpAppearance:
    """Implements `engines.spec.AppearanceEngine`."""

    def __init__(self, config: WarpConfig | None = None) -> None:
        self.config = config or WarpConfig()
        self._mesh: Mesh = mesh()

    def start(self, actor: Actor) -> WarpState:
        """See `AppearanceEngine.start`."""
        references = actor.references
        sources = [
            (self.target(actor, frame, motion)[:, :2] - crop[:2]) * crop[2]
            for frame, motion, crop in zip(references.frame, references.motion, references.crops, strict=True)
        ]
        return WarpState(actor, np.zeros(len(sources), np.float32), np.stack(sources).astype(np.float32))

    def step(self, states: Sequence[WarpState], index: Sequence[int], motion: Float) -> tuple[list[WarpState], list[Picture]]:
        """See `AppearanceEngine.step`."""
        done = [self._one(state, at, moved) for state, at, moved in zip(states, index, motion, strict=True)]
        return [state for state, _ in done], [picture for _, picture in done]

    def target(self, actor: Actor, index: int, motion: Float) -> Float:
        """The mesh's vertices (V, 3) in the actor's frame `index` when the face says `motion` (L, 2): pixels and depth."""
        moved = face.with_motion(actor.neutral, motion)[self._mesh.points]
        return face.from_head(np.concatenate([moved, anchors(actor.neutral)]), actor.poses[index])

    def weigh(self, state: WarpState, index: int, motion: Float) -> Float:
        """The weights (K,) of the references for a motion (L, 2) in frame `index`; at most `blended` are above 0."""
        config, references, poses = self.config, state.actor.references, state.actor.poses
        lips = len(face.LIPS)
        apart = np.linalg.norm(references.motion[:, :lips] - motion[:lips], axis=-1)
        inner = len(face.OUTER_LIPS)
        shape = (apart[:, :inner].mean(1) + config.inside * apart[:, inner:].mean(1)) / (1 + config.inside)
        turn = np.linalg.norm(face.angles(poses[references.frame]) - face.angles(poses[index]), axis=1)
        gap = np.abs(face.opening(references.motion) - face.opening(motion))
        cost = shape + config.gap * gap + config.turn * turn - config.steady * state.weights
        best = np.argsort(cost, kind="stable")[: config.blended]
        weights = np.zeros(len(cost), np.float32)
        weights[best] = np.exp(-(cost[best] - cost[best[0]]) / config.sharp)
        return np.asarray(weights / weights.sum(), np.float32)

    def _one(self, state: WarpState, index: int, motion: Float) -> tuple[WarpState, Picture]:
        actor, references = state.actor, state.actor.references
        frame = actor.frames[index]
        weights = self.weigh(state, index, motion)
        chosen = np.flatnonzero(weights)
        solid = self.target(actor, index, motion)
        target = solid[:, :2]
        corner, size = _box(target, actor.size)
        if min(size) < 2:  # the mouth is outside the frame
            return replace(state, weights=weights), frame
        patch, carried = warp(
            [references.pictures[k] for k in chosen], weights[chosen], state.sources[chosen],
            target - np.array(corner, np.float32), visible(self._mesh.triangles, solid), self._mesh.values, size,
        )  # fmt: skip
        alpha, ring = np.clip(carried, 0, 1).transpose(2, 0, 1)
        unit = float(face.unit(actor.poses[index]))
        patch = _crisp(patch, self.config.crisp, self.config.crisp_radius * unit)
        missing = self._missing(actor, chosen, motion)
        if missing > 0:
            patch = draw_interior(patch, target[: len(face.LIPS)] - np.array(corner, np.float32), unit, missing)
        picture = composite(frame, corner, patch, alpha, ring, self.config.shade * unit)
        return replace(state, weights=weights), picture

    def _missing(self, actor: Actor, chosen: NDArray[np.int64], motion: Float) -> float:
        """How much of the mouth's inside no reference shows, 0..1."""
        opening = float(face.opening(motion))
        shown = float(face.opening(actor.references.motion[chosen]).max())
        return float(np.clip((opening - self.config.stretch * shown - 0.02) / 0.03, 0, 1))


def _crisp(patch: NDArray[np.uint8], amount: float, radius: float) -> NDArray[np.uint8]:
    """The patch with the fine detail given back that blending took."""
    soft = cv2.GaussianBlur(patch, (0, 0), max(radius, 0.3))
    return np.asarray(cv2.addWeighted(patch, 1 + amount, soft, -amount, 0), np.uint8)


def _box(target: Float, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Corner (x, y) and size (h, w), all even, of the part of a frame (width, height) that the mesh covers."""
    low = np.maximum(np.floor(target.min(0) / 2).astype(int) * 2, 0)
    high = np.minimum(np.ceil(target.max(0) / 2).astype(int) * 2, np.array(size))
    return (int(low[0]), int(low[1])), (int(max(high[1] - low[1], 0)), int(max(high[0] - low[0], 0)))

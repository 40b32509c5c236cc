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
from engines.appearance.interior import draw_interior, missing
from engines.appearance.layout import vertices
from engines.appearance.mesh import Mesh, mesh, visible
from engines.appearance.references import weigh
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
        return vertices(actor, self._mesh, index, motion)

    def _one(self, state: WarpState, index: int, motion: Float) -> tuple[WarpState, Picture]:
        actor, references = state.actor, state.actor.references
        frame = actor.frames[index]
        weights = weigh(actor, self.config, index, motion, state.weights)
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
        share = missing(self.config, actor, chosen, motion)
        if share > 0:
            patch = draw_interior(patch, target[: len(face.LIPS)] - np.array(corner, np.float32), unit, share)
        picture = composite(frame, corner, patch, alpha, ring, self.config.shade * unit)
        return replace(state, weights=weights), picture


def _crisp(patch: NDArray[np.uint8], amount: float, radius: float) -> NDArray[np.uint8]:
    """The patch with the fine detail given back that blending took."""
    soft = cv2.GaussianBlur(patch, (0, 0), max(radius, 0.3))
    return np.asarray(cv2.addWeighted(patch, 1 + amount, soft, -amount, 0), np.uint8)


def _box(target: Float, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Corner (x, y) and size (h, w), all even, of the part of a frame (width, height) that the mesh covers."""
    low = np.maximum(np.floor(target.min(0) / 2).astype(int) * 2, 0)
    high = np.minimum(np.ceil(target.max(0) / 2).astype(int) * 2, np.array(size))
    return (int(low[0]), int(low[1])), (int(max(high[1] - low[1], 0)), int(max(high[0] - low[0], 0)))

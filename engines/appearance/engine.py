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
    crisp: float
    """Share of the fine detail that blending takes from this actor."""


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
        state = WarpState(actor, np.zeros(len(sources), np.float32), np.stack(sources).astype(np.float32), 0.0)
        return replace(state, crisp=self._crispness(state))

    def step(self, states: Sequence[WarpState], index: Sequence[int], motion: Float) -> tuple[list[WarpState], list[Picture]]:
        """See `AppearanceEngine.step`."""
        done = [self._one(state, at, moved) for state, at, moved in zip(states, index, motion, strict=True)]
        return [state for state, _ in done], [picture for _, picture in done]

    def target(self, actor: Actor, index: int, motion: Float) -> Float:
        """The mesh's vertices (V, 3) in the actor's frame `index` when the face says `motion` (L, 2): pixels and depth."""
        return vertices(actor, self._mesh, index, motion)

    def _one(self, state: WarpState, index: int, motion: Float) -> tuple[WarpState, Picture]:
        actor = state.actor
        frame, unit = actor.frames[index], float(face.unit(actor.poses[index]))
        weights = weigh(actor, self.config, index, motion, state.weights)
        solid = self.target(actor, index, motion)
        corner, size = _box(solid[:, :2], actor.size)
        if min(size) < 2:  # the mouth is outside the frame
            return replace(state, weights=weights), frame
        patch, carried = self._warped(state, weights, solid, corner, size)
        alpha, ring = np.clip(carried, 0, 1).transpose(2, 0, 1)
        patch = _crisp(patch, state.crisp, self.config.crisp_radius * unit)
        share = missing(self.config, actor, np.flatnonzero(weights), motion)
        if share > 0:
            patch = draw_interior(patch, solid[: len(face.LIPS), :2] - np.array(corner, np.float32), unit, share)
        picture = composite(frame, corner, patch, alpha, ring, self.config.shade * unit)
        return replace(state, weights=weights), picture

    def _warped(
        self, state: WarpState, weights: Float, solid: Float, corner: tuple[int, int], size: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], Float]:
        """The references in their weights (K,), warped onto a mesh (V, 3) of a frame, in a box of it; and what the mesh carries."""
        chosen = np.flatnonzero(weights)
        return warp(
            [state.actor.references.pictures[k] for k in chosen], weights[chosen], state.sources[chosen],
            solid[:, :2] - np.array(corner, np.float32), visible(self._mesh.triangles, solid), self._mesh.values, size,
        )  # fmt: skip

    def _crispness(self, state: WarpState) -> float:
        """How much fine detail is to be given back: so much that references blended from the others are as sharp as they are."""
        actor, config = state.actor, self.config
        references, most = actor.references, len(state.weights)
        found = []
        for k in range(0, most, max(1, most // config.tried)):
            index, motion = int(references.frame[k]), references.motion[k]
            solid = self.target(actor, index, motion)
            lips = solid[: len(face.LIPS), :2]  # the mesh begins with motion's points
            corner, size = _box((lips - lips.mean(0)) * config.around + lips.mean(0), actor.size)
            itself = np.eye(most, dtype=np.float32)[k]
            weights = weigh(actor, config, index, motion, -_NEVER * itself)
            if min(size) < 8 or weights[k] > 0:  # a photo has one
                continue
            blended, own = (self._warped(state, one, solid, corner, size)[0] for one in (weights, itself))
            radius = config.crisp_radius * float(face.unit(actor.poses[index]))
            found.append([_edges(_crisp(blended, amount, radius)) / max(_edges(own), 1e-6) for amount in _AMOUNTS])
        if not found:
            return 0.0
        return float(np.interp(config.crisp, np.maximum.accumulate(np.median(found, 0)), _AMOUNTS))


_NEVER = np.float32(1e9)
_AMOUNTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def _edges(picture: NDArray[np.uint8]) -> float:
    """How sharp a picture (h, w, 3) is: variance of the Laplacian of its green."""
    return float(cv2.Laplacian(picture[:, :, 1], cv2.CV_32F).var())


def _crisp(patch: NDArray[np.uint8], amount: float, radius: float) -> NDArray[np.uint8]:
    """The patch with the fine detail given back that blending took."""
    soft = cv2.GaussianBlur(patch, (0, 0), max(radius, 0.3))
    return np.asarray(cv2.addWeighted(patch, 1 + amount, soft, -amount, 0), np.uint8)


def _box(target: Float, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Corner (x, y) and size (h, w), all even, of the part of a frame (width, height) that the mesh covers."""
    low = np.maximum(np.floor(target.min(0) / 2).astype(int) * 2, 0)
    high = np.minimum(np.ceil(target.max(0) / 2).astype(int) * 2, np.array(size))
    return (int(low[0]), int(low[1])), (int(max(high[1] - low[1], 0)), int(max(high[0] - low[0], 0)))

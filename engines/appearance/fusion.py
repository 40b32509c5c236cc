"""The renderer: the actor's own mouth pixels, warped onto the motion, chosen, shifted and corrected by nets, and composited."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.config import NETS, RendererConfig, WarpConfig, read_config
from engines.appearance.interior import draw_interior, missing
from engines.appearance.layout import GRID, Layout, cut_out, hidden, lay_out, resized, sources, tints
from engines.appearance.mesh import Mesh, mesh
from engines.appearance.references import far, shown, weigh
from engines.backends.cpu import CpuNet
from engines.backends.weights import read_weights
from engines.errors import WeightsFault
from engines.spec import Float, Picture
from native.composite.op import composite

_SMALL = 64  # side of the references whose colours are compared
_ACTORS = 8  # kept ready
_FACES = 300  # frames of an actor whose features are kept
_FAINT = 0.03  # a reference that is nowhere seen more than this is not sampled


@dataclass(frozen=True)
class Known:
    """What is computed once of an actor: a memory, not a state."""

    actor: Actor
    sources: Float
    """(K, V, 2) the mesh in each reference's crop, as shares of its side."""
    small: list[NDArray[np.uint8]]
    lips: dict[int, Float] = field(default_factory=dict)
    """Features (width, h, h) of the references that were used."""
    faces: OrderedDict[int, Float] = field(default_factory=OrderedDict)
    """Features of the frames that were shown last."""


@dataclass(frozen=True)
class FusionState:
    """What a conversation keeps between ticks."""

    known: Known
    weights: Float
    """(K,) the references' weights in the last picture, zeros before the first."""


class FusionAppearance:
    """Implements `engines.spec.AppearanceEngine`, with nets that `engines.train renderer` left in a folder.

    They are not shipped: what two cores train in an hour is not yet better than `engine.WarpAppearance`.
    """

    def __init__(self, folder: Path, config: WarpConfig | None = None) -> None:
        self.config = config or WarpConfig()
        nets = [CpuNet(read_weights(name, folder), half=True) for name in NETS]
        configs = [read_config(net.metadata, name) for net, name in zip(nets, NETS, strict=True)]
        for name, found in zip(NETS, configs, strict=True):
            if found != configs[0]:
                raise WeightsFault(
                    f"The weights {NETS[0]} and {name} are of two trainings.", "Train them again: python -m engines.train renderer."
                )
        self._lips, self._face, self._fusion, self._decoder = nets
        self.net: RendererConfig = configs[0]
        self._mesh: Mesh = mesh()
        self._known: OrderedDict[int, Known] = OrderedDict()

    def start(self, actor: Actor) -> FusionState:
        """See `AppearanceEngine.start`."""
        known = self._known.get(id(actor))
        if known is None:  # `Known` holds the actor, so that its id is not another's
            known = Known(actor, sources(actor, self._mesh), [resized(picture, _SMALL) for picture in actor.references.pictures])
            self._known[id(actor)] = known
            while len(self._known) > _ACTORS:
                self._known.popitem(last=False)
        self._known.move_to_end(id(actor))
        return FusionState(known, np.zeros(len(known.small), np.float32))

    def step(self, states: Sequence[FusionState], index: Sequence[int], motion: Float) -> tuple[list[FusionState], list[Picture]]:
        """See `AppearanceEngine.step`."""
        if not states:
            return [], []
        asked = [self._ask(state, at, moved) for state, at, moved in zip(states, index, motion, strict=True)]
        inputs = {name: np.stack([one.inputs[name] for one in asked]) for name in asked[0].inputs}
        fused = self._fusion.run(inputs)
        patches = [_blended(one, flow, weights) for one, flow, weights in zip(asked, fused["flow"], fused["weights"], strict=True)]
        seen = np.stack([_seen(one, patch, self.net.side) for one, patch in zip(asked, patches, strict=True)])
        added = self._decoder.run({"blended": seen, "features": fused["features"], "drawn": inputs["drawn"]})["added"]
        pictures = [self._finished(one, patch, more) for one, patch, more in zip(asked, patches, added, strict=True)]
        return [replace(state, weights=one.weights) for state, one in zip(states, asked, strict=True)], pictures

    def _ask(self, state: FusionState, index: int, motion: Float) -> Asked:
        """What the nets are asked for one conversation."""
        known, cells = state.known, self.net.side // 2
        actor = known.actor
        weights = weigh(actor, self.config, index, motion, state.weights)
        chosen = np.argsort(-weights, kind="stable")[: self.net.references]
        chosen = np.resize(chosen, self.net.references)  # a photo has one
        layout = lay_out(actor, self._mesh, known.sources[chosen], index, motion)
        frame = actor.frames[index]
        whole = cut_out(frame, layout.square)
        tint = tints(resized(whole, GRID), [known.small[k] for k in chosen], layout)
        prior = weights[chosen] / weights[chosen].sum()
        places = cv2.resize(layout.places.reshape(GRID, GRID, -1), (cells // 2, cells // 2), interpolation=cv2.INTER_AREA)
        drawn = cv2.resize(layout.drawn, (cells, cells), interpolation=cv2.INTER_AREA if cells < GRID else cv2.INTER_LINEAR)
        inputs = {
            "lips": np.stack([self._lips_of(known, int(k)) for k in chosen]),
            "places": places.reshape(cells // 2, cells // 2, -1, 2).transpose(2, 0, 1, 3),
            "face": self._face_of(known, index, whole),
            "drawn": drawn.transpose(2, 0, 1).astype(np.float32) / 255,
            "far": far(actor, chosen, motion),
            "prior": prior.astype(np.float32),
        }
        return Asked(actor, index, motion, frame, layout, _box(layout, actor.size), chosen, weights, tint, inputs)

    def _lips_of(self, known: Known, k: int) -> Float:
        """Features of a reference's crop: computed when it is first shown."""
        if k not in known.lips:
            known.lips[k] = self._lips.run({"picture": _planes(resized(known.actor.references.pictures[k], self.net.side))[None]})["lips"][
                0
            ]
        return known.lips[k]

    def _face_of(self, known: Known, index: int, whole: NDArray[np.uint8]) -> Float:
        """Features of a frame's square without its lower face: computed when the frame is first shown."""
        found = known.faces.get(index)
        if found is None:
            side = self.net.side
            hide = cv2.resize(hidden(known.actor, self._mesh, index).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0
            visible = 1 - hide.astype(np.float32)
            picture = np.concatenate([_planes(resized(whole, side)) * visible, visible[None]])
            found = known.faces[index] = self._face.run({"picture": picture[None]})["face"][0]
            while len(known.faces) > _FACES:
                known.faces.popitem(last=False)
        known.faces.move_to_end(index)
        return found

    def _finished(self, one: Asked, patch: Float, added: Float) -> Picture:
        """The frame with the patch, corrected, laid into it."""
        (x0, y0), (x1, y1) = one.box
        if x1 - x0 < 2 or y1 - y0 < 2:  # the mouth is outside the frame
            return one.frame
        patch = patch + 255 * _stretched(added.transpose(1, 2, 0), one.layout.square.side, one.box)
        made = np.asarray(np.clip(patch + 0.5, 0, 255), np.uint8)
        unit = float(face.unit(one.actor.poses[one.index]))
        corner = (one.layout.square.x + x0, one.layout.square.y + y0)
        share = float(missing(self.config, face.opening(one.motion), one.actor.references.opening[one.chosen].max()))
        if share > 0:
            moved = face.from_head(face.with_motion(one.actor.neutral, one.motion)[list(face.LIPS)], one.actor.poses[one.index])
            made = draw_interior(made, moved[:, :2] - np.array(corner, np.float32), unit, share)
        alpha = _stretched(one.layout.alpha, one.layout.square.side, one.box) * shown(one.actor, self.config, one.index, one.motion)
        return composite(one.frame, corner, made, alpha)


@dataclass(frozen=True)
class Asked:
    """One conversation's picture, before the nets."""

    actor: Actor
    index: int
    motion: Float
    frame: Picture
    layout: Layout
    box: tuple[tuple[int, int], tuple[int, int]]
    """Of the mask in the square: low and high corner in pixels, all even, inside the frame."""
    chosen: NDArray[np.int64]
    weights: Float
    tint: Float
    inputs: dict[str, Float]


def _box(layout: Layout, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where the mask is in the square."""
    where, scale = layout.square, layout.square.side / GRID
    corner, low, high = np.array([where.x, where.y]), np.zeros(2), np.zeros(2)
    for axis in (0, 1):
        cells = np.flatnonzero((layout.alpha > 0).any(axis))
        if len(cells):
            low[axis], high[axis] = (cells[0] - 1) * scale, (cells[-1] + 2) * scale
    low = np.maximum(np.floor(low / 2).astype(int) * 2, np.maximum(-corner, 0))
    high = np.minimum(np.ceil(high / 2).astype(int) * 2, np.minimum(np.array(size) - corner, where.side))
    high = np.maximum(high, low)
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


def _stretched(values: Float, side: int, box: tuple[tuple[int, int], tuple[int, int]]) -> Float:
    """A field (cells, cells) or (cells, cells, C) over a box of the square's pixels, interpolated: (h, w) or (h, w, C)."""
    (x0, y0), (x1, y1) = box
    scale = values.shape[0] / side
    matrix = np.array([[scale, 0, (x0 + 0.5) * scale - 0.5], [0, scale, (y0 + 0.5) * scale - 0.5]])
    size, flags = (x1 - x0, y1 - y0), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    channels = values[:, :, None] if values.ndim == 2 else values
    parts = [
        cv2.warpAffine(np.ascontiguousarray(channels[:, :, c : c + 4]), matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        for c in range(0, channels.shape[2], 4)  # at most four at once
    ]
    found = parts[0] if len(parts) == 1 else np.dstack(parts)
    return np.asarray(found, np.float32)


def _blended(one: Asked, flow: Float, weights: Float) -> Float:
    """The references, sampled where the fusion says, in their weights: (h, w, 3), 0..255, over the box.

    flow: (K, 2, h, h). weights: (K, h, h).
    """
    (x0, y0), (x1, y1) = one.box
    out = np.zeros((y1 - y0, x1 - x0, 3), np.float32)
    if not out.size:
        return out
    side, pictures = one.layout.square.side, one.actor.references.pictures
    tint = np.zeros((*weights.shape[1:], 3), np.float32)
    for k, reference in enumerate(one.chosen):
        tint += weights[k][:, :, None] * cv2.resize(one.tint[k], weights.shape[1:], interpolation=cv2.INTER_LINEAR)
        if weights[k].max() < _FAINT:
            continue
        more = cv2.resize(flow[k].transpose(1, 2, 0), (GRID, GRID), interpolation=cv2.INTER_LINEAR)
        at = _stretched((one.layout.places[:, :, k] + more) * pictures.shape[1] - 0.5, side, one.box)
        seen = cv2.remap(pictures[reference], at, np.empty(0, np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        out += seen * _stretched(weights[k], side, one.box)[:, :, None]
    return out + _stretched(tint, side, one.box)


def _seen(one: Asked, patch: Float, side: int) -> Float:
    """What the decoder sees: the blended references where the mask is, grey elsewhere; (3, side, side) in 0..1."""
    (x0, y0), (x1, y1) = one.box
    whole = np.full((one.layout.square.side, one.layout.square.side, 3), 0.5, np.float32)
    if patch.size:
        inside = _stretched(one.layout.alpha, one.layout.square.side, one.box) > 0
        whole[y0:y1, x0:x1][inside] = patch[inside] / 255
    how = cv2.INTER_AREA if side < whole.shape[0] else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(whole, (side, side), interpolation=how).transpose(2, 0, 1), np.float32)


def _planes(picture: NDArray[np.uint8]) -> Float:
    """(S, S, 3) of 255 -> (3, S, S) in 0..1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / np.float32(255)

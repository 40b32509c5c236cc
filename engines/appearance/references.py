"""Which references a picture is made from, and with what weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.config import WarpConfig
from engines.spec import Float

Index = int | NDArray[np.int64]


def weigh(actor: Actor, config: WarpConfig, index: Index, motion: Float, before: Float) -> Float:
    """The weights (..., K) of an actor's references for motions (..., L, 2) in frames `index` (...); at most `config.blended` are above 0.

    before: (..., K) the weights in the picture before, zeros if there is none.
    """
    cost = costs(actor, config, index, motion) - config.steady * before
    best = np.argsort(cost, -1, kind="stable")[..., : config.blended]
    near = np.take_along_axis(cost, best, -1)
    weights = np.zeros(cost.shape, np.float32)
    np.put_along_axis(weights, best, np.exp(-(near - near[..., :1]) / config.sharp).astype(np.float32), -1)
    return np.asarray(weights / weights.sum(-1, keepdims=True), np.float32)


def costs(actor: Actor, config: WarpConfig, index: Index, motion: Float) -> Float:
    """How unlike each reference (..., K) is to what is to be shown, in IOD."""
    references = actor.references
    lips = len(face.LIPS)
    away = references.motion[:, :lips] - motion[..., None, :lips, :]
    apart = np.sqrt(np.einsum("...i,...i", away, away))
    inner = len(face.OUTER_LIPS)
    shape = (apart[..., :inner].mean(-1) + config.inside * apart[..., inner:].mean(-1)) / (1 + config.inside)
    gap = np.abs(references.opening - face.opening(motion)[..., None])
    return np.asarray(shape + config.gap * gap + config.turn * _turned(actor, index), np.float32)


def shown(actor: Actor, config: WarpConfig, index: Index, motion: Float) -> Float:
    """How much of the made mouth frames `index` (...) show, saying motion (..., L, 2): 0..1.

    Less where the face is lost, or turned as in no reference; and where a mouth at rest is wanted that the frame has itself.
    """
    near, far = config.turned
    seen = 1.0 if actor.shown is None else actor.shown[index]
    seen = seen * np.clip((far - _turned(actor, index).min(-1)) / (far - near), 0, 1)
    if actor.resting is not None:
        same, other = config.resting
        apart = face.lips_apart(motion, face.motion_of(actor.neutral)) + actor.resting[index]
        seen = seen * np.clip((apart - same) / (other - same), 0, 1)
    return np.asarray(seen, np.float32)


def _turned(actor: Actor, index: Index) -> Float:
    """Radians between the head in frames `index` (...) and in each reference, (..., K)."""
    turns = actor.turns
    return np.linalg.norm(turns[actor.references.frame] - turns[index][..., None, :], axis=-1).astype(np.float32)

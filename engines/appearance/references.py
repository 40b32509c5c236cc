"""Which references a picture is made from, and with what weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.config import WarpConfig
from engines.spec import Float

Index = int | NDArray[np.int64]
_PARTS = 16  # in which an actor's frames are looked at, so that hours of them need little memory


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
    return np.asarray(shape + config.gap * gap + config.turn * _turned(actor, index) + _graded(actor, config, index), np.float32)


def covered(actor: Actor, config: WarpConfig) -> Float:
    """(N,) how much of the made mouth each of an actor's frames can show: 0..1; less where the face is lost, or turned as in no reference.

    Smooth in time, however quickly the head turns: the frames to come are known.
    """
    near, far = config.turned
    turned = np.concatenate([_turned(actor, part).min(-1) for part in np.array_split(np.arange(len(actor.poses)), _PARTS)])
    share = face.ease(np.asarray((far - turned) / (far - near), np.float32))
    around = 2 * config.fade + 1
    least = np.lib.stride_tricks.sliding_window_view(np.pad(share, config.fade, mode="edge"), around).min(1)
    share = np.lib.stride_tricks.sliding_window_view(np.pad(least, config.fade, mode="edge"), around).mean(1)
    return np.asarray(share if actor.shown is None else share * actor.shown, np.float32)


def moves(actor: Actor, config: WarpConfig, index: Index, motion: Float) -> Float:
    """How much of the made mouth is needed in frames `index` (...), saying motion (..., L, 2): 0..1.

    None is for a mouth at rest that the frame has itself.
    """
    if actor.resting is None:
        return np.ones(np.shape(index), np.float32)
    same, other = config.resting
    apart = face.lips_apart(motion, face.motion_of(actor.neutral)) + actor.resting[index]
    return np.asarray(np.clip((apart - same) / (other - same), 0, 1), np.float32)


def _turned(actor: Actor, index: Index) -> Float:
    """Radians between the head in frames `index` (...) and in each reference, (..., K)."""
    turns = actor.turns
    return np.linalg.norm(turns[actor.references.frame] - turns[index][..., None, :], axis=-1).astype(np.float32)


def _graded(actor: Actor, config: WarpConfig, index: Index) -> Float:
    """What it costs that frames `index` (...) are graded otherwise than each reference, (..., K): a red mouth is none for a grey face."""
    if actor.shot is None or actor.grade is None:
        return np.zeros(1, np.float32)
    own, other = actor.grade[actor.shot[index]], actor.grade[actor.shot[actor.references.frame]]
    away = np.abs(own[..., None, :] - other) * np.array(config.grade, np.float32)
    return np.asarray(np.nan_to_num(away.sum(-1)), np.float32)

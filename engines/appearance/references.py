"""Which references a picture is made from, and with what weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.config import WarpConfig
from engines.spec import Float


def weigh(actor: Actor, config: WarpConfig, index: int, motion: Float, before: Float) -> Float:
    """The weights (K,) of an actor's references for a motion (L, 2) in frame `index`; at most `config.blended` are above 0.

    before: (K,) the weights in the picture before, zeros if there is none.
    """
    cost = costs(actor, config, index, motion) - config.steady * before
    best = np.argsort(cost, kind="stable")[: config.blended]
    weights = np.zeros(len(cost), np.float32)
    weights[best] = np.exp(-(cost[best] - cost[best[0]]) / config.sharp)
    return np.asarray(weights / weights.sum(), np.float32)


def costs(actor: Actor, config: WarpConfig, index: int, motion: Float) -> Float:
    """How unlike each reference (K,) is to what is to be shown, in IOD."""
    references, poses = actor.references, actor.poses
    lips = len(face.LIPS)
    apart = np.linalg.norm(references.motion[:, :lips] - motion[:lips], axis=-1)
    inner = len(face.OUTER_LIPS)
    shape = (apart[:, :inner].mean(1) + config.inside * apart[:, inner:].mean(1)) / (1 + config.inside)
    turn = np.linalg.norm(face.angles(poses[references.frame]) - face.angles(poses[index]), axis=1)
    gap = np.abs(face.opening(references.motion) - face.opening(motion))
    return np.asarray(shape + config.gap * gap + config.turn * turn, np.float32)


def far(actor: Actor, chosen: NDArray[np.int64], motion: Float) -> Float:
    """How far the chosen references' lips are from a motion (L, 2), and how much more open: (len(chosen), 2), IOD."""
    shown = actor.references.motion[chosen]
    apart = np.linalg.norm(shown[:, : len(face.LIPS)] - motion[: len(face.LIPS)], axis=-1).mean(1)
    return np.stack([apart, face.opening(shown) - face.opening(motion)], -1).astype(np.float32)


def shown(actor: Actor, config: WarpConfig, index: int) -> float:
    """How much of the made mouth frame `index` shows, 0..1: less where the face is lost, or turned as in no reference."""
    poses = actor.poses
    apart = np.linalg.norm(face.angles(poses[actor.references.frame]) - face.angles(poses[index]), axis=1).min()
    near, far = config.turned
    seen = 1.0 if actor.shown is None else float(actor.shown[index])
    return seen * float(np.clip((far - apart) / (far - near), 0, 1))

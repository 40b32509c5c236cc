"""How far an actor's mouth opens and where it is, against what the motion net makes of the very speech in the actor's own video.

Range and habit alone compare an actor with usual people, whatever it says. Where the video has its sound, the net is driven with it: what
is seen against what the net shows is the actor's own part, and not that of the words.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.features import speech_frames
from engines.motion.engine import DiffusionMotion
from engines.motion.space import Habit, unit
from engines.spec import TICK, Float

_PIECES, _LONG = 8, 150  # pieces that are heard at once, and ticks of each: 48 s say enough
_COLD = 5  # the first ticks of each, which have no past
_APART = 5  # ticks by which sound and picture may be apart
_AGREE, _LEAST = 0.4, 15  # opening r from which the sound is taken for the actor's own; ticks of speech
_BELIEVED = 50  # ticks of speech that weigh as much as not to know how far the mouth opens
_POWER = 1.5  # of the range: its root is the net's unit, and the net opens farther by itself for who does
_MOST = 0.5  # of the logarithm of how much farther


def calibrated(actor: Actor, speech: Float, engine: DiffusionMotion) -> Actor:
    """The actor with range and habit as its own speech (N,), 16 kHz, tells them beside its frames; as it is where it tells nothing."""
    count = min(len(actor.mouths), len(speech) // TICK)
    neutral, seen = face.motion_of(actor.neutral), actor.mouths[:count]
    found = by_speech(engine, seen, speech[: count * TICK], neutral, actor.opening_range, actor.width_range)
    return actor if found is None else replace(actor, opening_range=found[0], habit=found[1])


def by_speech(
    engine: DiffusionMotion, seen: Float, speech: Float, neutral: Float, opening_range: float, width_range: float
) -> tuple[float, Habit] | None:
    """Opening range and habit, from motion that was seen (N, L, 2), NaN where it was not, and the speech to it (N * 640,).

    The rest (L, 2) and the ranges are what the frames alone say. None where lips and speech do not agree, or too little is spoken.
    """
    known = np.isfinite(seen[:, 0, 0])
    if not known.any():
        return None
    spoken = speech_frames(speech, len(seen))
    at = _pieces(spoken & known)
    shown = _shown(engine, speech, at, neutral, opening_range, width_range)[:, _COLD:].reshape(-1, face.L, 2)
    at = at[:, _COLD:].ravel()
    true, ours, agreed = seen[:0], shown[:0], _AGREE
    for apart in range(-_APART, _APART + 1):
        there = np.clip(at + apart, 0, len(seen) - 1)
        use = spoken[at] & known[there]
        if use.sum() >= _LEAST and (r := _correlation(face.opening(seen[there][use]), face.opening(shown[use]))) > agreed:
            true, ours, agreed = seen[there][use], shown[use], r
    if not len(true):
        return None
    believed = len(true) / (len(true) + _BELIEVED)
    farther = believed * np.log(face.opening(true).std() / max(float(face.opening(ours).std()), 1e-3))
    times = float(np.exp(np.clip(farther, -_MOST, _MOST)))
    reach = opening_range * times**_POWER
    away = true.mean(0) - neutral - times * (ours.mean(0) - neutral)
    return reach, Habit((neutral + away + unit(reach) * engine.usual).astype(np.float32), len(true))


def _pieces(there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(B, T) ticks of the pieces in which most is spoken and seen."""
    long = min(_LONG, len(there))
    starts = np.linspace(0, len(there) - long, -(-len(there) // long)).astype(int)
    most = sorted(starts, key=lambda start: -int(there[start : start + long].sum()))[:_PIECES]
    return np.array(most)[:, None] + np.arange(long)


def _shown(engine: DiffusionMotion, speech: Float, at: NDArray[np.int64], neutral: Float, opening: float, width: float) -> Float:
    """(B, T, L, 2) what the engine shows of the speech in ticks (B, T)."""
    states = [engine.begin(neutral, opening, width, None, seed) for seed in range(len(at))]
    ahead = engine.look_ahead
    blocks = np.concatenate([speech, np.zeros(ahead * TICK, np.float32)]).reshape(-1, TICK)
    made = []
    for step in range(at.shape[1] + ahead):
        states, motion = engine.step(states, blocks[at[:, 0] + step])
        made.append(motion)
    return np.stack(made[ahead:], 1)


def _correlation(a: Float, b: Float) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-9))

"""The first motion engine: a causal recurrent net that regresses lips and jaw from log-mel speech, a tick at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines import face, features
from engines.actor import Actor
from engines.backends.cpu import CpuNet
from engines.backends.weights import read_weights
from engines.errors import SpeechFault, WeightsFault
from engines.features import FeatureState
from engines.motion.space import unit
from engines.spec import TICK, Float

# The mouth rests in silence: a net alone never quite does.
_LOUD = -4.5  # of `features.loudness`: 20 dB under the level of speech
_WAIT = 4  # quiet ticks before the mouth goes to rest; two of them are the look-ahead, so that a /p/ is not yet silence
_CLOSE, _OPEN = -0.34, 0.5  # of the way, in a tick
WEIGHTS = "motion-gru.onnx"
VERSION = 1


@dataclass(frozen=True)
class GruState:
    """What a conversation keeps between ticks."""

    neutral: Float
    """(L, 2) the actor's mouth at rest."""
    unit: float
    """What the net's 1 is for this actor, IOD."""
    features: FeatureState
    hidden: Float
    """(H,) the net's memory."""
    quiet: int
    """Ticks since speech was last loud."""
    awake: float
    """1 while there is speech, 0 when the mouth has come to rest."""
    tick: int


class GruMotion:
    """Implements `engines.spec.MotionEngine`.

    `expressiveness` scales how far the mouth moves from rest (1: as the actor does). `net` takes the place of the
    shipped weights. The seed of a conversation is not used: a regression has no noise.
    """

    def __init__(self, expressiveness: float = 1.0, net: CpuNet | None = None) -> None:
        self.expressiveness = expressiveness
        self._net = net or CpuNet(read_weights(WEIGHTS))
        config = json.loads(self._net.metadata.get("mytalk", "{}"))
        if config.get("version") != VERSION:
            raise WeightsFault(
                f"{WEIGHTS} has version {config.get('version')}, this program wants {VERSION}.", "Install mytalk-live again."
            )
        self.look_ahead: int = config["look_ahead"]
        self.hidden: int = config["hidden"]

    def start(self, actor: Actor, seed: int = 0) -> GruState:
        """See `MotionEngine.start`."""
        neutral = face.motion_of(actor.neutral)
        return GruState(neutral, unit(actor.opening_range), features.start(), np.zeros(self.hidden, np.float32), _WAIT, 0.0, 0)

    def step(self, states: Sequence[GruState], speech: Float) -> tuple[list[GruState], Float]:
        """See `MotionEngine.step`."""
        _check(speech, len(states))
        if not states:
            return [], np.zeros((0, face.L, 2), np.float32)
        heard = [features.step(state.features, block) for state, block in zip(states, speech, strict=True)]
        out = self._net.run({
            "features": np.stack([frames.reshape(-1) for _, frames in heard]),
            "hidden": np.stack([state.hidden for state in states]),
        })  # fmt: skip
        motion = np.empty((len(states), face.L, 2), np.float32)
        after = []
        for b, state in enumerate(states):
            quiet = 0 if features.loudness(heard[b][1]).max() > _LOUD else state.quiet + 1
            awake = float(np.clip(state.awake + (_CLOSE if quiet >= _WAIT else _OPEN), 0, 1))
            if state.tick < self.look_ahead:
                motion[b] = state.neutral
            else:
                moved = out["motion"][b].reshape(face.L, 2) * (state.unit * self.expressiveness * awake)
                motion[b] = _parted(state.neutral + moved)
            after.append(GruState(state.neutral, state.unit, heard[b][0], out["hidden_after"][b], quiet, awake, state.tick + 1))
        return after, motion


def _check(speech: Float, count: int) -> None:
    """Raise SpeechFault where speech is not (count, 640) float32 and finite."""
    if not isinstance(speech, np.ndarray) or speech.dtype != np.float32 or speech.shape != (count, TICK):
        got = f"{speech.dtype} {speech.shape}" if isinstance(speech, np.ndarray) else type(speech).__name__
        raise SpeechFault(f"A tick of speech for {count} conversations is float32 ({count}, {TICK}) at 16 kHz, got {got}.")
    if not np.isfinite(speech).all():
        raise SpeechFault("The speech holds values that are not numbers.", "Mend the sound file, or where it is made.")


_PAIRS = [(81, 178), (82, 87), (13, 14), (312, 317), (311, 402), (80, 88), (310, 318), (191, 95), (415, 324)]
_UPPER, _LOWER = (np.array([int(np.flatnonzero(pair[side] == face.MOTION)[0]) for pair in _PAIRS]) for side in (0, 1))


def _parted(motion: Float) -> Float:
    """The motion (L, 2) with inner lips that do not pass through each other: they meet half-way."""
    overlap = np.maximum(motion[_UPPER, 1] - motion[_LOWER, 1], 0) / 2
    motion[_UPPER, 1] -= overlap
    motion[_LOWER, 1] += overlap
    return motion

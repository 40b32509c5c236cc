"""The motion engine: an audio encoder and a few-step diffusion of lips and jaw, a tick at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engines import face, features
from engines.actor import Actor
from engines.backends import Net
from engines.backends.cpu import CpuNet
from engines.backends.weights import read_weights
from engines.errors import SpeechFault, WeightsFault
from engines.features import FeatureState
from engines.motion.config import EARS, LIPS, read_config
from engines.motion.manner import NUMBERS, Manner
from engines.motion.sampler import noise, sample
from engines.motion.space import NEAR, Habit, identity, lean, parted, unit
from engines.spec import TICK, Float

# The mouth rests in silence: a net alone never quite does. Not at once in pauses, in which people breathe and get ready: to close it after
# 160 ms at 25 dB under the level of speech, as was done once, cost 0.013 of opening r (63 clips of people held out).
_LOUD, _SILENT = -3.0, -4.5  # of `features.loudness`: 30 and 45 dB under the level of speech
_WAIT, _HUSH = 12, 4  # ticks before the mouth goes to rest, in quiet and in silence; two are the look-ahead: a /p/ is no silence
_CLOSE, _SHUT, _OPEN = -0.2, -0.34, 0.5  # of the way, in a tick: in quiet, in silence, in speech
_LEAN, _STRAIGHTEN = 0.5, 0.1  # of the way to where the actor's mouth is in speech, and back, in a tick
_EASE = 0.25  # of the way from the pose that an interruption left, in a tick
_STEM = 3  # frames of the past that the encoder's stem reads
_WORN, _SHED = 0.15, 0.06  # of the way to a manner, and back, in a tick
_LISTENS = 50  # quiet ticks after which a manner is laid aside: between sentences it stays
_NOTHING = 2e-4  # of a manner: as good as none


@dataclass(frozen=True)
class Hearing:
    """What a conversation remembers of speech: all of it that an interruption forgets."""

    features: FeatureState
    waiting: Float
    """(N,) the last frames heard, for the encoder's stem, and what waits for its look-ahead."""
    memory: Any
    """(2 * blocks, heads, tokens, width) the encoder's keys and values: a ring (`Net.remember`), where the backend keeps it."""
    hidden: Float
    """(steps, H) what the denoiser remembers, at each of its steps."""
    ticks: int
    """Ticks heard."""


@dataclass(frozen=True)
class MotionState:
    """What a conversation keeps between ticks. Arrays are float32 and of fixed shape."""

    neutral: Float
    """(L, 2) the actor's mouth at rest."""
    unit: float
    """What the net's 1 is for this actor, IOD."""
    width: float
    """Standard deviation of the width in the actor's speech, IOD."""
    who: Float
    """(I,) the actor's identity (`engines.motion.space.identity`)."""
    lean: Float
    """(L, 2) by how much the mouth of the actor is elsewhere in speech, IOD (`engines.motion.space.lean`)."""
    seed: int
    hearing: Hearing
    tick: int
    """Ticks since the conversation began: with the seed it says which noise comes next."""
    quiet: int
    """Ticks since speech was last loud."""
    awake: float
    """1 while there is speech, 0 when the mouth has come to rest."""
    leaning: float
    """How much of `lean` is taken up: 0 at rest, 1 in speech."""
    shown: Float
    """(L, 2) the last motion given."""
    held: float
    """How much of `shown` is still kept: 1 at an interruption, then less."""
    manner: Float
    """(NUMBERS,) the manner that is asked for (`engines.motion.manner.Manner.numbers`)."""
    worn: Float
    """(NUMBERS,) the manner that is shown: it follows."""


class DiffusionMotion:
    """Implements `engines.spec.MotionEngine`.

    `expressiveness` scales how far the mouth moves from rest (1: as the actor does, 0: not at all). `ears` and `lips` take
    the place of the shipped weights, `steps` and `temperature` of what they are served with.
    """

    def __init__(
        self,
        expressiveness: float = 1.0,
        *,
        ears: Net | None = None,
        lips: Net | None = None,
        steps: int | None = None,
        temperature: float | None = None,
    ) -> None:
        self.expressiveness = expressiveness
        self._ears = ears or CpuNet(read_weights(EARS))
        self._lips = lips or CpuNet(read_weights(LIPS))
        config = read_config(self._ears.metadata, EARS)
        if read_config(self._lips.metadata, LIPS) != config:
            raise WeightsFault(f"{EARS} and {LIPS} come from two trainings.", "Install mytalk-live again.")
        self.look_ahead = config.look_ahead
        self.steps = steps or config.steps
        self.temperature = np.float32(config.temperature if temperature is None else temperature)
        self._config = config

    def start(self, actor: Actor, seed: int = 0) -> MotionState:
        """See `MotionEngine.start`."""
        neutral = face.motion_of(actor.neutral)
        return self.begin(neutral, actor.opening_range, actor.width_range, actor.habit, seed)

    def begin(self, neutral: Float, opening_range: float, width_range: float, habit: Habit | None, seed: int = 0) -> MotionState:
        """The state of a new conversation with an actor of whom only these are known: neutral is motion (L, 2)."""
        one = unit(opening_range)
        return MotionState(
            neutral, one, width_range, identity(neutral, opening_range, width_range), lean(habit, neutral, one, self.usual), seed,
            self._nothing_heard(features.start()), tick=0, quiet=_LISTENS, awake=0.0, leaning=0.0, shown=neutral, held=0.0,
            manner=_PLAIN, worn=_PLAIN,
        )  # fmt: skip

    @property
    def usual(self) -> Float:
        """(L, 2) where mouths of people usually are in speech, from rest, in the actor's unit."""
        return np.array(self._config.usual, np.float32).reshape(face.L, 2)

    def speak_as(self, state: MotionState, manner: Manner | None, strength: float = 1.0) -> MotionState:
        """See `MotionEngine.speak_as`."""
        told = _PLAIN if manner is None else manner.numbers(strength, state.unit, state.width, self.usual)
        return replace(state, manner=told)

    def interrupt(self, state: MotionState) -> MotionState:
        """See `MotionEngine.interrupt`."""
        level = replace(state.hearing.features, tail=features.start().tail)
        return replace(state, hearing=self._nothing_heard(level), quiet=_WAIT, awake=0.0, held=1.0)

    def _nothing_heard(self, level: FeatureState) -> Hearing:
        waiting, memory = np.zeros(self._config.waiting, np.float32), np.zeros(self._config.memory, np.float32)
        waiting[: _STEM * features.BANDS] = features.FLOOR
        return Hearing(level, waiting, memory, np.zeros((self.steps, self._config.hidden), np.float32), 0)

    def step(self, states: Sequence[MotionState], speech: Float) -> tuple[list[MotionState], Float]:
        """See `MotionEngine.step`."""
        _check(speech, len(states))
        if not states:
            return [], np.zeros((0, face.L, 2), np.float32)
        known = [state.hearing for state in states]
        levels, mel = features.step_all([hearing.features for hearing in known], speech)
        ears, memory = self._hear(known, mel)
        heard, waiting = ears["heard"], ears["waiting_after"]
        hidden, moved = self._denoise(states, heard)
        level = features.loudness(mel).max(1)
        young = [hearing.ticks < self.look_ahead for hearing in known]
        quiet = [0 if level[b] > _LOUD else state.quiet + 1 for b, state in enumerate(states)]
        awake = [min(max(state.awake + _waking(quiet[b], float(level[b])), 0.0), 1.0) for b, state in enumerate(states)]
        lent = [state.leaning + (_LEAN if awake[b] and not young[b] else -_STRAIGHTEN) for b, state in enumerate(states)]
        leaning = [min(max(part, 0.0), 1.0) for part in lent]
        held = [max(0.0, state.held - _EASE) for state in states]
        gain = _column([0.0 if young[b] else state.unit * self.expressiveness * awake[b] for b, state in enumerate(states)])
        share = _column([0.0 if young[b] else min(self.expressiveness, 1.0) * leaning[b] for b in range(len(states))])
        kept = _column(held)
        worn = _wear(states, [b for b, soon in enumerate(young) if not soon and quiet[b] < _LISTENS])
        gain, place = gain * np.exp(worn[:, None, [-2, -3]]), min(self.expressiveness, 1.0) * worn[:, : 2 * face.L].reshape(-1, face.L, 2)
        place += (1 - worn[:, -1:, None]) * share * np.stack([state.lean for state in states])
        spoken = np.stack([state.neutral for state in states]) + place + moved * gain
        motion = parted(kept * np.stack([state.shown for state in states]) + (1 - kept) * spoken, NEAR * gain[..., 1])
        after = []
        for b, (state, hearing) in enumerate(zip(states, known, strict=True)):
            remembered = hearing.hidden if young[b] else hidden[b]
            new = Hearing(levels[b], waiting[b], memory[b], remembered, hearing.ticks + 1)
            after.append(replace(
                state, hearing=new, tick=state.tick + 1, quiet=quiet[b], awake=awake[b], leaning=leaning[b], shown=motion[b].copy(),
                held=held[b], worn=worn[b],
            ))  # fmt: skip
        return after, motion

    def _hear(self, known: list[Hearing], mel: Float) -> tuple[dict[str, Float], list[Any]]:
        """What the encoder makes of a tick's features, and the rings after it."""
        ticks = [hearing.ticks for hearing in known]
        inputs = {"mel": mel, "age": np.array(ticks, np.float32), "waiting": np.stack([hearing.waiting for hearing in known])}
        return self._ears.remember(inputs, [hearing.memory for hearing in known], self._config.ring, ticks)

    def _denoise(self, states: Sequence[MotionState], heard: Float) -> tuple[Float, Float]:
        """Hidden after (B, steps, H) and differences from rest (B, L, 2), in the actors' units."""
        who = np.stack([state.who for state in states])
        drawn = np.stack([noise(state.seed, state.tick, self._config.components) for state in states]) * self.temperature
        moved = np.zeros((len(states), face.L, 2), np.float32)

        def denoise(noisy: Float, level: float, hidden: Float) -> tuple[Float, Float]:
            out = self._lips.run({
                "heard": heard, "noisy": noisy, "level": np.full(len(states), level, np.float32), "who": who, "hidden": hidden,
            })  # fmt: skip
            moved[:] = out["motion"].reshape(moved.shape)
            return out["clean"], out["hidden_after"]

        _, after = sample(denoise, drawn, [np.stack([state.hearing.hidden[step] for state in states]) for step in range(self.steps)])
        return np.stack(after, 1), moved


_PLAIN = np.zeros(NUMBERS, np.float32)


def _waking(quiet: int, level: float) -> float:
    """By how much the mouth wakes, or goes to rest, in a tick of this loudness, after so many quiet ones."""
    if level < _SILENT and quiet >= _HUSH:
        return _SHUT
    return _CLOSE if quiet >= _WAIT else _OPEN


def _wear(states: Sequence[MotionState], speaking: list[int]) -> Float:
    """(B, NUMBERS) the manners that are shown at this tick; who does not speak lays them aside."""
    before, asked = np.stack([state.worn for state in states]), np.stack([state.manner for state in states])
    speaks = np.isin(np.arange(len(states)), speaking)[:, None]
    after = before + np.where(speaks, np.float32(_WORN), np.float32(_SHED)) * (asked * speaks - before)
    after[np.abs(after).max(1) < _NOTHING] = 0
    return np.asarray(after, np.float32)


def _column(numbers: list[float]) -> Float:
    """(B, 1, 1): a number for each conversation's motion."""
    return np.array(numbers, np.float32)[:, None, None]


def _check(speech: Float, count: int) -> None:
    """Raise SpeechFault where speech is not (count, 640) float32 and finite."""
    if not isinstance(speech, np.ndarray) or speech.dtype != np.float32 or speech.shape != (count, TICK):
        got = f"{speech.dtype} {speech.shape}" if isinstance(speech, np.ndarray) else type(speech).__name__
        raise SpeechFault(f"A tick of speech for {count} conversations is float32 ({count}, {TICK}) at 16 kHz, got {got}.")
    if not np.isfinite(speech).all():
        raise SpeechFault("The speech holds values that are not numbers.", "Mend the sound file, or where it is made.")

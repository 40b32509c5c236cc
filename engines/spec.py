"""Constants and the two interfaces of the engines: speech to motion, motion to pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.actor import Actor
from engines.frames import Picture as Picture
from engines.motion.manner import Manner

FPS = 25
RATE = 16_000  # Hz of the speech that the engines hear, mono
TICK = RATE // FPS  # samples in a tick: 640, 40 ms

Float = NDArray[np.float32]
State = TypeVar("State")


class MotionEngine(Protocol[State]):
    """Speech to motion. Read-only after loading; all that changes is in the states."""

    look_ahead: int
    """Ticks of future speech that the motion of a tick hears: `step` n gives the motion of tick n - look_ahead."""

    def start(self, actor: Actor, seed: int = 0) -> State:
        """The state of a new conversation with this actor."""
        ...

    def step(self, states: Sequence[State], speech: Float) -> tuple[list[State], Float]:
        """One tick for each of B conversations.

        speech is (B, 640) float32 in -1..1 at 16 kHz. Returns the new states (the given ones are untouched) and the
        motion (B, L, 2): lip and jaw points in the head's frame, in IOD (`engines.face`). In the first `look_ahead`
        ticks of a conversation the motion is the actor's neutral mouth. Raises SpeechFault for another shape, dtype,
        or values that are not finite.
        """
        ...

    def interrupt(self, state: State) -> State:
        """The state after speech was broken off.

        What was heard and not yet shown is forgotten; from the pose that was shown last the mouth goes to rest, or to what
        is heard next.
        """
        ...

    def speak_as(self, state: State, manner: Manner | None, strength: float = 1.0) -> State:
        """The state of a conversation that goes on in another manner: None is the actor's own, a strength of 0 too, 1 is all of it.

        It is taken up within some ticks, in speech; after two seconds without it is laid aside.
        """
        ...


class AppearanceEngine(Protocol[State]):
    """Motion to pictures. Read-only after loading; all that changes is in the states."""

    def start(self, actor: Actor) -> State:
        """The state of a new conversation with this actor."""
        ...

    def step(
        self, states: Sequence[State], index: Sequence[int], motion: Float, *, plain: bool = False
    ) -> tuple[list[State], list[Picture]]:
        """The actor's frame `index[b]` with the lower face saying `motion[b]` (L, 2): new states and B pictures (I420).

        `plain` pictures are made with less care where that is quicker: for who has no time for more.
        """
        ...


MOTION = {"diffusion": "engines.motion.engine:DiffusionMotion"}
APPEARANCE = {"refined": "engines.appearance.refine:RefinedAppearance", "warp": "engines.appearance.engine:WarpAppearance"}
BACKENDS = {"cuda": "engines.backends.cuda:on_card", "tensorrt": "engines.backends.tensorrt:on_card"}
"""Beside the CPU: what gives the options of the motion engine and those of the appearance engine."""


def load(registry: dict[str, str], name: str, **options: Any) -> Any:
    """Make what a registry calls `name`. Raises KeyError for another name."""
    module, _, attribute = registry[name].partition(":")
    made = __import__(module, fromlist=[attribute])  # not importlib's: whoever imports for this module finds these, too (`mytalk.own`)
    return getattr(made, attribute)(**options)

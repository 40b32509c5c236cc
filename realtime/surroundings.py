"""What a conversation has around it: where its ticks go, who follows its speech, who counts; and what it is called by outside."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from engines.frames import Picture
from engines.motion.manner import Manner
from realtime.clock import Clock
from realtime.intake import Stream
from realtime.listener import Listener
from realtime.timeline import Float


class State(Enum):
    """What a conversation does, in words."""

    CONNECTING = "connecting"
    IDLE = "idle"
    LISTENING = "listening"
    SPEAKING = "speaking"
    ENDED = "ended"


class Outlet(Protocol):
    """Where ticks go: a peer, a recording."""

    def say(self, tick: int, sound: Float) -> None:
        """The sound of a tick leaves now, ahead of its picture."""
        ...

    def show(self, tick: int, sound: Float, picture: Picture | None) -> None:
        """The picture of a tick leaves now; without one the last stays. `sound` is what was said of the same tick."""
        ...

    def hush(self) -> None:
        """Sound that has not left yet does not leave any more."""
        ...

    def ended(self) -> None:
        """The conversation is over."""
        ...


class Follower(Protocol):
    """Who hears how a conversation's speech goes on. Called on the event loop."""

    def speaking(self, stream: Stream) -> None:
        """A stream begins to be heard."""
        ...

    def played(self, stream: Stream) -> None:
        """Some more of a stream was heard: see `Stream.played`."""
        ...

    def idle(self, stream: Stream) -> None:
        """The last of a stream was heard, and nothing waits."""
        ...

    def interrupted(self, stream: Stream, heard: int, dropped: int) -> None:
        """A stream was broken off after `heard` of its samples; `dropped` will not be heard."""
        ...

    def ended(self) -> None:
        """The conversation is over."""
        ...


class Gauges(Protocol):
    """Who counts over all conversations (`realtime.server.metrics`)."""

    def left(self, added: float | None) -> None:
        """A tick left, its speech `added` seconds after it had come; None for silence."""
        ...

    def held(self, ticks: int) -> None:
        """So many ticks went by with the last picture."""
        ...


class AnyEngine(Protocol):
    """What a conversation needs of `realtime.engine.Engine`."""

    restarts: int

    def open(self, actor: str, listener: Listener, owner: str = "") -> int:
        """See `Engine.open`."""
        ...

    def hear(self, session: int, sequence: int, speech: Float) -> None:
        """See `Engine.hear`."""
        ...

    def interrupt(self, session: int) -> None:
        """See `Engine.interrupt`."""
        ...

    def speak_as(self, session: int, manner: Manner | None, strength: float) -> None:
        """See `Engine.speak_as`."""
        ...

    def shut(self, session: int) -> None:
        """See `Engine.shut`."""
        ...


def _no_manner(name: str) -> Manner | None:
    return None


@dataclass(frozen=True)
class Surroundings:
    """What all conversations of a process share."""

    engine: AnyEngine
    clock: Clock
    gauges: Gauges
    idle_s: float = 1800.0
    """One in which nothing was said for so long ends."""
    total_s: float = 14400.0
    """None is longer."""
    begun: tuple[str, float] = ("own", 1.0)
    """The manner of speaking in which they begin, and its strength."""
    manner: Callable[[str], Manner | None] = _no_manner
    """The manner of a name; None: the actor's own. Blocks. Raises MannerFault."""


@dataclass(frozen=True)
class Interrupted:
    """What an interruption broke off, in seconds of made speech."""

    heard: float
    dropped: float


@dataclass
class Figures:
    """Of the last minute."""

    delays: deque[float] = field(default_factory=lambda: deque(maxlen=1500))
    times: deque[float] = field(default_factory=lambda: deque(maxlen=1500))

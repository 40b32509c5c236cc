"""When what leaves. Pure: knows neither clock nor wire; told of ticks and of pictures that came back.

Each tick of the clock is one tick of media time, in which one tick of sound leaves, on the beat: receivers buffer sound for
its jitter, and whatever is late here they would wait for ever after. Its picture leaves as soon as it is there, with the same
media time. If the engine owes more than `SLACK` pictures, the pacer holds: silence leaves, and all that follows leaves later by
one tick (`lag`). The lag shrinks again where nothing is lost by it: silence is not fed to the engine, and of a live microphone
the oldest speech is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

SLACK = 2
"""Pictures that the engine may owe to sound that has left, when the next leaves."""
AHEAD = 4
"""Ticks beyond the look-ahead that may wait in the engine."""


class Kind(Enum):
    """What a tick of speech is made of."""

    SILENCE = "silence"
    STREAM = "stream"
    LIVE = "live"


@dataclass(frozen=True)
class Step:
    """What to do at a tick: first feed, then let sound leave."""

    feed: bool
    """Whether the next tick of speech goes to the engine; if not it stays where it is."""
    leaves: bool
    """Whether the oldest tick of speech that was fed and has not left yet is heard now."""
    holds: bool
    """Whether a tick of silence leaves in its place."""


class Pacer:
    """The counts of one conversation, and the decisions that follow from them. All counts are ticks."""

    def __init__(self, look_ahead: int) -> None:
        self.look_ahead = look_ahead
        self.ticks = 0
        """Ticks of the clock so far."""
        self.left = 0
        """Media time: ticks that left, spoken or held."""
        self.held = 0
        self.skipped = 0
        self.started = False
        """Whether anything has left yet."""
        self._fed = 0
        self._back = 0  # what came back from the engine, pictures or not yet pictures
        self._spoken = 0  # what of it left as sound

    @property
    def lag(self) -> int:
        """Ticks by which speech leaves later than it would with an engine that is never late."""
        return self._fed - self._spoken - self.look_ahead

    @property
    def in_flight(self) -> int:
        """Ticks that the engine has not answered yet."""
        return self._fed - self._back

    @property
    def owed(self) -> int:
        """Pictures that are not back yet, of sound that has left."""
        return self._spoken - max(0, self._back - self.look_ahead)

    def jump(self, ticks: int) -> None:
        """The clock went on without us (the machine slept): media time goes with it, nothing is made up for."""
        self.ticks += ticks
        self.left += ticks if self.started else 0

    def begin(self) -> None:
        """The first picture is here: it leaves, and its sound with it."""
        self.started = True
        self.left = self.ticks - self.look_ahead
        self._spoken += 1

    def tick(self, kind: Kind, engine: bool = True) -> Step:
        """The clock's next tick, with speech of this kind next in the queue; `engine` says whether there is one now."""
        self.ticks += 1
        late = self.started and self.lag > 0  # fed now, this tick would leave later than it could
        feed = engine and self.in_flight < AHEAD and (kind is Kind.STREAM or not late)
        if feed:
            self._fed += 1
        elif self.started:
            self.skipped += 1
        if not self.started:
            return Step(feed, leaves=False, holds=False)
        leaves = self.lag > 0 and self.owed <= SLACK
        self.left += 1
        self._spoken += leaves
        self.held += not leaves
        return Step(feed, leaves, not leaves)

    def answered(self) -> None:
        """The engine answered one tick (in the first `look_ahead` ticks without a picture)."""
        self._back += 1

    def reset(self) -> None:
        """The engine lost the conversation and begins afresh: what it had is gone, media time goes on."""
        self._fed = self._back = self._spoken = 0

"""When what leaves. Pure: knows neither clock nor wire; told of ticks and of pictures that came back.

A *window* opens at each tick: one tick of media time, in which one tick of sound and its picture leave. What the engine
returns leaves at once while a window is open. If nothing came for more than `SLACK` windows, the pacer holds: silence
and the last picture leave, and all that follows leaves later by one tick (`lag`). The lag shrinks again where nothing
is lost by it: silence is not fed to the engine, and of a live microphone the oldest speech is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

SLACK = 2
"""Windows that may be open without a hold: jitter that the listener's own buffer absorbs."""
AHEAD = 4
"""Ticks beyond the look-ahead that may wait in the engine."""


class Kind(Enum):
    """What a tick of speech is made of."""

    SILENCE = "silence"
    STREAM = "stream"
    LIVE = "live"


@dataclass(frozen=True)
class Step:
    """What to do at a tick."""

    holds: int
    """How many ticks of silence and last picture leave now."""
    feed: bool
    """Whether the next tick of speech goes to the engine; if not it stays where it is."""


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
        self._fed = 0
        self._back = 0  # what came back from the engine, pictures or not yet pictures
        self._shown = 0
        self._holding = True  # nothing has left yet, or holds were the last that left

    @property
    def open(self) -> int:
        """Windows that are open now."""
        return self.ticks - self.look_ahead - self.left

    @property
    def lag(self) -> int:
        """Ticks by which speech leaves later than it would with an engine that is never late."""
        return (self._fed - self._shown) - (self.ticks - self.left)

    @property
    def in_flight(self) -> int:
        """Ticks that the engine has not answered yet."""
        return self._fed - self._back

    def jump(self, ticks: int) -> None:
        """The clock went on without us (the machine slept): media time goes with it, nothing is made up for."""
        self.ticks += ticks
        self.left += ticks if self.started else 0

    def tick(self, kind: Kind, engine: bool = True) -> Step:
        """The clock's next tick, with speech of this kind next in the queue; `engine` says whether there is one now."""
        self.ticks += 1
        holds = max(0, self.open - 1 - SLACK) if self.started else 0
        if holds:
            self.left += holds
            self.held += holds
            self._holding = True
        late = self.started and self.lag >= 0  # fed now, this tick would leave later than it could
        feed = engine and self.in_flight < AHEAD and (kind is Kind.STREAM or not late)
        if feed:
            self._fed += 1
        elif self.started:
            self.skipped += 1
        return Step(holds, feed)

    @property
    def started(self) -> bool:
        """Whether anything has left yet."""
        return self._shown > 0 or self.left > 0

    def answered(self) -> None:
        """The engine answered one tick (in the first `look_ahead` ticks without a picture)."""
        self._back += 1

    def release(self, waiting: int) -> list[int]:
        """With `waiting` pictures here, the media times of those that leave now, the oldest first."""
        if waiting and self._holding:  # begin, or go on after holds: media time goes on where the clock is
            self.left = max(self.left, self.ticks - self.look_ahead - 1)
            self._holding = False
        count = max(0, min(waiting, self.open))
        times = list(range(self.left, self.left + count))
        self.left += count
        self._shown += count
        return times

    def reset(self) -> None:
        """The engine lost the conversation and begins afresh: what it had is gone, media time goes on."""
        self._fed = self._back = self._shown = 0

"""What a machine carries, and what is left out when it cannot. Pure: told of costs and of what waits, it decides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from realtime.timeline import TICK_S

SHARE = 0.8
"""Of a tick that may be used: the rest is for what nobody measured."""
MOST = 64
"""Sessions up to which what was measured of fewer is believed to go on; more are carried only where so many were measured."""
PER_PIXEL = 0.2
"""Part of the engine's work for a conversation that grows with the pixels of its actor: against 512 pixels a side a tick was measured to
take 1.8 times as long with 1280, and 5 to 7 times with 2560."""
LEAST_WIRE = 0.5
"""Part of sending a picture that is the same however small it is."""
LATE = 2
"""Ticks of one conversation that wait in the engine when it is late; one is what is due."""
FEWEST = 4
"""Under the worst overload one of so many pictures is made."""
_PATIENCE, _WINDOW = 5, 25  # so many late steps of so many are overload
_CALM, _LONGEST = 50, 1500  # steps without one before the full rate is tried again; the longest wait for that


@dataclass(frozen=True)
class Costs:
    """What was measured at the start, in seconds."""

    engine: Mapping[int, float]
    """A tick of so many conversations at once, on one core."""
    wire: float
    """Sending a tick to one peer: encoding, packets, encryption."""
    cores: int
    pixels: int = 0
    """Of a picture of the actor that the engine was measured with, as it was enrolled; 0: of any."""
    sent: int = 0
    """Of a picture that the wire was measured with; 0: of any."""
    loop: float = 0.0
    """Of one event loop, for a tick of one peer: its packets, whatever they hold."""
    loops: int = 1
    """Event loops that peers are spread over, each with a core."""

    def of(self, sessions: float) -> float:
        """The engine's seconds for a tick of so many sessions: between what was measured, and beyond it, in a line."""
        known = sorted(self.engine)
        if sessions in self.engine or len(known) == 1:
            return self.engine.get(int(sessions), self.engine[known[0]] * sessions / known[0])
        high = next((n for n in known if n > sessions), known[-1])
        low = known[known.index(high) - 1]
        slope = max(0.0, (self.engine[high] - self.engine[low]) / (high - low))
        return self.engine[low] + slope * (sessions - low)

    def fits(self, sessions: float, peers: float, ends: int = 0) -> bool:
        """Whether so many sessions, sent to so many peers, leave every tick in time: see `weight` and `wires`. `ends` is how many peers
        there are, however large their pictures."""
        engine, wires = self.of(sessions), peers * self.wire
        looped = ends * self.loop <= SHARE * TICK_S * self.loops
        return looped and engine <= SHARE * TICK_S and engine + wires <= SHARE * TICK_S * self.cores

    def weight(self, pixels: int) -> float:
        """As how many sessions one counts whose actor's pictures have so many pixels: what is done for each pixel is a part of a tick."""
        return 1 + PER_PIXEL * max(0.0, _ratio(pixels, self.pixels) - 1)

    def wires(self, pixels: int, peers: int) -> float:
        """As how many peers so many count that are sent pictures of so many pixels."""
        return peers * max(LEAST_WIRE, _ratio(pixels, self.sent))

    def carried(self) -> int:
        """How many sessions with a peer each fit, at least one: a machine that is too slow shows fewer pictures."""
        return max((n for n in range(1, max(MOST, *self.engine) + 1) if self.fits(n, n, n)), default=1)


def loops_for(costs: Costs) -> int:
    """So many event loops carry what the engine and the cores carry; no more than half of the cores."""
    if not costs.loop:
        return 1
    alone = max(1, int(SHARE * TICK_S / costs.loop))
    return max(1, min(costs.cores // 2, -(-replace(costs, loop=0.0).carried() // alone)))


def _ratio(pixels: int, measured: int) -> float:
    return pixels / measured if pixels and measured else 1.0


def careful(alone: float) -> int:
    """For how many conversations pictures are not plain (`AppearanceEngine.step`), if a tick of one takes so many seconds then.

    With more of them pictures are plain, before any is refused or late.
    """
    return int(SHARE * TICK_S / max(alone, 1e-6))


def quicker(known: Mapping[int, float], conversations: int, seconds: float) -> dict[int, float]:
    """What was measured before, and that a tick of so many conversations took so long: where that is less, the machine was busy then. More
    conversations never cost more than so many times as much as fewer do."""
    found = dict(known)
    if seconds < found.get(conversations, 0.0) or conversations not in found:
        found[conversations] = seconds
    least = {count: min(cost * count / few for few, cost in found.items() if few <= count) for count in found}
    return {count: min(cost, least[count]) for count, cost in found.items()}


class Overload:
    """Decides, step by step, whose pictures are left out: nobody's, or all but every second, third, or fourth of each conversation."""

    def __init__(self) -> None:
        self.every = 1
        """Of so many pictures one is made now."""
        self._late: list[bool] = []
        self._calm = 0
        self._wait = _CALM

    def step(self, waiting: int) -> None:
        """A step begins in which some conversation has `waiting` ticks in the engine."""
        late = waiting >= LATE
        self._late = [*self._late[1 - _WINDOW :], late]
        self._calm = 0 if late else self._calm + 1
        patience = _PATIENCE if self.every == 1 else _WINDOW - _PATIENCE  # what waits is given time to be worked off
        if self.every < FEWEST and sum(self._late) >= patience:
            self.every, self._late = self.every + 1, []
        elif self.every > 1 and self._calm >= self._wait:
            self.every, self._late, self._calm = self.every - 1, [], 0
            self._wait = min(_LONGEST, self._wait * 2)  # where that was too early, the next try is later
        elif self.every == 1 and self._calm >= 4 * self._wait:
            self._wait = _CALM

    def unseen(self, due: Sequence[tuple[int, int]]) -> Collection[int]:
        """Rows whose picture is left out; `due` holds each row's conversation and tick. Neighbours take turns."""
        return {row for row, (session, tick) in enumerate(due) if (session + tick) % self.every}

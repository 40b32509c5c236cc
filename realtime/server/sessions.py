"""The sessions of a server, and how many of them it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from realtime.engine import CrashFault
from realtime.load import Costs
from realtime.server.faults import Busy, Full, UnknownSession
from realtime.server.peer import CONNECT_S
from realtime.server.placed import Make, Placed, Viewer
from realtime.surroundings import Surroundings

MEASURING_S = 15.0
"""Who asks for a second session before the machine was measured waits at most so long."""
LOOK_S = 0.1
"""Seconds between two looks whether the last session has ended."""
KEPT = 100
"""Of so many sessions that ended the engine it is known that they did."""


class Sessions:
    """All sessions by name. Those that end, by themselves or not, are gone from here.

    `make` makes one. `costs` gives what this machine was measured to need, or None while that is not known: then there is one at a time.
    `pixels` says of how many a picture of an actor is made: as it was enrolled, and as it is sent.
    """

    def __init__(
        self,
        around: Surroundings,
        make: Make,
        most: int | None,
        costs: Callable[[], Costs | None],
        pixels: Callable[[str], tuple[int, int]] = lambda actor: (0, 0),
    ) -> None:
        self._around, self._make, self._most, self._costs, self._pixels = around, make, most, costs, pixels
        self._sizes: dict[str, tuple[int, int]] = {}  # of each session
        self._all: dict[str, Placed] = {}
        self._refused: dict[str, CrashFault] = {}
        self.draining = False
        """Whether nobody begins a session any more: the machine is to end when the last one has."""
        self.refused = 0
        """Sessions and viewers that there was no room for."""

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Placed]:
        return iter(list(self._all.values()))

    @property
    def capacity(self) -> int:
        """Sessions with a peer each that are taken."""
        if self._most is not None:
            return self._most
        costs = self._costs()
        return costs.carried() if costs else 1

    @property
    def free(self) -> int:
        """How many more sessions are taken, as far as that can be said before it is known of which actors."""
        return 0 if self.draining else max(0, self.capacity - len(self._all))

    @property
    def peers(self) -> int:
        """All peers: who began the sessions, and the viewers."""
        return sum(1 + session.watching for session in self)

    def get(self, name: str) -> Placed | None:
        """A session by its name, if there is one."""
        return self._all.get(name)

    def find(self, name: str) -> Placed:
        """A session by its name. Raises UnknownSession, and CrashFault for one that was ended for that."""
        if name in self._refused:
            raise self._refused[name]
        if (session := self._all.get(name)) is None:
            raise UnknownSession("There is no such session, or it has ended.", "Begin one with POST /v1/sessions.")
        return session

    async def open(self, actor: str, offer: str, owner: str = "", most: int | None = None, make: Make | None = None) -> tuple[Placed, str]:
        """A new session and the answer to its peer's offer. `most` is how many its owner may have at a time, of which others' room is left
        in any case; `make` makes it, where it is not made as others are. Raises Full, Busy and OfferFault."""
        self._must_take()
        if self._all and self._most is None:
            await self._measured()
        await self._others_connected()
        mine = sum(session.owner == owner for session in self)
        if most is not None and mine >= min(most, max(1, (self.capacity + 1) // 2)):
            raise Busy(f"You have {mine} sessions already, as many as you may at a time.", "End one.")
        pixels = await asyncio.to_thread(self._pixels, actor)
        self._must_take()
        if len(self._all) >= self.capacity or (len(self._all) and not self._room(pixels, beside=True)):
            self.refused += 1
            raise Full(f"This machine carries {self.capacity} sessions at a time, and they are taken.", "Try again in a moment.")
        session = (make or self._make)(actor, owner, self._gone)
        self._all[session.name] = session
        self._sizes[session.name] = pixels
        try:
            return session, await session.answer(offer)
        except BaseException:
            await session.close()
            raise

    def _must_take(self) -> None:
        if self.draining:
            raise Full("This machine takes no further sessions: it is to end.", "Try again: another takes you, or it does in a moment.")

    async def drained(self) -> None:
        """Take nobody from now on, and return when the last session has ended, or when others are taken again."""
        self.draining = True
        while self.draining and self._all:
            await self._around.clock.sleep_until(self._around.clock.now() + LOOK_S)

    async def _others_connected(self) -> None:
        """Wait, for a while, until sessions whose peer has not connected take less than a third of the room. Raises Full."""
        clock, most = self._around.clock, -(-self.capacity // 3)
        end = clock.now() + CONNECT_S
        while sum(not session.connected for session in self) >= most:
            if clock.now() >= end:
                self.refused += 1
                raise Full("Others are still connecting.", "Try again in a moment.")
            await clock.sleep_until(clock.now() + 0.02)

    async def _measured(self) -> None:
        """Wait, for a while, until it is known what this machine carries: it is, moments after the server's start."""
        clock = self._around.clock
        end = clock.now() + MEASURING_S
        while self._costs() is None and clock.now() < end:
            await clock.sleep_until(clock.now() + 0.05)

    async def watch(self, session: Placed, offer: str) -> tuple[Viewer, str]:
        """A new viewer of a session and the answer to its offer. Raises Full, Busy and OfferFault."""
        if not self._room(self._sizes.get(session.name, (0, 0)), beside=False):
            self.refused += 1
            raise Full("This machine carries no further viewer now.", "Try again in a moment.")
        return await session.watch(offer)

    async def close(self) -> None:
        """End them all."""
        await asyncio.gather(*(session.close() for session in self), return_exceptions=True)

    def _room(self, pixels: tuple[int, int], *, beside: bool) -> bool:
        """Whether one more peer, and with `beside` one more session, of an actor of so many pixels leaves the others smooth. A number
        that was set is trusted."""
        costs = self._costs()
        if costs is None or self._most is not None:
            return True
        sizes = [(self._sizes.get(session.name, (0, 0)), 1 + session.watching) for session in self]
        sessions = sum(costs.weight(own) for (own, _), _ in sizes) + beside * costs.weight(pixels[0])
        peers = sum(costs.wires(sent, count) for (_, sent), count in sizes) + costs.wires(pixels[1], 1)
        return costs.fits(sessions, peers, self.peers + 1)

    def _gone(self, session: Placed) -> None:
        self._all.pop(session.name, None)
        self._sizes.pop(session.name, None)
        if isinstance(session.refusal, CrashFault):
            self._refused[session.name] = session.refusal
            while len(self._refused) > KEPT:
                self._refused.pop(next(iter(self._refused)))

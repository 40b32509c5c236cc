"""Which machines there are, and how they do: a table that is filled by asking each of them, again and again.

What is kept of a machine is what it last said, and what was placed there since. So several fronts need not know of each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, TCPConnector

from realtime.clock import Clock
from realtime.front.placement import Machine
from realtime.server.guard import FRONT, FRONT_S
from realtime.server.signed import Signer

log = logging.getLogger(__name__)

ASK_S, MOST_ASKED = 0.5, 400
"""Seconds between two questions to a machine; but no more than so many are asked in a second."""
WAIT_S = 5.0
"""For so long an answer is waited for."""
SILENT_S = 1.0
"""A machine that has not answered for so long is asked last to take a session."""
GONE_S = 10.0
"""One that has not answered for so long is gone, and all that it had."""
LOOK_S = 2.0
"""Seconds between two looks which machines there are."""
AGAIN_S = 0.25
"""All are asked out of turn no sooner than so long after the last time."""
CONNECT_S = 2.0
HOMES = 2
"""So many machines keep in mind that a join token was used: one may be lost."""


class Source(Protocol):
    """Says where machines are."""

    async def addresses(self) -> Collection[str]:
        """Of all that are known: http://HOST:PORT. Raises OSError where it cannot be said now."""
        ...


@dataclass(eq=False)
class Row:
    """What is known of a machine."""

    url: str
    name: str = ""
    said: dict[str, Any] = field(default_factory=dict)
    """Its last answer."""
    waiting: float | None = None
    """Since when an answer is waited for, if one is."""
    refused: bool = False
    """Whether nobody listens there any more."""
    placed: list[tuple[float, str, str]] = field(default_factory=list)
    """Sessions that may not be in its last answer yet: when, of which actor, of which guest."""
    full_at: float = float("-inf")
    """When it last said that it takes nobody."""
    misses: int = 0

    def hear(self, said: dict[str, Any], asked: float) -> None:
        """It answered what it was asked then."""
        self.name, self.said, self.waiting, self.refused, self.misses = str(said["name"]), said, None, False, 0
        self.placed = [one for one in self.placed if one[0] > asked]
        if self.full_at <= asked:
            self.full_at = float("-inf")

    def silent(self, now: float) -> bool:
        """Whether it does not answer."""
        return self.refused or self._waited(now) > SILENT_S

    def gone(self, now: float) -> bool:
        """Whether it does not come back."""
        return self.refused or self._waited(now) > GONE_S

    def _waited(self, now: float) -> float:
        return 0.0 if self.waiting is None else now - self.waiting

    def machine(self, now: float) -> Machine:
        """As placement sees it."""
        free = 0 if self.full_at > float("-inf") else int(self.said["free"]) - len(self.placed)
        actors = set(self.said["actors"]).union(actor for _, actor, _ in self.placed)
        return Machine(self.name, int(self.said["capacity"]), free, actors, bool(self.said["draining"]), self.silent(now))

    def of_guest(self, guest: str) -> int:
        """Sessions that a guest has there."""
        return int(self.said["guests"].get(guest, 0)) + sum(one == guest for _, _, one in self.placed)


class Registry:
    """The table. `start` it, and `close` it."""

    def __init__(self, source: Source, token: str, clock: Clock) -> None:
        self._source, self._token, self._clock = source, token, clock
        self._signer = Signer(token)
        self._proof = ("", float("-inf"))
        self._rows: dict[str, Row] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._again: tuple[float, asyncio.Task[None]] | None = None
        self._told: set[str] = set()
        self._client: ClientSession | None = None

    @property
    def client(self) -> ClientSession:
        """What machines are asked with."""
        assert self._client is not None, "it was not started"
        return self._client

    def proof(self) -> dict[str, str]:
        """The header by which machines know a front."""
        now = self._clock.now()
        if now - self._proof[1] > FRONT_S / 4:
            self._proof = self._signer.sign("front", {}, FRONT_S), now
        return {FRONT: self._proof[0]}

    def as_owner(self) -> dict[str, str]:
        """The headers with which a front asks for itself."""
        return self.proof() | ({"Authorization": f"Bearer {self._token}"} if self._token else {})

    def rows(self) -> list[Row]:
        """All machines that have answered and are not gone."""
        now = self._clock.now()
        return [row for row in self._rows.values() if row.name and not row.gone(now)]

    def live(self) -> list[Row]:
        """All that answer."""
        now = self._clock.now()
        return [row for row in self.rows() if not row.silent(now)]

    async def find(self, name: str) -> Row | None:
        """The machine of this name; None where it is gone. Who has just been started is looked for."""
        if (row := self._named(name)) is None:
            await self.ask_all()
            row = self._named(name)
        return row

    def _named(self, name: str) -> Row | None:
        return next((row for row in self.rows() if row.name == name), None)

    def homes(self, join: str) -> Sequence[Row]:
        """The machines that keep in mind whether a join token was used: the same at all fronts that know the same machines."""

        def far(row: Row) -> bytes:
            return hashlib.sha256(f"{row.url} {join}".encode()).digest()

        return sorted(self.rows(), key=far)

    async def start(self) -> None:
        """Look for machines, and ask each, from now on. Returns when each that is known was asked once."""
        timeout = ClientTimeout(total=None, sock_connect=CONNECT_S)
        self._client = ClientSession(connector=TCPConnector(limit=0, keepalive_timeout=60), timeout=timeout, auto_decompress=False)
        await self.ask_all()
        self._looking = asyncio.create_task(self._look_again(), name="machines")

    async def close(self) -> None:
        """Ask no more."""
        tasks = [task for task in (self._looking, self._again and self._again[1], *self._asking.values()) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client:
            await self._client.close()

    async def ask_all(self) -> None:
        """Look which machines there are, and ask all, out of turn; whoever wants that at the same time waits for the same answers."""
        if self._again is None or (self._again[1].done() and self._clock.now() - self._again[0] > AGAIN_S):
            self._again = self._clock.now(), asyncio.create_task(self._ask_all(), name="ask all machines")
        with contextlib.suppress(OSError):
            await asyncio.shield(self._again[1])

    async def _ask_all(self) -> None:
        await self._look()
        asks = [asyncio.create_task(self._ask(row)) for row in self._rows.values()]
        if asks:
            await asyncio.wait(asks, timeout=SILENT_S)

    async def _look_again(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + LOOK_S)
            try:
                await self._look()
            except OSError as error:
                self._tell_once(f"machines cannot be looked for: {error}; those that are known stay")

    async def _look(self) -> None:
        listed = set(await self._source.addresses())
        now = self._clock.now()
        for url in sorted(listed - self._rows.keys()):
            self._rows[url] = Row(url)
        for url, row in list(self._rows.items()):
            if url not in listed and row.gone(now):  # one that answers yet has calls, though nobody new is to find it
                del self._rows[url]
        for url in self._rows.keys() - self._asking.keys():
            self._asking[url] = asyncio.create_task(self._ask_again(self._rows[url]), name=f"ask {url}")
        for url in self._asking.keys() - self._rows.keys():
            self._asking.pop(url).cancel()

    async def _ask_again(self, row: Row) -> None:
        while True:
            pause = max(ASK_S, len(self._rows) / MOST_ASKED)
            await self._clock.sleep_until(self._clock.now() + pause)
            await self._ask(row)

    async def _ask(self, row: Row) -> None:
        asked = self._clock.now()
        row.waiting = asked if row.waiting is None else row.waiting
        try:
            async with asyncio.timeout(WAIT_S), self.client.get(f"{row.url}/v1/machine", headers=self.as_owner()) as answer:
                if answer.status != 200:
                    self._tell_once(f"{row.url} answers {answer.status}: has it the same MYTALK_TOKEN?")
                    return
                said = await answer.json()
                if (other := self._named(str(said["name"]))) not in (None, row):
                    self._tell_once(f"{row.url} has the name of {other.url if other else ''}: give each machine its own --name, or none")
                    return
                if row.misses:
                    log.warning("%s is there", row.url)
                row.hear(said, asked)
        except (ClientError, TimeoutError, ValueError, KeyError) as error:
            row.misses += 1
            row.refused = isinstance(error, ClientConnectorError)
            if row.misses == 2 and row.name:
                log.warning("%s does not answer: %s", row.url, error or "no answer in time")

    def _tell_once(self, words: str) -> None:
        if words not in self._told:
            self._told.add(words)
            log.warning("%s", words)

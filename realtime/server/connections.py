"""How many connections are open at a time: of one address, and in all. Each is a descriptor, also where nothing is ever asked on it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from realtime.loopback import is_loopback

OF_ONE = 512
"""Connections of one address. Proxies, behind which are many guests, are on loopback, or bound them themselves."""
AT_ONCE = 8192


class Connections:
    """Makes the protocol of each new connection with `protocol`, and turns away those that are too many. `many` says of an address whether
    many are behind it who are known to be there."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol], many: Callable[[str], bool] = lambda who: False) -> None:
        self._protocol = protocol
        self._many = many
        self._open: Counter[str] = Counter()

    def __call__(self) -> asyncio.Protocol:
        """A protocol for a connection."""
        return _Counted(self._protocol(), self._open, self._many)


class _Counted(asyncio.Protocol):
    """Counts a connection until it is lost, and leaves all else to its protocol."""

    def __init__(self, protocol: asyncio.Protocol, count: Counter[str], many: Callable[[str], bool]) -> None:
        self._protocol, self._count, self._many, self._who = protocol, count, many, ""
        # nothing stands between it and what comes
        self.data_received = protocol.data_received  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Turn it away, or let the protocol have it."""
        name: Any = transport.get_extra_info("peername")
        who = str(name[0]) if name else ""
        if self._count.total() >= AT_ONCE or (self._count[who] >= OF_ONE and not (is_loopback(who) or self._many(who))):
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        self._who = who
        self._count[who] += 1
        self._protocol.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        if not self._who:
            return
        self._count[self._who] -= 1
        if not self._count[self._who]:
            del self._count[self._who]
        self._protocol.connection_lost(error)

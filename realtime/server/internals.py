"""What is private to aiortc, aioice and asyncio, and changed here: tests hold that it is still there, and does what it is changed for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiortc import RTCPeerConnection

from realtime.clock import Clock
from realtime.server.rates import Rate

MOST_FOUND = 64
"""Addresses of one peer that checks are sent to: those that it named, and those that its own checks came from."""
CHECKS, PACKETS, REPORTS = 100, 1000, 50
"""What is taken of a peer a second, and twice that at once: checks, packets of its media, reports and requests to send again. A sender of
sharp pictures makes some hundred packets. Others are dropped, as a network does."""
MOST_READ = 8 << 10
"""Bytes of a websocket that are read at a time."""


def bound(connection: RTCPeerConnection, clock: Clock) -> None:
    """Let a connection take no more from its peer than peers send; what it would start checks of its own for, are few addresses: a peer
    knows our password, and could have its checks come from a whole net. Called once the offer is set."""
    for transport in {transceiver.receiver.transport.transport for transceiver in connection.getTransceivers()}:
        ice: Any = transport._connection  # aioice's; its sockets ask these attributes of it for each packet
        ice.check_incoming = _Bounded(ice)
        ice.request_received = _Limited(clock, CHECKS, ice.request_received)
        ice.data_received = _Media(clock, ice.data_received)


def read_little(transport: asyncio.BaseTransport | None) -> None:
    """Let a connection be read in small pieces: asyncio reads 256 KiB at a time, in which are tens of thousands of small messages, all
    of which are parsed before others have their turn."""
    if transport is not None and hasattr(transport, "max_size"):
        transport.max_size = MOST_READ  # asyncio's own name; where it has changed, floods cost more, and nothing breaks


class _Bounded:
    def __init__(self, ice: Any) -> None:
        self._ice, self._check = ice, ice.check_incoming

    def __call__(self, message: Any, address: tuple[str, int], protocol: Any) -> None:
        found = self._ice._remote_candidates
        if len(found) < MOST_FOUND or any((one._network_host, one.port) == address for one in found):
            self._check(message, address, protocol)


class _Limited:
    def __init__(self, clock: Clock, a_second: float, take: Callable[..., None]) -> None:
        self._rate, self._take = Rate(clock, a_second, 2 * a_second), take

    def __call__(self, *packet: Any) -> None:
        if self._rate.allows():
            self._take(*packet)


class _Media:
    def __init__(self, clock: Clock, take: Callable[[bytes, int], None]) -> None:
        self._packets, self._reports = _Limited(clock, PACKETS, take), _Limited(clock, REPORTS, take)

    def __call__(self, data: bytes, component: int) -> None:
        reports = len(data) > 1 and data[0] >> 6 == 2 and 192 <= data[1] <= 223  # RFC 5761
        (self._reports if reports else self._packets)(data, component)

"""What is private to aiortc, aioice and asyncio, and changed here: tests hold that it is still there, and does what it is changed for."""

from __future__ import annotations

import asyncio
from typing import Any

from aiortc import RTCPeerConnection

MOST_FOUND = 64
"""Addresses of one peer that checks are sent to: those that it named, and those that its own checks came from."""
MOST_READ = 8 << 10
"""Bytes of a websocket that are read at a time."""


def bound_checks(connection: RTCPeerConnection) -> None:
    """Let a connection answer no more than so many addresses with checks of its own: a peer knows our password, and could have
    its checks come from a whole net. Called once its offer is set; addresses beyond are answered, and not checked."""
    for transport in {transceiver.receiver.transport.transport for transceiver in connection.getTransceivers()}:
        ice = transport._connection  # aioice's; it asks its own attribute when a check comes in
        transport._connection.check_incoming = _Bounded(ice)


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

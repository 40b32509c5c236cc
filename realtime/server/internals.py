"""What is private to aiortc and aioice, and changed here: tests hold that it is still there, and does what it is changed for."""

from __future__ import annotations

from typing import Any

from aiortc import RTCPeerConnection

MOST_FOUND = 64
"""Addresses of one peer that checks are sent to: those that it named, and those that its own checks came from."""


def bound_checks(connection: RTCPeerConnection) -> None:
    """Let a connection answer no more than so many addresses with checks of its own: a peer knows our password, and could have
    its checks come from a whole net. Called once its offer is set; addresses beyond are answered, and not checked."""
    for transport in {transceiver.receiver.transport.transport for transceiver in connection.getTransceivers()}:
        ice = transport._connection  # aioice's; it asks its own attribute when a check comes in
        transport._connection.check_incoming = _Bounded(ice)


class _Bounded:
    def __init__(self, ice: Any) -> None:
        self._ice, self._check = ice, ice.check_incoming

    def __call__(self, message: Any, address: tuple[str, int], protocol: Any) -> None:
        found = self._ice._remote_candidates
        if len(found) < MOST_FOUND or any((one._network_host, one.port) == address for one in found):
            self._check(message, address, protocol)

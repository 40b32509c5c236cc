"""A new connection to a peer."""

from __future__ import annotations

from collections.abc import Sequence

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

from realtime.webrtc.internals import own_certificate

SDP = "application/sdp"
"""The content type of offers and answers."""


def connection_of(ice: Sequence[RTCIceServer]) -> RTCPeerConnection:
    """A new connection, with a certificate of ours."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=list(ice)))
    own_certificate(connection)
    return connection

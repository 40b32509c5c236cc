"""What is private to aiortc and aioice and changed by us: it is there, and does what it is changed for. Fails where an upgrade moves it."""

from __future__ import annotations

from typing import Any

from aioice.candidate import Candidate
from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.codecs import h264, vpx
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcdtlstransport import RTCCertificate

from realtime.server.keys import SESSIONS
from realtime.webrtc import encoders, internals
from tests.peers import Peer, Voice, bursts, serving


def test_what_is_changed_is_there() -> None:
    for owner, names in (
        (RTCRtpSender, ("_send_keyframe", "_retransmit", "_handle_rtcp_packet")),
        (RTCCertificate, ("_create_ssl_context",)),
        (h264.H264Encoder, ("_encode_frame", "_split_bitstream")),
        (h264, ("DEFAULT_BITRATE", "MIN_BITRATE", "MAX_BITRATE")),
        (vpx, ("DEFAULT_BITRATE", "MIN_BITRATE", "MAX_BITRATE")),
        (vpx.Vp8Encoder.target_bitrate, ("fset",)),
    ):
        for name in names:
            assert hasattr(owner, name), f"{owner} has no {name} any more"
    candidate = Candidate.from_sdp("1 1 udp 1 192.0.2.1 5000 typ host")
    assert candidate._network_host == candidate.host


async def test_a_peer_that_talks_goes_through_all_of_it() -> None:
    async with serving() as client, Peer(client, voice=Voice(bursts(2)), codec="video/H264") as peer:
        await peer.until(lambda: len(peer.pictures) > 3)
        await peer.until_state("listening")
        (session,) = client.server.app[SESSIONS]  # type: ignore[attr-defined]
        connection: Any = session.peer._connection
        assert isinstance(connection, RTCPeerConnection)
        (certificate,) = connection._RTCPeerConnection__certificates
        assert type(certificate) is internals._Certificate
        pictures, sound = sorted(connection.getTransceivers(), key=lambda one: one.kind != "video")
        ice = pictures.receiver.transport.transport._connection
        assert ice._nominated  # what was bounded is what is in use
        assert isinstance(ice.check_incoming, internals._Bounded)
        assert ice._protocols[0].receiver is ice  # its sockets ask it, not another
        assert ice._remote_candidates
        taken = [ice.request_received, ice.data_received._packets, ice.data_received._reports]
        assert all(one._rate._due > 0 for one in taken[:2])  # packets came through
        for sender in (pictures.sender, sound.sender):
            assert sender._stream_id == session.peer.name
            assert session.peer.name in connection.localDescription.sdp
            assert sender._RTCRtpSender__ntp_timestamp == sender.__dict__["reported"] > 0  # aiortc set it, ours was told
        assert type(pictures.sender._RTCRtpSender__encoder) is encoders.FastH264
        buffer = sound.receiver._RTCRtpReceiver__jitter_buffer
        assert isinstance(buffer, JitterBuffer)
        assert (buffer.capacity, buffer._prefetch) == (4, 1)

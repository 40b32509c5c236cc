"""What is private to aiortc and aioice, and changed here: nobody else touches it. tests/test_internals.py holds that it is there.

We rely on this of them (aiortc 1.16, aioice 0.10), each for what stands behind it:

- `RTCPeerConnection.__certificates`, `RTCCertificate._create_ssl_context`: `own_certificate`.
- `RTCIceTransport._connection`: aioice's connection, whose sockets ask its `check_incoming`, `request_received` and `data_received`
  for each packet, and whose `_remote_candidates` are what checks are sent to; of each, `_network_host`: `bound`.
- `RTCRtpSender._stream_id`: `group`.
- `RTCRtpSender.__ntp_timestamp`, set for each packet and told in reports; `_send_keyframe` and `_retransmit`: `tell`.
- `RTCRtpReceiver.__jitter_buffer`: `hear_at_once`.
- `rtcrtpsender.get_encoder`, and what `h264` and `vpx` begin with: `use`; `H264Encoder._encode_frame`, `_split_bitstream`: `H264`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from aiortc import RTCCertificate, RTCPeerConnection, RTCRtpCodecParameters, RTCRtpReceiver, RTCRtpSender, rtcrtpsender
from aiortc.codecs import h264, vpx
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcdtlstransport import SRTPProtectionProfile
from av import VideoFrame
from OpenSSL import SSL

from realtime.clock import Clock
from realtime.rate import Rate

MOST_FOUND = 64
"""Addresses of one peer that checks are sent to: those that it named, and those that its own checks came from."""
CHECKS, PACKETS, REPORTS = 100, 1000, 50
"""What is taken of a peer a second, and twice that at once: checks, packets of its media, reports and requests to send again. A sender of
sharp pictures makes some hundred packets. Others are dropped, as a network does."""
KEY_FRAMES, AGAIN = 3, 300
"""Key frames, and packets sent once more, that a peer may ask for a second; twice as many at once."""
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA"


class _Certificate(RTCCertificate):
    """aiortc's, that also talks to peers whose own certificate is RSA, as GStreamer's are."""

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(_CIPHERS)
        return context


def own_certificate(connection: RTCPeerConnection) -> None:
    """Give a new connection a certificate of ours."""
    setattr(connection, "_RTCPeerConnection__certificates", [_Certificate.generateCertificate()])  # noqa: B010  private


def group(sender: RTCRtpSender, name: str) -> None:
    """Name the stream that a sender's track belongs to: receivers keep sound and pictures of one in step."""
    sender._stream_id = name


def hear_at_once(receiver: RTCRtpReceiver) -> None:
    """Take a microphone's packets as they come: aiortc holds four back (80 ms), and our own buffer follows anyway. One that does not
    come is given up after three others, not after 15."""
    name = "_RTCRtpReceiver__jitter_buffer"
    if isinstance(getattr(receiver, name, None), JitterBuffer):  # where aiortc has changed, we are slower, not broken
        setattr(receiver, name, JitterBuffer(capacity=4, prefetch=1))


# what a peer sends


def bound(connection: RTCPeerConnection, clock: Clock) -> None:
    """Let a connection take no more from its peer than peers send; what it would start checks of its own for, are few addresses: a peer
    knows our password, and could have its checks come from a whole net. Called once the offer is set."""
    for transport in {transceiver.receiver.transport.transport for transceiver in connection.getTransceivers()}:
        ice: Any = transport._connection
        ice.check_incoming = _Bounded(ice)
        ice.request_received = _Limited(clock, CHECKS, ice.request_received)
        ice.data_received = _Media(clock, ice.data_received)


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


# what it is sent


class _Sender(RTCRtpSender):
    """aiortc's, whose reports tell the media time of its last packet.

    aiortc reports when that packet happened to leave. Where the engine or the event loop was late, sound and picture then seem to be
    shifted against each other, and the receiver shifts them back, wrongly.
    """

    media_ntp: Callable[[], int]
    key_frames: Rate
    again: Rate

    def _send_keyframe(self) -> None:
        """A peer asks for a key frame, which takes much more to be made and sent than others."""
        if self.key_frames.allows():
            super()._send_keyframe()

    async def _retransmit(self, sequence_number: int) -> None:
        """A peer asks for a packet once more."""
        if self.again.allows():
            await super()._retransmit(sequence_number)

    @property
    def _RTCRtpSender__ntp_timestamp(self) -> int:  # noqa: N802  aiortc's name
        return cast(int, self.__dict__.get("reported", 0))

    @_RTCRtpSender__ntp_timestamp.setter
    def _RTCRtpSender__ntp_timestamp(self, left: int) -> None:  # noqa: N802  aiortc's name
        self.__dict__["reported"] = self.media_ntp() if left else 0


def tell(sender: RTCRtpSender, media_ntp: Callable[[], int], clock: Clock) -> None:
    """Let a sender's reports carry `media_ntp`: the media time, as NTP time, of the frame that was taken last. What its peer asks to be
    sent once more, or anew, is bounded."""
    sender.__class__ = _Sender
    ours = cast(_Sender, sender)
    ours.media_ntp, ours.key_frames, ours.again = media_ntp, Rate(clock, KEY_FRAMES, 2 * KEY_FRAMES), Rate(clock, AGAIN, 2 * AGAIN)


# how pictures are encoded


class H264(H264Encoder):
    """aiortc's, with an encoder of one's own: `encoded` is to be defined."""

    def encoded(self, frame: VideoFrame, key: bool) -> bytes:
        """A picture as H.264, with start codes (Annex B); `key` says that it is to need no other."""
        raise NotImplementedError

    def _encode_frame(self, frame: VideoFrame, force_keyframe: bool) -> Iterator[bytes]:
        yield from self._split_bitstream(self.encoded(frame, force_keyframe))


def use(encoder_of: Callable[[RTCRtpCodecParameters], Encoder], start: int, least: int, most: int) -> None:
    """Let aiortc use encoders of one's own, which begin with a bitrate, and move it between two bounds; bit/s."""
    vpx.DEFAULT_BITRATE = h264.DEFAULT_BITRATE = start
    vpx.MIN_BITRATE = h264.MIN_BITRATE = least
    vpx.MAX_BITRATE = h264.MAX_BITRATE = most
    rtcrtpsender.get_encoder = encoder_of  # type: ignore[assignment, attr-defined]

"""aiortc's senders, taught two things: what time it is in media, and that pictures are not to wait.

Both reach into what is private to aiortc: tests hold what peers receive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from aiortc import RTCRtpSender
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, pack_header_extensions, unpack_header_extensions

PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
_AT_ONCE = bytes(3)  # least and most delay, 12 bits each: a picture is shown when it is there, its sound comes from a buffer


class _Extensions(HeaderExtensionsMap):
    """aiortc's, with the playout delay where the peer knows it."""

    def __init__(self) -> None:
        super().__init__()
        self._playout = 0

    def configure(self, parameters: RTCRtpParameters) -> None:
        """See aiortc's."""
        super().configure(parameters)
        for extension in parameters.headerExtensions:
            if extension.uri == PLAYOUT_DELAY:
                self._playout = extension.id

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        """See aiortc's."""
        profile, packed = super().set(values)
        if not self._playout:
            return profile, packed
        return pack_header_extensions([*unpack_header_extensions(profile, packed), (self._playout, _AT_ONCE)])


class _Sender(RTCRtpSender):
    """aiortc's, whose reports tell the media time of its last packet.

    aiortc reports when that packet happened to leave. Where the engine or the event loop was late, sound and picture then seem to be
    shifted against each other, and the receiver shifts them back, wrongly.
    """

    media_ntp: Callable[[], int]

    @property
    def _RTCRtpSender__ntp_timestamp(self) -> int:  # noqa: N802  aiortc's name
        return cast(int, self.__dict__.get("reported", 0))

    @_RTCRtpSender__ntp_timestamp.setter
    def _RTCRtpSender__ntp_timestamp(self, left: int) -> None:  # noqa: N802  aiortc's name
        self.__dict__["reported"] = self.media_ntp() if left else 0


def tell(sender: RTCRtpSender, media_ntp: Callable[[], int]) -> None:
    """Let a sender's reports carry `media_ntp`, the media time of the frame that was taken last as NTP time, and its pictures that
    they are not to wait. Before the connection is answered."""
    sender.__class__ = _Sender
    cast(_Sender, sender).media_ntp = media_ntp
    if sender.kind == "video":
        setattr(sender, "_RTCRtpSender__rtp_header_extensions_map", _Extensions())  # noqa: B010  private


def offer_playout_delay() -> None:
    """Let aiortc agree with peers on the header extension that tells how long pictures may wait."""
    known = HEADER_EXTENSIONS["video"]
    if all(extension.uri != PLAYOUT_DELAY for extension in known):
        known.append(RTCRtpHeaderExtensionParameters(id=6, uri=PLAYOUT_DELAY))

"""aiortc's senders, taught what time it is in media. Reaches into what is private to aiortc: tests hold what peers are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from aiortc import RTCRtpSender


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
    """Let a sender's reports carry `media_ntp`: the media time, as NTP time, of the frame that was taken last."""
    sender.__class__ = _Sender
    cast(_Sender, sender).media_ntp = media_ntp

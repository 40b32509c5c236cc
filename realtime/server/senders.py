"""aiortc's senders, taught what time it is in media. Reaches into what is private to aiortc: tests hold what peers are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from aiortc import RTCRtpSender

from realtime.clock import Clock
from realtime.server.rates import Rate

KEY_FRAMES, AGAIN = 3, 300
"""Key frames, and packets sent once more, that a peer may ask for a second; twice as many at once."""


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

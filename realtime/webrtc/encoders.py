"""How pictures are encoded: aiortc's encoders with settings of our own, and in which order they are offered."""

from __future__ import annotations

from fractions import Fraction

import av
from aiortc import RTCPeerConnection, RTCRtpCodecParameters, RTCRtpSender
from aiortc.codecs import get_encoder
from aiortc.codecs.base import Encoder
from aiortc.codecs.vpx import Vp8Encoder
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from engines.spec import FPS
from realtime.webrtc import internals

START_BITRATE = 2_000_000
LEAST_BITRATE, MOST_BITRATE = 500_000, 3_000_000
RISE = 1.4
"""VP8's bitrate rises by this factor or more, or not yet: each new one costs a key frame."""
_H264 = {
    "preset": "superfast",  # 2 ms of 512x512; aiortc's own "medium" takes 18
    "tune": "zerolatency",
    "level": "31",
    "maxrate": str(MOST_BITRATE),  # with a cap and a buffer x264 follows a new bitrate without a new key frame
    "bufsize": str(MOST_BITRATE // 5),
    "g": str(FPS * 60),  # key frames come when a peer asks for one
}


class FastH264(internals.H264):
    """Baseline, no delay, a bitrate that moves without key frames."""

    def encoded(self, frame: av.VideoFrame, key: bool) -> bytes:
        """See `internals.H264.encoded`."""
        if self.codec is None or (self.codec.width, self.codec.height) != (frame.width, frame.height):
            self.codec = _x264(frame.width, frame.height, self.target_bitrate)
        self.codec.bit_rate = self.target_bitrate
        frame.pict_type = PictureType.I if key else PictureType.NONE
        return b"".join(bytes(packet) for packet in self.codec.encode(frame))


class SteadyVp8(Vp8Encoder):
    """aiortc's, which begins anew at each new bitrate, with a key frame: what a peer takes less of is obeyed, a little more is not."""

    @property
    def target_bitrate(self) -> int:
        """Bits per second."""
        return int(super().target_bitrate)

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        if bitrate < self.target_bitrate or bitrate >= min(RISE * self.target_bitrate, MOST_BITRATE):
            Vp8Encoder.target_bitrate.fset(self, bitrate)  # type: ignore[attr-defined]


def _x264(width: int, height: int, bitrate: int) -> VideoCodecContext:
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate, codec.time_base = Fraction(FPS), Fraction(1, FPS)
    codec.bit_rate, codec.options, codec.profile = bitrate, _H264, "Baseline"
    codec.thread_count = 1
    return codec


def _encoder(codec: RTCRtpCodecParameters) -> Encoder:
    ours = {"video/h264": FastH264, "video/vp8": SteadyVp8}.get(codec.mimeType.lower())
    return ours() if ours else get_encoder(codec)


def set_encoders() -> None:
    """Let aiortc use these encoders, and begin sharp: its own bitrates (0.5, at most 1.5 Mbit/s) blur a face of 512 px."""
    internals.use(_encoder, START_BITRATE, LEAST_BITRATE, MOST_BITRATE)


def prefer(connection: RTCPeerConnection) -> None:
    """VP8 first: every browser decodes it, and aiortc's receivers conceal its losses better."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    ours = sorted(codecs, key=lambda codec: codec.mimeType.lower() not in ("video/vp8", "video/rtx"))
    for transceiver in connection.getTransceivers():
        if transceiver.kind == "video":
            transceiver.setCodecPreferences(ours)

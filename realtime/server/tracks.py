"""aiortc's side: the two tracks that we send, how a peer's microphone is read, and what is set in aiortc.

A track is pulled by its sender and has no clock of its own: what leaves, and when in media time, the session decides.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc.codecs import vpx
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from engines.frames import Picture
from realtime.clock import Clock
from realtime.timeline import PACKET, PICTURE_BASE, SOUND_BASE, TICK_S, WIRE_RATE, Float, picture_pts, sound_pts

START_BITRATE = 2_000_000
MOST_BITRATE = 3_000_000
FrameT = TypeVar("FrameT", AudioFrame, VideoFrame)


class _Track(MediaStreamTrack, Generic[FrameT]):
    """Frames that wait for their moment; at most `most`, the oldest leave first."""

    def __init__(self, clock: Clock, most: int) -> None:
        super().__init__()
        self._clock = clock
        self._frames: deque[tuple[float, FrameT]] = deque(maxlen=most)
        self._here = asyncio.Event()

    def _put(self, when: float, frame: FrameT) -> None:
        self._frames.append((when, frame))
        self._here.set()

    async def recv(self) -> FrameT:
        """The next frame, as soon as its moment has come."""
        while not self._frames:
            if self.readyState != "live":
                raise MediaStreamError
            self._here.clear()
            await self._here.wait()
        when, frame = self._frames.popleft()
        if when > self._clock.now():
            await self._clock.sleep_until(when)
        return frame

    def stop(self) -> None:
        """End the track; who waits for a frame is told."""
        super().stop()
        self._here.set()


class PictureTrack(_Track[VideoFrame]):
    """Pictures, at most three waiting."""

    kind = "video"

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, most=3)

    def put(self, tick: int, picture: Picture) -> None:
        """A tick's picture leaves now."""
        frame = VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = picture_pts(tick), PICTURE_BASE
        self._put(0.0, frame)


class SoundTrack(_Track[AudioFrame]):
    """Sound in packets of 20 ms: the first half of a tick leaves with its picture, the second half a tick later."""

    kind = "audio"

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, most=12)

    def put(self, tick: int, sound: Float) -> None:
        """A tick's sound leaves from now on."""
        samples = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
        now = self._clock.now()
        for half in (0, 1):
            frame = AudioFrame.from_ndarray(samples[None, half * PACKET : (half + 1) * PACKET], format="s16", layout="mono")
            frame.sample_rate = WIRE_RATE
            frame.pts, frame.time_base = sound_pts(tick) + half * PACKET, SOUND_BASE
            self._put(now + half * TICK_S / 2, frame)


def mono(frame: AudioFrame) -> Float:
    """A decoded frame of a peer's microphone as (n,) float32 in -1..1."""
    samples = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
    return (samples.astype(np.float32) / 32768).mean(1, dtype=np.float32)


def set_bitrates() -> None:
    """Let VP8 begin sharp: aiortc's own values (0.5, at most 1.5 Mbit/s) blur a face of 512 px."""
    vpx.DEFAULT_BITRATE = START_BITRATE
    vpx.MAX_BITRATE = MOST_BITRATE
    vpx.MIN_BITRATE = 500_000


def hear_at_once(receiver: RTCRtpReceiver) -> None:
    """Take a microphone's packets as they come: aiortc holds four back (80 ms), and our own buffer follows anyway."""
    name = "_RTCRtpReceiver__jitter_buffer"
    if isinstance(getattr(receiver, name, None), JitterBuffer):  # private: where aiortc has changed, we are slower, not broken
        setattr(receiver, name, JitterBuffer(capacity=16, prefetch=1))


def prefer_vp8(connection: RTCPeerConnection) -> None:
    """VP8 where the peer can: aiortc's H.264 costs four times as much."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    ours = sorted(codecs, key=lambda codec: codec.mimeType.lower() not in ("video/vp8", "video/rtx"))
    for transceiver in connection.getTransceivers():
        if transceiver.kind == "video":
            transceiver.setCodecPreferences(ours)

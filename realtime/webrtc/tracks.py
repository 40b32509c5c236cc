"""The two tracks that we send, and what a peer's microphone sends.

A track is pulled by its sender and has no clock of its own: what leaves, and when in media time, the conversation decides.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Generic, TypeVar

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from engines.frames import Picture
from realtime.clock import Clock
from realtime.timeline import PACKET, PICTURE_BASE, SOUND_BASE, TICK_S, WIRE_RATE, Float, fade_from, picture_pts, sound_pts

BEHIND_S = 0.005
"""A picture takes longer than its sound to be encoded, decoded and shown: measured in Chromium, with its buffers at their least."""
FrameT = TypeVar("FrameT", AudioFrame, VideoFrame)


class _Track(MediaStreamTrack, Generic[FrameT]):
    """Frames that wait for their moment; at most `most`, the oldest leave first."""

    def __init__(self, clock: Clock, most: int) -> None:
        super().__init__()
        self._clock = clock
        self._frames: deque[tuple[float, FrameT]] = deque(maxlen=most)
        self._here = asyncio.Event()
        self.taken_s = 0.0
        """Media time of the frame that was taken last, in seconds."""

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
        self.taken_s = float((frame.pts or 0) * (frame.time_base or 0))
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
    """Sound in packets of 20 ms: the first half of a tick leaves `BEHIND_S` after its beat, the second half 20 ms later."""

    kind = "audio"

    def __init__(self, clock: Clock) -> None:
        self._zero = math.inf
        super().__init__(clock, most=16)  # more than the event loop makes up for when it was late; what is older would only delay the rest

    def put(self, tick: int, sound: Float) -> None:
        """A tick's sound leaves from now on."""
        now = self._clock.now()
        self._zero = min(self._zero, now - tick * TICK_S)  # the least late of all shows where the beats are
        leaves = max(now, self._zero + tick * TICK_S + BEHIND_S)
        for half in (0, 1):
            packet = sound[half * PACKET : (half + 1) * PACKET]
            self._put(leaves + half * TICK_S / 2, _sound_frame(packet, sound_pts(tick) + half * PACKET))

    def hush(self) -> None:
        """Packets that wait become silence; the first begins with a short fall, so that nothing clicks."""
        waiting, self._frames = list(self._frames), deque(maxlen=self._frames.maxlen)
        for n, (when, frame) in enumerate(waiting):
            first = float(mono(frame)[0]) if n == 0 else 0.0
            self._frames.append((when, _sound_frame(fade_from(first, PACKET), frame.pts or 0)))


def _sound_frame(samples: Float, pts: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray((np.clip(samples, -1, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = WIRE_RATE, pts, SOUND_BASE
    return frame


def mono(frame: AudioFrame) -> Float:
    """A decoded frame of a peer's microphone as (n,) float32 in -1..1."""
    samples = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
    return (samples.astype(np.float32) / 32768).mean(1, dtype=np.float32)

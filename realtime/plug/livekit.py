"""LiveKit Agents: a conversation as the generator of an avatar, and the two ends of its speech.

What is told of playback is told from what was heard. LiveKit's runner counts what it was given, and forgets a segment whose only frame came
before the end of the one before.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents.voice.avatar import (
    AudioSegmentEnd,
    AvatarOptions,
    AvatarRunner,
    DataStreamAudioReceiver,
    QueueAudioOutput,
    VideoGenerator,
)

from realtime.plug.face import End, Face, Segment, Shown, Sound
from realtime.timeline import WIRE_RATE

FPS = 30.0
"""Of which the synchronizer is told. It lets no picture go sooner after the last than that, for ever after a late one; ours come 25 a
second, at their times, so that it never keeps one for long."""


class LipSync(VideoGenerator):
    """Speech in; sound, pictures and ends of segments out: pictures all the time, sound only where something is said.

    Whoever makes it gives it its `runner`, whose queues it clears, and closes the conversation of its face.
    """

    def __init__(self, face: Face) -> None:
        self._face = face
        self.runner: AvatarRunner | None = None
        self.started: Callable[[], None] = lambda: None
        """Told when the first of a segment was given to the runner."""
        self.cleared = 0
        """How often it was broken off."""
        self._segment: Segment | None = None  # of the last sound
        self._given = 0  # samples of it
        self._counted = 0.0

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """More speech, of any rate; waits where enough waits to be said."""
        if isinstance(frame, AudioSegmentEnd):
            await self._face.finish()
        else:
            await self._face.push(frame.data.cast("B"), frame.sample_rate, frame.num_channels)

    async def clear_buffer(self) -> None:
        """Break off at once, in every queue."""
        self._face.interrupt()
        self.cleared += 1
        queued = 0.0
        if self.runner is not None:
            queued = -self.runner.av_sync.last_audio_time  # it is told no times: this is what waits to be played
            await self.runner.av_sync.clear_queue()
        self._counted, self._segment, self._given = max(0.0, self._given / WIRE_RATE - queued), None, 0

    def heard(self) -> float:
        """Seconds of the segment that ended, or was broken off, last that were heard. Once: then it is 0."""
        counted, self._counted = self._counted, 0.0
        return counted

    async def settled(self) -> None:
        """Wait until whatever was finished has been told to be."""
        await self._face.settled()

    @property
    def over(self) -> bool:
        """Whether the conversation has ended."""
        return self._face.over

    async def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        async for item in self._face.items():
            if isinstance(item, Shown):
                height, width = item.picture.shape[0] * 2 // 3, item.picture.shape[1]
                yield rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, np.ascontiguousarray(item.picture).data.cast("B"))
            elif isinstance(item, Sound):
                if first := item.segment is not self._segment:
                    self._segment, self._given = item.segment, 0
                self._given += len(item.samples)
                yield rtc.AudioFrame(item.samples.tobytes(), WIRE_RATE, 1, len(item.samples))
                if first and item.segment is self._segment:
                    self.started()
            elif isinstance(item, End):
                self._counted = self._given / WIRE_RATE if item.segment is self._segment else 0.0
                self._segment, self._given = None, 0
                yield AudioSegmentEnd()


class _OneByOne(ABC):
    """What both ends of speech have in common."""

    generator: LipSync

    async def one_by_one(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> bool:
        """Something came: wait until the end of the segment before was told. Says whether it is not old by then."""
        cleared = self.generator.cleared
        await self.generator.settled()
        if isinstance(frame, AudioSegmentEnd) and self.generator.over:
            self.notify_playback_finished(0.0, interrupted=True)  # or whoever speaks would wait for ever
        return cleared == self.generator.cleared

    @abstractmethod
    def notify_playback_finished(self, playback_position: float, interrupted: bool) -> None:
        """See LiveKit's `AudioReceiver`: the position is as it was heard."""


class AudioOutput(QueueAudioOutput, _OneByOne):
    """An agent's speech, in its own process."""

    def __init__(self, generator: LipSync) -> None:
        super().__init__(wait_playback_start=True)
        self.generator = generator
        self._told = 0  # segments that have ended
        generator.started = super().notify_playback_started

    def notify_playback_started(self) -> None:
        """See `AudioReceiver`: the generator tells it. A runner whose push an interruption overtook does not."""

    def notify_playback_finished(self, playback_position: float, interrupted: bool) -> None:
        """See `AudioReceiver`."""
        self._told += 1
        QueueAudioOutput.notify_playback_finished(self, self.generator.heard(), interrupted)

    def clear_buffer(self) -> None:
        """See `QueueAudioOutput`. A runner tells of one segment, and only if it has seen some of it: of the others it is told here."""
        super().clear_buffer()
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._tell_the_rest, self.captured_playout_segments)  # after the runner has

    def _tell_the_rest(self, captured: int) -> None:
        while self._told < captured:
            self.notify_playback_finished(0.0, interrupted=True)

    async def __aiter__(self) -> AsyncIterator[rtc.AudioFrame | AudioSegmentEnd]:
        async for frame in super().__aiter__():
            if await self.one_by_one(frame):
                yield frame


class AudioReceiver(DataStreamAudioReceiver, _OneByOne):
    """An agent's speech, from a room."""

    def __init__(self, generator: LipSync, room: rtc.Room, **options: Any) -> None:
        super().__init__(room, **options)
        self.generator = generator
        generator.started = super().notify_playback_started

    def notify_playback_started(self) -> None:
        """See `AudioOutput.notify_playback_started`."""

    def notify_playback_finished(self, playback_position: float, interrupted: bool) -> None:
        """See `AudioReceiver`."""
        DataStreamAudioReceiver.notify_playback_finished(self, self.generator.heard(), interrupted)

    async def __anext__(self) -> rtc.AudioFrame | AudioSegmentEnd:
        while True:
            frame = await super().__anext__()
            if await self.one_by_one(frame):
                return frame


def options(size: tuple[int, int]) -> AvatarOptions:
    """What a runner is told of a generator whose pictures have this width and height."""
    return AvatarOptions(video_width=size[0], video_height=size[1], video_fps=FPS, audio_sample_rate=WIRE_RATE, audio_channels=1)


def runner_of(room: rtc.Room, source: AudioOutput | AudioReceiver, size: tuple[int, int]) -> AvatarRunner:
    """A runner that shows a generator in a room, to be started."""
    runner = AvatarRunner(room, audio_recv=source, video_gen=source.generator, options=options(size))
    source.generator.runner = runner
    logging.getLogger("livekit.rtc.synchronizer").addFilter(_no_word_of_pace)
    return runner


def _no_word_of_pace(record: logging.LogRecord) -> bool:
    """Whether a line is to be written: that pictures come more slowly than the synchronizer was told is meant so (see `FPS`)."""
    return not str(record.msg).startswith("Frame capture was behind schedule")

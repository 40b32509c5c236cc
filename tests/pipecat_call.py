"""A pipeline of Pipecat whose wire is a list, for the tests of its plug-in. Importing it takes seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from loguru import logger
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    InterruptionFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from mytalk.pipecat import MyTalkVideoService
from realtime.plug.pipecat import Down
from realtime.testing import FakePipeline, FakeStore
from tests.peers import until
from tests.test_plug import tone

__all__ = ["Down", "InterruptionFrame", "TTSStartedFrame", "call"]
RATE = 24_000


class Wire(BaseOutputTransport):
    """An output whose wire is a list, paced as a wire is. Pictures: whether their box is white."""

    def __init__(self, params: TransportParams) -> None:
        super().__init__(params)
        self.heard: list[bytes] = []
        self.seen: list[bool] = []
        self.sizes: set[int] = set()
        self._due = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: Any) -> bool:
        self.heard.append(frame.audio)
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now) + len(frame.audio) / 2 / frame.sample_rate
        await asyncio.sleep(max(0.0, self._due - now - 0.04))
        return True

    async def write_video_frame(self, frame: Any) -> bool:
        width, height = frame.size
        self.sizes.add(len(frame.image))
        self.seen.append(bool(np.frombuffer(frame.image, np.uint8).reshape(height, width, 3)[height // 2, width // 2, 1] > 128))
        return True

    @property
    def loud(self) -> int:
        """Samples of speech."""
        return int((np.abs(np.frombuffer(b"".join(self.heard), "<i2").astype(int)) > 300).sum())


class Told(BaseObserver):
    """What the output tells, and what reaches it, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Any] = []

    async def on_push_frame(self, data: FramePushed) -> None:
        kinds = BotStartedSpeakingFrame | BotStoppedSpeakingFrame
        if isinstance(data.frame, kinds) and data.direction is FrameDirection.DOWNSTREAM and data.frame not in self.frames:
            self.frames.append(data.frame)
        service = isinstance(data.source, MyTalkVideoService)
        if service and isinstance(data.frame, TTSAudioRawFrame | TTSStoppedFrame | EndFrame):
            self.frames.append(data.frame)

    def of(self, kind: type) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kind)]


class Call:
    """A pipeline that runs."""

    def __init__(self, live: bool, rate: int, **options: Any) -> None:
        size, fps = (256, 192), 100 if live else 25
        self.out = Wire(
            TransportParams(
                audio_out_enabled=True,
                audio_out_10ms_chunks=1,
                video_out_enabled=True,
                video_out_is_live=live,
                video_out_width=size[0],
                video_out_height=size[1],
                video_out_framerate=fps,
            )
        )
        self.service = MyTalkVideoService(actor="second", store=FakeStore(size=(256, 256)), pipeline=FakePipeline, size=size, **options)
        self.told = Told()
        self.worker = PipelineWorker(
            Pipeline([self.service, self.out]),
            params=PipelineParams(audio_out_sample_rate=rate),
            observers=[self.told],
            idle_timeout_secs=None,
        )

    async def say(self, seconds: float, context: str = "one") -> None:
        await self.worker.queue_frame(TTSStartedFrame(context_id=context))
        sound = tone(seconds, RATE)
        for at in range(0, len(sound), 960):
            await self.worker.queue_frame(TTSAudioRawFrame(sound[at : at + 960], RATE, 1, context_id=context))
        await self.worker.queue_frame(TTSStoppedFrame(context_id=context))


@asynccontextmanager
async def call(live: bool = True, rate: int = RATE, **options: Any) -> AsyncIterator[Call]:
    logger.remove()
    made, runner = Call(live, rate, **options), WorkerRunner(handle_sigint=False)
    await runner.add_workers(made.worker)
    running = asyncio.create_task(runner.run())
    await until(lambda: len(made.out.seen) > 3)
    try:
        yield made
    finally:
        await made.worker.queue_frame(CancelFrame())
        await asyncio.wait_for(running, 30)

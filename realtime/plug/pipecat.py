"""Pipecat: a conversation as a service between text-to-speech and the output of a pipeline."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.ai_service import AIService
from pipecat.services.settings import ServiceSettings

from engines.actor import Store
from engines.errors import Fault
from engines.frames import Picture
from engines.pipeline import Pipeline
from engines.spec import FPS
from native.planes import to_rgb
from realtime.clock import WallClock
from realtime.conversation import Conversation
from realtime.engine import Engine
from realtime.errors import SettingsFault
from realtime.intake import LULL
from realtime.manners import OWN, check_strength
from realtime.plug.face import End, Face, Segment, Shown, Sound, begun, conversation_of_its_own
from realtime.settings import load
from realtime.timeline import WIRE_RATE, Float
from realtime.worker import Actors, LivePipeline

CHUNK_S = 0.01
"""Seconds of sound that transports send at a time: where none is there, as much silence."""
FASTEST = 120.0
"""Pictures a second that are made of ours at the most."""


class MyTalkVideoService(AIService):
    """An actor that says what text-to-speech says. Place it between that and the output:

        Pipeline([..., tts, MyTalkVideoService(actor="amara", size=(512, 512)), transport.output()])

    Takes TTSAudioRawFrame of any rate; gives TTSAudioRawFrame of 40 ms and OutputImageRawFrame (RGB), in step, pictures all the time. An
    InterruptionFrame breaks off at once. A TTSStoppedFrame leaves after the speech before it, an EndFrame when all of it has left.
    """

    def __init__(
        self,
        *,
        actor: str = "presenter",
        size: tuple[int, int] | None = None,
        fps: float = FPS,
        manner: str = OWN,
        strength: float = 1.0,
        home: str | os.PathLike[str] | None = None,
        pipeline: Callable[[], LivePipeline] = Pipeline,
        store: Actors | None = None,
        **rest: Any,
    ) -> None:
        """`size` is width and height of the pictures: those of the transport (`video_out_width`, `video_out_height`), else the actor's own.

        `fps` is how many a transport takes a second: 25 are made, and repeated evenly where it takes more. `manner` and `strength` say
        how things are said; `home` is the data folder of actors, else the one of the command `mytalk`. `pipeline` is made in the
        engine's process, by its name; `store` has the actors. Raises Fault for what does not exist.
        """
        super().__init__(settings=ServiceSettings(model=None), **rest)
        if not 1 <= fps <= FASTEST:
            raise SettingsFault(f"{fps:g} pictures a second are not made.", f"Choose 1 to {FASTEST:g}.")
        self._actor, self._size, self._fps, self._manner = actor, size, fps, (manner, check_strength(strength))
        self._store = store or Store(load({"home": Path(home) if home else None}, os.environ).actors)
        self._store.find(actor)
        self._pipeline = pipeline
        self._clock = WallClock()
        self._engine: Engine | None = None
        self._conversation: Conversation | None = None
        self.face: Face | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._held: dict[Segment, TTSStoppedFrame] = {}
        self._rate, self._down = WIRE_RATE, Down(1)
        self._first: int | None = None  # the first tick that counts
        self._sent = 0  # pictures given since
        self._plays = self._clock.now()  # until then what was given is being heard, if it is played at once
        self._lag = 0.0  # seconds by which what is said now is heard later, since some of it was late

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """The engine starts."""
        await super().setup(setup)
        self._down = Down(by if (by := WIRE_RATE / setup.audio_out_sample_rate) in Down.BY else 1)
        self._rate = WIRE_RATE // self._down.by
        self._engine = Engine(self._store, self._clock, self._pipeline, actor=self._actor, spare_s=math.inf)
        await self._engine.start()

    async def start(self, frame: StartFrame) -> None:
        """The conversation begins: it is seen as soon as the engine is ready, a second or two later."""
        await super().start(frame)
        assert self._engine is not None
        self._conversation = conversation_of_its_own(self._engine, self._actor, self._store, self._clock, lambda ended: None)
        self.face = Face(self._conversation, self._clock)
        self._conversation.begin()
        self._tasks = [self.create_task(self._give(self.face)), self.create_task(self._watch(self._engine, self._conversation))]

    async def cancel(self, frame: CancelFrame) -> None:
        """It ends at once."""
        await super().cancel(frame)
        await self._end()

    async def cleanup(self) -> None:
        """The engine ends."""
        await self._end()
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()
        await super().cleanup()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """See the class."""
        if isinstance(frame, EndFrame) and self.face:  # what was said before it is heard before it
            await self.face.finish()
            await self.face.settled()
            await self._end()
        await super().process_frame(frame, direction)
        down = direction is FrameDirection.DOWNSTREAM
        if down and isinstance(frame, TTSAudioRawFrame) and self.face:
            await self.face.push(frame.audio, frame.sample_rate, frame.num_channels, tag=frame.context_id)
        elif down and isinstance(frame, TTSStoppedFrame) and self.face and (segment := await self.face.finish()):
            self._held[segment] = frame
        else:
            if isinstance(frame, InterruptionFrame) and self.face:
                self.face.interrupt()
                self._held.clear()
                self._down.clear()
            await self.push_frame(frame, direction)

    async def _give(self, face: Face) -> None:
        async for item in face.items():
            if isinstance(item, Sound):
                self._heard(len(item.samples))
                samples = self._down(item.samples)
                await self.push_frame(TTSAudioRawFrame(samples.tobytes(), self._rate, 1, context_id=item.segment.tag))
            elif isinstance(item, Shown):
                image, size = self._seen(item.picture)
                for _ in range(self._due(item.tick)):
                    await self.push_frame(OutputImageRawFrame(image, size, "RGB"))
            elif isinstance(item, End) and (stopped := self._held.pop(item.segment, None)):
                await self.push_frame(stopped)
        if fault := face.trouble:
            await self.push_error(fault.message, exception=fault, force_treat_as_permanent=True)

    async def _watch(self, engine: Engine, conversation: Conversation) -> None:
        try:
            await begun(engine, self._clock)
            if self._manner[0] != OWN:
                await conversation.speak_as(*self._manner)
        except Fault as fault:
            await self.push_error(fault.message, exception=fault, force_treat_as_permanent=True)

    def _heard(self, samples: int) -> None:
        """Sound is given: where it comes after the last was heard, transports send silence, and all that follows is heard later."""
        now = self._clock.now()
        late = now - self._plays
        self._lag = 0.0 if late > LULL else self._lag + math.ceil(max(0.0, late) / CHUNK_S) * CHUNK_S
        self._plays = max(self._plays, now) + samples / WIRE_RATE

    def _due(self, tick: int) -> int:
        """How often the picture of a tick is given: so that as many leave as the transport takes in the time, as late as their sound."""
        if self._clock.now() - self._plays > LULL:
            self._lag = 0.0
        first = tick if self._first is None else self._first
        due = max(0, math.floor((tick + 1 - first) * self._fps / FPS + self._lag * self._fps) - self._sent)
        if due > self._fps:  # the machine slept
            first, self._sent, due = tick, 0, 1
        self._first, self._sent = first, self._sent + due
        return due

    def _seen(self, picture: Picture) -> tuple[bytes, tuple[int, int]]:
        """A picture (I420) as RGB of the size that was asked for: all of it, on black where the shapes differ."""
        rgb = to_rgb(picture)
        height, width = rgb.shape[:2]
        if self._size and self._size != (width, height):
            by = min(self._size[0] / width, self._size[1] / height)
            inner = min(self._size[0], round(width * by)), min(self._size[1], round(height * by))
            left, top = (self._size[0] - inner[0]) // 2, (self._size[1] - inner[1]) // 2
            whole = np.zeros((self._size[1], self._size[0], 3), np.uint8)
            whole[top : top + inner[1], left : left + inner[0]] = cv2.resize(rgb, inner, interpolation=cv2.INTER_AREA)
            rgb = whole
        return rgb.tobytes(), (rgb.shape[1], rgb.shape[0])

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            await self.cancel_task(task)
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            await conversation.close()


class Down:
    """48 kHz to a rate that a transport has, without holding anything back: a low pass of 1 ms, and every so manieth sample."""

    BY = (1, 2, 3, 6)

    def __init__(self, by: float, taps: int = 97) -> None:
        self.by = int(by)
        at, edge = np.arange(taps) - taps // 2, 0.91 / self.by
        low = edge * np.sinc(edge * at) * np.blackman(taps)
        self._taps: Float = (low / low.sum()).astype(np.float32)
        self._tail: Float = np.zeros(taps - 1, np.float32)

    def __call__(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """(n,) at 48 kHz to (n / by,), rounded up."""
        if self.by == 1:
            return samples
        heard = np.concatenate([self._tail, samples.astype(np.float32)])
        self._tail = heard[len(samples) :]
        windows = np.lib.stride_tricks.sliding_window_view(heard, len(self._taps))[:: self.by]
        return np.clip(np.rint(windows @ self._taps), -32768, 32767).astype(np.int16)

    def clear(self) -> None:
        """Forget what came."""
        self._tail = np.zeros_like(self._tail)

"""A stand-in for a room of LiveKit, and what the tests of its plug-in do with it. Importing it takes seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from livekit import rtc
from livekit.agents import Agent as Agent
from livekit.agents import AgentSession as AgentSession
from livekit.agents.voice.avatar import DataStreamAudioOutput as DataStreamAudioOutput

from mytalk.livekit import AvatarSession as AvatarSession
from mytalk.livekit import LipSync
from realtime.clock import WallClock
from realtime.plug.face import Face, conversation_of_its_own
from realtime.plug.livekit import AudioOutput, runner_of
from realtime.testing import FakeStore, InlineEngine

RATE = 24_000


class Room(rtc.EventEmitter[Any]):
    """What a runner, an avatar and both ends of speech use of a room. `other` is the one of who is at its far end."""

    name = "room"
    kind = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    state = rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE

    def __init__(self, identity: str = "agent") -> None:
        super().__init__()
        self.local_participant: Any = self
        self.remote_participants: dict[str, Any] = {}
        self.identity = identity
        self.tracks: dict[str, Any] = {}
        self.track_publications: dict[str, Any] = {}
        self._rpc_handlers: dict[str, Any] = {}
        self._streams: dict[str, Any] = {}
        self.other: Room | None = None
        self.here = True

    def isconnected(self) -> bool:
        return self.here

    async def publish_track(self, track: Any, options: Any) -> Room:
        self.tracks[track.name] = track
        self.track_publications[track.name] = track
        if self.other:
            self.other.emit("track_published", track, self)
        return self

    async def wait_for_subscription(self) -> None: ...

    def register_rpc_method(self, name: str, handler: Any) -> None:
        self._rpc_handlers[name] = handler

    async def perform_rpc(self, destination_identity: str, method: str, payload: str) -> str:
        await asyncio.sleep(0.001)
        assert self.other is not None
        return str(self.other._rpc_handlers[method](SimpleNamespace(caller_identity=self.identity, payload=payload)))

    def register_byte_stream_handler(self, topic: str, handler: Any) -> None:
        self._streams[topic] = handler

    async def stream_bytes(self, name: str, topic: str, destination_identities: list[str], attributes: dict[str, str]) -> Any:
        stream = ByteStream(attributes)
        assert self.other is not None
        self.other._streams[topic](stream, self.identity)
        return stream

    async def connect(self, url: str, token: str, options: Any) -> None:
        if url != "wss://livekit.example":
            raise rtc.ConnectError("no such host")

    async def disconnect(self) -> None:
        self.here = False


class ByteStream:
    """Both ends of a stream of bytes."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.info: Any = SimpleNamespace(attributes=attributes, stream_id="one")
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        self._parts.put_nowait(data)

    async def aclose(self) -> None:
        self._parts.put_nowait(None)

    async def __anext__(self) -> bytes:
        if (part := await self._parts.get()) is None:
            raise StopAsyncIteration
        return part


def frame(samples: np.ndarray[Any, Any], rate: int = RATE) -> rtc.AudioFrame:
    channels = samples.shape[1] if samples.ndim == 2 else 1
    return rtc.AudioFrame(samples.tobytes(), rate, channels, len(samples))


def loud(seconds: float, rate: int = RATE) -> np.ndarray[Any, np.dtype[np.int16]]:
    return (13000 * np.sign(np.sin(2 * np.pi * 180 * (np.arange(round(seconds * rate)) + 0.5) / rate))).astype(np.int16)


async def frames(seconds: float, rate: int = RATE, stereo: bool = False) -> AsyncIterator[rtc.AudioFrame]:
    sound, size = loud(seconds, rate), rate // 50
    for at in range(0, len(sound), size):
        part = sound[at : at + size]
        yield frame(np.stack([part, part], 1) if stereo else part, rate)


class Ear:
    """What comes out of the tracks: loud samples of the sound, pictures."""

    def __init__(self, room: Room) -> None:
        self._sound = rtc.AudioStream(room.tracks["avatar_audio"], sample_rate=48_000, num_channels=1, frame_size_ms=10)
        self._pictures = rtc.VideoStream(room.tracks["avatar_video"])
        self.samples = self.pictures = 0
        self._tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._see())]

    async def _hear(self) -> None:
        async for event in self._sound:
            self.samples += int((np.abs(np.frombuffer(event.frame.data, np.int16).astype(int)) > 2000).sum())

    async def _see(self) -> None:
        async for _ in self._pictures:
            self.pictures += 1

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._sound.aclose()
        await self._pictures.aclose()


def listen(output: Any) -> list[Any]:
    events: list[Any] = []
    output.on("playback_started", lambda event: events.append("started"))
    output.on("playback_finished", lambda event: events.append((round(event.playback_position, 4), event.interrupted)))
    return events


@asynccontextmanager
async def running(actors: FakeStore, size: tuple[int, int] = (4, 4)) -> AsyncIterator[tuple[AudioOutput, Room, Any]]:
    """A generator in LiveKit's runner, without an agent."""
    clock = WallClock()
    engine = InlineEngine(clock, lambda tick: 0.002)
    conversation = conversation_of_its_own(cast(Any, engine), "presenter", actors, clock, lambda ended: None)
    output, room = AudioOutput(LipSync(Face(conversation, clock))), Room()
    runner = runner_of(cast(Any, room), output, size)
    conversation.begin()
    await runner.start()
    yield output, room, conversation
    await runner.aclose()
    await conversation.close()


async def capture(output: Any, seconds: float) -> None:
    async for part in frames(seconds):
        await output.capture_frame(part)
    output.flush()

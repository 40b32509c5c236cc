"""The engine in LiveKit Agents and in Pipecat, beside itself: what the frameworks add, in one run, tick by tick.

    python -m benchmarks.plugins livekit|pipecat|drift [--fake] [--rounds 24] [--segments 100] [--minutes 10]

Whatever leaves the conversation is noted by an outlet of the benchmark's (the bare engine), and again where the framework gives it away:
at the tracks of LiveKit's runner, read by LiveKit's own streams, and at the output transport of Pipecat. Pictures are told apart by a
number upon them, sound by its bursts. `drift` says bursts for minutes through the tracks that Pipecat sends by WebRTC (SmallWebRTC), and
compares the media times of sound and pictures. `--fake` takes a clapper for the engine. Other work on the machine adds to all of it. Ends
in a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from engines.actor import Store
from realtime.conversation import Conversation
from realtime.plug.face import Face
from realtime.testing import FakePipeline, FakeStore, StampedPipeline

RATE, PERIOD, ON = 48_000, 0.4, 0.2
"""Of bursts: so many seconds from one to the next, and how long each is loud."""
LOUD = 2000


def bursts(seconds: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Square waves that begin loud."""
    at = np.arange(round(seconds * RATE)) / RATE
    return (13000 * np.sign(np.sin(2 * np.pi * 200 * at + 0.01)) * (at % PERIOD < ON)).astype(np.int16)


def tone(seconds: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    """The same without pauses."""
    return (13000 * np.sign(np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE + 0.01))).astype(np.int16)


def number(luma: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[int, bool]:
    """What is stamped upon a picture (`realtime.testing.stamp`): its number, and whether its tick is loud."""
    height, width = luma.shape
    boxes = [slice(width // 2 - 96 + part * 24 + 6, width // 2 - 96 + part * 24 + 18) for part in range(8)]
    bits = [bool(luma[height - 46 : height - 38, box].mean() > 128) for box in boxes]
    return sum(bit << part for part, bit in enumerate(bits)), any(bool(luma[height - 22 : height - 14, box].mean() > 128) for box in boxes)


class Bare:
    """An outlet beside the framework's: when what left the conversation. Times of burst's beginnings, and of numbered pictures."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.shown: dict[int, float] = {}
        self._before = False

    def say(self, tick: int, sound: Any) -> None:
        """See `Outlet.say`."""
        loud = np.abs(sound) > LOUD / 32768
        if loud.any() and not self._before:
            self.began.append(time.monotonic() + int(np.argmax(loud)) / RATE)
        self._before = bool(loud[-480:].any())

    def show(self, tick: int, sound: Any, picture: Any) -> None:
        """See `Outlet.show`."""
        if picture is not None:
            self.shown[number(picture[: picture.shape[0] * 2 // 3])[0]] = time.monotonic()

    def hush(self) -> None:
        """See `Outlet.hush`."""
        self._before = False

    def ended(self) -> None:
        """See `Outlet.ended`."""


class Far:
    """The far end: when what arrived there."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.seen: dict[int, float] = {}
        self.last_loud = self.last_white = 0.0
        self.samples = 0
        self._before = False

    def hear(self, samples: Any) -> None:
        """Samples arrive."""
        loud = np.abs(samples.astype(int)) > LOUD
        now = time.monotonic()
        if loud.any():
            self.last_loud = now
            self.samples += int(loud.sum())
            if not self._before:
                self.began.append(now)
        self._before = bool(loud[-240:].any())

    def see(self, luma: Any) -> None:
        """A picture arrives."""
        name, white = number(luma)
        self.seen.setdefault(name, time.monotonic())
        self.last_white = time.monotonic() if white else self.last_white

    def clear(self) -> None:
        """Forget it."""
        self.began.clear()
        self.seen.clear()


def added(before: list[float], after: list[float]) -> list[float]:
    """Seconds from each moment to the first at the far end that can be the same."""
    return [min(late) for moment in before if (late := [one - moment for one in after if -0.01 < one - moment < 0.2])]


def told(name: str, seconds: list[float]) -> dict[str, float]:
    """Print percentiles in ms."""
    if not seconds:
        print(f"{name:64} nothing")
        return {}
    found = {f"p{part}": round(float(np.percentile(np.array(seconds) * 1000, part)), 2) for part in (50, 95)} | {"n": len(seconds)}
    print(f"{name:64} p50 {found['p50']:7.1f}  p95 {found['p95']:7.1f} ms  n {len(seconds)}", flush=True)
    return found


async def until(what: Callable[[], object], seconds: float = 60) -> None:
    """Wait for what happens."""
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.005)


def parts(fake: bool) -> dict[str, Any]:
    """What an adapter is given."""
    store = FakeStore() if fake else Store(Path(tempfile.mkdtemp()))
    return {"actor": "presenter", "store": store, "pipeline": FakePipeline if fake else StampedPipeline}


def watched(face: Face | None) -> tuple[Bare, Conversation]:
    """The bare engine, noted."""
    assert face is not None
    bare, conversation = Bare(), face._conversation
    conversation._outlets.insert(0, bare)
    return bare, conversation


# LiveKit


@asynccontextmanager
async def livekit(fake: bool) -> AsyncIterator[tuple[Any, Bare, Far, list[Any]]]:
    """An avatar in its runner; its output, the bare engine, the tracks, and the events of playback."""
    from livekit import rtc
    from livekit.agents import AgentSession

    from mytalk.livekit import AvatarSession
    from tests.livekit_room import Room

    given, room, session = parts(fake), Room(), AgentSession[None]()
    avatar, far, events = AvatarSession(**given), Far(), list[Any]()
    await avatar.start(session, cast(Any, room))
    bare, _ = watched(avatar.face)
    output: Any = session.output.audio
    output.on("playback_finished", lambda event: events.append((event.playback_position, event.interrupted)))
    await until(lambda: len(room.tracks) == 2)
    sound = rtc.AudioStream(room.tracks["avatar_audio"], sample_rate=RATE, num_channels=1, frame_size_ms=10)
    pictures = rtc.VideoStream(room.tracks["avatar_video"], format=rtc.VideoBufferType.I420)

    async def hear() -> None:
        async for event in sound:
            far.hear(np.frombuffer(event.frame.data, np.int16))

    async def see() -> None:
        async for event in pictures:
            frame = event.frame
            far.see(np.frombuffer(frame.data, np.uint8, frame.width * frame.height).reshape(frame.height, frame.width))

    tasks = [asyncio.create_task(hear()), asyncio.create_task(see())]
    await asyncio.sleep(3)
    yield output, bare, far, events
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await sound.aclose()
    await pictures.aclose()
    await avatar.aclose()
    await session.aclose()


async def push(output: Any, samples: Any) -> None:
    """A segment of speech, as an agent gives it."""
    from livekit import rtc

    for at in range(0, len(samples), 960):
        part = samples[at : at + 960]
        await output.capture_frame(rtc.AudioFrame(part.tobytes(), RATE, 1, len(part)))
    output.flush()


async def measure_livekit(given: argparse.Namespace) -> dict[str, Any]:
    """See above."""
    found: dict[str, Any] = {}
    chance = np.random.default_rng(1)
    async with livekit(given.fake) as (output, bare, far, events):
        sounds, pictures, whole = [], [], []
        for _ in range(given.rounds):
            bare.shown.clear(), bare.began.clear(), far.clear()
            await push(output, bursts(4.0))
            await asyncio.wait_for(output.wait_for_playout(), 60)
            await asyncio.sleep(0.15)
            whole.append(abs(events[-1][0] - 4.0))
            sounds += added(bare.began, far.began)
            pictures += [far.seen[name] - when for name, when in bare.shown.items() if 0 <= far.seen.get(name, 0.0) - when < 1]
        found["sound added"] = told("speech leaves the engine -> sound at the track", sounds)
        found["picture added"] = told("picture leaves the engine -> picture at the track", pictures)
        found["position whole"] = round(max(whole) * 1000, 3)
        print(f"{'position of whole segments, largest error':64} {max(whole) * 1000:.3f} ms")

        cut_sound, cut_picture, position = [], [], []
        for _ in range(given.rounds):
            await asyncio.sleep(0.3)
            far.samples = 0
            await push(output, tone(8.0))
            await asyncio.sleep(float(chance.uniform(0.8, 2.0)))
            when = time.monotonic()
            output.clear_buffer()
            await asyncio.wait_for(output.wait_for_playout(), 60)
            await asyncio.sleep(0.5)
            cut_sound.append(max(0.0, far.last_loud - when))
            cut_picture.append(max(0.0, far.last_white - when))
            position.append(abs(events[-1][0] - far.samples / RATE))
        found["last old sound"] = told("interruption -> last old sound at the track", cut_sound)
        found["last old picture"] = told("interruption -> last old picture at the track", cut_picture)
        found["position interrupted"] = told("position of interrupted segments against what was heard", position)

        hung = wrong = 0
        for name in range(given.segments):
            seconds, count = float(chance.uniform(0.02, 0.8)), len(events)
            await push(output, tone(seconds))
            if name % 2:
                await asyncio.sleep(float(chance.uniform(0, 1.0)))
                output.clear_buffer()
            try:
                await asyncio.wait_for(output.wait_for_playout(), 20)
            except TimeoutError:
                hung += 1
            await asyncio.sleep(float(chance.uniform(0, 0.1)))
            news = events[count:]
            right = len(news) == 1 and (news[0][0] <= seconds + 0.001 if news[0][1] else abs(news[0][0] - seconds) < 0.001)
            wrong += not right or (name % 2 == 0 and news[0][1])
        found |= {"segments": given.segments, "hung": hung, "wrong": wrong}
        print(f"{f'{given.segments} segments, half of them interrupted':64} hung {hung}, wrong {wrong}")
    return found


# Pipecat


class Tracks:
    """Where pictures and sound that were written go on to."""

    def picture(self, frame: Any) -> None:
        """A picture is written."""

    async def sound(self, frame: Any) -> None:
        """Sound is written."""


class Noted(Tracks):
    """Notes them, and takes sound as fast as it is heard."""

    def __init__(self) -> None:
        self.far, self._due = Far(), 0.0

    def picture(self, frame: Any) -> None:
        """See `Tracks.picture`."""
        width, height = frame.size
        self.far.see(np.frombuffer(frame.image, np.uint8).reshape(height, width, 3)[..., 1])

    async def sound(self, frame: Any) -> None:
        """See `Tracks.sound`."""
        samples = np.frombuffer(frame.audio, np.int16)
        now = time.monotonic()
        self.far.hear(samples)
        self._due = max(self._due, now) + len(samples) / RATE
        await asyncio.sleep(max(0.0, self._due - now - 0.02))


@asynccontextmanager
async def pipecat(fake: bool, tracks: Tracks, fps: float) -> AsyncIterator[tuple[Any, Any]]:
    """A service in a pipeline; what takes frames, and the service."""
    from loguru import logger
    from pipecat.frames.frames import CancelFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.transports.base_output import BaseOutputTransport
    from pipecat.transports.base_transport import TransportParams
    from pipecat.workers.runner import WorkerRunner

    from mytalk.pipecat import MyTalkVideoService

    class Wire(BaseOutputTransport):
        async def start(self, frame: Any) -> None:
            await super().start(frame)
            await self.set_transport_ready(frame)

        async def write_audio_frame(self, frame: Any) -> bool:
            await tracks.sound(frame)
            return True

        async def write_video_frame(self, frame: Any) -> bool:
            tracks.picture(frame)
            return True

    logger.remove()
    out = Wire(
        TransportParams(
            audio_out_enabled=True,
            audio_out_10ms_chunks=4,
            video_out_enabled=True,
            video_out_is_live=True,
            video_out_width=512,
            video_out_height=512,
            video_out_framerate=100,
        )
    )
    service = MyTalkVideoService(**parts(fake), size=(512, 512), fps=fps)
    worker = PipelineWorker(Pipeline([service, out]), params=PipelineParams(audio_out_sample_rate=RATE), idle_timeout_secs=None)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await until(lambda: service.face is not None)
    await asyncio.sleep(5)
    yield worker.queue_frame, service
    await worker.queue_frame(CancelFrame())
    await running


async def speak(queue: Callable[[Any], Awaitable[None]], samples: Any) -> None:
    """A segment of speech, as text-to-speech gives it."""
    from pipecat.frames.frames import TTSAudioRawFrame, TTSStartedFrame, TTSStoppedFrame

    await queue(TTSStartedFrame(context_id="one"))
    for at in range(0, len(samples), 960):
        await queue(TTSAudioRawFrame(samples[at : at + 960].tobytes(), RATE, 1, context_id="one"))
    await queue(TTSStoppedFrame(context_id="one"))


async def measure_pipecat(given: argparse.Namespace) -> dict[str, Any]:
    """See above."""
    from pipecat.frames.frames import InterruptionFrame

    found: dict[str, Any] = {}
    noted, chance = Noted(), np.random.default_rng(1)
    async with pipecat(given.fake, noted, 25) as (queue, service):
        bare, _ = watched(service.face)
        sounds, pictures = [], []
        for _ in range(given.rounds):
            bare.shown.clear(), bare.began.clear(), noted.far.clear()
            await speak(queue, bursts(4.0))
            await asyncio.sleep(4.5)
            sounds += added(bare.began, noted.far.began)
            pictures += [noted.far.seen[name] - when for name, when in bare.shown.items() if 0 <= noted.far.seen.get(name, 0.0) - when < 1]
        found["sound added"] = told("speech leaves the engine -> sound is written", sounds)
        found["picture added"] = told("picture leaves the engine -> picture is written", pictures)
        cut_sound, cut_picture = [], []
        for _ in range(given.rounds):
            await asyncio.sleep(0.3)
            await speak(queue, tone(6.0))
            await asyncio.sleep(float(chance.uniform(0.8, 2.0)))
            when = time.monotonic()
            await queue(InterruptionFrame())
            await asyncio.sleep(0.5)
            cut_sound.append(max(0.0, noted.far.last_loud - when))
            cut_picture.append(max(0.0, noted.far.last_white - when))
        found["last old sound"] = told("interruption -> last old sound is written", cut_sound)
        found["last old picture"] = told("interruption -> last old picture is written", cut_picture)
    return found


class WebRTC(Tracks):
    """The tracks that Pipecat's SmallWebRTC sends, read as aiortc reads them: when a burst begins, in each one's media time."""

    def __init__(self) -> None:
        from pipecat.transports.smallwebrtc.transport import RawAudioTrack, RawVideoTrack

        self._make = lambda: (RawVideoTrack(512, 512), RawAudioTrack(RATE))
        self._pictures: Any = None
        self._sounds: Any = None
        self.heard: list[float] = []
        self.seen: list[float] = []
        self.holes = 0

    def connect(self) -> list[asyncio.Task[None]]:
        """From now on they are read, by these tasks."""
        self._pictures, self._sounds = self._make()
        return [asyncio.create_task(self.hear()), asyncio.create_task(self.see())]

    def picture(self, frame: Any) -> None:
        """See `Tracks.picture`."""
        if self._pictures:
            self._pictures.add_video_frame(frame)

    async def sound(self, frame: Any) -> None:
        """See `Tracks.sound`."""
        await self._sounds.add_audio_bytes(frame.audio)

    async def hear(self) -> None:
        """Take sound, for ever."""
        quiet, zero = 1.0, 0.0
        while True:
            frame = await self._sounds.recv()
            await asyncio.sleep(0)  # as who encodes it
            zero = zero or time.time() - frame.pts / RATE
            loud = bool((np.abs(frame.to_ndarray().astype(int)) > LOUD).any())
            if loud and quiet > ON / 2:
                self.heard.append(zero + frame.pts / RATE)
            elif loud:
                self.holes += round(quiet * 100)
            quiet = 0.0 if loud else quiet + frame.samples / RATE

    async def see(self) -> None:
        """Take pictures, for ever."""
        before, zero = False, 0.0
        while True:
            frame = await self._pictures.recv()
            zero = zero or time.time() - float(frame.pts * frame.time_base)
            white = number(np.asarray(frame.to_ndarray(format="gray")))[1]
            if white and not before:
                self.seen.append(zero + float(frame.pts * frame.time_base))
            before = white


async def measure_drift(given: argparse.Namespace) -> dict[str, Any]:
    """See above."""
    tracks = WebRTC()
    async with pipecat(given.fake, tracks, 30) as (queue, _):
        tasks = tracks.connect()
        await asyncio.sleep(1)
        end = time.monotonic() + 60 * given.minutes
        while time.monotonic() < end:
            await speak(queue, bursts(19.6))
            await asyncio.sleep(20)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if len(tracks.heard) == len(tracks.seen):  # all of them arrived
        pairs = [(moment, seen - moment) for moment, seen in zip(tracks.heard, tracks.seen, strict=True)]
    else:
        pairs = [(moment, min((one - moment for one in tracks.seen), key=abs)) for moment in tracks.heard]
    offsets = np.array([(moment - pairs[0][0], offset) for moment, offset in pairs])
    minute = [float(np.median(part[:, 1]) * 1000) for part in (offsets[:50], offsets[-50:])]
    slope = float(np.polyfit(offsets[:, 0], offsets[:, 1], 1)[0])
    late = told("picture against sound at the far end, absolute", list(np.abs(offsets[:, 1])))
    count = min(50, len(offsets))
    print(f"first and last {count} of {len(offsets)} bursts: {minute[0]:.1f} and {minute[1]:.1f} ms; {slope * 1e6:.1f} ppm")
    print(f"holes of 10 ms in {len(offsets) * ON:.0f} s of sound: {tracks.holes}")
    return {"holes": tracks.holes, "offset": late, "first": minute[0], "last": minute[1], "ppm": slope * 1e6, "minutes": given.minutes}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("livekit", "pipecat", "drift"))
    parser.add_argument("--fake", action="store_true")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--segments", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    measures = {"livekit": measure_livekit, "pipecat": measure_pipecat, "drift": measure_drift}
    before = os.getloadavg()[0]
    found = asyncio.run(measures[given.which](given))
    print(json.dumps({"benchmark": f"plugins {given.which}", "load": [before, os.getloadavg()[0]], "fake": given.fake} | found))


if __name__ == "__main__":
    sys.exit(main())

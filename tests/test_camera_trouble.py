"""The camera in time that only the script moves: late engines, a laptop that slept, devices that are busy, gone, or can do little."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from engines.frames import Picture
from realtime.camera.devices import Device, DeviceFault
from realtime.camera.sinks import InThread, Muxer
from realtime.camera.sound import Ear, Mouth
from realtime.camera.stage import Plan, Stage
from realtime.conversation import Conversation
from realtime.engine import Engine
from realtime.surroundings import Surroundings
from realtime.testing import InlineEngine, VirtualClock
from realtime.timeline import WIRE_TICK
from tests.peers import onsets

LATENCY = 0.02
"""Of all devices here, seconds."""


@dataclass
class Line:
    """A stream of the fake PortAudio."""

    clock: VirtualClock
    inward: bool
    options: dict[str, Any]
    active: bool = False
    latency: float = LATENCY
    heard: list[tuple[float, bool]] = field(default_factory=list)
    """Of an output: when it was heard, whether it was loud."""

    def start(self) -> None:
        self.active = True

    def abort(self) -> None:
        self.active = False

    close = abort

    def run(self) -> None:
        """10 ms go by. What is said is loud in the first half of each second, on the clock."""
        rate, frames, now = self.options["samplerate"], self.options["blocksize"], self.clock.now()
        data = np.zeros((frames, self.options["channels"]), np.float32)
        if self.inward:
            at = now - 0.01 - LATENCY + np.arange(frames) / rate
            data[:] = (0.5 * np.sin(2 * np.pi * 300 * at) * (at % 1 < 0.5))[:, None]
        self.options["callback"](data, frames, SimpleNamespace(currentTime=now, outputBufferDacTime=now + LATENCY), None)
        if not self.inward:
            self.heard += [
                (now + LATENCY + part * 0.005, bool(np.abs(half).max() > 0.05)) for part, half in enumerate(np.array_split(data, 2))
            ]


@dataclass
class PortAudio:
    """In place of PortAudio: devices that can do what is in `can` (rate, channels), and are driven by the clock."""

    clock: VirtualClock
    can: set[tuple[int, int]] = field(default_factory=lambda: {(48_000, 1)})
    lines: list[Line] = field(default_factory=list)
    own_rate: float = 48_000.0

    class PortAudioError(Exception):
        """As PortAudio's."""

    def query_devices(self, index: int) -> dict[str, Any]:
        return {"max_input_channels": 2, "max_output_channels": 2, "default_samplerate": self.own_rate}

    def InputStream(self, **options: Any) -> Line:  # noqa: N802
        return self._open(True, options)

    def OutputStream(self, **options: Any) -> Line:  # noqa: N802
        return self._open(False, options)

    def _open(self, inward: bool, options: dict[str, Any]) -> Line:
        if (options["samplerate"], options["channels"]) not in self.can:
            raise self.PortAudioError
        self.lines.append(Line(self.clock, inward, options))
        return self.lines[-1]

    async def run(self) -> None:
        while True:
            for line in self.lines:
                if line.active:
                    line.run()
            await self.clock.sleep_until(self.clock.now() + 0.01)


@dataclass
class Shown:
    """A camera that remembers when it showed what."""

    clock: VirtualClock
    name: str = "nowhere"
    latency: float = 0.042
    pictures: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def shown(self) -> int:
        return len(self.pictures)

    def show(self, picture: Picture) -> None:
        self.pictures.append((self.clock.now() + self.latency, bool(picture[0, 0] > 100)))

    def close(self) -> None:
        pass


class _Uncounted:
    def left(self, added: float | None) -> None:
        pass

    def held(self, ticks: int) -> None:
        pass


@dataclass
class Call:
    """A camera with all but the devices' drivers and the engine's process real."""

    clock: VirtualClock
    audio: PortAudio
    ear: Ear
    mouth: Mouth
    shown: Shown
    session: Conversation

    def heard(self) -> list[float]:
        return onsets(sorted(one for line in self.audio.lines for one in line.heard))

    def delays(self, since: float) -> list[float]:
        """Seconds from when a burst was said until it was heard."""
        return [at % 1 for at in self.heard() if at > since + 1]

    def together(self, since: float) -> None:
        """Each burst's picture was shown when it was heard; a picture shows a whole tick, in which the burst may begin late."""
        heard = self.heard()
        apart = [min((at - other for other in heard), key=abs) for at in onsets(self.shown.pictures) if at > since + 1]
        assert apart
        assert min(apart) > -0.04 - 0.02
        assert max(apart) < 0.02


@asynccontextmanager
async def call(
    monkeypatch: pytest.MonkeyPatch, cost: Callable[[int], float] = lambda tick: 0.02, audio: PortAudio | None = None
) -> AsyncIterator[Call]:
    audio = audio or PortAudio(VirtualClock())
    clock = audio.clock
    monkeypatch.setitem(sys.modules, "sounddevice", cast(Any, audio))
    ear, mouth, shown = Ear(Device("microphone", "", 0), clock), Mouth(Device("cable", "", 1), clock), Shown(clock)
    around = Surroundings(cast(Engine, InlineEngine(clock, cost)), clock, _Uncounted(), idle_s=math.inf, total_s=math.inf)
    session = Conversation("camera", "presenter", "", around, lambda ended: None)
    stage = Stage(Plan("presenter", shown, ear, mouth), clock)
    session.attach(stage)
    ear.open()
    mouth.open()
    session.begin()
    session.listen(ear)
    tasks = [asyncio.create_task(one) for one in (audio.run(), stage.run(), ear.watch(), mouth.watch())]
    try:
        await clock.advance(5)
        yield Call(clock, audio, ear, mouth, shown, session)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await session.close()


async def until(made: Call, what: Callable[[], bool]) -> None:
    """Devices are opened in a thread, which the clock knows nothing of."""
    for _ in range(1000):
        if what():
            return
        await made.clock.advance(0.05)
        await asyncio.to_thread(lambda: None)
    raise AssertionError


async def test_lips_and_voice_are_together_and_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch) as made:
        assert max(made.delays(0)) < 0.25
        made.together(1)
        assert made.mouth.bridge.holes == made.mouth.bridge.cuts == made.ear.bridge.holes == made.ear.bridge.cuts == 0


async def test_an_engine_that_was_late_for_a_while_leaves_no_delay_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, lambda tick: 0.4 if tick in (125, 140) else 0.02) as made:
        before = np.mean(made.delays(1))
        await made.clock.advance(10)
        after = made.delays(made.clock.now() - 6)
        assert len(after) > 3
        assert max(after) < before + 0.03
        made.together(made.clock.now() - 6)


async def test_an_engine_that_is_always_late_does_not_make_it_later_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, lambda tick: 0.05) as made:
        await made.clock.advance(10)
        assert made.session.report()["skips"] > 20
        assert made.session.report()["added_p95_ms"] < 400
        assert made.mouth.bridge.depth < 0.3


async def test_a_laptop_that_slept_goes_on_where_the_talk_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch) as made:
        before, count = np.mean(made.delays(1)), len(made.shown.pictures)
        made.clock.jump(3600)
        for line in made.audio.lines:  # as drivers do
            line.active = False
        woke = made.clock.now()
        await until(made, lambda: made.ear.runs and made.mouth.runs and made.ear.returns == made.mouth.returns == 1)
        pictures = len(made.shown.pictures) - count
        assert pictures < 25 * (made.clock.now() - woke) + 10  # the hour is not made up for
        await made.clock.advance(6)
        after = made.delays(made.clock.now() - 4)
        assert len(after) >= 2
        assert max(after) < before + 0.03
        made.together(made.clock.now() - 4)


async def test_a_device_that_can_only_do_its_own_rate_and_channels_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(monkeypatch, audio=PortAudio(VirtualClock(), can={(44_100, 2)}, own_rate=44_100.0)) as made:
        assert made.ear.rate == made.mouth.rate == 44_100
        assert max(made.delays(0)) < 0.25
        made.together(1)


async def test_a_device_that_is_busy_gets_a_sentence_and_one_that_is_busy_when_it_returns_is_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audio = PortAudio(VirtualClock(), can=set())
    with pytest.raises(DeviceFault, match="microphone cannot be opened: it is busy") as fault:
        async with call(monkeypatch, audio=audio):
            pass
    assert "mytalk devices" in fault.value.hint
    audio = PortAudio(VirtualClock())
    async with call(monkeypatch, audio=audio) as made:
        audio.can = set()
        for line in audio.lines:
            line.active = False
        await until(made, lambda: not made.ear.runs)
        count = len(made.shown.pictures)
        await made.clock.advance(3)
        assert len(made.shown.pictures) > count + 70  # the actor lives on
        audio.can = {(48_000, 1)}
        await until(made, lambda: made.ear.runs and made.mouth.runs)
        await made.clock.advance(4)
        assert 0 < max(made.delays(made.clock.now() - 3)) < 0.25


class Hangs(Shown):
    """Its driver takes a picture, and does not come back until it is let; then it is gone."""

    def __init__(self) -> None:
        super().__init__(VirtualClock())
        self.took, self.let = threading.Event(), threading.Event()

    def show(self, picture: Picture) -> None:
        self.took.set()
        assert self.let.wait(60)
        super().show(picture)
        if len(self.pictures) == 2:
            raise DeviceFault("The camera is gone.")


def test_a_camera_that_hangs_holds_nobody_up_and_shows_the_last_picture_then() -> None:
    driver = Hangs()
    camera = InThread(driver)
    dark, bright = np.full((6, 4), 16, np.uint8), np.full((6, 4), 235, np.uint8)
    camera.show(dark)
    assert driver.took.wait(60)
    for picture in (dark, dark, bright):  # nobody waits for it
        camera.show(picture)
    assert (camera.shown, camera.left_out) == (0, 2)
    driver.let.set()
    camera._thread.join(60)  # it ends when its driver is gone
    with pytest.raises(DeviceFault, match="gone"):
        camera.show(bright)
    assert [shown for _, shown in driver.pictures] == [False, True]
    camera.close()


async def test_an_address_that_was_lost_is_called_again_and_its_key_is_not_told() -> None:
    asked: list[bytes] = []
    twice = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readexactly(188))
        if len(asked) == 2:
            twice.set()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    stream = await asyncio.to_thread(Muxer, f"tcp://name:word@{host}:{port}/key", (64, 48))
    picture, faults = np.full((72, 64), 128, np.uint8), set()
    for tick in range(1000):
        stream.show(tick, np.zeros(WIRE_TICK, np.float32), picture)
        faults.add(stream.fault)
        await asyncio.sleep(0.01)
        if twice.is_set() and not stream.fault:
            break
    await stream.close()
    server.close()
    assert [data[0] for data in asked[:2]] == [0x47, 0x47]  # MPEG transport streams, from their beginning
    told = faults - {""}
    assert told
    assert not any("key" in words or "word" in words for words in told)

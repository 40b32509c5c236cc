"""The camera runs: speech in, a session of the engine, pictures and voice out on one clock."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import Fault
from engines.frames import Picture
from realtime import timeline
from realtime.camera.sinks import Camera
from realtime.camera.sinks import Stream as Away
from realtime.camera.sound import Ear, Mouth
from realtime.clock import Clock, WallClock
from realtime.engine import Engine
from realtime.media import read_speech
from realtime.server.intake import Stream
from realtime.server.pcm import Pcm
from realtime.server.session import Session
from realtime.server.surroundings import Surroundings
from realtime.timeline import Float
from realtime.worker import Actors, Talks

READ = 4096


@dataclass(frozen=True)
class Plan:
    """What a person asked for."""

    actor: str
    camera: Camera | None
    ear: Ear | None = None
    mouth: Mouth | None = None
    speech: Path | None = None
    """A file to speak, or `-` for raw samples from standard input; else the microphone."""
    rate: int = 16_000
    """Hz of raw samples."""
    to: str = ""
    """A file or address that everything goes to as well."""


class _Uncounted:
    """`surroundings.Gauges`: nobody counts over sessions where there is one."""

    def left(self, added: float | None) -> None:
        """See `Gauges.left`."""

    def held(self, ticks: int) -> None:
        """See `Gauges.held`."""


class Stage:
    """Where ticks go: `surroundings.Outlet`. A tick's picture is shown when its sound is heard: the output's clock leads."""

    def __init__(self, plan: Plan, clock: Clock, size: tuple[int, int]) -> None:
        self._plan, self._clock = plan, clock
        self._away = Away(plan.to, size) if plan.to else None
        self._due: deque[tuple[float, Picture]] = deque()
        self._here = asyncio.Event()
        self.shown = 0
        """Pictures shown so far."""
        self.delay = 0.0
        """Seconds that the last picture waited for its sound."""

    def say(self, tick: int, sound: Float) -> None:
        """See `Outlet.say`: it comes again with its picture."""

    def show(self, tick: int, sound: Float, picture: Picture | None) -> None:
        """See `Outlet.show`."""
        heard = self._plan.mouth.say(sound) if self._plan.mouth else 0.0
        if self._away:
            self._away.show(tick, sound, picture)
        if picture is not None and self._plan.camera:
            self.delay = max(0.0, heard - self._plan.camera.latency)
            self._due.append((self._clock.now() + self.delay, picture))
            self._here.set()

    def hush(self) -> None:
        """See `Outlet.hush`."""
        if self._plan.mouth:
            self._plan.mouth.bridge.clear()

    def ended(self) -> None:
        """See `Outlet.ended`."""
        if self._away:
            self._away.close()

    async def run(self) -> None:
        """Show pictures, each at its moment."""
        camera = self._plan.camera
        while camera is not None:
            await self._here.wait()
            self._here.clear()
            while self._due:
                when, picture = self._due.popleft()
                await self._clock.sleep_until(when)
                camera.show(picture)
                self.shown += 1

    @property
    def trouble(self) -> str:
        """What became of the address."""
        return self._away.fault if self._away else ""


@dataclass
class Live:
    """What a view looks at, and may change."""

    plan: Plan
    session: Session
    stage: Stage
    engine: Engine

    def pause(self) -> None:
        """Stop hearing, or hear again: the actor idles in between."""
        if self.plan.ear:
            self.plan.ear.paused = not self.plan.ear.paused

    @property
    def state(self) -> str:
        """In a word or two."""
        ear, mouth = self.plan.ear, self.plan.mouth
        if not self.engine.ready:
            return "engine starts again"
        if ear and not ear.runs:
            return f"waits for {ear.device.name}"
        if mouth and not mouth.runs:
            return f"waits for {mouth.device.name}"
        return self.stage.trouble or ("paused" if ear and ear.paused else "live")

    def figures(self) -> dict[str, Any]:
        """For people and programs."""
        report, ear, mouth = self.session.report(), self.plan.ear, self.plan.mouth
        added = report["added_p50_ms"]
        return {
            "state": self.state,
            "fps": report["fps"],
            "added_ms": None if added is None else round(added + self.stage.delay * 1000, 1),
            "level": round(ear.level, 3) if ear else 0.0,
            "drift_in_ppm": round(ear.bridge.ppm) if ear else 0,
            "drift_out_ppm": round(mouth.bridge.ppm) if mouth else 0,
            "depth_in_ms": round(ear.bridge.depth * 1000, 1) if ear else 0.0,
            "depth_out_ms": round(mouth.bridge.depth * 1000, 1) if mouth else 0.0,
            "holes": (ear.bridge.holes if ear else 0) + (mouth.bridge.holes if mouth else 0),
            "cuts": (ear.bridge.cuts if ear else 0) + (mouth.bridge.cuts if mouth else 0),
            "returns": (ear.returns if ear else 0) + (mouth.returns if mouth else 0),
            "holds": report["holds"],
            "skips": report["skips"],
            "restarts": report["engine_restarts"],
            "pictures": self.stage.shown,
        }


Look = Callable[[Live], Any]


def run(plan: Plan, *, store: Actors, pipeline: Callable[[], Talks], view: Look) -> None:
    """Until Ctrl-C or SIGTERM. `view` is a coroutine function that looks on. Raises Fault."""
    store.find(plan.actor)
    asyncio.run(_run(plan, store, pipeline, view))


async def _run(plan: Plan, store: Actors, pipeline: Callable[[], Talks], view: Look) -> None:
    stop, loop, clock = asyncio.Event(), asyncio.get_running_loop(), WallClock()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.set)
    about = await asyncio.to_thread(store.about, plan.actor)
    engine = Engine(store, clock, pipeline, actor=plan.actor)
    tasks: list[asyncio.Task[Any]] = []
    lines = [line for line in (plan.ear, plan.mouth) if line]
    session = None
    try:
        for line in lines:
            line.open()
        await engine.start()
        around = Surroundings(engine, clock, _Uncounted(), idle_s=math.inf, total_s=math.inf)
        session = Session("camera", plan.actor, "", around, lambda ended: stop.set())
        stage = Stage(plan, clock, (int(about["width"]), int(about["height"])))
        session.outlets[:] = [stage]
        session.begin()
        live = Live(plan, session, stage, engine)
        if plan.ear:
            session.listen(plan.ear)
        running = [stage.run(), view(live), *(line.watch() for line in lines)]
        if plan.speech:
            running.append(_speak(plan.speech, plan.rate, session, clock))
        tasks += [asyncio.create_task(one) for one in running]
        ended = asyncio.create_task(stop.wait())
        while not ended.done():
            done, _ = await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
            tasks = [task for task in tasks if task not in done]
            for task in done:
                task.result()
        if session.trouble:
            raise session.trouble
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if session:
            await session.close()
        await engine.close()
        for line in lines:
            line.close()
        if plan.camera:
            plan.camera.close()


async def _speak(source: Path, rate: int, session: Session, clock: Clock) -> None:
    """A file, or samples as they come, into the session, no faster than they are spoken. Then the actor idles."""
    stream = Stream(timeline.WIRE_RATE)
    sound = _raw(rate) if str(source) == "-" else read_speech(source, timeline.WIRE_RATE)
    while (block := await asyncio.to_thread(next, sound, None)) is not None:
        while not stream.room:
            await clock.sleep_until(clock.now() + timeline.TICK_S)
        if len(block):
            session.say(stream, block)
    stream.end()


def _raw(rate: int) -> Iterator[Float]:
    pcm = Pcm(rate)
    while data := os.read(sys.stdin.fileno(), READ):
        yield from pcm.put(data)
    with contextlib.suppress(Fault):  # half a sample at the end is nobody's loss
        yield pcm.flush()

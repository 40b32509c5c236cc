"""Where a session's ticks go: pictures to a camera, each at the moment that its sound is heard. And what people may look at and change."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.frames import Picture
from realtime.camera.drift import Beat
from realtime.camera.sinks import Away, Camera
from realtime.camera.sound import Ear, Mouth
from realtime.clock import Clock
from realtime.conversation import Conversation
from realtime.engine import Engine
from realtime.timeline import TICK_S, Float


@dataclass(frozen=True)
class Door:
    """Where on this machine speech is taken."""

    host: str
    port: int
    path: str = "/"


@dataclass(frozen=True)
class Plan:
    """What a person asked for."""

    actor: str
    camera: Camera | None
    ear: Ear | None = None
    mouth: Mouth | None = None
    speech: Path | Door | None = None
    """A file to speak, `-` for raw samples from standard input, or where a websocket takes them; else the microphone."""
    rate: int = 16_000
    """Hz of raw samples."""
    to: str = ""
    """A file or address that everything goes to as well."""
    secret: str = field(default="", repr=False)
    """What a WHIP address asks for."""
    preview: int | None = None
    """The port of a page that shows the picture; 0 for any."""
    manner: tuple[str, float] = ("own", 1.0)
    """How things are said at first, and how much so."""
    push: bool = False
    """Whether nothing is heard but while a key is held."""


class Stage:
    """`surroundings.Outlet`. A tick's picture is shown when its sound is heard: the output's clock leads. The pictures keep an even
    beat: who looks into a file, or at a driver, at moments of their own misses one of two that are too close.
    """

    def __init__(self, plan: Plan, clock: Clock, away: Away | None = None) -> None:
        self._plan, self._clock, self._away = plan, clock, away
        self._beat, self._tick = Beat(), 0
        self._due: deque[tuple[float, Picture]] = deque()
        self._here = asyncio.Event()
        self._count = 0
        self.last: Picture | None = None
        """The one that is shown now."""
        self.delay = 0.0
        """Seconds that the last picture waited for its sound."""

    def say(self, tick: int, sound: Float) -> None:
        """See `Outlet.say`: it comes again with its picture."""

    def show(self, tick: int, sound: Float, picture: Picture | None) -> None:
        """See `Outlet.show`."""
        heard = self._plan.mouth.say(sound) if self._plan.mouth else 0.0
        if self._away:
            self._away.show(tick, sound, picture)
        if picture is not None:
            self._due.append((self._moment(tick, heard), picture))
            self._here.set()

    def _moment(self, tick: int, heard: float) -> float:
        """When a tick's picture is due, if its sound is heard in so many seconds."""
        now = self._clock.now()
        self._beat(now + max(0.0, heard - (self._plan.camera.latency if self._plan.camera else 0.0)), (tick - self._tick) * TICK_S)
        self._tick = tick
        due = self._beat.at + (0.0 if self._plan.mouth else self._beat.spread)
        self.delay = max(0.0, due - now)
        return due

    def hush(self) -> None:
        """See `Outlet.hush`."""
        if self._plan.mouth:
            self._plan.mouth.hush()

    def ended(self) -> None:
        """See `Outlet.ended`: who made what it sends to closes it."""

    async def run(self) -> None:
        """Show pictures, each at its moment. What is late already when the next is due is not shown."""
        while True:
            await self._here.wait()
            self._here.clear()
            while self._due:
                when, picture = self._due.popleft()
                await self._clock.sleep_until(when)
                if self._due and self._due[0][0] <= self._clock.now():
                    continue
                if self._plan.camera:
                    self._plan.camera.show(picture)
                self.last, self._count = picture, self._count + 1

    @property
    def shown(self) -> int:
        """Pictures shown so far."""
        return self._plan.camera.shown if self._plan.camera else self._count

    @property
    def trouble(self) -> str:
        """What became of the address."""
        return self._away.fault if self._away else ""


@dataclass
class Call:
    """What a view looks at, and may change."""

    plan: Plan
    session: Conversation
    stage: Stage
    engine: Engine
    doors: list[str] = field(default_factory=list)
    """What is open to this machine, in words."""

    def hear(self, on: bool) -> None:
        """Hear, or stop hearing: then the actor idles."""
        if self.plan.ear:
            self.plan.ear.paused = not on

    def toggle(self) -> None:
        """Stop hearing, or hear again."""
        self.hear(self.plan.ear is not None and self.plan.ear.paused)

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
        paused = "push to talk" if self.plan.push else "paused"
        return self.stage.trouble or (paused if ear and ear.paused else "live")

    def figures(self) -> dict[str, Any]:
        """For people and programs."""
        report, ear, mouth = self.session.report(), self.plan.ear, self.plan.mouth
        added = report["added_p50_ms"]
        return {
            "actor": self.plan.actor,
            "state": self.state,
            "push_to_talk": self.plan.push,
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
            "engine_pid": self.engine.pid,
            "pictures": self.stage.shown,
        }

"""Fakes that ship: a clock of one's own, actors without files, and an engine whose cost and pictures are known."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.actor import Actor
from engines.errors import ActorFault, UnknownActor
from engines.motion.manner import Manner
from engines.pipeline import ConversationState, Pipeline
from engines.spec import Float, Picture
from realtime.clock import Clock, WallClock
from realtime.engine import Listener


class VirtualClock:
    """Time that goes only when told: `advance` wakes who sleeps, in order."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """See `realtime.clock.Clock.now`."""
        return self._now

    async def sleep_until(self, when: float) -> None:
        """See `realtime.clock.Clock.sleep_until`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (when, next(self._order), future))
        await future

    def jump(self, seconds: float) -> None:
        """The machine slept: time went by, and nobody was woken."""
        self._now += seconds

    async def advance(self, seconds: float) -> None:
        """Let time go by; whoever wakes runs at the moment that it waited for."""
        end = self._now + seconds
        wall = WallClock()
        while True:
            for _ in range(5):
                await wall.sleep_until(0)
            if not self._sleepers or self._sleepers[0][0] > end:
                break
            when, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, when)
            if not future.done():
                future.set_result(None)
        self._now = end


@dataclass(frozen=True)
class FakeActor:
    """As much of an actor as the worker and `FakePipeline` look at."""

    name: str
    size: tuple[int, int]
    frames: list[Picture] = field(repr=False)


@dataclass(frozen=True)
class FakeStore:
    """Actors without files: a plain picture each, of its own brightness."""

    actors: tuple[str, ...] = ("presenter", "second")
    size: tuple[int, int] = (512, 512)

    def names(self) -> list[str]:
        """All actors."""
        return list(self.actors)

    def held(self) -> list[str]:
        """All."""
        return self.names()

    def preview(self, name: str) -> Path | None:
        """They have none. Raises UnknownActor."""
        self.find(name)
        return None

    @property
    def stage(self) -> FakeStore:
        """See `Store.stage`."""
        return self

    def publish(self, name: str) -> None:
        """See `Store.publish`."""

    def changed(self) -> list[str]:
        """Nothing changes."""
        return []

    def find(self, name: str) -> Path:
        """Their folder, which is empty. Raises UnknownActor."""
        if name not in self.actors:
            raise UnknownActor(f"There is no actor called {name!r}.", f"Did you mean: {', '.join(self.actors)}?")
        return Path(tempfile.gettempdir()) / "mytalk-no-such-folder"

    def folder(self, name: str) -> Path:
        """See `Store.folder`."""
        return Path(tempfile.gettempdir()) / "mytalk-no-such-folder" / name

    def about(self, name: str) -> dict[str, int | float | str]:
        """See `Store.about`."""
        self.find(name)
        return {"name": name, "width": self.size[0], "height": self.size[1], "frames": 1, "source": "nothing"}

    def add(self, actor: Any, preview: bytes = b"") -> Path:
        """Fakes are as many as they are. Raises ActorFault."""
        raise ActorFault("To fakes nothing is added.")

    def remove(self, name: str) -> None:
        """Fakes stay. Raises ActorFault."""
        raise ActorFault("Fakes stay.")

    def load(self, name: str) -> Any:
        """A fake actor."""
        width, height = self.size
        picture = np.full((height * 3 // 2, width), 128, np.uint8)
        picture[:height] = 60 + 40 * self.actors.index(name)
        return FakeActor(name, self.size, [picture])


PARTS = 8
"""Parts of a tick that the fake engine tells apart."""


@dataclass(frozen=True)
class FakeConversation:
    """Its state: the ticks heard, and of the last few which of their parts were loud."""

    actor: Any
    tick: int = 0
    manner: Manner | None = None
    loud: tuple[tuple[bool, ...], ...] = ()


@dataclass(frozen=True)
class FakePipeline:
    """In place of `engines.pipeline.Pipeline`: a clapper. Its picture is the actor's first frame, with a bar that moves
    and a box in the middle that is white in ticks of loud speech and black in others. `stamp` says the
    same of each 5 ms of the tick. With a manner it is white above. A tick costs `cost` seconds. At their tenth tick an actor
    called "broken" breaks, one called "fatal" ends the process, as a bug of a library does, and one called "stuck" never comes back.
    """

    look_ahead: int = 2
    cost: float = 0.0
    loud: float = 0.02
    backend: str = "cpu"

    def start(self, actor: Actor | FakeActor, seed: int = 0, first: int = 0) -> FakeConversation:
        """See `Pipeline.start`."""
        return FakeConversation(actor)

    def interrupt(self, conversation: FakeConversation) -> FakeConversation:
        """See `Pipeline.interrupt`."""
        return replace(conversation, loud=((False,) * PARTS,) * len(conversation.loud))

    def speak_as(self, conversation: FakeConversation, manner: Manner | None, strength: float = 1.0) -> FakeConversation:
        """See `Pipeline.speak_as`."""
        return replace(conversation, manner=manner if strength else None)

    def step(
        self, conversations: Sequence[FakeConversation], speech: Float, unseen: Collection[int] = (), *, plain: bool = False
    ) -> tuple[list[FakeConversation], list[Picture | None]]:
        """See `Pipeline.step`."""
        if self.cost:
            clock = WallClock()
            end = clock.now() + self.cost
            while clock.now() < end:  # busy, as an engine is
                pass
        after, pictures = [], []
        for row, (conversation, heard) in enumerate(zip(conversations, speech, strict=True)):
            if conversation.actor.name == "broken" and conversation.tick == 10:
                raise RuntimeError("as declared")
            if conversation.actor.name == "fatal" and conversation.tick == 10:
                os.abort()
            if conversation.actor.name == "stuck" and conversation.tick == 10:
                threading.Event().wait()
            loud = (*conversation.loud, loud_parts(heard, self.loud))[-1 - self.look_ahead :]
            shown = conversation.tick - self.look_ahead
            seen = shown >= 0 and row not in unseen
            pictures.append(self._draw(conversation.actor, shown, loud[0], conversation.manner is not None) if seen else None)
            after.append(replace(conversation, tick=conversation.tick + 1, loud=loud))
        return after, pictures

    def _draw(self, actor: Any, tick: int, loud: tuple[bool, ...], manner: bool) -> Picture:
        width, height = actor.size
        picture: Picture = np.array(actor.frames[0])
        if manner:
            picture[:40] = 220
        at = tick * 8 % (width - 32)
        picture[48:72, at : at + 32] = 220
        left, middle = width // 2, height // 2
        picture[middle - 48 : middle + 48, left - 48 : left + 48] = 235 if any(loud) else 16
        stamp(picture, loud, tick)
        return picture


class InlineEngine:
    """In place of `realtime.engine.Engine`: no process; on a clock of one's own the n-th tick takes `cost(n)` seconds, one after
    the other. Its pictures are 4 x 4, white where the tick that they show is loud.
    """

    def __init__(self, clock: Clock, cost: Callable[[int], float] = lambda tick: 0.02, look_ahead: int = 2) -> None:
        self._clock, self._cost, self._look_ahead = clock, cost, look_ahead
        self._listeners: dict[int, Listener] = {}
        self._heard: dict[int, list[bool]] = {}
        self._pending: dict[int, list[tuple[int, bool]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = 0.0
        self._count = 0
        self.restarts = 0
        self.manners: list[tuple[int, Manner | None, float]] = []

    def open(self, actor: str, listener: Listener, owner: str = "") -> int:
        """See `Engine.open`."""
        session = len(self._listeners) + 1
        self._listeners[session], self._heard[session], self._pending[session] = listener, [], []
        asyncio.get_running_loop().call_soon(listener.opened, self._look_ahead)
        return session

    def hear(self, session: int, sequence: int, speech: Float) -> None:
        """See `Engine.hear`."""
        self._free = max(self._free, self._clock.now()) + self._cost(self._count)
        self._count += 1
        self._pending[session].append((sequence, bool(np.abs(speech).max() > 0.02)))
        task = asyncio.get_running_loop().create_task(self._answer(session, sequence, self._free, self.restarts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def interrupt(self, session: int) -> None:
        """See `Engine.interrupt`."""
        self._pending[session] = [(sequence, False) for sequence, _ in self._pending[session]]
        self._heard[session] = [False] * len(self._heard[session])

    def speak_as(self, session: int, manner: Manner | None, strength: float) -> None:
        """See `Engine.speak_as`: noted in `manners`."""
        self.manners.append((session, manner, strength))

    def shut(self, session: int) -> None:
        """See `Engine.shut`."""
        self._listeners.pop(session, None)

    def crash(self, seconds: float) -> None:
        """The process ends now, and a new one is there after so long."""
        self.restarts += 1
        for session, listener in self._listeners.items():
            self._pending[session], self._heard[session] = [], []
            listener.lost()
        task = asyncio.get_running_loop().create_task(self._return(self._clock.now() + seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _return(self, when: float) -> None:
        await self._clock.sleep_until(when)
        for listener in self._listeners.values():
            listener.opened(self._look_ahead)

    async def _answer(self, session: int, sequence: int, when: float, restarts: int) -> None:
        await self._clock.sleep_until(when)
        if restarts != self.restarts or session not in self._listeners:
            return
        heard = self._heard[session]
        heard.append(self._pending[session].pop(0)[1])
        shown = len(heard) - 1 - self._look_ahead
        picture = None if shown < 0 else np.full((6, 4), 235 if heard[shown] else 16, np.uint8)
        self._listeners[session].answered(sequence, picture)


class StampedPipeline:
    """The real engine, whose pictures also show what they are of: see `stamp`. For benchmarks."""

    def __init__(self) -> None:
        self._pipeline = Pipeline()

    @property
    def look_ahead(self) -> int:
        """See `Pipeline.look_ahead`."""
        return self._pipeline.look_ahead

    @property
    def backend(self) -> str:
        """See `Pipeline.backend`."""
        return self._pipeline.backend

    def start(self, actor: Actor, seed: int = 0, first: int = 0) -> tuple[ConversationState, tuple[tuple[bool, ...], ...]]:
        """See `Pipeline.start`."""
        return self._pipeline.start(actor, seed, first), ()

    def interrupt(
        self, conversation: tuple[ConversationState, tuple[tuple[bool, ...], ...]]
    ) -> tuple[ConversationState, tuple[tuple[bool, ...], ...]]:
        """See `Pipeline.interrupt`."""
        return self._pipeline.interrupt(conversation[0]), ((False,) * PARTS,) * len(conversation[1])

    def speak_as(
        self, conversation: tuple[ConversationState, tuple[tuple[bool, ...], ...]], manner: Manner | None, strength: float = 1.0
    ) -> tuple[ConversationState, tuple[tuple[bool, ...], ...]]:
        """See `Pipeline.speak_as`."""
        return self._pipeline.speak_as(conversation[0], manner, strength), conversation[1]

    def step(
        self,
        conversations: Sequence[tuple[ConversationState, tuple[tuple[bool, ...], ...]]],
        speech: Float,
        unseen: Collection[int] = (),
        *,
        plain: bool = False,
    ) -> tuple[list[tuple[ConversationState, tuple[tuple[bool, ...], ...]]], list[Picture | None]]:
        """See `Pipeline.step`."""
        after, pictures = self._pipeline.step([conversation for conversation, _ in conversations], speech, unseen, plain=plain)
        loud = [(*before, loud_parts(heard))[-1 - self.look_ahead :] for (_, before), heard in zip(conversations, speech, strict=True)]
        stamped: list[Picture | None] = []
        for picture, parts, (conversation, _) in zip(pictures, loud, conversations, strict=True):
            stamped.append(None if picture is None else picture.copy())
            if stamped[-1] is not None:
                stamp(stamped[-1], parts[0], conversation.tick - self.look_ahead)
        return list(zip(after, loud, strict=True)), stamped


def loud_parts(heard: Float, threshold: float = 0.02) -> tuple[bool, ...]:
    """Which of the parts of a tick of speech are loud."""
    return tuple((np.sqrt(np.mean(heard.reshape(PARTS, -1) ** 2, 1)) > threshold).tolist())


def stamp(picture: Picture, loud: Sequence[bool], number: int) -> None:
    """Draw two rows of eight boxes of 24 x 20 pixels at the foot of a picture: white below where that part of its tick is loud,
    above the bits of its number, the lowest first.
    """
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    for part, on in enumerate(loud):
        at = width // 2 - PARTS * 12 + part * 24
        picture[height - 28 : height - 8, at : at + 24] = 235 if on else 16
        picture[height - 52 : height - 32, at : at + 24] = 235 if number >> part & 1 else 16

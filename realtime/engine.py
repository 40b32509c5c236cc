"""The event loop's side of the inference process: starts it, restarts it, opens conversations, hands back pictures."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import multiprocessing
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from engines.errors import Fault
from engines.pipeline import Pipeline
from engines.spec import Float, Picture
from realtime.clock import Clock
from realtime.worker import BATCHES, PICTURE, SPEECH, Actors, Ring, Talks, main

log = logging.getLogger(__name__)

HANG_S = 10.0
"""An engine that has answered nothing for so long, although asked, is killed."""


class EngineFault(Fault):
    """The engine cannot do it now."""

    code = "engine"
    again = True


class Listener(Protocol):
    """Who gets what the engine makes of a conversation. Called on the event loop."""

    def opened(self, look_ahead: int) -> None:
        """The conversation begins, the first time or afresh after the engine was restarted: what it had is gone."""
        ...

    def answered(self, sequence: int, picture: Picture | None) -> None:
        """One tick was heard; the picture (a copy) is of the tick `look_ahead` before it."""
        ...

    def lost(self) -> None:
        """The process ended; `opened` follows when there is a new one."""
        ...

    def refused(self, fault: Fault) -> None:
        """The conversation cannot be opened."""
        ...


@dataclass
class _Talk:
    actor: str
    listener: Listener
    ring: Ring | None = None


class Engine:
    """One inference process. Conversations outlive it: a new process takes them up with a fresh state."""

    def __init__(self, store: Actors, clock: Clock, factory: Callable[[], Talks] = Pipeline, *, actor: str) -> None:
        self._store, self._clock, self._factory, self._actor = store, clock, factory, actor
        self._talks: dict[int, _Talk] = {}
        self._names = itertools.count(1)
        self._look_ahead = -1  # unknown until the process is ready
        self._process: Any = None
        self._pipe: Connection | None = None
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._asked: dict[int, int] = {}  # conversation -> ticks not answered
        self._heard = 0.0
        self._watch: asyncio.Task[None] | None = None
        self._died = asyncio.Event()
        self.restarts = 0
        self.costs: dict[int, float] = {}
        """Seconds that a tick of so many conversations takes, measured when the process was first started."""
        self.every = 1
        """Of so many pictures one is made; more than 1 where the machine cannot keep up."""
        self.worked: Callable[[int, float], None] = lambda conversations, seconds: None
        """Told of each step that the engine made."""

    @property
    def ready(self) -> bool:
        """Whether the process is up."""
        return self._look_ahead >= 0

    @property
    def pid(self) -> int | None:
        """The process, for those who watch it."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the process, and keep one running."""
        await self._spawn()
        self._watch = asyncio.create_task(self._supervise(), name="engine")

    async def close(self) -> None:
        """End the process."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._end(patience=2.0)

    def open(self, actor: str, listener: Listener) -> int:
        """Begin a conversation; its listener hears when it is open."""
        session = next(self._names)
        self._talks[session] = _Talk(actor, listener)
        if self.ready:
            self._order("open", session, actor=actor)
        return session

    def hear(self, session: int, sequence: int, speech: Float) -> None:
        """Give one tick of speech, (640,) at 16 kHz, to a conversation that is open."""
        if not any(self._asked.values()):
            self._heard = self._clock.now()
        self._asked[session] = self._asked.get(session, 0) + 1
        self._outbox.put(SPEECH.pack(b"S", session, sequence) + speech.tobytes())

    def forget(self, actor: str) -> None:
        """An actor of this name is gone, or will be another: it is loaded anew when it is asked for."""
        if self.ready:
            self._order("forget", 0, actor=actor)

    def interrupt(self, session: int) -> None:
        """Break off the speech of a conversation: what it was given and has not shown is silence."""
        if self.ready:
            self._order("interrupt", session)

    def shut(self, session: int) -> None:
        """End a conversation."""
        self._asked.pop(session, None)
        if talk := self._talks.pop(session, None):
            if talk.ring:
                talk.ring.close()
            if self.ready:
                self._order("close", session)

    def _order(self, what: str, session: int, **rest: str) -> None:
        self._outbox.put(b"J" + json.dumps({"what": what, "session": session, **rest}).encode())

    async def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        batches = (1,) if self.costs else BATCHES  # measured once: a new process is there the sooner
        args = (theirs, self._factory, self._store, self._actor, batches)
        self._process = context.Process(target=main, args=args, daemon=True, name="mytalk-engine")
        await asyncio.to_thread(self._process.start)
        theirs.close()
        self._died.clear()
        self._outbox = queue.SimpleQueue()
        threading.Thread(target=_post, args=(self._pipe, self._outbox), daemon=True, name="engine-outbox").start()
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._read)

    async def _end(self, patience: float = 0.0) -> None:
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self._outbox.put(None)
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            await asyncio.to_thread(self._process.join, patience)
            if self._process.is_alive():
                self._process.kill()
                await asyncio.to_thread(self._process.join)
        self._look_ahead = -1
        self._asked.clear()
        for talk in self._talks.values():
            if talk.ring:
                talk.ring.close()
                talk.ring = None
                talk.listener.lost()

    async def _supervise(self) -> None:
        pause = 0.1
        while True:
            try:
                await asyncio.wait_for(self._died.wait(), 1.0)
            except TimeoutError:
                if not any(self._asked.values()) or self._clock.now() - self._heard < HANG_S:
                    pause = 0.1 if self.ready else pause
                    continue
                log.error("the engine hangs; it is killed")
            self.restarts += 1
            log.warning("the engine's process ended; it is started again")
            await self._end()
            await self._clock.sleep_until(self._clock.now() + pause)
            pause = min(pause * 2, 5.0)
            await self._spawn()

    def _read(self) -> None:
        pipe = self._pipe
        try:
            while pipe is not None and pipe.poll(0):
                self._take(pipe.recv_bytes())
                pipe = self._pipe
        except (EOFError, OSError):
            if pipe is not None:
                asyncio.get_running_loop().remove_reader(pipe.fileno())
            self._died.set()

    def _take(self, message: bytes) -> None:
        self._heard = self._clock.now()
        if message[:1] == b"P":
            _, session, sequence, shown = PICTURE.unpack(message)
            talk = self._talks.get(session)
            if talk and talk.ring:
                self._asked[session] = max(0, self._asked.get(session, 0) - 1)
                talk.listener.answered(sequence, talk.ring.read(sequence) if shown else None)
            return
        news = json.loads(message[1:])
        if news["what"] == "ready":
            self._look_ahead = news["look_ahead"]
            self.costs = self.costs or {int(count): seconds for count, seconds in news["costs"].items()}
            for session, talk in self._talks.items():
                self._order("open", session, actor=talk.actor)
        elif news["what"] == "load":
            self.every = news["every"]
            for conversations, seconds in news["steps"]:
                self.worked(conversations, seconds)
        elif news["what"] == "opened":
            ring = Ring(news["width"], news["height"], news["ring"])
            ring.forget()
            if talk := self._talks.get(news["session"]):
                talk.ring = ring
                talk.listener.opened(self._look_ahead)
            else:
                ring.close()
        elif talk := self._talks.get(news["session"]):
            fault = EngineFault(news["message"], news["hint"])
            fault.code = news["code"]
            talk.listener.refused(fault)


def _post(pipe: Connection, outbox: queue.SimpleQueue[bytes | None]) -> None:
    """Write what is to be sent in a thread of its own: a full pipe never blocks the event loop."""
    try:
        while (message := outbox.get()) is not None:
            pipe.send_bytes(message)
    except OSError:  # the process ended; the reader notices
        pass

"""The event loop's side of the inference process: starts it, restarts it, opens conversations, hands back pictures."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from engines.errors import Fault
from engines.pipeline import Pipeline
from engines.spec import Float, Picture
from realtime.clock import Clock
from realtime.worker import PICTURE, SPEECH, Actors, Ring, Talks, main

log = logging.getLogger(__name__)

HANG_S = 10.0
"""An engine that has answered nothing for so long, although asked, is killed."""
WORK_S, REST_S = 0.006, 0.018
"""How long a spare process loads, and how long it then rests, while there are conversations."""
SPARE_S = 2.0
"""Seconds after which a process that is up is given a spare one: it begins when the first has settled, not beside it."""


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


class _Process:
    """An inference process and the pipe to it."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self.pipe = pipe
        self.outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._process = process
        threading.Thread(target=_post, args=(pipe, self.outbox), daemon=True, name="engine-outbox").start()

    @property
    def pid(self) -> int:
        """Its number."""
        return int(self._process.pid)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return bool(self._process.is_alive())

    @property
    def waits(self) -> bool:
        """Whether it has said something that was not read yet: of a process that nobody reads from, that it is ready."""
        return self.pipe.poll(0)

    def pause(self, so: bool) -> None:
        """Stop it for the moment, or let it go on; where the system cannot, it goes on."""
        if hasattr(signal, "SIGSTOP") and self.alive:
            os.kill(self.pid, signal.SIGSTOP if so else signal.SIGCONT)

    async def end(self, patience: float = 0.0) -> None:
        """It ends with its pipe, or is killed after `patience` seconds."""
        self.outbox.put(None)
        self.pipe.close()
        await asyncio.to_thread(self._process.join, patience)
        if self._process.is_alive():
            self._process.kill()
            await asyncio.to_thread(self._process.join)


class Engine:
    """One inference process, and a spare one that is warm and waits. Conversations outlive a process: the spare takes them up
    with a fresh state. `spare_s`: see `SPARE_S`.
    """

    def __init__(
        self, store: Actors, clock: Clock, factory: Callable[[], Talks] = Pipeline, *, actor: str, spare_s: float = SPARE_S
    ) -> None:
        self._store, self._clock, self._factory, self._actor, self._spare_s = store, clock, factory, actor, spare_s
        self._talks: dict[int, _Talk] = {}
        self._names = itertools.count(1)
        self._look_ahead = -1  # unknown until the process is ready
        self._ready_at = 0.0
        self._process: _Process | None = None
        self._spare: _Process | None = None
        self._easing: asyncio.Task[None] | None = None
        self._asked: dict[int, int] = {}  # conversation -> ticks not answered
        self._heard = 0.0
        self._watch: asyncio.Task[None] | None = None
        self._died = asyncio.Event()
        self.restarts = 0
        self.backend = ""
        """What makes the pictures ("cpu", "cuda", "tensorrt"), once the process is ready."""
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

    @property
    def spare_pid(self) -> int | None:
        """The process that would take over, once there is one."""
        return self._spare.pid if self._spare else None

    async def start(self) -> None:
        """Start the process, and keep one running."""
        self._take_up(await self._spawn())
        self._watch = asyncio.create_task(self._supervise(), name="engine")

    async def close(self) -> None:
        """End the process."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await asyncio.gather(self._end(patience=2.0), self._end_spare(patience=2.0))

    def open(self, actor: str, listener: Listener) -> int:
        """Begin a conversation; its listener hears when it is open."""
        session = next(self._names)
        self._talks[session] = _Talk(actor, listener)
        if self.ready:
            self._tell("open", session, actor=actor)
        return session

    def hear(self, session: int, sequence: int, speech: Float) -> None:
        """Give one tick of speech, (640,) at 16 kHz, to a conversation that is open."""
        if not any(self._asked.values()):
            self._heard = self._clock.now()
        self._asked[session] = self._asked.get(session, 0) + 1
        if self._process:
            self._process.outbox.put(SPEECH.pack(b"S", session, sequence) + speech.tobytes())

    def forget(self, actor: str) -> None:
        """An actor of this name is gone, or will be another: it is loaded anew when it is asked for."""
        for process in (self._process, self._spare):
            if process:
                process.outbox.put(_order("forget", 0, actor=actor))

    def interrupt(self, session: int) -> None:
        """Break off the speech of a conversation: what it was given and has not shown is silence."""
        if self.ready:
            self._tell("interrupt", session)

    def shut(self, session: int) -> None:
        """End a conversation."""
        self._asked.pop(session, None)
        if talk := self._talks.pop(session, None):
            if talk.ring:
                talk.ring.close()
            if self.ready:
                self._tell("close", session)

    def _tell(self, what: str, session: int, **rest: str) -> None:
        if self._process:
            self._process.outbox.put(_order(what, session, **rest))

    async def _spawn(self) -> _Process:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        args = (theirs, self._factory, self._store, self._actor, not self.costs)  # measured once: a new process is there the sooner
        process = context.Process(target=main, args=args, daemon=True, name="mytalk-engine")
        await asyncio.to_thread(process.start)
        theirs.close()
        return _Process(process, ours)

    def _take_up(self, process: _Process) -> None:
        """From now on this process is the engine. A spare has said already that it is ready: that is read first."""
        self._died.clear()
        if self._easing:
            self._easing.cancel()
        self._process = process
        asyncio.get_running_loop().add_reader(process.pipe.fileno(), self._read)

    async def _end(self, patience: float = 0.0) -> None:
        process, self._process = self._process, None
        if process is not None:
            asyncio.get_running_loop().remove_reader(process.pipe.fileno())
            await process.end(patience)
        self._look_ahead = -1
        self._asked.clear()
        for talk in self._talks.values():
            if talk.ring:
                talk.ring.close()
                talk.ring = None
                talk.listener.lost()

    async def _end_spare(self, patience: float = 0.0) -> None:
        spare, self._spare = self._spare, None
        if self._easing:
            self._easing.cancel()
            await asyncio.gather(self._easing, return_exceptions=True)
        if spare is not None:
            await spare.end(patience)

    async def _supervise(self) -> None:
        pause = 0.1
        while True:
            try:
                await asyncio.wait_for(self._died.wait(), min(1.0, self._spare_s))
            except TimeoutError:
                if not any(self._asked.values()) or self._clock.now() - self._heard < HANG_S:
                    pause = 0.1 if self.ready else pause
                    await self._keep_spare()
                    continue
                log.error("the engine hangs; it is killed")
            self.restarts += 1
            spare, self._spare = self._spare, None
            log.warning("the engine's process ended; %s", "the spare one takes over" if spare else "it is started again")
            await self._end()
            if spare is None:
                await self._clock.sleep_until(self._clock.now() + pause)
                pause = min(pause * 2, 5.0)
                spare = await self._spawn()
            self._take_up(spare)

    async def _keep_spare(self) -> None:
        """Have a spare process, once the engine has been up for a while."""
        if self._spare is not None and not self._spare.alive:
            log.warning("the spare engine's process ended; it is started again")
            await self._end_spare()
        if self._spare is None and self.ready and self._clock.now() - self._ready_at >= self._spare_s:
            self._spare = await self._spawn()
            self._easing = asyncio.create_task(self._ease(self._spare), name="spare engine")

    async def _ease(self, spare: _Process) -> None:
        """Let it load a little at a time while others talk: at once, it would take a core from them for seconds."""
        try:
            while spare.alive and not spare.waits:
                if self._talks:
                    spare.pause(True)
                    await self._clock.sleep_until(self._clock.now() + REST_S)
                    spare.pause(False)
                await self._clock.sleep_until(self._clock.now() + WORK_S)
        finally:
            spare.pause(False)

    def _read(self) -> None:
        if (process := self._process) is None:
            return
        try:
            while process.pipe.poll(0):
                self._take(process.pipe.recv_bytes())
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(process.pipe.fileno())
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
            self._look_ahead, self._ready_at, self.backend = news["look_ahead"], self._clock.now(), news["backend"]
            self.costs = self.costs or {int(count): seconds for count, seconds in news["costs"].items()}
            for session, talk in self._talks.items():
                self._tell("open", session, actor=talk.actor)
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


def _order(what: str, session: int, **rest: str) -> bytes:
    return b"J" + json.dumps({"what": what, "session": session, **rest}).encode()


def _post(pipe: Connection, outbox: queue.SimpleQueue[bytes | None]) -> None:
    """Write what is to be sent in a thread of its own: a full pipe never blocks the event loop."""
    try:
        while (message := outbox.get()) is not None:
            pipe.send_bytes(message)
    except OSError:  # the process ended; the reader notices
        pass

"""The event loops of a server as it sees them: processes that peers are placed in, their sessions, and requests that are forwarded."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

from engines.errors import Fault
from realtime.clock import Clock
from realtime.engine import Engine
from realtime.listener import CrashFault, EngineFault
from realtime.processes import Process, order
from realtime.relay import Relay, said
from realtime.server.faults import Full
from realtime.server.metrics import Metrics
from realtime.server.options import Options
from realtime.server.placed import MARK, Placed
from realtime.server.scratch import Scratch

log = logging.getLogger(__name__)

READY_S = 60.0
"""A process that does not answer by then is given up."""
END_S = 5.0
AGAIN_S, MOST_AGAIN_S = 0.5, 30.0
"""After so long one that ended is started again; twice as many seconds each time that it does not get ready."""
STATE_S = 1.0
"""Seconds between two words on how the engine does."""


Main = Callable[..., None]


class TheirFault(Fault):
    """What another process of ours found wrong."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told["detail"], told["hint"])
        self.code, self.status, self.again = told["code"], told["status"], told["again"]


@dataclass(frozen=True)
class TheirViewer:
    """See `placed.Viewer`."""

    name: str
    tag: str


class TheirSession:
    """A `placed.Placed` of another process."""

    def __init__(self, loop: Loop, name: str, actor: str, owner: str, ended: Callable[[Placed], None]) -> None:
        self.name, self.actor, self.owner, self.loop = name, actor, owner, loop
        self.tag, self.connected, self.watching = "", False, 0
        self.refusal: Fault | None = None
        self.last: dict[str, Any] = {}
        """Its last report."""
        self._ended, self._over = ended, False

    async def answer(self, offer: str) -> str:
        """See `Placed.answer`."""
        self.loop.engine.check(self.actor, self.owner)
        asked = {"name": self.name, "actor": self.actor, "owner": self.owner, "offer": offer}
        told = await self.loop.ask("/begin", asked)
        self.tag = told["tag"]
        return str(told["answer"])

    async def watch(self, offer: str) -> tuple[TheirViewer, str]:
        """See `Placed.watch`."""
        told = await self.loop.ask("/watch", {"name": self.name, "offer": offer})
        return TheirViewer(told["name"], told["tag"]), str(told["answer"])

    async def speak_as(self, name: str, strength: float = 1.0) -> None:
        """See `Placed.speak_as`."""
        await self.loop.ask(f"/v1/sessions/{self.name}/manner", {"name": name, "strength": strength})

    async def close(self) -> None:
        """See `Placed.close`."""
        self.loop.tell("end", name=self.name)
        self.gone()

    def report(self) -> dict[str, Any]:
        """See `Placed.report`: of a second ago."""
        return self.last or {"id": self.name, "actor": self.actor, "state": "connecting", "fps": 0.0} | dict.fromkeys(
            ("lag_ticks", "skips", "underruns", "dropped_ms"), 0
        )

    def gone(self, refusal: Fault | None = None) -> None:
        """It has ended. Twice is once."""
        if not self._over:
            self._over, self.refusal = True, refusal
            self.loop.sessions.pop(self.name, None)
            self._ended(self)


class Loop:
    """One of the processes: started, asked, started again where it ended."""

    def __init__(self, number: int, main: Main, engine: Engine, options: Options, clock: Clock, metrics: Metrics, socket: str) -> None:
        self.number, self.engine, self.sessions = number, engine, dict[str, TheirSession]()
        self.lag = 0.0
        """How late it was in the last minute (p99), seconds."""
        self._main, self._options, self._clock, self._metrics, self._socket = main, options, clock, metrics, socket
        self._process: Process | None = None
        self._relay: Relay | None = None
        self._ended = asyncio.Event()
        self._ready = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self.client: ClientSession | None = None

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        """The process, for those who watch it."""
        return self._process.pid if self._process else None

    @property
    def peers(self) -> int:
        """All of its peers."""
        return sum(1 + session.watching for session in self.sessions.values())

    async def start(self) -> None:
        """Start it, and keep it running."""
        self.client = ClientSession(
            connector=UnixConnector(self._socket, limit=0), timeout=ClientTimeout(total=None), auto_decompress=False
        )
        self._keeping = asyncio.create_task(self._keep(), name=f"loop {self.number}")

    async def close(self) -> None:
        """End it."""
        if self._keeping:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self.client:
            await self.client.close()
        await self._end(END_S)

    def make(self, actor: str, owner: str, ended: Callable[[Placed], None]) -> TheirSession:
        """A new session in it."""
        session = TheirSession(self, f"{self._options.name}{MARK}{self.number}.{secrets.token_urlsafe(12)}", actor, owner, ended)
        self.sessions[session.name] = session
        return session

    async def ask(self, path: str, what: dict[str, Any]) -> dict[str, Any]:
        """Ask it for something. Raises the Fault that it met."""
        assert self.client is not None
        try:
            async with self.client.post(f"http://loop{path}", json=what) as answer:
                told: dict[str, Any] = await answer.json(content_type=None)
        except (ClientError, ValueError) as error:
            raise Full("The session's process has just ended.", "Try again in a moment.") from error
        if answer.status != 200:
            raise TheirFault(told)
        return told

    def tell(self, what: str, **rest: Any) -> None:
        """Tell it something."""
        if self._process:
            self._process.outbox.put(order(what, 0, **rest))

    async def _keep(self) -> None:
        pause = AGAIN_S
        while True:
            self._ended.clear()
            try:
                process = self._process = await self._spawn()
            except OSError as error:  # no memory for it now
                log.error("an event loop's process cannot be started: %s", error)
            else:
                self._relay = Relay(self.engine, process)
                while not self._ended.is_set() and (self.ready or self._clock.now() - process.born < READY_S):
                    self._relay.tell_state()
                    pause = AGAIN_S if self.ready else pause
                    try:
                        await asyncio.wait_for(self._ended.wait(), STATE_S)
                    except TimeoutError:
                        continue
                log.error("event loop %d's process ended: its sessions are over, it is started again", self.number)
                await self._end(0.0)
            await self._clock.sleep_until(self._clock.now() + pause)
            pause = min(2 * pause, MOST_AGAIN_S)

    async def _spawn(self) -> Process:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        options = replace(self._options, token="", host="127.0.0.1", origins=())
        args = (theirs, self._socket, options, self.engine.store, self.number, bool(self._options.token))
        process = context.Process(target=self._main, args=args, daemon=False, name=f"mytalk-loop-{self.number}")
        await asyncio.to_thread(process.start)
        theirs.close()
        return Process(process, ours, self._clock.now(), self._said)

    async def _end(self, patience: float) -> None:
        process, self._process = self._process, None
        self._ready.clear()
        if self._relay:
            self._relay.close()
        if process is not None:
            await process.end(patience)
        for session in list(self.sessions.values()):
            session.gone()

    def _said(self, process: Process, message: bytes | None) -> None:
        if process is not self._process or self._relay is None:
            return
        if message is None:
            self._ended.set()
        elif message[:1] == b"S":
            self._relay.take(message)
        else:
            self._hear(said(message))

    def _hear(self, news: dict[str, Any]) -> None:
        session = self.sessions.get(news.get("name", ""))
        if news["what"] == "ready":
            self._ready.set()
        elif news["what"] == "reports":
            self.lag = news["lag"]
            for name, report in news["reports"].items():
                if name in self.sessions:
                    self.sessions[name].last = report
            for added in news["left"]:
                self._metrics.left(added)
            self._metrics.held(news["held"])
        elif news["what"] == "peers" and session:
            session.connected, session.watching = news["connected"], news["watching"]
        elif news["what"] == "ended" and session:
            session.gone(_fault(news["refusal"]))
        elif news["what"] not in ("peers", "ended") and self._relay:
            self._relay.obey(news)


def _fault(told: dict[str, str] | None) -> Fault | None:
    if not told:
        return None
    fault = (CrashFault if told["code"] == CrashFault.code else EngineFault)(told["message"], told["hint"])
    fault.code = told["code"]
    return fault


class Loops:
    """All of them; none where the server's own carries all peers. `main` is what each of their processes does (`realtime.server.loop`)."""

    def __init__(self, main: Main, engine: Engine, options: Options, clock: Clock, metrics: Metrics, scratch: Scratch) -> None:
        self._parts, self._scratch = (main, engine, options, clock, metrics), scratch
        self.all: list[Loop] = []

    def __len__(self) -> int:
        return len(self.all)

    async def start(self, count: int) -> None:
        """Start so many; sessions are placed in them as soon as one answers."""
        for number in range(1, count + 1):
            socket = str(self._scratch.folder / f"loop{number}")
            self.all.append(Loop(number, *self._parts, socket))
            await self.all[-1].start()

    async def close(self) -> None:
        """End them."""
        await asyncio.gather(*(loop.close() for loop in self.all))
        self.all.clear()

    @property
    def lag_p99(self) -> float:
        """How late the latest of them is, seconds."""
        return max((loop.lag for loop in self.all), default=0.0)

    async def recordings(self, who: str) -> list[dict[str, Any]]:
        """Those of somebody in all of them (`Recordings.of_owner`)."""
        asked = [loop.ask("/recordings", {"who": who}) for loop in self.all if loop.ready]
        told = await asyncio.gather(*asked, return_exceptions=True)
        return [one for answer in told if isinstance(answer, dict) for one in answer["recordings"]]

    def place(self) -> Loop | None:
        """Where the next session is best: with the fewest peers. None while none answers."""
        return min((loop for loop in self.all if loop.ready), key=lambda loop: loop.peers, default=None)

    def of(self, name: str) -> Loop | None:
        """The loop that something belongs to by its name: MACHINE~NUMBER.NAME."""
        number, dot, _ = name.partition(MARK)[2].partition(".")
        return next((loop for loop in self.all if dot and number == str(loop.number)), None)

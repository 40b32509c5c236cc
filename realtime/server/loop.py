"""One of several event loops that share the peers of a server: a process with sessions, and nothing else of it.

The engine is asked over a pipe (`realtime.relay`); whoever may ask for a session is asked by the server, which forwards requests to a
socket in a folder that nobody else may enter. So what comes there is believed.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from aiohttp import web

from realtime.clock import Clock, WallClock
from realtime.conversation import Conversation
from realtime.manners import manner_called
from realtime.processes import Line, forks, order
from realtime.relay import RemoteEngine, said
from realtime.server import say, speech, watch, whip
from realtime.server.closed import hide
from realtime.server.guard import ASKER, GUARD, OWNER, WHO, Asker, Guard, Handler, answer_faults
from realtime.server.keys import CLOCK, OPTIONS, RECORDINGS, SAYINGS, SESSIONS, UPLOADS
from realtime.server.metrics import Metrics
from realtime.server.options import Options
from realtime.server.placed import ASKED_BY, MARK, Placed
from realtime.server.recordings import Recordings
from realtime.server.sayings import Sayings
from realtime.server.scratch import Scratch
from realtime.server.session import Session
from realtime.server.sessions import Sessions
from realtime.server.speaking import Speaking
from realtime.server.uploads import Uploads
from realtime.surroundings import Surroundings
from realtime.webrtc.encoders import set_encoders
from realtime.worker import Actors

LOOK_S, REPORT_S = 0.05, 1.0
"""Seconds between two looks at who is connected, and between two reports of all sessions."""
MOST = 1 << 20


class _Gauges:
    """`surroundings.Gauges`: gathers what the server is told now and then."""

    def __init__(self) -> None:
        self._added: list[float | None] = []
        self._held = 0

    def left(self, added: float | None) -> None:
        """See `Gauges.left`."""
        self._added.append(added)

    def held(self, ticks: int) -> None:
        """See `Gauges.held`."""
        self._held += ticks

    def gathered(self) -> dict[str, Any]:
        """Since the last time."""
        told = {"left": self._added, "held": self._held}
        self._added, self._held = [], 0
        return told


class _Loop:
    """All that lives in the process."""

    def __init__(self, pipe: Connection, options: Options, store: Actors, clock: Clock, number: int) -> None:
        self._clock, self._options, self.number = clock, options, number
        self.over = asyncio.Event()
        self.engine, self.gauges, self.metrics = RemoteEngine(), _Gauges(), Metrics(clock)
        self._around = Surroundings(
            self.engine, clock, self.gauges, options.idle_s, options.total_s, options.begun, partial(manner_called, store=store)
        )
        self.sessions = Sessions(self._around, partial(self._make, ""), MOST, lambda: None)
        self._line = Line(pipe, self._said)
        self.engine.join(self._line)

    def _make(self, name: str, actor: str, owner: str, ended: Callable[[Placed], None]) -> Session:
        def gone(session: Conversation) -> None:
            fault = session.refusal
            ended(made)
            self._tell("ended", name=session.name, refusal=fault and {"code": fault.code, "message": fault.message, "hint": fault.hint})

        made = Session(name, actor, owner, self._around, gone, self._options.ice_now)
        return made

    async def begin(self, request: web.Request) -> web.StreamResponse:
        """POST: a new session, whose name is known already."""
        asked = await request.json()
        make = partial(self._make, asked["name"])
        session, answer = await self.sessions.open(asked["actor"], asked["offer"], asked["owner"], make=make)
        return web.json_response({"tag": session.tag, "answer": answer})

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """POST: a new viewer."""
        asked = await request.json()
        viewer, answer = await self.sessions.watch(self.sessions.find(asked["name"]), asked["offer"])
        return web.json_response({"name": viewer.name, "tag": viewer.tag, "answer": answer})

    def _said(self, message: bytes | None) -> None:
        if message is None:
            self.over.set()
        elif message[:1] == b"P":
            self.engine.take(message)
        else:
            news = said(message)
            if news["what"] == "end":
                self._end(news["name"])
            else:
                self.engine.obey(news)

    def _end(self, name: str) -> None:
        if (session := self.sessions.get(name)) is not None:
            assert isinstance(session, Session)
            session.leave()

    def _tell(self, what: str, **rest: Any) -> None:
        self._line.outbox.put(order(what, 0, **rest))

    async def run(self) -> None:
        """Tell the server of the sessions until it ends."""
        self._tell("ready")
        known: dict[str, tuple[bool, int]] = {}
        due = self._clock.now()
        while not self.over.is_set():
            now = {session.name: (session.connected, session.watching) for session in self.sessions}
            for name, (connected, watching) in now.items():
                if known.get(name) != (connected, watching):
                    self._tell("peers", name=name, connected=connected, watching=watching)
            known = now
            if self._clock.now() >= due:
                due += REPORT_S
                reports = {session.name: session.report() for session in self.sessions}
                self._tell("reports", reports=reports, lag=self.metrics.lag_p99, **self.gauges.gathered())
            await self._clock.sleep_until(self._clock.now() + LOOK_S)

    async def end(self) -> None:
        """End all sessions."""
        await self.sessions.close()
        self._line.hang_up()


@web.middleware
async def _trust(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[ASKER] = Asker(request.headers.get(ASKED_BY, OWNER))
    request[WHO] = request[ASKER].name
    return await handler(request)


async def _recordings(request: web.Request) -> web.StreamResponse:
    """POST: those of somebody."""
    who = (await request.json())["who"]
    return web.json_response({"recordings": request.app[RECORDINGS].of_owner(who)})


def of_sessions() -> list[web.RouteDef]:
    """The routes of sessions and recordings that whichever process has them answers; the server forwards those of others (`forward`)."""
    one, viewer = "/v1/sessions/{session}", "/v1/sessions/{session}/viewers/{viewer}"
    return [
        web.get(one, watch.report),
        web.patch(one, whip.patch),
        web.delete(one, whip.end),
        web.patch(viewer, whip.patch_viewer),
        web.delete(viewer, whip.end_viewer),
        web.get(f"{one}/speech", speech.talk),
        web.post(f"{one}/speech", speech.speak),
        web.post(f"{one}/say", say.say),
        web.post(f"{one}/interrupt", speech.interrupt),
        web.post(f"{one}/manner", speech.manner),
        web.post(f"{one}/recording", watch.record),
        web.get(f"{one}/recording", watch.recording),
        web.delete(f"{one}/recording", watch.stop_recording),
        web.get("/v1/recordings/{recording}.mp4", watch.download),
        web.delete("/v1/recordings/{recording}.mp4", watch.remove_recording),
    ]


def _routes(loop: _Loop) -> list[web.RouteDef]:
    own = [web.post("/begin", loop.begin), web.post("/watch", loop.watch), web.post("/recordings", _recordings)]
    return [*own, *of_sessions()]


def main(pipe: Connection, socket: str, options: Options, store: Actors, number: int, hidden: bool) -> None:
    """The process. `socket` is where it answers; `hidden` whether no other process may look into it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's; this side ends with the pipe
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hidden:
        hide()
    asyncio.run(_run(pipe, socket, options, store, number))


async def _run(pipe: Connection, socket: str, options: Options, store: Actors, number: int) -> None:
    clock = WallClock()
    set_encoders()
    loop, scratch, uploads = _Loop(pipe, options, store, clock, number), Scratch(), Uploads(clock)
    await asyncio.to_thread(scratch.open)
    app = web.Application(middlewares=[answer_faults, _trust], client_max_size=1 << 20)
    app[OPTIONS], app[CLOCK], app[GUARD] = options, clock, Guard(options, clock)
    app[SESSIONS], app[UPLOADS], app[RECORDINGS] = loop.sessions, uploads, Recordings(scratch, f"{options.name}{MARK}{number}.")
    app[SAYINGS] = Sayings(Speaking(clock, options.voice_command, options.voice), clock)
    app.add_routes(_routes(loop))
    await asyncio.to_thread(forks)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, auto_decompress=False)
    await runner.setup()
    looking = asyncio.create_task(loop.metrics.watch_loop(), name="loop lag")
    try:
        await web.UnixSite(runner, socket).start()
        await loop.run()
    finally:
        looking.cancel()
        await loop.end()
        await app[SAYINGS].close()
        await runner.cleanup()
        uploads.close()
        await app[RECORDINGS].close()
        scratch.close()

"""The server as an application: which address leads where, what lives as long as it, and how it is served.

Every error leaves as an RFC 9457 problem with a stable code, never as a traceback.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from functools import partial

from aiohttp import web

from engines.errors import Fault
from engines.pipeline import Pipeline
from realtime.clock import Clock, WallClock
from realtime.engine import LONGEST_AGAIN_S, Engine
from realtime.load import Costs, loops_for
from realtime.manners import manner_called
from realtime.processes import forks
from realtime.server import actors, loop, machine, rooms, say, shown, watch, whip
from realtime.server.closed import hide
from realtime.server.enrolments import Enrolments
from realtime.server.forward import to_owner
from realtime.server.found import Found
from realtime.server.guard import GUARD, Guard, add_headers, answer_faults, cors, stand_guard
from realtime.server.keys import (
    AROUND,
    CLOCK,
    ENGINE,
    ENROLMENTS,
    FOUND,
    LOOPS,
    METRICS,
    OPTIONS,
    RECORDINGS,
    SAYINGS,
    SESSIONS,
    STORE,
    UPLOADS,
)
from realtime.server.listening import serve_until_told
from realtime.server.loops import Loops
from realtime.server.metrics import Metrics
from realtime.server.options import Options
from realtime.server.placed import MARK, Placed
from realtime.server.recordings import Recordings
from realtime.server.sayings import Sayings
from realtime.server.scratch import Scratch
from realtime.server.session import Session
from realtime.server.sessions import Sessions
from realtime.server.speaking import Speaking
from realtime.server.uploads import Uploads
from realtime.surroundings import Surroundings
from realtime.webrtc.costs import cost_of_a_picture, cost_of_packets
from realtime.webrtc.encoders import set_encoders
from realtime.worker import Actors, LivePipeline, shown_size

MOST_OFFER = 64 << 10
WIRE = 2.0
"""Sending a picture costs so many times its encoding: packets, encryption, sound."""
LOOP = 15.0
"""Of an event loop a tick of a peer takes so many times its packets: the rest is what moves them, a microphone, and reports. Measured with
one to three peers that talk."""
WIRES_AGAIN_S = 30.0
"""Seconds after which that is measured again; then twice as many."""
SCRATCH = web.AppKey("scratch", Scratch)
WIRE_COST: web.AppKey[list[tuple[float, int, float]]] = web.AppKey("wire", list)
"""Seconds of a picture sent, its pixels, and seconds of its packets; once they are known."""


def make_app(
    *, store: Actors, options: Options | None = None, clock: Clock | None = None, pipeline: Callable[[], LivePipeline] = Pipeline
) -> web.Application:
    """The server as an application. `pipeline` is made in the inference process, so it must be importable by name."""
    options, clock = options or Options(), clock or WallClock()
    prefix = f"{options.name}{MARK}"
    app = web.Application(middlewares=[answer_faults, stand_guard, to_owner], client_max_size=MOST_OFFER)
    app[STORE], app[OPTIONS], app[CLOCK] = store, options, clock
    app[GUARD] = Guard(options, clock)
    app[METRICS] = Metrics(clock)
    app[ENGINE] = Engine(store, clock, pipeline, actor=options.actor, largest=options.largest, label=options.label)
    app[WIRE_COST] = []
    app[SCRATCH] = Scratch()
    app[LOOPS] = Loops(loop.main, app[ENGINE], options, clock, app[METRICS], app[SCRATCH])
    around = app[AROUND] = Surroundings(
        app[ENGINE], clock, app[METRICS], options.idle_s, options.total_s, options.begun, partial(manner_called, store=store)
    )

    def make(actor: str, owner: str, ended: Callable[[Placed], None]) -> Placed:
        if place := app[LOOPS].place():
            return place.make(actor, owner, ended)
        session = Session(prefix + secrets.token_urlsafe(12), actor, owner, around, lambda _: ended(session), options.ice_now)
        return session

    app[SESSIONS] = Sessions(around, make, options.max_sessions, lambda: _costs(app), lambda actor: _pixels(app, actor))
    app[METRICS].watch(app[SESSIONS], app[ENGINE])
    app[UPLOADS] = Uploads(clock)
    app[FOUND] = Found(store, clock, app[ENGINE].forget)
    app[SAYINGS] = Sayings(Speaking(clock, options.voice_command, options.voice), clock)
    app[RECORDINGS] = Recordings(app[SCRATCH], prefix)
    app.add_routes(_routes())
    app.cleanup_ctx.append(_lifetime)
    app.on_response_prepare.append(_headers)
    app.on_shutdown.append(_end_sessions)
    return app


def _routes() -> list[web.RouteDef]:
    return [
        *shown.of_page(),
        web.get("/healthz", watch.health),
        web.get("/readyz", watch.ready),
        web.get("/metrics", watch.metrics),
        web.get("/v1/manners", actors.list_manners),
        web.get("/v1/actors", actors.list_actors),
        web.post("/v1/actors", actors.add),
        web.get("/v1/actors/{actor}/preview.jpg", actors.preview),
        web.delete("/v1/actors/{actor}", actors.remove),
        web.get("/v1/enrolments/{enrolment}", actors.enrolment),
        web.get("/v1/voices", say.list_voices),
        web.get("/v1/sessions", watch.list_sessions),
        web.post("/v1/sessions", whip.begin),
        web.post("/v1/rooms", rooms.begin),
        web.post("/v1/sessions/{session}/viewers", whip.watch),
        *loop.of_sessions(),
        web.post("/v1/joins", watch.join),
        web.post("/v1/guests", watch.enter),
        web.post("/v1/owners", watch.sign_in),
        web.get("/v1/me", watch.me),
        web.get("/v1/recordings", watch.list_recordings),
        web.get("/v1/machine", machine.about),
        web.post("/v1/drain", machine.drain),
        web.delete("/v1/drain", machine.resume),
        web.post("/v1/claims", machine.claim),
    ]


def serve(*, store: Actors, options: Options | None = None, port: int = 8008, pipeline: Callable[[], LivePipeline] = Pipeline) -> None:
    """Serve until Ctrl-C or SIGTERM. Prints "Serving on http://HOST:PORT" when ready. Raises Fault."""
    options = options or Options()
    store.find(options.actor)
    if options.token:
        hide()
    app = make_app(store=store, options=options, pipeline=pipeline)
    asyncio.run(serve_until_told(app, options.host, port, app[SESSIONS].drained, options.drain_s))


def _costs(app: web.Application) -> Costs | None:
    """What this machine was measured to need; None until it is known."""
    engine, wire = app[ENGINE].costs, app[WIRE_COST]
    width, height = app[ENGINE].size
    if not engine or not wire:
        return None
    cost, sent, packets = wire[0]
    return Costs(engine, cost, _cores(), width * height, sent, LOOP * packets, max(1, len(app[LOOPS])))


def _pixels(app: web.Application, actor: str) -> tuple[int, int]:
    """Of a picture of an actor: as it was enrolled, and as it is sent (blocking). Zeros where that cannot be said."""
    try:
        about = app[STORE].about(actor)
    except Fault:
        return 0, 0
    size = int(about["width"]), int(about["height"])
    shown = shown_size(size, app[OPTIONS].largest)
    return size[0] * size[1], shown[0] * shown[1]


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


async def _lifetime(app: web.Application) -> AsyncIterator[None]:
    set_encoders()
    await asyncio.to_thread(app[SCRATCH].open)
    app[ENROLMENTS] = Enrolments(app[STORE], app[CLOCK], f"{app[OPTIONS].name}{MARK}")
    await app[ENGINE].start()
    await asyncio.to_thread(forks)
    background = [
        asyncio.create_task(app[METRICS].watch_loop(), name="loop lag"),
        asyncio.create_task(_measure_wires(app), name="wires"),
        asyncio.create_task(_start_loops(app), name="loops"),
        asyncio.create_task(app[FOUND].watch(), name="store"),
    ]
    yield
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await app[LOOPS].close()
    await app[SAYINGS].close()
    await app[ENROLMENTS].close()
    app[UPLOADS].close()
    app[FOUND].close()
    await app[RECORDINGS].close()
    app[SCRATCH].close()
    await app[ENGINE].close()


async def _measure_wires(app: web.Application) -> None:
    try:
        about = await asyncio.to_thread(app[STORE].about, app[OPTIONS].actor)
        size = shown_size((int(about["width"]), int(about["height"])), app[OPTIONS].largest)
    except Fault:  # who asks for this actor will hear it
        size = (512, 512)
    pause = WIRES_AGAIN_S
    while True:
        # the least counts: what the machine can, not what else it had to do just then
        cost = WIRE * await asyncio.to_thread(cost_of_a_picture, size, app[CLOCK])
        packets = await asyncio.to_thread(cost_of_packets, app[CLOCK])
        known = app[WIRE_COST][0] if app[WIRE_COST] else (cost, 0, packets)
        app[WIRE_COST][:] = [(min(cost, known[0]), size[0] * size[1], min(packets, known[2]))]
        await app[CLOCK].sleep_until(app[CLOCK].now() + pause)
        pause = min(2 * pause, LONGEST_AGAIN_S)


async def _start_loops(app: web.Application) -> None:
    """Start as many as were asked for; else, once it is known what the machine carries, as many as carry that."""
    wanted = app[OPTIONS].loops
    while wanted is None:
        await app[CLOCK].sleep_until(app[CLOCK].now() + 0.05)
        if (costs := _costs(app)) is not None:
            wanted = loops_for(costs)
    if wanted > 1:
        await app[LOOPS].start(wanted)


async def _end_sessions(app: web.Application) -> None:
    await app[SESSIONS].close()


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    await add_headers(request, response)
    cors(request, response)
    if response.status >= 400 and request.app is not None:
        request.app[METRICS].refused(str(response.status))

"""What a front (`realtime.front`) asks of a machine, and what ends one gently: how full it is, that it takes nobody any more, and which
join tokens were used."""

from __future__ import annotations

from collections import Counter

from aiohttp import web

from engines.errors import Fault
from realtime.server.faults import RequestFault
from realtime.server.guard import GUARD, OWNER, must_own
from realtime.server.keys import ENGINE, LOOPS, OPTIONS, SESSIONS, STORE, UPLOADS
from realtime.server.uploads import read_json
from realtime.worker import Actors


async def about(request: web.Request) -> web.StreamResponse:
    """GET how full the machine is, whom it has, and of whom."""
    must_own(request)
    engine, sessions = request.app[ENGINE], request.app[SESSIONS]
    return web.json_response({
        "name": request.app[OPTIONS].name,
        "ready": engine.answers,
        "draining": sessions.draining,
        "capacity": sessions.capacity,
        "sessions": len(sessions),
        "free": sessions.free if engine.answers else 0,
        "loops": max(1, len(request.app[LOOPS])),
        "actors": await request.app[UPLOADS].run(_held, request.app[STORE]),
        "busy": sorted({session.actor for session in sessions}),
        "guests": Counter(session.owner for session in sessions if session.owner != OWNER),
    })  # fmt: skip


def _held(store: Actors) -> list[str]:
    """Actors whose files are here."""
    try:
        return store.held()
    except Fault:
        return []


async def drain(request: web.Request) -> web.StreamResponse:
    """POST: nobody begins a session here any more; those that there are go on."""
    must_own(request)
    request.app[SESSIONS].draining = True
    return web.json_response(_draining(request))


async def resume(request: web.Request) -> web.StreamResponse:
    """DELETE: sessions are taken again."""
    must_own(request)
    request.app[SESSIONS].draining = False
    return web.json_response(_draining(request))


def _draining(request: web.Request) -> dict[str, int | bool]:
    return {"draining": request.app[SESSIONS].draining, "sessions": len(request.app[SESSIONS])}


async def claim(request: web.Request) -> web.StreamResponse:
    """POST {"join": NAME, "use": "browser" or "session", "until": UNIX TIME}: a join token is used; answers for what it was before, if so.
    With an empty use it was not used after all."""
    must_own(request)
    said = await read_json(request)
    join, use, until = said.get("join"), said.get("use"), said.get("until", 0.0)
    if not isinstance(join, str) or not 0 < len(join) <= 64 or use not in ("browser", "session", "") or not isinstance(until, int | float):
        raise RequestFault("The claim is not understood.", 'Send {"join": "...", "use": "browser", "until": 1767225600}.')
    claims, before = request.app[GUARD].claims, ""
    if use:
        before = await claims.take(join, use, float(until))
    else:
        await claims.give_back(join)
    return web.json_response({"before": before})

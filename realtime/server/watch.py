"""Watching a server: health, metrics, sessions; and recordings, joins and guests: what is asked beside a session."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from aiohttp import web

from realtime.server.faults import InUse, RequestFault, UnknownItem
from realtime.server.guard import (
    COOKIE,
    GUARD,
    GUEST_S,
    JOIN_S,
    LONGEST_JOIN_S,
    OWNER,
    SESSIONS_AT_ONCE,
    WHO,
    Rights,
    by_tls,
    must_may_record,
    must_own,
    rights_of,
)
from realtime.server.keys import ENGINE, LOOPS, METRICS, RECORDINGS, SESSIONS
from realtime.server.recordings import LONGEST_S
from realtime.server.uploads import read_json
from realtime.server.whip import find, seen


async def health(request: web.Request) -> web.StreamResponse:
    """GET: the server answers; with what it carries."""
    engine, sessions = request.app[ENGINE], request.app[SESSIONS]
    return web.json_response({
        "ready": engine.answers,
        "backend": engine.backend,
        "draining": sessions.draining,
        "sessions": len(sessions),
        "capacity": sessions.capacity,
        "engine_restarts": engine.restarts,
        "pictures_every": engine.every,
        "loops": max(1, len(request.app[LOOPS])),
        "loop_lag_p99_ms": round(max(request.app[METRICS].lag_p99, request.app[LOOPS].lag_p99) * 1000, 2),
    })  # fmt: skip


async def ready(request: web.Request) -> web.StreamResponse:
    """GET: 200 where a session can begin now, else 503."""
    sessions = request.app[SESSIONS]
    fine = request.app[ENGINE].answers and sessions.free > 0
    return web.json_response({"ready": fine, "free": sessions.free}, status=200 if fine else 503)


async def metrics(request: web.Request) -> web.StreamResponse:
    """GET figures in Prometheus' format."""
    must_own(request)
    return web.Response(body=request.app[METRICS].text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def list_sessions(request: web.Request) -> web.StreamResponse:
    """GET all sessions with their figures."""
    must_own(request)
    return web.json_response({"sessions": [session.report() for session in request.app[SESSIONS]]})


async def report(request: web.Request) -> web.StreamResponse:
    """GET one session's state and figures."""
    return web.json_response(seen(request).report())


async def record(request: web.Request) -> web.StreamResponse:
    """POST: record the session from now on."""
    session = find(request)
    must_may_record(request)
    recording = request.app[RECORDINGS].begin(session)
    return web.json_response(recording.report(), status=201, headers={"Location": f"/v1/recordings/{recording.name}.mp4"})


async def recording(request: web.Request) -> web.StreamResponse:
    """GET how the session's recording goes."""
    if (made := request.app[RECORDINGS].of(find(request))) is None:
        raise UnknownItem("This session is not being recorded.", "POST to this address begins it.")
    return web.json_response(made.report())


async def stop_recording(request: web.Request) -> web.StreamResponse:
    """DELETE: the recording ends here; the answer says where it lies."""
    if (made := request.app[RECORDINGS].of(find(request))) is None:
        raise UnknownItem("This session is not being recorded.", "POST to this address begins it.")
    made.finish()
    await made.wait()
    return web.json_response(made.report())


async def download(request: web.Request) -> web.StreamResponse:
    """GET a recording as a file."""
    made = request.app[RECORDINGS].find(request.match_info["recording"])
    must_own(request, made.owner)
    if made.going:
        raise InUse("This recording is still being made.", "Stop it first.")
    if made.fault is not None and not await asyncio.to_thread(made.path.exists):
        raise made.fault  # else what there was until then is given
    name = quote(f"mytalk-{made.actor}.mp4")
    return web.FileResponse(made.path, headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"})


async def remove_recording(request: web.Request) -> web.StreamResponse:
    """DELETE a recording's file."""
    made = request.app[RECORDINGS].find(request.match_info["recording"])
    must_own(request, made.owner)
    request.app[RECORDINGS].remove(made.name)
    return web.Response(status=204)


async def join(request: web.Request) -> web.StreamResponse:
    """POST: a join token for one browser. It goes behind the # of the page's address, which no log keeps. JSON may say
    what its guest may do."""
    must_own(request)
    said = await read_json(request) if request.can_read_body else {}
    rights, seconds = _rights(said), said.get("seconds", JOIN_S)
    token = request.app[GUARD].join_token(rights, seconds)
    page = f"/#watch={rights.watch}&join={token}" if rights.watch else f"/#join={token}"
    return web.json_response({"join": token, "page": page, "seconds": seconds}, status=201)


def _rights(said: dict[str, Any]) -> Rights:
    """What an invitation says. Raises RequestFault for what it cannot."""
    actors, recording, sessions = said.get("actors"), said.get("recording", True), said.get("sessions", SESSIONS_AT_ONCE)
    watch, seconds = said.get("watch", ""), said.get("seconds", JOIN_S)
    named = actors is None or (isinstance(actors, list) and actors and all(isinstance(actor, str) for actor in actors))
    if unknown := set(said) - {"actors", "recording", "sessions", "watch", "seconds"}:
        raise RequestFault(f"A join says nothing of {min(unknown)[:40]!r}.", "Say actors, recording, sessions, watch, seconds, or nothing.")
    if (
        not named or not isinstance(recording, bool) or type(sessions) is not int or not 1 <= sessions <= 1000 or not isinstance(watch, str)
        or type(seconds) not in (int, float) or not 1 <= seconds <= LONGEST_JOIN_S
    ):  # fmt: skip
        raise RequestFault("The join is not understood.", 'Send {"actors": ["anna"], "recording": false, "sessions": 1}, or nothing.')
    return Rights(None if actors is None else frozenset(actors), recording, sessions, watch)


async def me(request: web.Request) -> web.StreamResponse:
    """GET what whoever asks may do."""
    guard, owner = request.app[GUARD], request[WHO] == OWNER
    rights = rights_of(request)
    return web.json_response({
        "owner": owner,
        "may_invite": owner and bool(guard.options.token),
        "may_record": rights is None or rights.recording,
        "longest_recording_s": LONGEST_S,
        "watch": rights.watch if rights else "",
    })  # fmt: skip


async def sign_in(request: web.Request) -> web.StreamResponse:
    """POST {"secret": TOKEN}: the browser that does so is the owner's from now on."""
    guard = request.app[GUARD]
    await guard.signs.pace(guard.visitor(request))
    body = await read_json(request)
    if not isinstance(body.get("secret"), str):
        raise RequestFault("The secret is missing.", 'Send {"secret": "..."} as JSON.')
    return _remembered(request, guard.sign_in(body["secret"]))


async def list_recordings(request: web.Request) -> web.StreamResponse:
    """GET the recordings of whoever asks, the newest first; the owner's are all."""
    who = request[WHO]
    found = [*request.app[RECORDINGS].of_owner(who), *await request.app[LOOPS].recordings(who)]
    return web.json_response({"recordings": sorted(found, key=lambda one: -one["begun"])})


async def enter(request: web.Request) -> web.StreamResponse:
    """POST {"join": TOKEN}: the browser that does so is a guest from now on."""
    body = await read_json(request)
    if not isinstance(body.get("join"), str):
        raise RequestFault("The join token is missing.", 'Send {"join": "..."} as JSON.')
    return _remembered(request, await request.app[GUARD].redeem(body["join"]))


def _remembered(request: web.Request, key: str) -> web.Response:
    """A browser that has a key from now on."""
    response = web.Response(status=204)
    response.set_cookie(COOKIE, key, max_age=int(GUEST_S), httponly=True, samesite="Strict", secure=by_tls(request), path="/")
    return response

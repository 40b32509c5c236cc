"""Rooms of LiveKit over HTTP: which one the server is to join, and with whom."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from engines.errors import Fault
from realtime.conversation import Conversation
from realtime.manners import OWN, check_strength
from realtime.server.faults import RequestFault, WrongType
from realtime.server.guard import GUARD, WHO, must_own
from realtime.server.keys import AROUND, OPTIONS, SESSIONS, STORE, UPLOADS
from realtime.server.placed import Placed
from realtime.server.uploads import read
from realtime.worker import shown_size

_EXAMPLE = 'Send {"url": "wss://...", "token": "...", "actor": "anna"}.'


class NoRooms(Fault):
    """What joins rooms is not installed."""

    code = "no-rooms"
    status = 501


@dataclass(frozen=True)
class _Asked:
    url: str
    token: str
    actor: str = ""
    agent: str = ""
    manner: str = OWN
    strength: float = 1.0


async def begin(request: web.Request) -> web.StreamResponse:
    """POST {"url", "token", "actor"} as JSON: a session that joins a room, for the owner."""
    must_own(request)
    asked = _asked(request.content_type, await read(request))
    app = request.app
    actor = asked.actor or app[OPTIONS].actor
    await app[UPLOADS].run(app[STORE].find, actor)
    await asyncio.to_thread(app[AROUND].manner, asked.manner)
    try:
        from realtime.server.room import Door, RoomSession
    except ModuleNotFoundError as error:
        raise NoRooms("This server joins no rooms.", "Install it with: pip install 'mytalk-live[livekit]'") from error
    await app[GUARD].offers.pace(app[GUARD].visitor(request))
    about = await asyncio.to_thread(app[STORE].about, actor)
    size = shown_size((int(about["width"]), int(about["height"])), app[OPTIONS].largest)
    door = Door(asked.url, asked.token, asked.agent)

    def make(actor: str, owner: str, ended: Callable[[Placed], None]) -> Placed:
        def gone(conversation: Conversation) -> None:
            ended(session)

        session = RoomSession(door, size, secrets.token_urlsafe(12), actor, owner, app[AROUND], gone)
        return session

    session, _ = await app[SESSIONS].open(actor, "", owner=request[WHO], make=make)
    if asked.manner != OWN:
        await session.speak_as(asked.manner, asked.strength)
    return web.json_response(session.report(), status=201, headers={"Location": f"/v1/sessions/{session.name}"})


def _asked(kind: str, body: bytes) -> _Asked:
    """What a request asks for. Raises RequestFault, WrongType, MannerFault."""
    if kind != "application/json":
        raise WrongType(f"A room comes as JSON, not {kind}.", _EXAMPLE)
    try:
        words: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestFault("The room is no JSON.", _EXAMPLE) from error
    if not isinstance(words, dict) or not {"url", "token"} <= set(words):
        raise RequestFault("A room has a url and a token.", _EXAMPLE)
    strength = check_strength(words.pop("strength", 1.0))
    for name, value in words.items():
        if name not in _Asked.__dataclass_fields__ or not isinstance(value, str):
            raise RequestFault(f"{name[:40]!r} is not understood.", "There are url, token, actor, agent, manner (strings), and strength.")
    try:
        parts = urlsplit(words["url"])
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise RequestFault("The room's url is no address of a LiveKit server.", "Send ws://HOST:PORT or wss://HOST.")
    return _Asked(**words, strength=strength)

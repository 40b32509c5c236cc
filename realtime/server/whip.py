"""Signalling as RFC 9725 (WHIP) has it: an offer begins a session, its Location is the session. Viewers in the same shape (WHEP)."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from engines.errors import MannerFault
from engines.motion.manner import manner_names
from realtime.manners import OWN, check_strength
from realtime.server.faults import NotAcceptable, NoTag, NotAllowed, WrongType
from realtime.server.guard import GUARD, OWNER, WHO, Rights, must_own, must_see, rights_of
from realtime.server.keys import FOUND, OPTIONS, SESSIONS
from realtime.server.options import link_of
from realtime.server.peer import Peer
from realtime.server.placed import Placed
from realtime.server.session import Session
from realtime.server.uploads import read
from realtime.webrtc.connection import SDP

FRAGMENT = "application/trickle-ice-sdpfrag"


def find(request: web.Request) -> Session:
    """The session of a request's path. Raises UnknownSession and NotAllowed."""
    session = _owned(request)
    assert isinstance(session, Session), "those of other processes are forwarded"
    return session


def _owned(request: web.Request) -> Placed:
    session = request.app[SESSIONS].find(request.match_info["session"])
    must_own(request, session.owner)
    return session


def seen(request: web.Request) -> Placed:
    """The session of a request's path, for whoever may watch it. Raises UnknownSession and NotAllowed."""
    session = request.app[SESSIONS].find(request.match_info["session"])
    must_see(request, session.name, session.owner)
    return session


def _watched(request: web.Request) -> Session:
    session = seen(request)
    assert isinstance(session, Session), "those of other processes are forwarded"
    return session


async def begin(request: web.Request) -> web.StreamResponse:
    """POST an offer: a new session with an actor."""
    offer = await _offer(request)
    guard, who = request.app[GUARD], request[WHO]
    rights = rights_of(request)
    actor = request.query.get("actor") or default_actor(request.app[OPTIONS].actor, rights)
    if rights and rights.watch:
        raise NotAllowed("You were invited to watch.", "Ask whoever invited you for another join token.")
    if rights and not rights.may_show(actor):
        raise NotAllowed("You were not invited to talk with this actor.", "GET /v1/actors lists those with whom you may.")
    await request.app[FOUND].find(actor)
    manner, strength = _manner(request)
    await guard.begins(request)
    began = False
    try:
        session, answer = await request.app[SESSIONS].open(actor, offer, owner=who, most=rights.sessions if rights else None)
        began = True
        if manner:
            await session.speak_as(manner, strength)
    finally:
        await guard.began(request, began)
    return _created(request, f"/v1/sessions/{session.name}", session.tag, answer)


def _manner(request: web.Request) -> tuple[str, float]:
    """The manner that a session is to begin in; an empty name where none is asked for. Raises MannerFault, NotAllowed."""
    name = request.query.get("manner", "")
    try:
        strength = check_strength(float(request.query.get("strength", 1)))
    except ValueError as error:
        raise MannerFault("A manner's strength is a number from 0 to 1.", "Leave it out for 1.") from error
    if name:
        manners_of(request)(name)
    return name, strength


def manners_of(request: web.Request) -> Callable[[str], None]:
    """What raises NotAllowed for manners that whoever asks may not have: guests have those that ship, and no actor's."""

    def may(name: str) -> None:
        if request[WHO] != OWNER and not (name == OWN or name in manner_names()):
            raise NotAllowed("Guests take manners that ship, not actors'.", "GET /v1/manners lists them.")

    return may


def default_actor(actor: str, rights: Rights | None) -> str:
    """Who is shown where nobody is named."""
    return actor if rights is None or rights.may_show(actor) else min(rights.actors or {actor})


async def patch(request: web.Request) -> web.StreamResponse:
    """PATCH a fragment: more of the peer's candidates."""
    return await _trickle(request, find(request).peer)


async def end(request: web.Request) -> web.StreamResponse:
    """DELETE: the session is over."""
    await find(request).close()
    return web.Response(status=200)


async def watch(request: web.Request) -> web.StreamResponse:
    """POST an offer to a session's viewers: see and hear it too."""
    session = seen(request)
    viewer, answer = await request.app[SESSIONS].watch(session, await _offer(request))
    return _created(request, f"/v1/sessions/{session.name}/viewers/{viewer.name}", viewer.tag, answer)


async def patch_viewer(request: web.Request) -> web.StreamResponse:
    """PATCH a fragment to a viewer."""
    return await _trickle(request, _watched(request).viewer(request.match_info["viewer"]))


async def end_viewer(request: web.Request) -> web.StreamResponse:
    """DELETE: the viewer leaves."""
    session = _watched(request)
    await session.dismiss(session.viewer(request.match_info["viewer"]))
    return web.Response(status=200)


async def _offer(request: web.Request) -> str:
    if request.content_type != SDP:
        raise WrongType(f"An offer is {SDP}, not {request.content_type}.", "Set the Content-Type, and send the offer's SDP as the body.")
    accepted = request.headers.get("Accept", "*/*")
    if not any(kind.split(";")[0].strip() in ("*/*", "application/*", SDP) for kind in accepted.split(",")):
        raise NotAcceptable(f"The answer is {SDP}, not {accepted}.", "Leave Accept out.")
    await request.app[GUARD].offers.pace(request.app[GUARD].visitor(request))
    return (await read(request)).decode("utf-8", errors="replace")


def _created(request: web.Request, location: str, tag: str, answer: str) -> web.Response:
    response = web.Response(text=answer, status=201, content_type=SDP)
    response.headers.update({"Location": location, "ETag": tag, "Accept-Patch": FRAGMENT})
    for server in request.app[OPTIONS].ice_now():
        response.headers.add("Link", link_of(server))
    return response


async def _trickle(request: web.Request, peer: Peer) -> web.StreamResponse:
    if request.content_type != FRAGMENT:
        raise WrongType(f"Candidates come as {FRAGMENT}, not {request.content_type}.", "Set the Content-Type.")
    match = request.headers.get("If-Match") or request.headers.get("ETag")  # where clients of older drafts put it
    if match is None:
        raise NoTag("A PATCH says in If-Match which ICE session it is for.", "Send the ETag that came with the answer.")
    await peer.trickle((await read(request)).decode("utf-8", errors="replace"), match.strip())
    return web.Response(status=204)

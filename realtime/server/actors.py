"""Actors over HTTP: list, look at, add by upload, remove."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from aiohttp import web

from engines.actor import built_in
from engines.errors import ActorFault
from engines.motion.manner import manner_names
from realtime.manners import OWN
from realtime.server.enrolments import MOST_FILE
from realtime.server.faults import InUse, NotAllowed, RequestFault, UnknownRoute, WrongType
from realtime.server.guard import OWNER, WHO, must_own, rights_of
from realtime.server.keys import ENGINE, ENROLMENTS, OPTIONS, SESSIONS, STORE, UPLOADS
from realtime.server.whip import default_actor
from realtime.worker import Actors


async def list_actors(request: web.Request) -> web.StreamResponse:
    """GET all actors, with what is known of them."""
    rights = rights_of(request)
    actors = await request.app[UPLOADS].run(_all, request.app[STORE])
    shown = [actor for actor in actors if rights is None or rights.may_show(str(actor["name"]))]
    body = {"actors": shown, "default": default_actor(request.app[OPTIONS].actor, rights), "may_add": request[WHO] == OWNER}
    return web.json_response(body)


async def list_manners(request: web.Request) -> web.StreamResponse:
    """GET the manners of speaking that ship, the actor's own first."""
    return web.json_response({"manners": [OWN, *manner_names()]})


def _all(store: Actors) -> list[dict[str, Any]]:
    found = []
    for name in store.names():
        try:
            found.append({**store.about(name), "built_in": name in built_in(), "preview": f"/v1/actors/{quote(name)}/preview.jpg"})
        except ActorFault:  # damaged: it cannot talk, and who removes it does so by its name
            continue
    return found


async def preview(request: web.Request) -> web.StreamResponse:
    """GET a picture of an actor."""
    rights = rights_of(request)
    if rights and not rights.may_show(request.match_info["actor"]):
        raise NotAllowed("You were not invited to see this actor.", "GET /v1/actors lists those whom you may.")
    path = await request.app[UPLOADS].run(request.app[STORE].preview, request.match_info["actor"])
    if path is None:
        raise UnknownRoute("This actor has no preview.")
    return web.FileResponse(path)


async def add(request: web.Request) -> web.StreamResponse:
    """POST a video or photo with ?name=: its person becomes an actor. The answer says where to see how that goes."""
    must_own(request)
    name = request.query.get("name", "")
    if not name:
        raise RequestFault("The actor needs a name.", "Say it in the address: POST /v1/actors?name=anna")
    kind = request.content_type
    if not (kind.startswith(("video/", "image/")) or kind == "application/octet-stream"):
        raise WrongType(f"An actor is made from video/* or image/*, not {kind}.", "Set the Content-Type to the file's.")
    folder = await request.app[UPLOADS].run(request.app[STORE].folder, name)
    if name in await request.app[UPLOADS].run(request.app[STORE].names) or await request.app[UPLOADS].run(folder.exists):
        raise InUse(f"There is an actor called {name!r} already.", "Choose another name, or remove that one first.")
    enrolments = request.app[ENROLMENTS]
    enrolments.check_room()
    uploads = request.app[UPLOADS]
    file = await uploads.received(request, MOST_FILE, "actors")
    try:
        enrolment = enrolments.begin(name, file)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return web.json_response(enrolment.report(), status=202, headers={"Location": f"/v1/enrolments/{enrolment.name}"})


async def enrolment(request: web.Request) -> web.StreamResponse:
    """GET how an enrolment goes."""
    must_own(request)
    return web.json_response(request.app[ENROLMENTS].find(request.match_info["enrolment"]).report())


async def remove(request: web.Request) -> web.StreamResponse:
    """DELETE an actor with all its files."""
    must_own(request)
    name = request.match_info["actor"]
    if any(session.actor == name for session in request.app[SESSIONS]):
        raise InUse(f"{name} is in a session now.", "Try again when it has ended.")
    try:
        await request.app[UPLOADS].run(request.app[STORE].remove, name)
    finally:  # where another machine has removed it from a store that both share, this one lets go of it, too
        request.app[ENGINE].forget(name)
    return web.Response(status=204)

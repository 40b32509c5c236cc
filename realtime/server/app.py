"""HTTP: signalling in WHIP's shape, actors, speech files, the page. Thin: a route checks, calls, and answers.

Every error leaves as an RFC 9457 problem with a stable code, never as a traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit

import av
from aiohttp import web

from engines.actor import BUILT_IN
from engines.errors import Fault
from engines.pipeline import Pipeline
from realtime.clock import Clock, WallClock
from realtime.engine import Engine
from realtime.errors import MediaFault, SettingsFault, fault_of, problem
from realtime.server.faults import NotAllowed, NotHere, TooLarge, UnknownRoute, WrongType
from realtime.server.sessions import Sessions
from realtime.server.tracks import set_bitrates
from realtime.worker import Actors, Talks

log = logging.getLogger(__name__)

MOST_OFFER = 64 << 10
MOST_SPEECH = 64 << 20
CONTAINERS = "wav,w64,aiff,au,caf,flac,mp3,ogg,aac,amr,mov,mp4,m4a,3gp,matroska,webm,avi,asf,opus"
"""What may be in a speech file: no playlists, nothing that refers to other files."""
PAGE = Path(__file__).with_name("page")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=()",
    "Cache-Control": "no-cache",
}
SESSIONS = web.AppKey("sessions", Sessions)
ENGINE = web.AppKey("engine", Engine)
STORE = web.AppKey("store", Actors)
DEFAULT = web.AppKey("default", str)
LOOPBACK = web.AppKey("loopback", bool)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(
    *,
    store: Actors,
    default_actor: str = BUILT_IN,
    max_sessions: int = 8,
    clock: Clock | None = None,
    pipeline: Callable[[], Talks] = Pipeline,
    loopback: bool = True,
) -> web.Application:
    """The server as an application. `pipeline` is made in the inference process, so it must be importable by name.

    With `loopback`, requests that name another host than this machine are refused (sites that point a name here).
    """
    app = web.Application(middlewares=[_answer_faults, _own_site], client_max_size=MOST_OFFER)
    clock = clock or WallClock()
    app[ENGINE] = Engine(store, clock, pipeline, actor=default_actor)
    app[SESSIONS] = Sessions(app[ENGINE], clock, max_sessions)
    app[STORE], app[DEFAULT], app[LOOPBACK] = store, default_actor, loopback
    app.add_routes(
        [
            web.get("/", _page),
            web.get(r"/{file:app\.js|style\.css}", _page),
            web.get("/favicon.ico", _no_icon),
            web.get("/healthz", _health),
            web.get("/v1/actors", _actors),
            web.get("/v1/actors/{actor}/preview.jpg", _preview),
            web.get("/v1/sessions", _list),
            web.post("/v1/sessions", _open),
            web.get("/v1/sessions/{session}", _report),
            web.patch("/v1/sessions/{session}", _patch),
            web.delete("/v1/sessions/{session}", _close),
            web.post("/v1/sessions/{session}/speech", _speak),
            web.post("/v1/sessions/{session}/interrupt", _interrupt),
        ]
    )
    app.cleanup_ctx.append(_lifetime)
    app.on_response_prepare.append(_headers)
    app.on_shutdown.append(_end_sessions)
    return app


def serve(
    *,
    store: Actors,
    host: str = "127.0.0.1",
    port: int = 8008,
    default_actor: str = BUILT_IN,
    max_sessions: int = 8,
    pipeline: Callable[[], Talks] = Pipeline,
) -> None:
    """Serve until Ctrl-C or SIGTERM. Prints "Serving on http://HOST:PORT" when ready. Raises Fault."""
    if not _is_loopback(host):
        raise SettingsFault(
            f"This version serves only this machine, not {host}.",
            "Leave --host out, or put a proxy with access control before it.",
        )
    store.find(default_actor)
    app = make_app(store=store, default_actor=default_actor, max_sessions=max_sessions, pipeline=pipeline)
    asyncio.run(_serve(app, host, port))


async def _serve(app: web.Application, host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise fault_of(error) or SettingsFault(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
        shown = f"[{host}]" if ":" in host else host
        sys.stdout.write(f"Serving on http://{shown}:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


def _is_loopback(host: str) -> bool:
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def _lifetime(app: web.Application) -> AsyncIterator[None]:
    set_bitrates()
    await app[ENGINE].start()
    yield
    await app[ENGINE].close()


async def _end_sessions(app: web.Application) -> None:
    await app[SESSIONS].close()


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


@web.middleware
async def _answer_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The border of a route: whatever goes wrong leaves as a problem."""
    try:
        return await handler(request)
    except Fault as fault:
        return _problem(fault)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _problem(_http_fault(error), error.headers.get("Allow"))
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return _problem(Internal("Something went wrong in the server.", "See its log."))


class Internal(Fault):
    """A bug."""

    code = "internal"
    status = 500


def _http_fault(error: web.HTTPException) -> Fault:
    if error.status == 404:
        return UnknownRoute("There is nothing at this address.", "The page is at /, sessions at /v1/sessions.")
    if error.status == 405:
        return NotHere("This address does not take this method.")
    if error.status == 413:
        return TooLarge(
            "The body is too large.",
            f"An offer has at most {MOST_OFFER >> 10} KiB, a sound file {MOST_SPEECH >> 20} MiB.",
        )
    fault = Fault(f"{error.reason}.")
    fault.__dict__["status"] = error.status
    return fault


def _problem(fault: Fault, allow: str | None = None) -> web.Response:
    body = problem(fault)
    headers = {"Allow": allow} if allow else {}
    if body["status"] == 503:
        headers["Retry-After"] = "5"
    return web.json_response(body, status=body["status"], content_type="application/problem+json", headers=headers)


@web.middleware
async def _own_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what another site's page asks for, and names that are not this machine's."""
    host = urlsplit(f"//{request.host}").hostname or ""
    if request.app[LOOPBACK] and not _is_loopback(host):
        raise NotAllowed(
            f"This server answers for this machine only, not for {host!r}.",
            "Open it as http://127.0.0.1 or http://localhost.",
        )
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise NotAllowed("Another site's page may not use this server.", "Use the server's own page, or a program.")
    return await handler(request)


async def _page(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE / request.match_info.get("file", "index.html"))


async def _no_icon(request: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


async def _health(request: web.Request) -> web.StreamResponse:
    engine = request.app[ENGINE]
    return web.json_response({"ready": engine.ready, "sessions": len(request.app[SESSIONS]), "engine_restarts": engine.restarts})


async def _actors(request: web.Request) -> web.StreamResponse:
    names = await asyncio.to_thread(request.app[STORE].names)
    actors = [{"name": name, "preview": f"/v1/actors/{quote(name)}/preview.jpg"} for name in names]
    return web.json_response({"actors": actors, "default": request.app[DEFAULT]})


async def _preview(request: web.Request) -> web.StreamResponse:
    folder = await asyncio.to_thread(request.app[STORE].find, request.match_info["actor"])
    if not await asyncio.to_thread((folder / "preview.jpg").is_file):
        raise UnknownRoute("This actor has no preview.")
    return web.FileResponse(folder / "preview.jpg")


async def _list(request: web.Request) -> web.StreamResponse:
    return web.json_response({"sessions": [session.report() for session in request.app[SESSIONS]]})


async def _open(request: web.Request) -> web.StreamResponse:
    if request.content_type != "application/sdp":
        raise WrongType(
            f"An offer is application/sdp, not {request.content_type}.",
            "Set the Content-Type, and send the offer's SDP as the body.",
        )
    actor = request.query.get("actor") or request.app[DEFAULT]
    await asyncio.to_thread(request.app[STORE].find, actor)
    offer = (await request.read()).decode("utf-8", errors="replace")
    session, answer = await request.app[SESSIONS].open(actor, offer)
    headers = {"Location": f"/v1/sessions/{session.name}"}
    return web.Response(text=answer, status=201, content_type="application/sdp", headers=headers)


async def _report(request: web.Request) -> web.StreamResponse:
    return web.json_response(request.app[SESSIONS].find(request.match_info["session"]).report())


async def _patch(request: web.Request) -> web.StreamResponse:
    request.app[SESSIONS].find(request.match_info["session"])
    raise NotHere(
        "There is no trickle ICE here: the answer holds all candidates.",
        "Send the offer with your candidates, or let the server find you.",
    )


async def _close(request: web.Request) -> web.StreamResponse:
    await request.app[SESSIONS].find(request.match_info["session"]).close()
    return web.Response(status=200)


async def _interrupt(request: web.Request) -> web.StreamResponse:
    request.app[SESSIONS].find(request.match_info["session"]).interrupt()
    return web.Response(status=204)


async def _speak(request: web.Request) -> web.StreamResponse:
    session = request.app[SESSIONS].find(request.match_info["session"])
    kind = request.content_type
    if not (kind.startswith(("audio/", "video/")) or kind in ("application/octet-stream", "application/ogg")):
        raise WrongType(f"Speech is a sound file (audio/*), not {kind}.", "Set the Content-Type to the file's, e.g. audio/wav.")
    file = await _received(request)
    try:
        await asyncio.to_thread(_check_sound, file)
        session.speak(file)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return web.json_response(session.report(), status=202)


async def _received(request: web.Request) -> Path:
    """The body as a file under a name of ours. Raises TooLarge."""
    if (request.content_length or 0) > MOST_SPEECH:
        raise TooLarge(f"The file is larger than {MOST_SPEECH >> 20} MiB.", "Send it in parts.")
    file, path = await asyncio.to_thread(_new_file)
    size = 0
    try:
        with contextlib.closing(file):
            async for chunk in request.content.iter_chunked(1 << 20):
                size += len(chunk)
                if size > MOST_SPEECH:
                    raise TooLarge(f"The file is larger than {MOST_SPEECH >> 20} MiB.", "Send it in parts.")
                await asyncio.to_thread(file.write, chunk)
    except BaseException:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        raise
    return path


def _new_file() -> tuple[BinaryIO, Path]:
    handle, name = tempfile.mkstemp(prefix="mytalk-", suffix=".sound")
    return os.fdopen(handle, "wb"), Path(name)


def _check_sound(file: Path) -> None:
    """Raises MediaFault for what is no sound file of a kind that is read here."""
    try:
        with av.open(f"file:{file}", options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}) as container:
            if container.streams.audio:
                return
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaFault(
            "The file is damaged, or no sound file of a kind that is read here.", "Send WAV, MP3, FLAC, Ogg or MP4."
        ) from error
    raise MediaFault("The file has no sound.", "Send a recording of speech.")

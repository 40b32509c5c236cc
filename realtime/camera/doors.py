"""Doors for this machine alone: a page that shows what the camera shows, and a websocket that takes speech as the server's does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import cv2
from aiohttp import web

from engines.frames import Picture
from realtime.camera.stage import Call, Door
from realtime.clock import Clock
from realtime.errors import SettingsFault
from realtime.loopback import is_loopback
from realtime.server.local import local_app
from realtime.server.speech_socket import converse
from realtime.timeline import TICK_S

PAGE = Path(__file__).with_name("page")
HOST = "127.0.0.1"
QUALITY = 85
"""Of the preview's JPEGs."""
_BOUNDARY = "picture"
_CALL = web.AppKey("call", Call)
_CLOCK = web.AppKey("clock", Clock)


def door_of(url: str) -> Door:
    """Where a person wants speech to be taken: ws://127.0.0.1:PORT. Raises SettingsFault."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if port is None or parts.scheme != "ws" or not is_loopback(host) or parts.query:
        raise SettingsFault(f"Speech cannot be taken at {url}.", "Write ws://127.0.0.1:PORT: other machines are not let in.")
    return Door(host, port, parts.path or "/")


@asynccontextmanager
async def opened(call: Call, clock: Clock) -> AsyncIterator[None]:
    """Open what the plan says; `call.doors` then has the addresses. Raises SettingsFault."""
    runners: list[web.AppRunner] = []
    try:
        if call.plan.preview is not None:
            runners.append(await _served(_preview(call, clock), Door(HOST, call.plan.preview), "--preview"))
            call.doors.append(f"Preview: http://{_address(runners[-1])}/")
        if isinstance(door := call.plan.speech, Door):
            runners.append(await _served(_speech(call, clock, door), door, "--speech"))
            call.doors.append(f"Speech: ws://{_address(runners[-1])}{door.path}")
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


def _app(call: Call, clock: Clock) -> web.Application:
    app = local_app(clock)
    app[_CALL], app[_CLOCK] = call, clock
    return app


def _preview(call: Call, clock: Clock) -> web.Application:
    app = _app(call, clock)
    app.add_routes(
        [
            web.get("/", _page),
            web.get(r"/{file:preview\.js|preview\.css}", _page),
            web.get("/picture", _pictures),
            web.get("/figures", _figures),
            web.post(r"/{what:talk|pause|toggle}", _key),
        ]
    )
    return app


def _speech(call: Call, clock: Clock, door: Door) -> web.Application:
    async def talk(request: web.Request) -> web.StreamResponse:
        return await converse(request, call.session, clock)

    app = _app(call, clock)
    app.router.add_get(door.path, talk)
    return app


async def _served(app: web.Application, door: Door, option: str) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, door.host, door.port).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsFault(f"Port {door.port} cannot be opened: {error.strerror}.", f"Give {option} another.") from error
    return runner


def _address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _page(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE / request.match_info.get("file", "index.html"))


async def _figures(request: web.Request) -> web.StreamResponse:
    return web.json_response(request.app[_CALL].figures())


async def _key(request: web.Request) -> web.StreamResponse:
    call, what = request.app[_CALL], request.match_info["what"]
    if what == "toggle":
        call.toggle()
    else:
        call.hear(what == "talk")
    return web.json_response(call.figures())


async def _pictures(request: web.Request) -> web.StreamResponse:
    """JPEGs one after the other, each in place of the one before."""
    stage, clock = request.app[_CALL].stage, request.app[_CLOCK]
    response = web.StreamResponse(headers={"Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}"})
    await response.prepare(request)
    shown: Picture | None = None
    with suppress(ConnectionError):
        while True:
            if stage.last is not None and stage.last is not shown:
                shown = stage.last
                data = await asyncio.to_thread(_jpeg, shown)
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                await response.write(head.encode() + data + b"\r\n")
            await clock.sleep_until(clock.now() + TICK_S / 2)
    return response


def _jpeg(picture: Picture) -> bytes:
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])

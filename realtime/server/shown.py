"""The page with its files, the recording that ships, and the description of all addresses: what is the same whoever asks."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web

from realtime.server.guard import PAGE_FILES

PAGE = Path(__file__).with_name("page")
SAMPLE = Path(__file__).parent.with_name("speech") / "hello.flac"


def of_page() -> list[web.RouteDef]:
    """Their routes."""
    return [
        web.get("/", _page),
        web.get(f"/{{file:{'|'.join(map(re.escape, PAGE_FILES))}}}", _page),
        web.get("/sample.flac", _sample),
        web.get("/openapi.json", _description),
        web.get("/favicon.ico", _no_icon),
    ]


async def _page(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE / request.match_info.get("file", "index.html"))


async def _sample(request: web.Request) -> web.StreamResponse:
    """The recording that ships, to be heard at once."""
    return web.FileResponse(SAMPLE)


async def _description(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE.with_name("openapi.json"))


async def _no_icon(request: web.Request) -> web.StreamResponse:
    return web.Response(status=204)

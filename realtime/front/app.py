"""The front as an application: which address leads where, and how it is served. It keeps nothing that another front would miss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from random import Random
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from realtime.clock import Clock, WallClock
from realtime.front.proxy import (
    DRAWS,
    REGISTRY,
    RemoteClaims,
    anywhere,
    begin,
    begin_room,
    list_everywhere,
    remove_everywhere,
    to_owner,
)
from realtime.front.registry import Registry, Source
from realtime.server import loop, shown, watch
from realtime.server.closed import hide
from realtime.server.guard import GUARD, Guard, add_headers, answer_faults, cors, must_own, stand_guard
from realtime.server.keys import CLOCK, OPTIONS
from realtime.server.listening import serve_until_told
from realtime.server.options import Options

MOST_OFFER = 64 << 10
REFUSALS = web.AppKey("refusals", Counter)
METRICS = web.AppKey("front metrics", CollectorRegistry)


class FrontGuard(Guard):
    """The guard of a front. Whether a join token that was used may still do something the machine says that has its session."""

    def takes(self, request: web.Request, join: dict[str, Any]) -> bool:
        """See `Guard.takes`."""
        return (request.method, request.path) != ("POST", "/v1/sessions") or super().takes(request, join)


def make_front(source: Source, options: Options | None = None, clock: Clock | None = None) -> web.Application:
    """The front of some machines as an application. Of `options` it needs what machines and front have in common: secrets, origins, ICE
    servers, and who is shown where nobody is named."""
    options, clock = options or Options(), clock or WallClock()
    app = web.Application(middlewares=[answer_faults, stand_guard], client_max_size=MOST_OFFER)
    app[OPTIONS], app[CLOCK] = options, clock
    app[REGISTRY] = Registry(source, options.token, clock)
    app[GUARD] = FrontGuard(options, clock, RemoteClaims(app[REGISTRY]))
    app[DRAWS] = Random()
    app[METRICS] = CollectorRegistry()
    app[REFUSALS] = Counter("mytalk_refusals", "Requests that were refused", ["status"], registry=app[METRICS])
    app[METRICS].register(_Fleet(app))
    ProcessCollector(registry=app[METRICS])
    app.add_routes(_routes())
    app.cleanup_ctx.append(_lifetime)
    app.on_response_prepare.append(_headers)
    return app


def _routes() -> list[web.RouteDef]:
    return [
        *shown.of_page(),
        web.get("/healthz", _health),
        web.get("/readyz", _ready),
        web.get("/metrics", _metrics),
        web.post("/v1/sessions", begin),
        web.post("/v1/rooms", begin_room),
        web.get("/v1/sessions", list_everywhere),
        web.get("/v1/recordings", list_everywhere),
        web.post("/v1/sessions/{session}/viewers", to_owner),
        *(web.route(route.method, route.path, to_owner) for route in loop.of_sessions()),
        web.get("/v1/enrolments/{enrolment}", to_owner),
        web.get("/v1/manners", anywhere),
        web.get("/v1/voices", anywhere),
        web.get("/v1/actors", anywhere),
        web.post("/v1/actors", anywhere),
        web.get("/v1/actors/{actor}/preview.jpg", anywhere),
        web.delete("/v1/actors/{actor}", remove_everywhere),
        web.post("/v1/joins", watch.join),
        web.post("/v1/guests", watch.enter),
        web.post("/v1/owners", watch.sign_in),
        web.get("/v1/me", watch.me),
    ]


def serve(source: Source, options: Options | None = None, port: int = 8000) -> None:
    """Be a front until Ctrl-C or SIGTERM. Prints "Serving on http://HOST:PORT" when ready. Raises Fault."""
    options = options or Options()
    if options.token:
        hide()
    asyncio.run(serve_until_told(make_front(source, options), options.host, port))


async def _lifetime(app: web.Application) -> AsyncIterator[None]:
    await app[REGISTRY].start()
    yield
    await app[REGISTRY].close()


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    await add_headers(request, response)
    cors(request, response)
    if response.status >= 400:
        request.app[REFUSALS].labels(str(response.status)).inc()


def _figures(app: web.Application) -> dict[str, int]:
    rows, live = app[REGISTRY].rows(), app[REGISTRY].live()
    return {
        "machines": len(live),
        "silent": len(rows) - len(live),
        "draining": sum(bool(row.said["draining"]) for row in live),
        "sessions": sum(int(row.said["sessions"]) for row in live),
        "capacity": sum(int(row.said["capacity"]) for row in live),
        "free": sum(max(0, int(row.said["free"])) for row in live),
    }


async def _health(request: web.Request) -> web.StreamResponse:
    """GET: the front answers; with what its machines carry."""
    figures = _figures(request.app)
    return web.json_response({"ready": figures["machines"] > 0, **figures})


async def _ready(request: web.Request) -> web.StreamResponse:
    """GET: 200 where a machine answers, else 503: a front whose machines are full says so itself."""
    figures = _figures(request.app)
    fine = figures["machines"] > 0
    return web.json_response({"ready": fine, "free": figures["free"]}, status=200 if fine else 503)


async def _metrics(request: web.Request) -> web.StreamResponse:
    """GET figures in Prometheus' format."""
    must_own(request)
    return web.Response(body=generate_latest(request.app[METRICS]), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


_WORDS = {
    "machines": "Machines that answer",
    "silent": "Machines that do not",
    "draining": "Machines that take nobody any more",
    "sessions": "Sessions of all machines",
    "capacity": "Sessions that all machines carry",
    "free": "Sessions that all machines take yet",
}


class _Fleet(Collector):
    """What the table says when it is looked at."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        for name, value in _figures(self._app).items():
            yield GaugeMetricFamily(f"mytalk_fleet_{name}", _WORDS[name], value=value)

"""A small application for this machine alone, guarded as the server is."""

from __future__ import annotations

from aiohttp import web

from realtime.clock import Clock
from realtime.server.guard import GUARD, Guard, add_headers, answer_faults, stand_guard
from realtime.server.options import Options


def local_app(clock: Clock) -> web.Application:
    """An application without routes that answers this machine, and no other site's pages; what goes wrong leaves as a problem."""
    app = web.Application(middlewares=[answer_faults, stand_guard])
    app[GUARD] = Guard(Options(), clock)
    app.on_response_prepare.append(add_headers)
    return app

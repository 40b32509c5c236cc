"""How an application is served: where it listens, what it bounds of connections, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from realtime.errors import SettingsFault, fault_of
from realtime.server.connections import Connections
from realtime.server.guard import GUARD

log = logging.getLogger(__name__)

DESCRIPTORS = 1 << 16
"""Files and connections that may be open at a time, where the system lets us have so many."""
BACKLOG = 32
"""Connections that are accepted before others have their turn."""
KEPT_S, LINGER_S = 75.0, 2.0
"""For so long a connection without a request stays open; for so long the rest of a body that was refused is read."""


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """An application with a `Guard` that answers at an address, which is given: http://HOST:PORT. Raises SettingsFault, StorageFault."""
    loop = asyncio.get_running_loop()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most), most))
    log.addFilter(_no_error_of_ours)
    runner = web.AppRunner(
        app, access_log=None, logger=log, shutdown_timeout=2.0, keepalive_timeout=KEPT_S, lingering_time=LINGER_S, auto_decompress=False
    )
    await runner.setup()
    assert runner.server is not None
    try:
        try:
            server = await loop.create_server(Connections(runner.server, app[GUARD].is_front), host, port, backlog=BACKLOG)
        except OSError as error:
            raise fault_of(error) or SettingsFault(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.sockets[0].getsockname()[1]}"
        server.close()
    finally:
        await runner.cleanup()


async def serve_until_told(
    app: web.Application, host: str, port: int, drained: Callable[[], Awaitable[None]] | None = None, most_s: float = 0.0
) -> None:
    """Serve until Ctrl-C or SIGTERM. Prints "Serving on http://HOST:PORT" when ready.

    With `most_s` it goes on then until `drained` returns, for so many seconds at most, or until it is told again.
    """
    asked, hurry = asyncio.Event(), asyncio.Event()
    events = [hurry, asked] if drained and most_s else [asked]

    def told(sign: signal.Signals) -> None:
        """End; who asks again does not wait for what is still being ended. What is left then, the next server removes."""
        if not events:
            os._exit(128 + sign)
        events.pop().set()

    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, told, sign)
    async with listening(app, host, port) as address:
        sys.stdout.write(f"Serving on {address}\n")
        sys.stdout.flush()
        await asked.wait()
        if drained and most_s:
            waits = [asyncio.ensure_future(drained()), asyncio.create_task(hurry.wait())]
            await asyncio.wait(waits, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            events.clear()


def _no_error_of_ours(record: logging.LogRecord) -> bool:
    """Whether a line is to be written: what is no HTTP was answered as such, and strangers are not to fill the log with it."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | web.RequestPayloadError))

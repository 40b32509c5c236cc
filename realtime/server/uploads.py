"""Bodies of requests: bounded in number, size and time, so that nobody's half-sent file is in another's way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar

from aiohttp import web

from realtime.clock import Clock
from realtime.errors import StorageFault
from realtime.server.faults import Busy, RequestFault, TooLarge, TooSlow

AT_ONCE, OF_ONE = 16, 4
"""Files that are received at a time: by the server, and of one session or visitor."""
MOST_BYTES = 2 << 30
"""Bytes of all files that are being received, or wait."""
RESERVE = 1 << 30
"""Bytes that stay free on the disk."""
IDLE_S = 15.0
"""For so long a body may pause."""
LEAST_RATE = 16 << 10
"""Bytes a second that a body has to come with, after its first `IDLE_S`."""
TEXT_S = 10.0
"""A text (an offer, some JSON) has come by then."""
LATE = TooSlow("The body did not come in time.", "Send it faster, or less of it.")
P = ParamSpec("P")
T = TypeVar("T")


async def read(request: web.Request) -> bytes:
    """The body of a request that is a short text. Raises TooSlow, and what aiohttp refuses."""
    try:
        async with asyncio.timeout(TEXT_S):
            return await request.read()
    except TimeoutError as error:
        raise LATE from error


async def read_json(request: web.Request) -> dict[str, Any]:
    """The body of a request that is a JSON object; empty for JSON of another kind. Raises RequestFault for what is no JSON."""
    try:
        body = json.loads(await read(request))
    except (ValueError, RecursionError) as error:
        raise RequestFault("The body is no JSON.", "Send a JSON object.") from error
    return body if isinstance(body, dict) else {}


class Uploads:
    """Files that come in, each under a name of ours; whoever takes one deletes it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(4, "uploads")  # encoders have others
        self._coming: Counter[str] = Counter()
        self._kept: dict[Path, int] = {}

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something with a file, in a thread that others' pictures do not wait for."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Take no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def received(self, request: web.Request, most: int, whose: str) -> Path:
        """The body as a file. `whose` is the session or visitor that it counts for. Raises TooLarge, Busy, TooSlow, StorageFault."""
        with self._place(whose):
            return await self._received(request, most)

    @contextlib.contextmanager
    def _place(self, whose: str) -> Iterator[None]:
        if self._coming[whose] >= OF_ONE or self._coming.total() >= AT_ONCE:
            raise Busy("As many files as are taken at a time are being sent already.", "Wait until one has been sent.")
        self._coming[whose] += 1
        try:
            yield
        finally:
            self._coming[whose] -= 1
            self._coming += Counter()  # forgets those that are at 0

    async def _received(self, request: web.Request, most: int) -> Path:
        large = TooLarge(f"The file is larger than {most >> 20} MiB.", "Send a smaller one.")
        if (request.content_length or 0) > most:
            raise large
        await self._check_room(request.content_length or 0)
        file, path = await self.run(_new_file)
        size, room = 0, 0
        try:
            with contextlib.closing(file):
                async for chunk in self._chunks(request):
                    size += len(chunk)
                    self._kept[path] = size
                    if size > most:
                        raise large
                    if size > room:
                        await self._check_room(0)
                        room = size + (8 << 20)
                    await self.run(file.write, chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    async def _chunks(self, request: web.Request) -> AsyncIterator[bytes]:
        """The body, as long as it comes in time."""
        began, size = self._clock.now(), 0
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    chunk = await request.content.read(1 << 18)
            except TimeoutError as error:
                raise LATE from error
            if not chunk:
                return
            size += len(chunk)
            if size < (self._clock.now() - began - IDLE_S) * LEAST_RATE:
                raise LATE
            yield chunk

    async def _check_room(self, more: int) -> None:
        """Raise StorageFault where a file of so many more bytes has no place."""
        free = (await self.run(shutil.disk_usage, tempfile.gettempdir())).free
        gone = await self.run(lambda: [path for path in list(self._kept) if not path.exists()])
        for path in gone:
            self._kept.pop(path, None)
        if sum(self._kept.values()) + more > MOST_BYTES or free - more < RESERVE:
            raise StorageFault("There is no room for more files now.", "Try again when others have been spoken.")


def _new_file() -> tuple[BinaryIO, Path]:
    handle, name = tempfile.mkstemp(prefix="mytalk-", suffix=".upload")
    return os.fdopen(handle, "wb"), Path(name)

"""Processes that others talk to over a pipe: who says what, whether they answer, and how they end."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any, cast

PRELOADED = ["__main__", "realtime.cli", "realtime.worker", "realtime.server.files"]
"""What those that are forked from one process need, all of them or some: it is imported once. Nothing of it starts a thread."""


def forks() -> BaseContext:
    """How processes are started (blocking, the first time): forked from one that has nothing but imports, in some milliseconds; where the
    system has no such thing, anew.

    Each also imports the script that was started, if there is one (before Python 3.12.8 naming `__main__` here does not help): of ours
    that is nothing but `realtime.cli`.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    forkserver.set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()
    return multiprocessing.get_context("forkserver")


class Line:
    """A pipe to another process. `said` is called, on the event loop, with each of its messages; with None where it has ended."""

    def __init__(self, pipe: Connection, said: Callable[[bytes | None], None]) -> None:
        self.pipe = pipe
        self.outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._hear = said
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._read)
        threading.Thread(target=_post, args=(pipe, self.outbox), daemon=True, name="outbox").start()

    def _read(self) -> None:
        try:
            while not self.pipe.closed and self.pipe.poll(0):
                self._hear(self.pipe.recv_bytes())
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self.pipe.fileno())
            self._hear(None)

    def hang_up(self) -> None:
        """No more, in either direction."""
        self.outbox.put(None)
        if not self.pipe.closed:
            asyncio.get_running_loop().remove_reader(self.pipe.fileno())
            self.pipe.close()


class Process(Line):
    """Another process and the pipe to it. `said` is called with each of its messages; with None where it has ended."""

    def __init__(self, process: Any, pipe: Connection, born: float, said: Callable[[Process, bytes | None], None]) -> None:
        super().__init__(pipe, lambda message: said(self, message))
        self.born = born
        self.ready: dict[str, Any] | None = None
        """What it said when it was ready."""
        self.pinged: float | None = None
        """When it was asked whether it answers, while it has not."""
        self.answered = born
        """When it last did."""
        self.pings = self.pongs = 0
        """How often it was asked, and which of these it answered last."""
        self._process = process

    @property
    def pid(self) -> int:
        """Its number."""
        return int(self._process.pid)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return bool(self._process.is_alive())

    def ping(self, now: float) -> int:
        """Ask whether it answers; returns the number of the question."""
        self.pings += 1
        self.pinged = now if self.pinged is None else self.pinged
        self.outbox.put(order("ping", self.pings))
        return self.pings

    def pong(self, number: int, now: float) -> None:
        """It answered a question."""
        self.pongs, self.answered = number, now
        if number == self.pings:
            self.pinged = None

    def silent(self, now: float) -> float:
        """Seconds for which it has not answered."""
        return 0.0 if self.pinged is None else now - self.pinged

    def pause(self, so: bool) -> None:
        """Stop it for the moment, or let it go on; where the system cannot, it goes on."""
        if hasattr(signal, "SIGSTOP") and self.alive:
            os.kill(self.pid, signal.SIGSTOP if so else signal.SIGCONT)

    async def end(self, patience: float = 0.0) -> int | None:
        """It ends with its pipe, or is killed after `patience` seconds; returns its exit code, negative for a signal."""
        self.hang_up()
        await asyncio.to_thread(self._process.join, patience)
        if self._process.is_alive():
            self._process.kill()
            await asyncio.to_thread(self._process.join)
        return cast("int | None", self._process.exitcode)


def order(what: str, session: int, **rest: Any) -> bytes:
    """A message that asks for something."""
    return b"J" + json.dumps({"what": what, "session": session, **rest}).encode()


def _post(pipe: Connection, outbox: queue.SimpleQueue[bytes | None]) -> None:
    """Write what is to be sent in a thread of its own: a full pipe never blocks the event loop."""
    try:
        while (message := outbox.get()) is not None:
            pipe.send_bytes(message)
    except OSError:  # the process ended; the reader notices
        pass

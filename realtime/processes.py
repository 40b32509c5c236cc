"""Processes that others talk to over a pipe: who says what, whether they answer, and how they end."""

from __future__ import annotations

import asyncio
import io
import json
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import context, forkserver, popen_forkserver, reduction, util
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, cast

PRELOADED = [f"{__package__}.worker", f"{__package__}.server.files"]
"""What those that are forked from one process need, all of them or some: it is imported once. Nothing of it starts a thread."""
_SAFE = "PYTHONSAFEPATH"


class _Popen(popen_forkserver.Popen):
    """A process that is forked from `_SERVER` and imports nothing of the program that asks: a script need not guard its main part, and
    none of it is run twice."""

    _fds: list[int]  # that it is to have

    def _launch(self, process_obj: Any) -> None:
        here = {"name": process_obj.name, "sys_path": sys.path, "sys_argv": sys.argv[:1], "dir": str(Path.cwd())}
        said = io.BytesIO()
        context.set_spawning_popen(self)
        try:
            for what in (here, process_obj):
                reduction.dump(what, said)
        finally:
            context.set_spawning_popen(None)
        self.sentinel, into = _SERVER.connect_to_new_process(self._fds)
        lives = os.dup(into)  # open for as long as this side is: the other end notices when it goes
        self.finalizer = util.Finalize(self, _close, (lives, self.sentinel))
        with os.fdopen(into, "wb") as pipe:
            pipe.write(said.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class _Forked(context.ForkServerProcess):
    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self._safe = os.environ.get(_SAFE)

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  as multiprocessing calls it
        return _Popen(process_obj)

    def run(self) -> None:
        _restore(self._safe)  # for programs that it starts
        super().run()


def _restore(safe: str | None) -> None:
    """Set `_SAFE` to what it was."""
    os.environ.pop(_SAFE, None)
    if safe is not None:
        os.environ[_SAFE] = safe


class _Forks(context.ForkServerContext):
    Process = _Forked


_SERVER = forkserver.ForkServer()  # of our own: the program that uses us may have one with other imports
_SERVER.set_forkserver_preload(PRELOADED)
_STARTING = threading.Lock()


def forks() -> BaseContext:
    """How processes are started (blocking, the first time): forked from one that has nothing but imports, in some milliseconds; where the
    system has no such thing, anew."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    with _STARTING:
        chosen: str | None = multiprocessing.get_start_method(allow_none=True)
        safe = os.environ.get(_SAFE)
        os.environ[_SAFE] = "1"  # folders here that are called as ours are not what it imports
        try:
            _SERVER.ensure_running()
        finally:
            _restore(safe)
            if chosen is None:  # which is the program's to choose
                multiprocessing.set_start_method(cast("str", None), force=True)
    return _Forks()


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

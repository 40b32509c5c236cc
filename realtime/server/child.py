"""Files of strangers are opened in processes of their own, with limits on memory, time and output.

Each is forked from a process that has nothing but the imports that all of them need (`realtime.processes.forks`). What a child
finds it says in messages: a letter and a length before the bytes of each, never pickled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import resource
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, BinaryIO

from engines.errors import Fault
from realtime.errors import MediaFault, fault_of
from realtime.processes import forks
from realtime.server.closed import leave_network

log = logging.getLogger(__name__)

MOST_MESSAGE = 1 << 20
"""Bytes of one message."""
LEAST_DATA = 1 << 30
Say = Callable[[bytes], None]
"""How a child sends a message; blocks while nobody takes them."""
_HEADER = struct.Struct("<cI")
_NEWS, _FAULT, _DONE = b"N", b"F", b"D"


@dataclass(frozen=True)
class Limits:
    """What a child may use."""

    memory: int
    """Bytes of address space, of which libraries reserve much that they never touch."""
    data: int
    """Bytes of it that can be written, at most; half of what is free then, where that is less, but no less than `LEAST_DATA`."""
    cpu_s: int
    """Seconds of processor time."""
    output: int
    """Bytes of the largest file that it may write."""
    nice: int = 0
    """How far it gives way to others."""


class Child:
    """A process that opens a file: see `start`."""

    def __init__(self, work: Callable[..., None], file: Path, args: tuple[Any, ...], limits: Limits) -> None:
        context: Any = forks()
        self._ours, self._theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(self._theirs, limits, work, file, args), daemon=True)
        self._reader = asyncio.StreamReader()
        self._transport: asyncio.BaseTransport | None = None

    async def _start(self) -> None:
        try:
            await asyncio.to_thread(self._process.start)
            protocol = asyncio.StreamReaderProtocol(self._reader)
            self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, self._ours)
        except BaseException:
            self._ours.close()  # a child to whom nobody listens ends
            raise
        finally:
            self._theirs.close()

    async def aclose(self) -> None:
        """End it, whatever it does. Twice is once."""
        if self._transport:
            self._transport.close()
        self._process.kill()
        await asyncio.shield(asyncio.to_thread(self._process.join))

    async def message(self, within: float) -> bytes | None:
        """The next of its messages; None where it is done. Raises the Fault that it met, and MediaFault where it ended without
        a word, or none came in so many seconds."""
        try:
            async with asyncio.timeout(max(0.0, within)):
                kind, body = await self._receive()
        except (asyncio.IncompleteReadError, TimeoutError):
            kind, body = b"", b""
        if kind == _NEWS:
            return body
        if kind == _DONE:
            return None
        if kind == _FAULT:
            told = json.loads(body)
            fault = Fault(told["message"], told["hint"])
            fault.code = told["code"]
            raise fault
        log.warning("a file was given up: its process used up its memory or time")
        raise MediaFault("The file asks for more memory or time than it is given.", "Send a shorter or smaller one.")

    async def _receive(self) -> tuple[bytes, bytes]:
        kind, size = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
        return (kind, await self._reader.readexactly(size)) if size <= MOST_MESSAGE else (b"", b"")


async def start(work: Callable[..., None], file: Path, *args: Any, limits: Limits) -> Child:
    """A process that does `work(say, file, *args)`, a function of a module. Whoever starts it closes it."""
    child = Child(work, file, args, limits)
    await child._start()
    return child


def unnamed(sentence: str, file: Path) -> str:
    """A sentence about a file, whose name is ours and nobody else's."""
    for path in (str(file), file.name):
        sentence = sentence.replace(path, "The file" if sentence.startswith(path) else "the file")
    return sentence


def _run(pipe: Connection, limits: Limits, work: Callable[..., None], file: Path, args: tuple[Any, ...]) -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    os.nice(limits.nice)
    leave_network()
    with contextlib.suppress(OSError):  # the first that the kernel ends where memory is short
        Path("/proc/self/oom_score_adj").write_text("1000")
    data = max(LEAST_DATA, min(limits.data, _free() // 2))
    most = {resource.RLIMIT_AS: limits.memory, resource.RLIMIT_DATA: data, resource.RLIMIT_CPU: limits.cpu_s}
    most |= {resource.RLIMIT_FSIZE: limits.output}
    for what, value in (most | {resource.RLIMIT_CORE: 0}).items():
        resource.setrlimit(what, (value, value))
    with contextlib.suppress(BrokenPipeError), os.fdopen(pipe.fileno(), "wb", closefd=False) as out:
        _work(out, work, file, args)


def _free() -> int:
    """Bytes of memory that nobody needs now."""
    try:
        found = re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    return int(found[1]) << 10 if found else 1 << 40


def _work(out: BinaryIO, work: Callable[..., None], file: Path, args: tuple[Any, ...]) -> None:
    def send(kind: bytes, body: bytes = b"") -> None:
        out.write(_HEADER.pack(kind, len(body)) + body)
        out.flush()

    def fail(fault: Fault) -> None:
        fault.message = unnamed(fault.message, file)
        send(_FAULT, json.dumps({"code": fault.code, "message": fault.message, "hint": fault.hint}).encode())

    try:
        work(lambda message: send(_NEWS, message), file, *args)
        send(_DONE)
    except Fault as fault:
        fail(fault)
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(fault_of(error) or MediaFault("The file cannot be read.", "Send another."))
    except MemoryError:
        fail(MediaFault("The file asks for too much memory.", "Send a smaller one."))

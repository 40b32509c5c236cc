"""Actors from files of strangers: each is enrolled in a process of its own, with limits on memory, time and output."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import resource
import secrets
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from engines.errors import Fault
from realtime.clock import Clock
from realtime.errors import MediaFault, fault_of, problem
from realtime.media import VIDEOS, probe
from realtime.server.faults import Busy, UnknownItem
from realtime.worker import Actors

log = logging.getLogger(__name__)

MOST_FILE = 512 << 20
LONGEST_S = 300.0
"""Seconds that an actor's video may last."""
MEMORY = 12 << 30
"""Bytes of address space: MediaPipe and OpenVINO reserve several GiB that they never touch."""
OUTPUT = 1 << 30
"""Bytes of the largest file that may be written."""
CPU_S, WALL_S = 1200, 1800.0
QUEUE = 3
"""Enrolments that are made or wait at a time."""
KEPT = 50


class Enrolment:
    """One file on its way to become an actor."""

    def __init__(self, actor: str, file: Path) -> None:
        self.name, self.actor, self.file = secrets.token_urlsafe(9), actor, file
        self.state = "waiting"
        self.pictures = 0
        self.total: int | None = None
        self.notes: list[str] = []
        self.problem: dict[str, Any] | None = None

    def report(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "actor": self.actor,
            "state": self.state,
            "pictures": self.pictures,
            "total": self.total,
            "notes": self.notes,
            "problem": self.problem,
            "url": f"/v1/enrolments/{self.name}",
        }


class Enrolments:
    """All enrolments of a server; one is made at a time, beside the sessions and below them."""

    def __init__(self, store: Actors, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._all: dict[str, Enrolment] = {}
        self._turn = asyncio.Semaphore(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, name: str) -> Enrolment:
        """An enrolment by its name. Raises UnknownItem."""
        if (enrolment := self._all.get(name)) is None:
            raise UnknownItem("There is no such enrolment, or not any more.", "GET /v1/actors lists the actors.")
        return enrolment

    def check_room(self) -> None:
        """Raise Busy where too many wait already."""
        if len(self._tasks) >= QUEUE:
            raise Busy(f"{QUEUE} actors are being enrolled already.", "Try again when one is done.")

    def begin(self, actor: str, file: Path) -> Enrolment:
        """Enrol the person of a file; it is deleted afterwards. Raises Busy."""
        self.check_room()
        enrolment = Enrolment(actor, file)
        self._all[enrolment.name] = enrolment
        while len(self._all) > KEPT:
            self._all.pop(next(iter(self._all)))
        task = asyncio.create_task(self._run(enrolment), name=f"enrol {actor}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return enrolment

    async def close(self) -> None:
        """End those that are being made."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, enrolment: Enrolment) -> None:
        try:
            async with self._turn:
                enrolment.state = "working"
                await self._work(enrolment)
        finally:
            enrolment.file.unlink(missing_ok=True)

    async def _work(self, enrolment: Enrolment) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=work, args=(theirs, enrolment.file, self._store, enrolment.actor), daemon=True, name=f"mytalk-enrol-{enrolment.name}"
        )
        await asyncio.to_thread(process.start)
        theirs.close()
        end = self._clock.now() + WALL_S
        try:
            while enrolment.state == "working" and self._clock.now() < end and await asyncio.to_thread(_news, ours, enrolment):
                pass
        finally:
            process.kill()
            await asyncio.shield(asyncio.to_thread(process.join))
            ours.close()
        if enrolment.state == "working":
            fault = MediaFault("The file asks for more memory or time than an enrolment has.", "Send a shorter or smaller video.")
            enrolment.state, enrolment.problem = "failed", problem(fault)
            log.warning("the enrolment of %s ended with code %s", enrolment.actor, process.exitcode)


def _news(pipe: Connection, enrolment: Enrolment) -> bool:
    """Take one message, or wait a second for it; False where no more will come."""
    try:
        if not pipe.poll(1.0):
            return True
        news = json.loads(pipe.recv_bytes())
    except (EOFError, OSError):
        return False
    enrolment.pictures = news.get("pictures", enrolment.pictures)
    enrolment.total = news.get("total", enrolment.total)
    enrolment.notes += news.get("notes", [])
    enrolment.problem = news.get("problem")
    enrolment.state = news.get("state", enrolment.state)
    return True


def work(pipe: Connection, file: Path, store: Actors, name: str) -> None:
    """The process: enrol the person of a file under this name, and say how it goes."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT, OUTPUT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def say(**news: Any) -> None:
        pipe.send_bytes(json.dumps(news).encode())

    def progress(pictures: int) -> None:
        if pictures > LONGEST_S * 25:  # whatever its header promised
            raise MediaFault(f"The video is longer than {LONGEST_S:.0f} s.", "Cut out a part in which the person talks.")
        if pictures % 10 == 0:
            say(pictures=pictures)

    try:
        from realtime.dub import enrolled

        info = probe(file, VIDEOS)
        if info.kind == "sound":
            raise MediaFault("The file has no pictures.", "Send a video or a photo of a face.")
        if (info.seconds or 0) > LONGEST_S:
            raise MediaFault(f"The video is longer than {LONGEST_S:.0f} s.", "Cut out a part in which the person talks.")
        if info.seconds:  # of a photo an idle loop is made: how long is its own affair
            say(total=max(1, round(info.seconds * 25)))
        notes: list[str] = []
        seen = enrolled(file, name=name, warn=notes.append, progress=progress, formats=VIDEOS, source="an uploaded file")
        with seen as actor:
            from engines.portrait import preview

            store.add(actor, preview(actor))
        say(state="done", notes=notes)
    except Fault as fault:
        say(state="failed", problem=problem(_nameless(fault, file)))
    except OSError as error:
        found = fault_of(error)
        say(state="failed", problem=problem(_nameless(found, file) if found else MediaFault("The file cannot be read.", "Send another.")))
    except MemoryError:
        say(state="failed", problem=problem(MediaFault("The file asks for too much memory.", "Send a smaller video.")))
    with contextlib.suppress(OSError):
        pipe.close()


def _nameless(fault: Fault, file: Path) -> Fault:
    """The fault without the name that the file has here."""
    for path in (str(file), file.name):
        fault.message = fault.message.replace(path, "The file" if fault.message.startswith(path) else "the file")
    return fault

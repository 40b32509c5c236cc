"""Actors from files of strangers: each is enrolled in a process of its own, with limits on memory, time and output."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import aclosing
from pathlib import Path
from typing import Any

from engines.errors import Fault
from realtime.clock import Clock
from realtime.errors import MediaFault, problem
from realtime.media import VIDEOS, probe
from realtime.server.child import Limits, Say, start, unnamed
from realtime.server.faults import Busy, UnknownItem
from realtime.server.pictures import MOST_PIXELS, pixels_of
from realtime.worker import Actors

MOST_FILE = 512 << 20
LONGEST_S = 300.0
"""Seconds that an actor's video may last."""
LIMITS = Limits(memory=12 << 30, data=4 << 30, cpu_s=1200, output=1 << 30, nice=10)
"""OpenVINO reserves some GiB that it never touches."""
WALL_S = 1800.0
"""Seconds after which an enrolment is given up."""
QUEUE = 3
"""Enrolments that are made or wait at a time."""
KEPT = 50


class Enrolment:
    """One file on its way to become an actor."""

    def __init__(self, name: str, actor: str, file: Path) -> None:
        self.name, self.actor, self.file = name, actor, file
        self.state = "waiting"
        self.pictures = 0
        self.total: int | None = None
        self.notes: list[str] = []
        self.problem: dict[str, Any] | None = None

    def take(self, news: dict[str, Any]) -> None:
        """How it goes, as its process says."""
        self.pictures = news.get("pictures", self.pictures)
        self.total = news.get("total", self.total)
        self.notes += news.get("notes", [])

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
    """All enrolments of a server; one is made at a time, beside the sessions and below them. Their names begin with `prefix`."""

    def __init__(self, store: Actors, clock: Clock, prefix: str = "") -> None:
        self._store, self._clock, self._prefix = store, clock, prefix
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
        enrolment = Enrolment(self._prefix + secrets.token_urlsafe(9), actor, file)
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
        end = self._clock.now() + WALL_S
        try:
            async with aclosing(await start(work, enrolment.file, self._store.stage, enrolment.actor, limits=LIMITS)) as child:
                while (news := await child.message(end - self._clock.now())) is not None:
                    enrolment.take(json.loads(news))
            await asyncio.to_thread(self._store.publish, enrolment.actor)
            enrolment.state = "done"
        except Fault as fault:
            enrolment.state, enrolment.problem = "failed", problem(fault)


def _check_pixels(count: int | None) -> None:
    if (count or 0) > MOST_PIXELS:
        raise MediaFault(f"The picture has more than {MOST_PIXELS // 10**6} megapixels.", "Send a smaller one.")


def work(say: Say, file: Path, store: Actors, name: str) -> None:
    """In a child: enrol the person of a file under this name, and say how it goes."""
    from engines.portrait import preview
    from realtime.dub import enrolled

    def tell(**news: Any) -> None:
        say(json.dumps(news).encode())

    def progress(pictures: int) -> None:
        if pictures > LONGEST_S * 25:  # whatever its header promised
            raise MediaFault(f"The video is longer than {LONGEST_S:.0f} s.", "Cut out a part in which the person talks.")
        if pictures % 10 == 0:
            tell(pictures=pictures)

    _check_pixels(pixels_of(file))
    info = probe(file, VIDEOS)
    _check_pixels(info.size and info.size[0] * info.size[1])
    if info.kind == "sound":
        raise MediaFault("The file has no pictures.", "Send a video or a photo of a face.")
    if (info.seconds or 0) > LONGEST_S:
        raise MediaFault(f"The video is longer than {LONGEST_S:.0f} s.", "Cut out a part in which the person talks.")
    if info.seconds:  # of a photo an idle loop is made: how long is its own affair
        tell(total=max(1, round(info.seconds * 25)))
    notes: list[str] = []
    seen = enrolled(file, name=name, warn=notes.append, progress=progress, formats=VIDEOS, source="an uploaded file")
    with seen as actor:
        store.add(actor, preview(actor))
    tell(notes=[unnamed(note, file) for note in notes])

"""Recordings of sessions on the server: MP4 files with sound and picture in step, bounded in number and length."""

from __future__ import annotations

import asyncio
import logging
import queue
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import Fault
from engines.frames import Picture
from realtime.clock import unix_time
from realtime.errors import StorageFault, fault_of, without_folders
from realtime.server.faults import InUse, TooMany, UnknownItem
from realtime.server.guard import OWNER
from realtime.server.scratch import Scratch
from realtime.server.session import Session
from realtime.surroundings import Outlet
from realtime.timeline import TICK_S, WIRE_TICK, Float
from realtime.writer import Writer

log = logging.getLogger(__name__)

LONGEST_S = 600.0
"""A recording ends by itself after so long."""
MOST = 16
"""Recordings that are kept; the oldest goes when there are more."""
AT_ONCE = 2
"""Recordings that are made at a time: each costs a fifth of a core."""
OF_GUEST, OF_GUEST_AT_ONCE = 4, 1
"""The same of a guest: nobody's recordings go because another makes many."""
_QUEUE = 50  # ticks that may wait for the disk; a tick that finds no room keeps its sound's place, and the last picture
_LOOK_S = 0.1
_SILENCE = np.zeros(WIRE_TICK, np.float32)


class Recording:
    """One session's ticks into a file, in a thread of its own. An `surroundings.Outlet`: it never makes a tick wait."""

    def __init__(self, path: Path, size: tuple[int, int], session: Session) -> None:
        self.name, self.path = path.stem, path
        self.session, self.actor, self.owner = session.name, session.actor, session.owner
        self._detach: Callable[[Outlet], None] | None = session.detach  # let go of at the end: sessions end, and recordings stay
        self.begun = unix_time()
        self.seconds = 0.0
        self.left_out = 0
        """Ticks that found the disk too slow."""
        self.fault: Fault | None = None
        self._size = size
        self._first: int | None = None
        self._ticks: queue.Queue[tuple[int, Float, Picture | None]] = queue.Queue(_QUEUE)
        self._over = False
        self._done, self._loop = asyncio.Event(), asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write, daemon=True, name=f"recording {self.name}")
        self._thread.start()

    @property
    def going(self) -> bool:
        """Whether it is still being made."""
        return not self._done.is_set()

    def say(self, tick: int, sound: Float) -> None:
        """See `surroundings.Outlet.say`: it comes again with its picture."""

    def show(self, tick: int, sound: Float, picture: Picture | None) -> None:
        """See `surroundings.Outlet.show`."""
        self._first = tick if self._first is None else self._first
        at = tick - self._first
        if at * TICK_S >= LONGEST_S:
            self.finish()
            return
        if self.fault is not None:
            self.finish()
            return
        try:
            self._ticks.put_nowait((at, sound, picture))
        except queue.Full:
            self.left_out += 1

    def hush(self) -> None:
        """See `surroundings.Outlet.hush`: what has left, has left."""

    def ended(self) -> None:
        """See `surroundings.Outlet.ended`."""
        self.finish()

    def finish(self) -> None:
        """No more ticks. Twice is once."""
        if self._detach is not None:
            self._detach(self)
        self._detach, self._over = None, True

    @property
    def attached(self) -> bool:
        """Whether ticks still come."""
        return self._detach is not None

    async def wait(self) -> None:
        """Until the file is whole."""
        await self._done.wait()

    def _next(self) -> tuple[int, Float, Picture | None] | None:
        """The next tick; None after the last. Nobody waits with it for a place in the queue, which may be full."""
        while True:
            try:
                return self._ticks.get(timeout=_LOOK_S)
            except queue.Empty:
                if self._over:
                    return None

    def _write(self) -> None:
        try:
            self._write_file()
        finally:
            self._loop.call_soon_threadsafe(self._done.set)

    def _write_file(self) -> None:
        try:
            with Writer(self.path, self._size, kept=True) as writer:
                last: Picture | None = None
                at = 0
                while (tick := self._next()) is not None:
                    number, sound, picture = tick
                    picture = picture if picture is not None else last
                    if picture is None:
                        continue
                    while at < number and last is not None:
                        writer.picture(last)
                        writer.sound(_SILENCE[None])
                        at += 1
                    at = number
                    writer.picture(picture)
                    writer.sound(sound[None])
                    at, last = at + 1, picture
                    self.seconds = writer.pictures * TICK_S
        except OSError as error:
            self.fault = fault_of(error) or StorageFault(f"The recording cannot be written: {error.strerror}.")
            log.warning("%s", self.fault, extra={"session": self.session})
        except Exception:  # the thread's border: a recording that fails never ends a session
            self.fault = StorageFault("The recording cannot be written.", "See the server's log.")
            log.exception("a recording fails", extra={"session": self.session})

    def report(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "session": self.session,
            "actor": self.actor,
            "state": "recording" if self.going else "failed" if self.fault else "ready",
            "trouble": without_folders(self.fault.message) if self.fault else None,
            "begun": round(self.begun, 3),
            "seconds": round(self.seconds, 2),
            "left_out": self.left_out,
            "url": f"/v1/recordings/{self.name}.mp4",
        }


class Recordings:
    """All recordings of a server, in its folder. Their names begin with `prefix`."""

    def __init__(self, scratch: Scratch, prefix: str = "") -> None:
        self._scratch, self._prefix = scratch, prefix
        self._all: dict[str, Recording] = {}

    def begin(self, session: Session) -> Recording:
        """Record a session from now on. Raises InUse, TooMany."""
        if self.of(session) is not None:
            raise InUse("This session is being recorded already.", "Stop that recording first.")
        going = [recording.owner for recording in self._all.values() if recording.going]
        if len(going) >= AT_ONCE or (session.owner != OWNER and going.count(session.owner) >= OF_GUEST_AT_ONCE):
            raise TooMany(f"{len(going)} recordings are being made already.", "Wait until one has ended.")
        if (size := session.size) is None:
            raise InUse("This session shows nothing yet.", "Try again in a moment.")
        if session.owner != OWNER:
            self._make_room(OF_GUEST, session.owner)
        self._make_room(MOST)
        recording = Recording(self._scratch.folder / f"{self._prefix}{secrets.token_urlsafe(12)}.mp4", size, session)
        self._all[recording.name] = recording
        session.attach(recording)
        return recording

    def _make_room(self, most: int, owner: str | None = None) -> None:
        """Remove the oldest, where so many are kept already: of one owner, or of all."""
        kept = [one for one in self._all.values() if owner in (None, one.owner)]
        done = [one.name for one in kept if not one.going]
        for name in done[: max(0, len(kept) - most + 1)]:
            self.remove(name)

    def of(self, session: Session) -> Recording | None:
        """The recording that is being made of a session, if any."""
        return next((one for one in self._all.values() if one.session == session.name and one.attached), None)

    def find(self, name: str) -> Recording:
        """A recording by its name. Raises UnknownItem."""
        if (recording := self._all.get(name)) is None:
            raise UnknownItem("There is no such recording, or not any more.", "Begin one with POST to a session's recording.")
        return recording

    def of_owner(self, who: str) -> list[dict[str, Any]]:
        """Those of somebody, as reports; the server's owner has all."""
        return [one.report() for one in self._all.values() if who in (OWNER, one.owner)]

    def remove(self, name: str) -> None:
        """Remove one and its file. Raises UnknownItem, and InUse while it is made."""
        recording = self.find(name)
        if recording.going:
            raise InUse("This recording is still being made.", "Stop it first.")
        del self._all[name]
        recording.path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Finish all, and remove their files: they are the server's own as long as it runs."""
        for recording in self._all.values():
            recording.finish()
        for recording in list(self._all.values()):
            await recording.wait()
            recording.path.unlink(missing_ok=True)

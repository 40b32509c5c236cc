"""Sound files that a session is to speak: each is opened by a process of its own, and read no faster than it is spoken."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.errors import Fault
from realtime import timeline
from realtime.clock import Clock
from realtime.errors import MediaFault
from realtime.intake import Stream, Streams
from realtime.media import SOUNDS, probe, read_speech, unheard
from realtime.server.child import Child, Limits, Say, start
from realtime.server.faults import Busy, UnknownSession

log = logging.getLogger(__name__)

FILES = 8
"""Sound files that may wait."""
LONGEST_S = 3600.0
"""Seconds of one sound file that are spoken."""
SOON = 2 * timeline.WIRE_RATE
"""Samples before whose end the next file is opened: files that wait are files, neither memory nor processes."""
WITHIN_S = 20.0
"""A file of which so long nothing can be read is given up."""
LIMITS = Limits(memory=2 << 30, data=1 << 30, cpu_s=300, output=0)
_PIECE = timeline.WIRE_RATE  # samples in a message, at most


def read(say: Say, file: Path) -> None:
    """In a child: an empty message where the header is that of a sound file of a kind that is read here; then its sound, float32,
    mono, 48 kHz, as fast as it is taken. Raises MediaFault, at its end where nothing is heard in it."""
    _look(file)
    say(b"")
    said: list[str] = []
    for block in read_speech(file, timeline.WIRE_RATE, said.append, SOUNDS):
        for at in range(0, len(block), _PIECE):
            say(block[at : at + _PIECE].tobytes())
    if str(unheard(file)) in said:
        raise unheard(file)


def _look(file: Path) -> None:
    try:
        info = probe(file, SOUNDS)
    except MediaFault as fault:
        raise MediaFault(
            "The file is damaged, or no sound file of a kind that is read here.", "Send WAV, MP3, FLAC, Ogg or MP4."
        ) from fault
    if not info.sound:
        raise MediaFault("The file has no sound.", "Send a recording of speech.")
    if (info.seconds or 0) > LONGEST_S:
        raise MediaFault(f"The file is longer than {LONGEST_S / 60:.0f} minutes.", "Send it in parts.")


async def _opened(file: Path) -> Child:
    """A reader of a file that has looked at its header. Raises MediaFault."""
    reader = await start(read, file, limits=LIMITS)
    try:
        await reader.message(WITHIN_S)
    except BaseException:
        await reader.aclose()
        raise
    return reader


@dataclass(frozen=True)
class _Waiting:
    """A file that waits, with its reader where nothing is before it."""

    path: Path
    generation: int
    reader: Child | None


class Files:
    """The files of a session, spoken one after the other: what is read of them goes to the session's streams."""

    def __init__(self, streams: Streams, clock: Clock) -> None:
        self._streams, self._clock = streams, clock
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(FILES)
        self._turn = asyncio.Lock()  # files are looked at one by one, and wait in the order in which they came
        self._generation = 0  # raised by each interruption
        self._busy = self._ended = False
        self.trouble: Fault | None = None
        """What was wrong with the file that was read last."""

    async def put(self, file: Path) -> None:
        """Speak a file after those that wait already; it is deleted afterwards. Raises Busy, UnknownSession and MediaFault."""
        async with self._turn:
            if self._queue.full():
                raise Busy(f"{FILES} files are waiting to be spoken.", "Wait until one has been spoken, or interrupt.")
            generation = self._generation
            reader: Child | None = await _opened(file)
            if reader and (self._busy or self._ended or not self._queue.empty()):
                await reader.aclose()
                reader = None
            if self._ended:
                raise UnknownSession("The session has ended.", "Begin one with POST /v1/sessions.")
            self._queue.put_nowait(_Waiting(file, generation, reader))

    def clear(self) -> None:
        """Forget those that wait, and the rest of the one that is being read."""
        self._generation += 1

    async def end(self) -> None:
        """Forget all of them, and take no more. `run` has ended."""
        self._ended = True
        while not self._queue.empty():
            await self._forget(self._queue.get_nowait())

    async def run(self) -> None:
        """Read one after the other, until cancelled."""
        while True:
            file = await self._queue.get()
            self._busy = True
            stream = Stream()
            try:
                await self._speak(file, stream)
            except Fault as fault:
                self.trouble = fault
            except Exception:  # the session's border
                log.exception("a file ends early")
            finally:
                self._busy = False
                stream.end()
                await self._forget(file)

    async def _speak(self, file: _Waiting, stream: Stream) -> None:
        while self._streams.waiting > SOON and file.generation == self._generation:
            await self._clock.sleep_until(self._clock.now() + timeline.TICK_S)
        if file.generation != self._generation:
            return
        self.trouble = None
        async with aclosing(file.reader or await _opened(file.path)) as reader:
            while (samples := await reader.message(WITHIN_S)) is not None:
                while not stream.room and file.generation == self._generation:
                    await self._clock.sleep_until(self._clock.now() + timeline.TICK_S)
                if file.generation != self._generation or stream.came > LONGEST_S * timeline.WIRE_RATE:
                    return
                if samples:
                    self._streams.put(stream, np.frombuffer(samples, np.float32), self._clock.now())

    async def _forget(self, file: _Waiting) -> None:
        file.path.unlink(missing_ok=True)
        if file.reader:
            await file.reader.aclose()

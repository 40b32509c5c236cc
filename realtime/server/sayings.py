"""Texts that sessions say: cut into pieces, each of which is heard while the next is made."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.errors import Fault
from engines.voice.pieces import Piece
from realtime import timeline
from realtime.clock import Clock
from realtime.intake import Stream
from realtime.pcm import Pcm
from realtime.server.faults import Busy
from realtime.server.session import Session
from realtime.server.speaking import Speaking
from realtime.voices import RATE, Voice

log = logging.getLogger(__name__)

TEXTS = 8
"""Texts of a session that may wait."""


@dataclass(frozen=True)
class _Text:
    pieces: list[Piece]
    voice: Voice
    speed: float
    stream: Stream
    generation: int


class Sayings:
    """What all sessions of a server are to say."""

    def __init__(self, speaking: Speaking, clock: Clock) -> None:
        self.speaking, self._clock = speaking, clock
        self._all: dict[str, Saying] = {}

    def put(self, session: Session, pieces: list[Piece], voice: Voice, speed: float) -> int:
        """Say a text in a session, after those that wait; returns how many do. Raises Busy."""
        saying = self._all.get(session.name)
        if saying is None:
            saying = self._all[session.name] = Saying(session, self.speaking, self._clock, self._gone)
        return saying.put(pieces, voice, speed)

    async def close(self) -> None:
        """End all of them, and the process that speaks."""
        for saying in list(self._all.values()):
            saying.ended()
        await self.speaking.close()

    def _gone(self, session: Session) -> None:
        self._all.pop(session.name, None)


class Saying:
    """The texts of one session, said one after the other. A `surroundings.Follower`."""

    def __init__(self, session: Session, speaking: Speaking, clock: Clock, gone: Callable[[Session], None]) -> None:
        self._session, self._speaking, self._clock, self._gone = session, speaking, clock, gone
        self._texts: deque[_Text] = deque()
        self._task: asyncio.Task[None] | None = None
        session.followers.add(self)

    def put(self, pieces: list[Piece], voice: Voice, speed: float) -> int:
        """One more text. Its place among what the session says is kept from now on. Raises Busy."""
        if sum(text.generation == self._session.generation for text in self._texts) >= TEXTS:
            raise Busy(f"{TEXTS} texts are waiting to be said.", "Wait until one has been said, or interrupt.")
        stream = Stream(held=True)
        self._session.say(stream, np.zeros(0, np.float32))
        self._texts.append(_Text(pieces, voice, speed, stream, self._session.generation))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"texts {self._session.name}")
        return len(self._texts)

    async def _run(self) -> None:
        try:
            while self._texts:
                text = self._texts[0]
                try:
                    self._session.complain(None)
                    await self._say(text)
                except Fault as fault:
                    self._session.complain(fault)
                except Exception:
                    log.exception("a text ends early")
                finally:
                    text.stream.end()
                    self._texts.popleft()
        finally:
            self._task = None

    async def _say(self, text: _Text) -> None:
        pcm = Pcm(RATE)

        def wanted() -> bool:
            return text.generation == self._session.generation

        for piece in text.pieces:
            while not text.stream.room and wanted():
                await self._clock.sleep_until(self._clock.now() + timeline.TICK_S)
            if not wanted():
                return
            samples = await self._speaking.say(piece.text, text.voice, text.speed, wanted)
            pause = bytes(2 * int(piece.pause * RATE / text.speed))
            for sound in pcm.put(samples + pause):
                if not wanted():
                    return
                self._session.say(text.stream, sound)
                await self._clock.sleep_until(0)  # others' turn
        if wanted():
            self._session.say(text.stream, pcm.flush())

    # how speech goes on (`surroundings.Follower`)

    def speaking(self, stream: Stream) -> None:
        """See `Follower.speaking`."""

    def played(self, stream: Stream) -> None:
        """See `Follower.played`."""

    def idle(self, stream: Stream) -> None:
        """See `Follower.idle`."""

    def interrupted(self, stream: Stream, heard: int, dropped: int) -> None:
        """See `Follower.interrupted`: texts that wait are of an older generation, and left out when their turn comes."""

    def ended(self) -> None:
        """See `Follower.ended`."""
        self._session.followers.discard(self)
        self._gone(self._session)
        if self._task:
            self._task.cancel()

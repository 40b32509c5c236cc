"""Speech in over a websocket: raw samples come, and how they are spoken is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from engines.errors import Fault, MannerFault, SpeechFault
from realtime import timeline
from realtime.clock import Clock
from realtime.conversation import Conversation
from realtime.errors import without_folders
from realtime.intake import Stream
from realtime.manners import OWN, check_strength
from realtime.pcm import Pcm, rate_of
from realtime.rate import Rate
from realtime.server.faults import Busy, WrongType

log = logging.getLogger(__name__)

MOST_MESSAGE = 1 << 20
AHEAD_S = 60
"""Seconds of speech that a websocket may be ahead; then it is not read until there is room."""
SOCKETS = 4
"""Websockets that a conversation takes at a time."""
CLOSE_S = 5.0
"""For so long a client is given to take its last events."""
PAUSE_S = 0.5
"""After an interruption that a socket did not ask for, what comes on it is old until its next `start`, or until nothing has come for
so long: clients that are no further ahead than we read need not know of that."""
MESSAGES, AT_ONCE = 1000, 2000
"""Messages of a websocket that are taken a second, and at once; it is read no faster."""
WORDS, WORDS_AT_ONCE = 50, 100
"""The same of those that are no samples."""
_EVENTS = 256
_MOST_READ = 8 << 10  # bytes of a websocket that are read at a time


class SpeechSocket:
    """One websocket of speech: what comes is said; how it goes on is told. A `surroundings.Follower`."""

    def __init__(self, session: Conversation, clock: Clock, may: Callable[[str], None]) -> None:
        self._session, self._clock, self._may = session, clock, may
        self._stream = Stream(AHEAD_S * timeline.WIRE_RATE)
        self._pcm: Pcm | None = None
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(_EVENTS)
        self._over = False
        self._code = WSCloseCode.POLICY_VIOLATION  # with which the socket is closed
        self._generation = session.generation  # of the session's interruptions, that this client knows of
        self._stale = False  # what comes is old until its next `start`, however late
        self._came = clock.now()
        self._base = 0  # where in the stream its last `start` was
        self._messages, self._words = Rate(clock, MESSAGES, AT_ONCE), Rate(clock, WORDS, WORDS_AT_ONCE)
        self._dropped = Rate(clock, 10 * MESSAGES, 10 * AT_ONCE)

    async def run(self, request: web.Request, socket: web.WebSocketResponse, rate: int | None) -> None:
        """Until either side ends it."""
        self._pcm = Pcm(rate) if rate else None
        self._session.followers.add(self)
        telling = asyncio.create_task(self._tell_all(socket), name=f"events {self._session.name}")
        try:
            async for message in socket:
                await self._rate(message.type).pace()  # others' turn, at the least
                if self._over or request.transport is None:
                    break
                if message.type is WSMsgType.BINARY:
                    await self._put(message.data)
                elif message.type is WSMsgType.TEXT:
                    await self._obey(message.data)
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
            if self._pcm and socket.close_code != 1001:
                await self._flush()
        except Fault as fault:
            self._tell("error", code=fault.code, detail=without_folders(fault.message), hint=fault.hint)
            self._tell(None)
            self._over = True
        finally:
            self._stream.end()
            self._session.followers.discard(self)
            if self._over:  # what was told last arrives, and why the socket is closed
                await asyncio.wait([telling], timeout=CLOSE_S)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    def _rate(self, kind: WSMsgType) -> Rate:
        return self._words if kind is not WSMsgType.BINARY else self._dropped if self._old else self._messages

    @property
    def _old(self) -> bool:
        """Whether what comes belongs to speech that was broken off, by others than this client."""
        return self._generation != self._session.generation

    async def _put(self, data: bytes) -> None:
        if self._pcm is None:
            raise SpeechFault("Samples came before their rate.", 'Send {"type": "start", "rate": 24000} first.')
        before, self._came = self._came, self._clock.now()
        if self._old:
            self._pcm.clear()
            if self._stale or self._came - before < PAUSE_S:
                return
            self._generation = self._session.generation
        for sound in self._pcm.put(data):
            await self._say(sound)
            if self._old or self._over:
                break

    async def _say(self, sound: timeline.Float) -> None:
        waited = False
        while not self._stream.room and not self._over:
            waited = True
            await self._clock.sleep_until(self._clock.now() + timeline.TICK_S)
        if self._old:
            self._stale = self._stale or waited  # it is far ahead: what it sent before may take long to be read
        elif len(sound) and not self._over:
            self._session.say(self._stream, sound)
            await self._clock.sleep_until(0)  # others' turn

    async def _flush(self) -> None:
        if self._pcm and not self._old:
            try:
                await self._say(self._pcm.flush())
            finally:
                self._stream.end()

    def _start(self, pcm: Pcm) -> None:
        """What comes from now on is new."""
        self._pcm, self._base = pcm, self._stream.came
        self._generation, self._stale = self._session.generation, False

    async def _obey(self, text: str) -> None:
        """A message: a word, or JSON with its `type`. Raises SpeechFault for what is neither."""
        words = words_of(text)
        kind = words.get("type", "start" if "rate" in words else None)
        if kind == "start":
            self._start(Pcm(rate_of(words.get("rate", self._pcm.rate if self._pcm else None))))
        elif kind == "flush":
            await self._flush()
        elif kind == "interrupt":
            if self._pcm:
                self._pcm.clear()
            told = self._events.qsize()
            self._session.interrupt()
            self._generation, self._stale = self._session.generation, False
            if self._events.qsize() == told:
                self.interrupted(self._stream, self._stream.played, 0)
        elif kind == "manner":
            await speak_as(self._session, words, self._may)
        else:
            raise SpeechFault(f"There is no message {text[:40]!r}.", 'Send "flush", "interrupt", or {"type": "start", "rate": 24000}.')

    async def _tell_all(self, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            while (event := await self._events.get()) is not None:
                await socket.send_json(event)
            await socket.close(code=self._code)

    def _tell(self, kind: str | None, **rest: Any) -> None:
        if self._events.full():
            self._events.get_nowait()  # a peer that does not read loses the oldest
        self._events.put_nowait(None if kind is None else {"type": kind, **rest})

    def _place(self, wire: int) -> dict[str, int]:
        wire = max(0, wire - self._base)
        samples = self._pcm.place(wire) if self._pcm else 0
        return {"samples": samples, "ms": round(wire / timeline.WIRE_RATE * 1000)}

    # how speech goes on (`surroundings.Follower`)

    def speaking(self, stream: Stream) -> None:
        """See `Follower.speaking`."""
        if stream is self._stream:
            self._tell("speaking", **self._place(stream.played))

    def played(self, stream: Stream) -> None:
        """See `Follower.played`."""
        if stream is self._stream:
            self._tell("played", **self._place(stream.played), waiting_ms=round(stream.waiting / timeline.WIRE_RATE * 1000))

    def idle(self, stream: Stream) -> None:
        """See `Follower.idle`."""
        if stream is self._stream:
            self._tell("idle", **self._place(stream.played))

    def interrupted(self, stream: Stream, heard: int, dropped: int) -> None:
        """See `Follower.interrupted`."""
        if stream is self._stream:
            self._tell("interrupted", **self._place(heard), dropped_ms=round(dropped / timeline.WIRE_RATE * 1000))

    def ended(self) -> None:
        """See `Follower.ended`."""
        self._over = True
        self._code = WSCloseCode.POLICY_VIOLATION if self._session.refusal else WSCloseCode.OK
        if fault := self._session.refusal:
            self._tell("error", code=fault.code, detail=without_folders(fault.message), hint=fault.hint)
        self._tell("ended")
        self._tell(None)


def words_of(text: str) -> dict[str, Any]:
    """A message of a websocket as a dictionary."""
    if text.strip() in ("flush", "interrupt"):
        return {"type": text.strip()}
    try:
        words = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpeechFault("The message is no JSON.", 'Send "flush", "interrupt", or {"type": "start", "rate": 24000}.') from error
    return words if isinstance(words, dict) else {}


async def speak_as(session: Conversation, words: dict[str, Any], may: Callable[[str], None]) -> None:
    """Have a session go on in the manner that a message asks for. Raises MannerFault, and what `may` raises of the name."""
    name = words.get("name", OWN)
    if not isinstance(name, str):
        raise MannerFault("A manner's name is a text.", 'Send {"type": "manner", "name": "happy", "strength": 0.7}.')
    strength = check_strength(words.get("strength", 1))
    may(name)
    await session.speak_as(name, strength)


async def converse(
    request: web.Request, session: Conversation, clock: Clock, may: Callable[[str], None] = lambda name: None
) -> web.StreamResponse:
    """A websocket of speech to a session; `may` raises where a manner's name is not for whoever talks.

    Raises SpeechFault, Busy, WrongType.
    """
    rate = rate_of(request.query["rate"]) if "rate" in request.query else None
    if sum(isinstance(follower, SpeechSocket) for follower in session.followers) >= SOCKETS:
        raise Busy(f"A session takes {SOCKETS} websockets at a time.", "Close one.")
    socket = web.WebSocketResponse(heartbeat=20, autoping=False, compress=False, max_msg_size=MOST_MESSAGE)
    if not socket.can_prepare(request).ok:
        raise WrongType("Speech comes here as a websocket.", "Open it with ws://, or POST a sound file.")
    await socket.prepare(request)
    read_little(request.transport)
    await SpeechSocket(session, clock, may).run(request, socket, rate)
    await socket.close()
    return socket


def read_little(transport: asyncio.BaseTransport | None) -> None:
    """Let a connection be read in small pieces: asyncio reads 256 KiB at a time, in which are tens of thousands of small messages, all
    of which are parsed before others have their turn."""
    if transport is not None and hasattr(transport, "max_size"):
        transport.max_size = _MOST_READ  # asyncio's own name; where it has changed, floods cost more, and nothing breaks

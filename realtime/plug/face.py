"""What adapters of frameworks share: speech of any rate in, in segments; sound, pictures and the ends of segments out, in step."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import Fault
from engines.frames import Picture
from realtime import timeline
from realtime.clock import Clock
from realtime.conversation import Conversation
from realtime.engine import Engine, EngineFault
from realtime.intake import Speech, Stream
from realtime.manners import manner_called
from realtime.pcm import Pcm
from realtime.surroundings import Surroundings
from realtime.timeline import WIRE_RATE, Float
from realtime.worker import Actors

AHEAD = 2 * WIRE_RATE
"""Samples of speech that a conversation is given ahead; what is beyond waits with whoever pushes it."""
PICTURES = 5
"""Pictures that wait for whoever takes them; then the oldest go."""
READY_S, RESTARTS = 120.0, 3
"""An engine that is not ready after so long, or so many starts, is given up."""
BEHIND = 4
"""While more waits for whoever takes it, nothing more is said: so nothing is before the first picture was taken."""


@dataclass(eq=False)
class Segment:
    """A piece of speech with an end, such as an answer."""

    pcm: Pcm
    tag: Any = None
    """What whoever pushed it calls it."""
    stream: Stream = field(default_factory=partial(Stream, AHEAD))
    left: int = 0
    """Samples of its sound, at 48 kHz, that have left."""
    last: int = 0
    """The tick in which the last of them did."""
    broken: bool = False
    """Whether somebody else broke it off: the rest of it is dropped."""
    told: bool = False
    """Whether its end was."""


@dataclass(frozen=True)
class Sound:
    """Speech of at most one tick, that is to be heard now."""

    segment: Segment
    samples: NDArray[np.int16]
    """(n,) mono, 48 kHz; nothing of it is padding."""


@dataclass(frozen=True)
class Shown:
    """The picture of a tick, which is to be seen now; it follows the sound of its tick, if there is any."""

    tick: int
    picture: Picture


@dataclass(frozen=True)
class End:
    """All sound and pictures of a segment have left. Once for each, unless it was interrupted."""

    segment: Segment


class Face:
    """One conversation, for one who pushes and one who takes; all of it on one event loop. An `Outlet` and a `Follower`."""

    def __init__(self, conversation: Conversation, clock: Clock) -> None:
        self._conversation, self._clock = conversation, clock
        self._items: deque[Sound | Shown | End] = deque()
        self._here, self._settled = asyncio.Event(), asyncio.Event()
        self._settled.set()
        self._taken = False  # whether anything was, and more is asked for
        self._shown = -1  # the last tick whose picture left
        self._open: Segment | None = None  # into which is pushed
        self._ending: deque[Segment] = deque()  # finished, and something of them has not been taken
        self._interrupting = False
        self.over = False
        """Whether the conversation has ended."""
        conversation.attach(self)
        conversation.followers.add(self)
        conversation.said = self._said
        self._sound: Float = np.zeros(0, np.float32)

    @property
    def trouble(self) -> Fault | None:
        """Why the conversation has ended, if something was wrong."""
        return self._conversation.trouble

    # speech in

    async def push(self, samples: bytes | memoryview, rate: int, channels: int = 1, tag: Any = None) -> None:
        """More of the segment that is open, which this opens if none is: 16-bit samples, interleaved, of any rate.

        Waits where enough waits to be said. What an interruption finds waiting is dropped.
        """
        data = mono(samples, channels)
        if self.over or not len(data):
            return
        generation = self._conversation.generation
        if self._open is None:
            self._open = Segment(Pcm(rate), tag)
        segment = self._open
        if segment.broken:
            return
        if segment.pcm.rate != rate:
            await self._say(segment, segment.pcm.flush(), generation)
            segment.pcm = Pcm(rate)
        for sound in segment.pcm.put(data):
            await self._say(segment, sound, generation)
            if generation != self._conversation.generation:
                return

    async def _say(self, segment: Segment, sound: Float, generation: int) -> None:
        while not self.over and generation == self._conversation.generation and not self._room(segment):
            await self._clock.sleep_until(self._clock.now() + timeline.TICK_S)
        if len(sound) and not self.over and generation == self._conversation.generation:
            self._conversation.say(segment.stream, sound)

    def _room(self, segment: Segment) -> bool:
        return segment.stream.room and self._taken and len(self._items) <= BEHIND

    async def finish(self) -> Segment | None:
        """The segment that is open is at its end. None where no end will be told of it: nothing of it was said, or it was interrupted."""
        segment = self._open
        if segment is None or self.over:
            return None
        generation = self._conversation.generation
        if not segment.broken:
            await self._say(segment, segment.pcm.flush(), generation)
        self._open = None if self._open is segment else self._open
        if self.over or (not segment.broken and (generation != self._conversation.generation or not segment.stream.came)):
            return None
        segment.stream.end()
        self._settled.clear()
        self._ending.append(segment)
        self._tell_ends()
        return segment

    def _tell_ends(self) -> None:
        """Tell of all that were finished, heard and seen, or broken off by somebody else."""
        for segment in self._ending:
            heard = segment.left >= segment.stream.came and segment.last <= self._shown
            if (heard or segment.broken) and not segment.told:
                segment.told = True
                self._put(End(segment))

    async def settled(self) -> None:
        """Wait until the ends of all segments that are finished were taken."""
        await self._settled.wait()

    def interrupt(self) -> None:
        """At once: all speech, wherever it is, is broken off; nothing of it is told any more, no end either."""
        self._interrupting = True
        try:
            self._conversation.interrupt()
        finally:
            self._interrupting = False
        self._open = None
        self._ending.clear()
        self._settled.set()
        self._items.clear()

    # what comes of it

    async def items(self) -> AsyncIterator[Sound | Shown | End]:
        """All that leaves, in order, until the conversation ends."""
        while True:
            while not self._items:
                if self.over:
                    return
                self._here.clear()
                await self._here.wait()
            item = self._items.popleft()
            yield item
            self._taken = True
            if isinstance(item, End) and item.segment in self._ending:
                self._ending.remove(item.segment)
                if not self._ending:
                    self._settled.set()

    def _put(self, item: Sound | Shown | End) -> None:
        if isinstance(item, Shown):
            waiting = [old for old in self._items if isinstance(old, Shown)]
            if len(waiting) >= PICTURES:
                self._items.remove(waiting[0])
        self._items.append(item)
        self._here.set()

    # `surroundings.Outlet`

    def say(self, tick: int, sound: Float) -> None:
        """See `Outlet.say`: what it is is told just after, to `_said`."""
        self._sound = sound

    def _said(self, tick: int, speech: Speech) -> None:
        segment = next((one for one in (*self._ending, self._open) if one is not None and one.stream is speech.stream), None)
        if segment is None:
            return
        count = min(len(self._sound), speech.upto - segment.left)
        segment.left, segment.last = speech.upto, tick
        if count > 0:
            self._put(Sound(segment, (np.clip(self._sound[:count], -1, 1) * 32767).astype(np.int16)))

    def show(self, tick: int, sound: Float, picture: Picture | None) -> None:
        """See `Outlet.show`."""
        if picture is not None:
            self._put(Shown(tick, picture))
        self._shown = tick
        self._tell_ends()

    def hush(self) -> None:
        """See `Outlet.hush`: sound leaves as soon as it is taken."""

    def ended(self) -> None:
        """See `Outlet.ended`, and `Follower.ended`."""
        if not self.over:
            self._break_off()
            self.over = True
            self._here.set()
            self._settled.set()

    # `surroundings.Follower`

    def speaking(self, stream: Stream) -> None:
        """See `Follower.speaking`."""

    def played(self, stream: Stream) -> None:
        """See `Follower.played`."""

    def idle(self, stream: Stream) -> None:
        """See `Follower.idle`."""

    def interrupted(self, stream: Stream, heard: int, dropped: int) -> None:
        """See `Follower.interrupted`: where somebody else did, what was finished has ended, and the rest of what was not is dropped."""
        if not self._interrupting:
            self._break_off()

    def _break_off(self) -> None:
        self._items = deque(item for item in self._items if not isinstance(item, Sound))
        for segment in (*self._ending, self._open):
            if segment is not None:
                segment.broken = True
        self._tell_ends()


def mono(samples: bytes | memoryview, channels: int) -> bytes:
    """16-bit samples of one channel: the mean of those that there are."""
    if channels == 1:
        return bytes(samples)
    many = np.frombuffer(samples, "<i2").reshape(-1, channels)
    return many.mean(1).astype("<i2").tobytes()


class _Uncounted:
    """`surroundings.Gauges`: nobody counts over conversations where there is one."""

    def left(self, added: float | None) -> None:
        """See `Gauges.left`."""

    def held(self, ticks: int) -> None:
        """See `Gauges.held`."""


def conversation_of_its_own(engine: Engine, actor: str, store: Actors, clock: Clock, ended: Callable[[Conversation], None]) -> Conversation:
    """A conversation that nobody else has anything to do with, and that has no limits."""
    around = Surroundings(engine, clock, _Uncounted(), idle_s=math.inf, total_s=math.inf, manner=partial(manner_called, store=store))
    return Conversation("plug", actor, "", around, ended)


async def begun(engine: Engine, clock: Clock) -> None:
    """Wait until an engine that was started is ready. Raises EngineFault where it does not get so."""
    end = clock.now() + READY_S
    while not engine.ready:
        if clock.now() > end or engine.restarts >= RESTARTS:
            raise EngineFault("The engine does not start.", "See the log; `mytalk doctor` says what is missing.")
        await clock.sleep_until(clock.now() + 0.02)

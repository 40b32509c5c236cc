"""Speech on its way in: a microphone's jitter buffer, a queue of streams, and the way from 48 to 16 kHz.

Pure of time: callers say when samples arrived. A tick of speech is `WIRE_TICK` samples at 48 kHz.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from realtime.pacer import Kind
from realtime.timeline import WIRE_RATE, WIRE_TICK, Float, fade_in, joined

CUSHION = WIRE_RATE // 50
"""Samples that a buffer gathers beyond a tick before it gives: what 20 ms of jitter needs. A microphone's own grows with each hole
in its speech."""
MOST_CUSHION = WIRE_RATE * 6 // 100
SPARE = WIRE_RATE // 200
"""What a microphone's buffer keeps beyond what the jitter of the last `MEMORY` windows needed."""
MEMORY = 10
MOST = WIRE_RATE * 120 // 1000
"""A microphone's buffer never keeps more than this."""
CROSS = 240
"""Samples over which a cut is cross-faded."""
LULL = 0.25
"""Seconds without a sample after which a stream counts as at its end for now: its last samples need not fill a tick."""
CALM = 25
"""Ticks after which samples that were never needed are given up, so that a passing delay does not stay."""


@dataclass(frozen=True)
class Speech:
    """One tick of speech as it came in."""

    kind: Kind
    sound: Float
    arrived: float
    """When its last sample arrived; for silence, when it was taken."""
    stream: Stream | None = None
    """Where it came from, if it is made speech."""
    upto: int = 0
    """Samples of that stream up to this tick's end."""

    def hushed(self) -> Speech:
        """The same tick after its speech was broken off."""
        return replace(self, kind=Kind.SILENCE, sound=np.zeros_like(self.sound), stream=None)


class Live(Protocol):
    """What a session hears live from."""

    @property
    def dropped(self) -> int:
        """Samples given up."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a tick can be taken."""
        ...

    def take(self) -> Speech:
        """The oldest tick. Only where `ready`."""
        ...

    def starve(self) -> bool:
        """A tick had to go without it. Says whether that is a hole in its speech."""
        ...

    def clear(self) -> None:
        """Forget what was said so far."""
        ...


class Microphone:
    """A live source: bounded; the oldest leaves first, cross-faded."""

    def __init__(self) -> None:
        self._sound: Float = np.zeros(0, np.float32)
        self._arrivals: deque[tuple[int, float]] = deque()  # (count of all samples so far, when the last of them arrived)
        self._came = 0
        self._open = False  # whether the cushion is there
        self._cushion = CUSHION
        self._least = MOST  # that was left after a tick, in this window
        self._leasts: deque[int] = deque(maxlen=MEMORY)  # and in those before
        self._taken = 0
        self.dropped = 0
        """Samples given up."""

    def put(self, sound: Float, now: float) -> None:
        """Samples from the wire, mono, 48 kHz."""
        self._came += len(sound)
        self._arrivals.append((self._came, now))
        self._sound = np.concatenate([self._sound, sound])
        if len(self._sound) > MOST:
            self._cut(len(self._sound) - WIRE_TICK - self._cushion)

    @property
    def ready(self) -> bool:
        """Whether a tick can be taken."""
        return len(self._sound) >= WIRE_TICK + (0 if self._open else self._cushion)

    def take(self) -> Speech:
        """The oldest tick. Only where `ready`."""
        sound, self._sound = self._sound[:WIRE_TICK], self._sound[WIRE_TICK:]
        if not self._open:
            sound, self._open = fade_in(sound), True
        self._least = min(self._least, len(self._sound))
        self._taken += 1
        arrived = self._arrived(self._came - len(self._sound))
        if self._taken % CALM == 0:
            self._settle()
        return Speech(Kind.LIVE, sound, arrived)

    def _settle(self) -> None:
        """Give up what was not needed: much of it soon, a little when it has not been needed for long."""
        self._leasts.append(self._least)
        self._least = MOST
        if self._leasts[-1] > self._cushion * 3 // 2:
            self._cut(self._leasts[-1] - self._cushion)
            self._leasts.clear()
        elif len(self._leasts) == MEMORY:
            self._cushion = max(CUSHION, self._cushion * 3 // 4)
            if min(self._leasts) > SPARE * 3 // 2:
                self._cut(min(self._leasts) - SPARE)
            self._leasts.clear()

    def starve(self) -> bool:
        """A tick had to go without it: gather a cushion again. Says whether that is a hole in its speech."""
        hole, self._open = self._open, False
        if hole:
            self._cushion = min(MOST_CUSHION, self._cushion * 2)
            self._leasts.clear()
        return hole

    def clear(self) -> None:
        """Forget what was said so far."""
        self._sound = self._sound[:0]
        self._open = False

    def _arrived(self, upto: int) -> float:
        while len(self._arrivals) > 1 and self._arrivals[0][0] < upto:
            self._arrivals.popleft()
        return self._arrivals[0][1]

    def _cut(self, samples: int) -> None:
        """Drop so many of the oldest samples; what follows is faded in over what would have come."""
        samples = min(samples, len(self._sound) - CROSS)
        if samples <= 0:
            return
        self._sound = joined(self._sound, self._sound[samples:], CROSS)
        self.dropped += samples


class Stream:
    """A source of made speech: nothing is lost. Bounded: who puts asks for `room` first. Places in it are samples at 48 kHz.

    One that is `held` keeps its turn until its `end`, however long its next samples take to be made.
    """

    def __init__(self, most: int = 10 * WIRE_RATE, held: bool = False) -> None:
        self._most, self._held = most, held
        self._blocks: deque[Float] = deque()
        self._back: deque[Speech] = deque()
        self._samples = 0
        self._ended = True
        self._open = False  # whether the cushion was there
        self._last_put = 0.0
        self.came = 0
        """Samples that were put so far."""
        self.played = 0
        """Samples that have left so far, or were dropped before others that left."""
        self.begun = 0
        """Where in it began what is spoken now: after a silence, or an interruption."""

    @property
    def room(self) -> bool:
        """Whether more may be put."""
        return self._samples < self._most

    @property
    def waiting(self) -> int:
        """Samples that have not been taken yet."""
        return self._samples + sum(len(speech.sound) for speech in self._back)

    @property
    def done(self) -> bool:
        """Whether all of it was taken, and no more will come for now."""
        return self._ended and not self._samples and not self._back

    def put(self, sound: Float, now: float) -> None:
        """More samples, mono, 48 kHz."""
        if self.done and self.played == self.came:
            self.begun = self.came
        self._ended = False
        self._blocks.append(sound)
        self._samples += len(sound)
        self.came += len(sound)
        self._last_put = now

    def end(self) -> None:
        """No more will come for now: the last samples need not fill a tick."""
        self._ended = True

    def settle(self, now: float) -> None:
        """What has been waiting for more for too long is at its end."""
        if not self._ended and not self._held and now - self._last_put > LULL and self._samples < WIRE_TICK:
            self._ended = True

    def clear(self) -> int:
        """Forget all that has not left; returns how many samples that are."""
        dropped = self.came - self.played
        self._blocks.clear()
        self._back.clear()
        self._samples = 0
        self.played = self.came
        self._ended, self._open = True, False
        return dropped

    def give_back(self, speech: list[Speech]) -> None:
        """Ticks that were taken and lost on the way: they come next again."""
        self._back.extendleft(reversed(speech))

    @property
    def ready(self) -> bool:
        """Whether a tick can be taken. What comes at the pace of talk is given a cushion first, as a microphone is."""
        if self._back:
            return True
        if self._ended:
            return self._samples > 0
        return self._samples >= WIRE_TICK + (0 if self._open else CUSHION)

    def take(self, now: float) -> Speech:
        """The next tick, its rest silent where the stream ends. Only where `ready`."""
        if self._back:
            return self._back.popleft()
        sound = np.zeros(WIRE_TICK, np.float32)
        at = 0
        while at < WIRE_TICK and self._blocks:
            block = self._blocks.popleft()
            part = block[: WIRE_TICK - at]
            sound[at : at + len(part)] = part
            at += len(part)
            if len(part) < len(block):
                self._blocks.appendleft(block[len(part) :])
        self._samples -= at
        self._open = True
        return Speech(Kind.STREAM, sound, now, self, self.came - self._samples)

    def starve(self) -> bool:
        """A tick had to go without it: gather a cushion again. Says whether that is a hole in its speech."""
        hole, self._open = self._open and not self._ended, False
        return hole


class Streams:
    """Streams one after the other: the next begins where the one before is done."""

    def __init__(self) -> None:
        self._queue: deque[Stream] = deque()

    def put(self, stream: Stream, sound: Float, now: float) -> None:
        """More samples of a stream; it takes its turn behind those that are there."""
        if stream not in self._queue:
            self._queue.append(stream)
        stream.put(sound, now)

    def give_back(self, speech: list[Speech]) -> None:
        """Ticks that were taken and lost on the way: they come next again, in order."""
        for stream in dict.fromkeys(lost.stream for lost in reversed(speech)):
            if stream is not None:
                stream.give_back([lost for lost in speech if lost.stream is stream])
                if stream in self._queue:
                    self._queue.remove(stream)
                self._queue.appendleft(stream)

    def next(self, now: float) -> Stream | None:
        """The stream whose turn it is, if it is ready."""
        while self._queue and self._queue[0].done:
            self._queue.popleft()
        if not self._queue:
            return None
        self._queue[0].settle(now)
        return self._queue[0] if self._queue[0].ready else None

    def starve(self) -> bool:
        """A tick had to go without the stream whose turn it is. Says whether that is a hole in its speech."""
        return bool(self._queue) and self._queue[0].starve()

    def clear(self) -> list[Stream]:
        """Forget the order; returns the streams that were in it, to be cleared."""
        streams = list(self._queue)
        self._queue.clear()
        return streams

    @property
    def waiting(self) -> int:
        """Samples that have not been taken yet, of all of them."""
        return sum(stream.waiting for stream in self._queue)

    def __bool__(self) -> bool:
        return any(not stream.done for stream in self._queue)


class ToEngine:
    """48 kHz to the engine's 16 kHz, tick by tick: a low pass and every third sample, with 1 ms of delay."""

    def __init__(self, taps: int = 97) -> None:
        at = np.arange(taps) - taps // 2
        low = 2 * 7300 / WIRE_RATE * np.sinc(2 * 7300 / WIRE_RATE * at) * np.blackman(taps)
        self._taps: Float = (low / low.sum()).astype(np.float32)
        self._tail: Float = np.zeros(taps - 1, np.float32)

    def __call__(self, sound: Float) -> Float:
        """(1920,) at 48 kHz to (640,) at 16 kHz."""
        heard = np.concatenate([self._tail, sound])
        self._tail = heard[len(sound) :]
        windows = np.lib.stride_tricks.sliding_window_view(heard, len(self._taps))[::3]
        return np.clip(windows @ self._taps, -1, 1).astype(np.float32)

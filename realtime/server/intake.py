"""Speech on its way in: a microphone's jitter buffer, a queue of streams, and the way from 48 to 16 kHz.

Pure of time: callers say when samples arrived. A tick of speech is `WIRE_TICK` samples at 48 kHz.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from realtime.pacer import Kind
from realtime.timeline import WIRE_RATE, WIRE_TICK, Float, fade_in

CUSHION = WIRE_RATE // 50
"""Samples that a microphone's buffer gathers beyond a tick before it gives: what 20 ms of jitter needs."""
MOST = WIRE_RATE * 120 // 1000
"""A microphone's buffer never keeps more than this."""
CROSS = 240
"""Samples over which a cut is cross-faded."""
CALM = 25
"""Ticks after which samples that were never needed are given up, so that a passing delay does not stay."""


@dataclass(frozen=True)
class Speech:
    """One tick of speech as it came in."""

    kind: Kind
    sound: Float
    arrived: float
    """When its last sample arrived; for silence, when it was taken."""


class Microphone:
    """A live source: bounded; the oldest leaves first, cross-faded."""

    def __init__(self) -> None:
        self._sound: Float = np.zeros(0, np.float32)
        self._arrivals: deque[tuple[int, float]] = deque()  # (count of all samples so far, when the last of them arrived)
        self._came = 0
        self._open = False  # whether the cushion is there
        self._least = MOST
        self._taken = 0
        self.dropped = 0
        """Samples given up."""

    def put(self, sound: Float, now: float) -> None:
        """Samples from the wire, mono, 48 kHz."""
        self._came += len(sound)
        self._arrivals.append((self._came, now))
        self._sound = np.concatenate([self._sound, sound])
        if len(self._sound) > MOST:
            self._cut(len(self._sound) - WIRE_TICK - CUSHION)

    @property
    def ready(self) -> bool:
        """Whether a tick can be taken."""
        return len(self._sound) >= WIRE_TICK + (0 if self._open else CUSHION)

    def take(self) -> Speech:
        """The oldest tick. Only where `ready`."""
        sound, self._sound = self._sound[:WIRE_TICK], self._sound[WIRE_TICK:]
        if not self._open:
            sound, self._open = fade_in(sound), True
        self._least = min(self._least, len(self._sound))
        self._taken += 1
        arrived = self._arrived(self._came - len(self._sound))
        if self._taken % CALM == 0:
            if self._least > CUSHION * 3 // 2:
                self._cut(self._least - CUSHION)
            self._least = MOST
        return Speech(Kind.LIVE, sound, arrived)

    def starve(self) -> None:
        """A tick had to go without it: gather a cushion again."""
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
        old, kept = self._sound[:CROSS], self._sound[samples:].copy()
        ramp = np.linspace(0, 1, CROSS, dtype=np.float32)
        kept[:CROSS] = old * (1 - ramp) + kept[:CROSS] * ramp
        self._sound = kept
        self.dropped += samples


class Stream:
    """A source of made speech: nothing is lost. Bounded: who puts asks for `room` first."""

    def __init__(self, most: int = 10 * WIRE_RATE) -> None:
        self._most = most
        self._blocks: deque[tuple[Float, float]] = deque()
        self._back: deque[Speech] = deque()
        self._samples = 0
        self._ended = True

    @property
    def room(self) -> bool:
        """Whether more may be put."""
        return self._samples < self._most

    def put(self, sound: Float, now: float) -> None:
        """More samples, mono, 48 kHz."""
        self._ended = False
        self._blocks.append((sound, now))
        self._samples += len(sound)

    def end(self) -> None:
        """No more will come for now: the last samples need not fill a tick."""
        self._ended = True

    def clear(self) -> None:
        """Forget all that has not been taken."""
        self._blocks.clear()
        self._back.clear()
        self._samples = 0

    def give_back(self, speech: list[Speech]) -> None:
        """Ticks that were taken and lost on the way: they come next again."""
        self._back.extendleft(reversed(speech))

    @property
    def ready(self) -> bool:
        """Whether a tick can be taken."""
        return bool(self._back) or self._samples >= WIRE_TICK or (self._ended and self._samples > 0)

    def take(self, now: float) -> Speech:
        """The next tick, its rest silent where the stream ends. Only where `ready`."""
        if self._back:
            return self._back.popleft()
        sound = np.zeros(WIRE_TICK, np.float32)
        at = 0
        while at < WIRE_TICK and self._blocks:
            block, arrived = self._blocks.popleft()
            part = block[: WIRE_TICK - at]
            sound[at : at + len(part)] = part
            at += len(part)
            if len(part) < len(block):
                self._blocks.appendleft((block[len(part) :], arrived))
        self._samples -= at
        return Speech(Kind.STREAM, sound, now)


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

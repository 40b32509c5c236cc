"""Between two clocks: samples that one device gives, for another that takes them a little faster or slower.

Pure: callers say when. A `Bridge` holds the depth of its buffer by resampling a few hundred parts in a million faster
or slower, so that nothing is ever dropped or doubled while both sides run.
"""

from __future__ import annotations

import math

import numpy as np

from realtime.timeline import Float, fade_in

TAPS = 32
ORDER = 7
"""Of the polynomial, in the place between two samples, that each tap of the filter is."""
MOST_PPM = 500
"""Clocks of sound cards differ by up to 200 parts in a million."""
SMOOTH_S = 1.0
"""Over so long the depth is averaged: blocks come a little early and late."""
GAIN = 0.1
"""Speed for each second of depth too much, per second."""
WINDUP = GAIN**2 / 4
"""The integral's part: critically damped."""
LINGER_S = 0.008
"""What is too much for so long that its mean is above this, as after an engine that was late, is cut; what is less goes by speed."""
FIRST = 10
"""Blocks that come and go before the first sound leaves: until then nobody knows their beat."""
LOOK_S = 2.0
"""For so long a beginning is only looked at; what was enough then is enough."""
CROSS = 240
"""Samples over which a cut is cross-faded."""
STEP_S = 0.004
MOST_MARGIN_S = 0.04
PULL = 0.05
"""How much a block that is early or late moves the beat that the next are measured by, at the least."""
AWAY_S = 0.035
"""What is off its beat by more begins a new one."""
WIDE = 2.0
"""So many times their mean lateness or earliness are blocks off their beat at most: what is beyond is left to the margin's growth."""
CALM_S = 60.0
"""A margin that was not needed for so long shrinks by a step."""


class Resampler:
    """Samples at any, also a changing, speed: a windowed sinc at a fractional place. Mono."""

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        """Samples in for each sample out, nominally."""
        between = np.linspace(0, 1, 64)
        at = np.arange(-TAPS // 2 + 1, TAPS // 2 + 1)[:, None] - between
        low = 0.94 * min(1.0, 1 / ratio)
        filters = low * np.sinc(low * at) * np.i0(8.0 * np.sqrt(np.maximum(0.0, 1 - (2 * at / TAPS) ** 2))) / np.i0(8.0)
        self._filters: Float = np.polyfit(between, (filters / filters.sum(0)).T, ORDER).T.astype(np.float32)
        self._sound: Float = np.zeros(TAPS // 2, np.float32)
        self._at = float(TAPS // 2)

    @property
    def waiting(self) -> float:
        """Samples (of the input) that can be taken."""
        return max(0.0, len(self._sound) - TAPS // 2 - 1 - self._at)

    def put(self, sound: Float) -> None:
        """More samples (n,)."""
        self._sound = np.concatenate([self._sound, sound])

    def take(self, count: int, speed: float = 1.0) -> Float:
        """The next `count` samples out, `speed` times as fast as nominal. They must be there."""
        step = self.ratio * speed
        places = self._at + step * np.arange(count)
        whole = np.floor(places).astype(np.int64)
        between = (places - whole).astype(np.float32)
        powers = np.lib.stride_tricks.sliding_window_view(self._sound, TAPS)[whole - TAPS // 2 + 1] @ self._filters
        out: Float = powers[:, 0]
        for power in powers.T[1:]:
            out = out * between + power
        self._at += step * count
        gone = int(self._at) - TAPS // 2
        self._sound, self._at = self._sound[gone:], self._at - gone
        return out

    def skip(self, samples: float) -> None:
        """Leave out so many samples of the input."""
        self._at += samples
        gone = int(self._at) - TAPS // 2
        self._sound, self._at = self._sound[gone:], self._at - gone


class Beat:
    """When the last of many regular things was due, as if none had come early or late: devices ask for several blocks at once."""

    def __init__(self) -> None:
        self.at = -math.inf
        self.seen = 0
        """How many there were."""
        self._pull, self._off = 1.0, 0.0

    @property
    def spread(self) -> float:
        """Seconds by which they are off, at most, but for the odd one."""
        return WIDE * self._off

    def __call__(self, now: float, span: float) -> None:
        """The next one, `span` seconds long."""
        self.seen += 1
        off = now - (self.at + span)
        if abs(off) > AWAY_S:
            self.at, self._pull = now, 1.0
        else:
            self._pull = max(PULL, self._pull / (1 + self._pull))  # the mean of all so far, then of the last
            self.at += span + self._pull * off
            self._off += PULL * (abs(off) - self._off)


class Bridge:
    """A bounded buffer between a clock that puts and a clock that takes.

    What is put comes in blocks of `block_s`; of the last one, that part counts as here whose time has passed, so that the
    depth is smooth. `depth_s` is what is to be left at least after a `take`, beyond what both sides are early and late by when
    it begins. A hole (nothing to take) is faded, and the margin grows by a step; what is beyond `most_s`, or stays (a passing
    jam leaves it), leaves at the front, cross-faded. Times are seconds of one clock.
    """

    def __init__(self, rate_in: float, rate_out: float, block_s: float, depth_s: float, most_s: float) -> None:
        self._resampler = Resampler(rate_in / rate_out)
        self._rate_in, self._rate_out, self._block, self._depth, self._most = rate_in, rate_out, block_s, depth_s, most_s
        self._margin = 0.0
        self._open = False
        self._puts, self._takes = Beat(), Beat()
        self._took_at = self._calm_at = self._look_until = 0.0
        self._looks = False
        self._error = self._sum = 0.0
        self._last = 0.0
        self.speed = 1.0
        self.holes = 0
        """Times that nothing was there when it was due."""
        self.cuts = 0
        """Times that too much was there."""
        self.dropped = 0
        """Samples of the input that cuts left out."""

    @property
    def depth(self) -> float:
        """Seconds in it now."""
        return self._resampler.waiting / self._rate_in

    @property
    def wait(self) -> float:
        """Seconds until what is put now is taken."""
        return self.depth if self._open else self.target

    @property
    def target(self) -> float:
        """Seconds that are to be left in it at least after a `take`."""
        return self._depth + self._margin

    @property
    def ppm(self) -> float:
        """By how much it takes faster than nominal, in parts in a million."""
        return (self.speed - 1) * 1e6

    def put(self, sound: Float, now: float) -> None:
        """More samples (n,), from the clock that puts."""
        self._resampler.put(sound)
        self._puts(now, len(sound) / self._rate_in)

    def ready(self, count: int) -> bool:
        """Whether so many can be taken: to begin, its depth must be there."""
        return self.depth >= self._span(count) + (0.0 if self._open else self.target + self._block)

    def clear(self) -> None:
        """Forget what is in it: what follows falls to silence."""
        self._resampler.skip(self._resampler.waiting)
        self._open = False

    def take(self, count: int, now: float) -> Float:
        """The next `count` samples, for the clock that takes; silence where nothing is there."""
        self._takes(now, count / self._rate_out)
        if not self._open:
            self._margin = max(self._margin, min(MOST_MARGIN_S, self._puts.spread + self._takes.spread))
        begins, excess = not self._open, self._excess(count)
        known = min(self._puts.seen, self._takes.seen) >= FIRST
        if not self.ready(count) or (begins and (excess < 0 or not known)):
            return self._hole(count, now)
        if begins:
            self._resampler.skip(min(excess, self.depth - self._span(count)) * self._rate_in)
            self._error, self._calm_at, self._look_until, self._looks = 0.0, now, now + LOOK_S, True
        elif surplus := self._surplus(count, excess):
            sound = self._cut(count, surplus)
            self._error = 0.0
            return self._left(sound, now)
        else:
            self._steer(excess, now)
        self._open = True
        sound = self._resampler.take(count, self.speed)
        return self._left(fade_in(sound) if begins else sound, now)

    def _excess(self, count: int) -> float:
        """Seconds that would be left too much after a `take`."""
        coming = min(max(self._takes.at - self._puts.at, -self._block), 2 * self._block) - self._block
        return self.depth + coming - self._span(count) - self.target

    def _surplus(self, count: int, excess: float) -> float:
        """Seconds that are to be cut away now."""
        left = self.depth - self._span(count)
        if left <= self._most and self._error <= LINGER_S:
            return 0.0
        much = min(max(excess, self._error), left)
        return much if much * self._rate_in > CROSS * self._resampler.ratio else 0.0

    def _span(self, count: int) -> float:
        return (count * self._resampler.ratio * (1 + MOST_PPM / 1e6) + 1) / self._rate_in

    def _left(self, sound: Float, now: float) -> Float:
        self._took_at, self._last = now, float(sound[-1])
        return sound

    def _hole(self, count: int, now: float) -> Float:
        sound = np.zeros(count, np.float32)
        if self._open:
            self.holes += 1
            self._margin = min(MOST_MARGIN_S, self._margin + STEP_S)
        fall = min(120, count)
        sound[:fall] = self._last * np.linspace(1, 0, fall, dtype=np.float32)
        self._open, self._last = False, 0.0
        return sound

    def _cut(self, count: int, surplus: float) -> Float:
        """Go on so many seconds later; cross-faded."""
        old = self._resampler.take(min(CROSS, count))
        self._resampler.skip(surplus * self._rate_in - len(old) * self._resampler.ratio)
        sound = self._resampler.take(count, self.speed)
        ramp = np.linspace(0, 1, len(old), dtype=np.float32)
        sound[: len(old)] = old * (1 - ramp) + sound[: len(old)] * ramp
        self.cuts += 1
        self.dropped += int(surplus * self._rate_in)
        return sound

    def _steer(self, excess: float, now: float) -> None:
        """A PI controller on the depth, which looks on first: what is less than wished, and has been enough, is the target from then on."""
        passed = min(max(now - self._took_at, 0.0), 1.0)
        self._error += (excess - self._error) * (1 - math.exp(-passed / SMOOTH_S))
        if now < self._look_until:
            return
        if self._looks:
            less = min(self.target, max(0.0, -self._error))
            self._looks, self._margin, self._error = False, self._margin - less, self._error + less
        most = MOST_PPM / 1e6
        wanted = GAIN * self._error + self._sum
        if abs(wanted) < most:
            self._sum += WINDUP * self._error * passed
        self.speed = 1 + min(most, max(-most, wanted))
        if now - self._calm_at > CALM_S:
            self._margin, self._calm_at = max(min(0.0, self._margin), self._margin - STEP_S / 2), now

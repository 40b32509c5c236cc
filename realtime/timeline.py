"""Ticks, samples and RTP times. Pure: media time is an integer count of ticks, so that nothing can drift."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from engines.spec import FPS

Float = NDArray[np.float32]

WIRE_RATE = 48_000
"""Hz of sound on the wire, mono."""
WIRE_TICK = WIRE_RATE // FPS
"""Samples of wire sound in a tick: 1,920."""
PACKET = WIRE_TICK // 2
"""Samples of sound that leave in one packet: 960, 20 ms."""
VIDEO_RATE = 90_000
VIDEO_TICK = VIDEO_RATE // FPS
TICK_S = 1 / FPS
SOUND_BASE = Fraction(1, WIRE_RATE)
PICTURE_BASE = Fraction(1, VIDEO_RATE)


def start_of(tick: int, origin: float) -> float:
    """When a tick starts, in seconds, if tick 0 starts at `origin`. Absolute: errors do not add up."""
    return origin + tick / FPS


def next_origin(now: float) -> float:
    """The next moment on the grid of ticks that all sessions share, so that the engine can batch them."""
    return math.ceil(now * FPS) / FPS


def picture_pts(tick: int) -> int:
    """A tick's time on the clock of pictures (90 kHz)."""
    return tick * VIDEO_TICK


def sound_pts(tick: int) -> int:
    """A tick's time on the clock of sound (48 kHz)."""
    return tick * WIRE_TICK


def fade_in(sound: Float, samples: int = 120) -> Float:
    """The sound with its first samples faded in."""
    faded = sound.copy()
    faded[:samples] *= np.linspace(0, 1, samples, dtype=np.float32)
    return faded


def joined(before: Float, after: Float, over: int = 240) -> Float:
    """`after`, cross-faded at its beginning from `before`, so that what lay between can be left out."""
    ramp = np.linspace(0, 1, over, dtype=np.float32)
    return np.concatenate([before[:over] * (1 - ramp) + after[:over] * ramp, after[over:]])


def fade_from(last: float, samples: int = WIRE_TICK, over: int = 120) -> Float:
    """Silence that begins with a fall from `last`, so that a held sound ends without a click."""
    sound = np.zeros(samples, np.float32)
    sound[:over] = last * np.linspace(1, 0, over, dtype=np.float32)
    return sound

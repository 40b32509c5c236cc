"""Causal log-mel features of speech: the same numbers live, tick by tick, and offline.

16 kHz mono, 25 ms Hann window, 10 ms hop, 80 mel bands from 0 to 8 kHz; four frames a tick. A frame's window ends where its
hop ends, so that nothing waits. The level is normalised by a slow estimate of how loud the speech has been so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engines.spec import RATE, TICK

Float = NDArray[np.float32]

BANDS = 80
FRAMES = 4  # of a tick
HOP, WINDOW, FFT = 160, 400, 512
_TAIL = WINDOW - HOP
_FLOOR = 1e-7  # of band energy: under any microphone's noise
_REST = -5.0  # the level that speech is expected to have before any was heard: natural log of the mean band energy
_RISE, _FALL = 0.04, 0.003  # shares of the way to a new level that are gone in a frame
_SCALE = 4.0
_QUIET = 3.0  # frames this far under the level do not lower it: pauses are not quiet speech


@dataclass(frozen=True)
class FeatureState:
    """What the features of a conversation remember."""

    tail: Float
    """(240,) the last samples heard."""
    level: float
    """The running level, natural log of energy."""


def start() -> FeatureState:
    """The state before any speech."""
    return FeatureState(np.zeros(_TAIL, np.float32), _REST)


def step(state: FeatureState, speech: Float) -> tuple[FeatureState, Float]:
    """Features (ticks * 4, 80) float32 of whole ticks of speech (ticks * 640,), about -4..2; and the state after them."""
    heard = np.concatenate([state.tail, speech])
    frames = np.lib.stride_tricks.sliding_window_view(heard, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * _window(), FFT)) ** 2
    energy = np.log(np.maximum(power @ _bands(), _FLOOR))
    loud = np.log(np.maximum(np.exp(energy).mean(1), _FLOOR))
    level, levels = state.level, np.empty(len(loud))
    for at, now in enumerate(loud):
        if now > level:
            level += _RISE * (now - level)
        elif now > level - _QUIET:
            level += _FALL * (now - level)
        levels[at] = level
    features = ((energy - levels[:, None]) / _SCALE).astype(np.float32)
    return FeatureState(heard[-_TAIL:].copy(), float(level)), np.maximum(features, -3)


def loudness(frames: Float) -> Float:
    """(frames,): how loud features (frames, 80) are against the level so far: natural log of a ratio of energies."""
    return np.asarray(np.log(np.exp(_SCALE * frames).mean(1)))


@cache
def _window() -> Float:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


@cache
def _bands() -> Float:
    """(257, 80) triangles, equally wide in mel (O'Shaughnessy's formula), each of unit sum."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bands = np.maximum(0, np.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)))
    narrow = bands.sum(1) < 0.5  # the lowest bands may fall between two bins
    bands[narrow, np.round(middle[narrow, 0] * FFT / RATE).astype(int)] = 1
    return (bands / bands.sum(1, keepdims=True)).T.astype(np.float32)


assert HOP * FRAMES == TICK

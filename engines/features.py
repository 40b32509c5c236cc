"""Causal log-mel features of speech: the same numbers live, tick by tick, and offline.

16 kHz mono, 25 ms Hann window, 10 ms hop, 80 mel bands from 0 to 8 kHz; four frames a tick. A frame's window ends where its
hop ends, so that nothing waits. Bands and scale are those of Whisper (Radford et al., 2022), whose encoder is the teacher of
ours; the level is normalised by a slow estimate of how loud the speech has been so far, where Whisper looks at the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engines.spec import RATE, TICK

Float = NDArray[np.float32]

BANDS = 80
FRAMES = 4  # of a tick
HOP, WINDOW = 160, 400
FLOOR = -0.2
"""The smallest feature: silence."""
_TAIL = WINDOW - HOP
_LEAST = 1e-9  # of band energy: under any microphone's noise
_REST = -1.6  # the level that speech is expected to have before any was heard: log10 of the mean band energy
_RISE, _FALL = 0.04, 0.003  # shares of the way to a new level that are gone in a frame
_SCALE = 4.0
_OFFSET = 1.34  # what Whisper's features have at the level of speech
_QUIET = 1.3  # frames this far under the level do not lower it: pauses are not quiet speech
_FAINT = -3.9  # about 48 dB under full scale: what is louder, and all that is heard at first, is quiet speech and no pause


@dataclass(frozen=True)
class FeatureState:
    """What the features of a conversation remember."""

    tail: Float
    """(240,) the last samples heard."""
    level: float
    """The running level, log10 of energy."""
    found: bool
    """Whether anything as loud as speech at this level was heard."""


def start() -> FeatureState:
    """The state before any speech."""
    return FeatureState(np.zeros(_TAIL, np.float32), _REST, False)


def step(state: FeatureState, speech: Float) -> tuple[FeatureState, Float]:
    """Features (ticks * 4, 80) float32 of whole ticks of speech (ticks * 640,), from -0.2 to about 2.2; and the state after them."""
    (after,), features = step_all([state], speech[None])
    return after, features[0]


def step_all(states: Sequence[FeatureState], speech: Float) -> tuple[list[FeatureState], Float]:
    """`step` of B sounds of the same length at once: speech (B, ticks * 640), features (B, ticks * 4, 80)."""
    heard = np.concatenate([np.stack([state.tail for state in states]), speech], 1)
    frames = np.lib.stride_tricks.sliding_window_view(heard, WINDOW, 1)[:, ::HOP]
    energy = bands(frames, _LEAST)
    loud = np.log10(energy.mean(-1))
    after, levels = [], np.empty(loud.shape)
    for b, state in enumerate(states):
        level, found = state.level, state.found
        for at, now in enumerate(loud[b].tolist()):
            if now > level - _QUIET:
                level += (_RISE if now > level else _FALL) * (now - level)
                found = True
            elif not found and now > _FAINT:
                level += _RISE * (now - level)
            levels[b, at] = level
        after.append(FeatureState(heard[b, -_TAIL:].copy(), level, found))
    features = (np.log10(energy) - levels[..., None]) / _SCALE + _OFFSET
    return after, np.maximum(features, FLOOR).astype(np.float32)


def bands(frames: Float, least: float) -> Float:
    """The bands' energies (..., 80), not below `least`, of frames of 25 ms (..., 400)."""
    spectrum = np.fft.rfft(frames * _window())
    return np.asarray(np.maximum((spectrum.real**2 + spectrum.imag**2) @ _bands(), least))


def loudness(frames: Float) -> Float:
    """(..., frames): how loud features (..., frames, 80) are against the level so far: log10 of a ratio of energies."""
    return np.asarray(np.log10((10 ** (_SCALE * (frames - _OFFSET))).mean(-1)))


def speech_frames(speech: Float, count: int) -> NDArray[np.bool_]:
    """(count,): ticks with energy above the clip's 20th percentile + 6 dB, widened by 3 ticks on both sides."""
    padded = np.zeros(count * TICK, np.float64)
    padded[: min(len(speech), len(padded))] = speech[: len(padded)]
    level = 10 * np.log10((padded.reshape(count, TICK) ** 2).mean(1) + 1e-10)
    loud = level > np.percentile(level, 20) + 6
    return np.convolve(loud, np.ones(7), "same") > 0.5


@cache
def _window() -> Float:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


@cache
def _bands() -> Float:
    """(201, 80) triangles on Slaney's mel scale (linear up to 1 kHz, logarithmic above), each of unit area in Hz."""
    knee, step = 15.0, np.log(6.4) / 27
    mel = np.linspace(0, knee + np.log(RATE / 2 / 1000) / step, BANDS + 2)
    edges = np.where(mel < knee, mel * 200 / 3, 1000 * np.exp(step * (mel - knee)))
    bins = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bands = np.maximum(0, np.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)))
    return (bands * 2 / (right - left)).T.astype(np.float32)


assert HOP * FRAMES == TICK

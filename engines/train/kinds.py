"""Kinds of speech made of ordinary speech, in step with it: whispered, sung, of a child, over music, beside another voice.

Nobody whispers or sings in the clips whose lips are known: training makes such speech of theirs, and so does `benchmarks.motion`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engines.spec import RATE
from engines.train.augment import Random, at_tempo, with_noise

Float = NDArray[np.float32]
_WINDOW, _HOP = 400, 100
_SMOOTH = 9  # bins of 40 Hz: an envelope in which no harmonic of a voice is left
_SCALE = (0, 2, 4, 5, 7, 9, 11)


def some(speech: Float, random: Random, other: Callable[[], Float]) -> Float:
    """Speech (N,), one time in two as it is, else of some kind. `other` gives other people's speech."""
    kind = random.random()
    if kind < 0.17:
        return with_noise(speech, np.resize(other(), len(speech)), random.uniform(2, 20))
    if kind < 0.29:
        return with_noise(speech, music(len(speech), random), random.uniform(2, 20))
    if kind < 0.41:
        return higher(speech, random.uniform(0.8, 1.4))
    if kind < 0.45:
        return whispered(speech, random)
    return sung(speech, random) if kind < 0.5 else speech


def whispered(speech: Float, random: Random) -> Float:
    """The envelope of speech (N,) filled with noise, less of it under 700 Hz, at half the level."""
    hertz = np.fft.rfftfreq(_WINDOW, 1 / RATE)
    return 0.5 * _refilled(speech, random.standard_normal(len(speech)).astype(np.float32), 0.05 + 1 / (1 + np.exp((700 - hertz) / 200)))


def sung(speech: Float, random: Random) -> Float:
    """The envelope of speech (N,) filled with the harmonics of a melody, a note about a second, with vibrato; hiss stays hiss."""
    count = len(speech)
    notes = np.cumsum(random.uniform(0.4, 1.0, count // (2 * RATE // 5) + 1))
    note = np.searchsorted(notes, np.arange(count) / RATE)
    steps = 12 * random.integers(0, 2, len(notes) + 1) + random.choice(_SCALE, len(notes) + 1)
    slow = np.convolve(np.pad(steps[note].astype(np.float64), 600, mode="edge"), np.ones(1201) / 1201, "valid")
    hertz = random.uniform(110, 220) * 2 ** ((slow + 0.3 * np.sin(2 * np.pi * 5.5 * np.arange(count) / RATE)) / 12)
    turns = np.cumsum(hertz) / RATE
    pulses = np.diff(np.floor(turns), prepend=0).astype(np.float32) * np.sqrt(RATE / hertz).astype(np.float32)
    bright = np.abs(np.diff(speech, prepend=0)) > 0.9 * np.abs(speech) + 1e-4
    hiss = np.convolve(bright, np.ones(640) / 640, "same") > 0.55
    return _refilled(speech, np.where(hiss, random.standard_normal(count), pulses).astype(np.float32))


def higher(speech: Float, times: float) -> Float:
    """Speech (N,) with pitch and formants so many times as high (0.5 to 2): above 1 like a child's."""
    slow = at_tempo(speech, 1 / times)
    return np.interp(np.linspace(0, len(slow) - 1, len(speech)), np.arange(len(slow)), slow).astype(np.float32)


def shouted(speech: Float) -> Float:
    """Speech (N,) far too loud for its microphone."""
    return np.clip(speech * 6, -0.6, 0.6).astype(np.float32)


def music(count: int, random: Random) -> Float:
    """(count,) chords of plucked or held notes, with beats, at some tempo."""
    out, beat = np.zeros(count + RATE * 2), int(random.uniform(0.25, 0.7) * RATE)
    long, rich, root = random.uniform(0.1, 1.5), random.uniform(0.6, 2.0), random.uniform(80, 200)
    time = np.arange(beat * 2) / RATE
    for at in range(0, count, beat):
        fall = np.exp(-time / long) * np.minimum(1, time * 100)
        for step in random.choice([0, 3, 4, 7, 9, 12, 16, 19], int(random.integers(1, 5))):
            pitch = root * 2 ** ((step + random.choice((0, 5, 7))) / 12)
            for harmonic in range(1, 6):
                out[at : at + len(time)] += fall * np.sin(2 * np.pi * pitch * harmonic * time + random.uniform(0, 6)) / harmonic**rich
        out[at : at + 800] += random.uniform(0, 2.5) * random.standard_normal(800) * np.linspace(1, 0, 800)
    return out[:count].astype(np.float32)


def _refilled(speech: Float, filling: Float, colour: NDArray[np.float64] | float = 1.0) -> Float:
    """`filling` (N,), whose spectrum is flat, with the spectral envelope of speech (N,), at its level."""
    window = np.hanning(_WINDOW).astype(np.float32)
    spectra = [
        np.fft.rfft(np.lib.stride_tricks.sliding_window_view(np.pad(sound, _WINDOW), _WINDOW)[::_HOP] * window)
        for sound in (speech, filling)
    ]
    log = np.log(np.abs(spectra[0]) + 1e-6)
    sums = np.cumsum(np.pad(log, ((0, 0), (_SMOOTH // 2 + 1, _SMOOTH // 2)), mode="edge"), 1)
    envelope = np.exp((sums[:, _SMOOTH:] - sums[:, :-_SMOOTH]) / _SMOOTH) * colour
    frames = np.fft.irfft(spectra[1] * envelope, _WINDOW) * window
    out = np.zeros((len(frames) + 4) * _HOP)
    for first in range(4):  # every fourth frame stands beside the next
        part = frames[first::4].ravel()
        out[first * _HOP : first * _HOP + len(part)] += part
    made = out[_WINDOW : _WINDOW + len(speech)]
    return (made * np.sqrt((speech**2).mean() / max(float((made**2).mean()), 1e-12))).astype(np.float32)

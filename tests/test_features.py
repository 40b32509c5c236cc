"""Features: the same live and offline, and at any level."""

from __future__ import annotations

import numpy as np
import pytest

from engines import features
from engines.spec import RATE, TICK


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Something like speech: a buzz that comes and goes over a little noise."""
    t = np.arange(int(seconds * 25) * TICK) / RATE
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 3 * t) > 0)
    return (0.1 * buzz + np.random.default_rng(seed).normal(0, 0.003, len(t))).astype(np.float32)


def test_ticks_equal_whole() -> None:
    whole = speech(3)
    _, at_once = features.step(features.start(), whole)
    state, parts = features.start(), []
    for block in whole.reshape(-1, TICK):
        state, part = features.step(state, block)
        parts.append(part)
    assert at_once.shape == (300, features.BANDS)
    assert np.abs(np.concatenate(parts) - at_once).max() < 1e-5


def test_nothing_of_the_future_is_heard() -> None:
    one, two = speech(1), speech(1)
    two[10 * TICK :] = 0
    (_, a), (_, b) = (features.step(features.start(), x) for x in (one, two))
    assert np.array_equal(a[:40], b[:40])


@pytest.mark.parametrize("gain", [0.5, 10.0])
def test_the_level_hardly_matters_after_a_while(gain: float) -> None:
    sound = speech(8) * np.float32(0.09)
    (_, a), (_, b) = (features.step(features.start(), (x * sound).astype(np.float32)) for x in (np.float32(1), np.float32(gain)))
    loud = a[-200:].mean(1) > np.median(a[-200:].mean(1))
    kept = abs(np.log10(gain**2)) / 4  # what the gain would change if nothing made up for it
    assert np.abs(a[-200:][loud] - b[-200:][loud]).mean() < 0.3 * kept


def test_digital_silence_is_finite() -> None:
    _, heard = features.step(features.start(), np.zeros(4 * TICK, np.float32))
    assert np.isfinite(heard).all()

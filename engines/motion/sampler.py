"""The sampler: from noise to motion in a few steps. One text for training (torch) and serving (numpy).

Rectified flow (Liu et al., 2022) with x-prediction: at level s the net sees (1 - s) * noise + s * clean and says what clean is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Array = TypeVar("Array")
State = TypeVar("State")
_TAPS = (0.5, 1.0, 0.5)
"""The shape of noise over ticks: mouths are not anew at every tick."""


def sample(
    denoise: Callable[[Any, float, State], tuple[Any, State]], noise: Any, states: Sequence[State]
) -> tuple[Any, list[State]]:  # fmt: skip
    """Clean motion from noise, one step for each of `states`: what the net remembers of the ticks before, at each level.

    `denoise(noisy, level, state)` gives clean and the state after. Returns clean and the states after.
    """
    noisy, clean, after = noise, noise, []
    for step, state in enumerate(states):
        level = step / len(states)
        clean, state_after = denoise(noisy, level, state)
        after.append(state_after)
        noisy = noisy + (clean - noisy) * (1 / len(states) / (1 - level))
    return clean, after


def noise(seed: int, tick: int, size: int) -> Float:
    """(size,) standard normal noise of a tick, the same for a seed and a tick wherever it is drawn; ticks overlap a little."""
    return (_taps() @ np.stack([_drawn(seed, tick + at, size) for at in range(len(_TAPS))])).astype(np.float32)


@lru_cache(256)  # the next ticks want them again
def _drawn(seed: int, tick: int, size: int) -> NDArray[np.float64]:
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, tick])).standard_normal(size)


@cache
def _taps() -> NDArray[np.float64]:
    return np.array(_TAPS) / np.linalg.norm(_TAPS)


def noises(random: np.random.Generator, ticks: int, size: int) -> Float:
    """(ticks, size): noise of the same kind for training."""
    raw = random.standard_normal((ticks + len(_TAPS) - 1, size))
    return np.asarray(sum(tap * raw[at : at + ticks] for at, tap in enumerate(_taps())), np.float32)

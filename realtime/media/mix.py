"""Many channels to two for ears, to one for lips."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

_HALF = 0.5**0.5
_SIDES = {  # what goes to the left and to the right, after ITU-R BS.775
    "FL": (1, 0), "FR": (0, 1), "FC": (_HALF, _HALF), "LFE": (0, 0), "LFE2": (0, 0), "BC": (0.5, 0.5),
    "BL": (_HALF, 0), "BR": (0, _HALF), "SL": (_HALF, 0), "SR": (0, _HALF), "FLC": (1, 0), "FRC": (0, 1), "DL": (1, 0), "DR": (0, 1),
}  # fmt: skip
_LOST = 1 / 8  # a mix with less power than this share of its loudest channel's has lost that
_MEMORY = 0.5  # seconds over which powers are compared


@cache
def sides(names: tuple[str, ...]) -> Float | None:
    """(2, C): how much of each channel goes to the left and to the right; None where it is not said what each is for."""
    if len(names) < 3 or any(name not in _SIDES for name in names):
        return None
    table = np.array([_SIDES[name] for name in names], np.float32).T
    return table / np.sqrt(np.maximum((table**2).sum(1, keepdims=True), 1)).astype(np.float32)


class Stereo:
    """Any channels as left and right."""

    def __init__(self) -> None:
        self._mono = Mono()

    def __call__(self, block: Float, names: tuple[str, ...], rate: int) -> Float:
        """Samples (C, n) to (2, n)."""
        if len(block) == 2:
            return block
        table = sides(names)
        return np.repeat(self._mono(block, names, rate), 2, 0) if table is None else table @ block


class Mono:
    """Any channels as the one that a listener's ear follows: their mix, unless that loses what its loudest channel holds.

    So a channel that is inverted against the other cancels nothing, and one microphone of six is not a sixth as loud.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._powers: Float = np.zeros(0, np.float32)  # of the channels, and of the mix
        self._weights: Float | None = None
        self.cancelled = False
        """Whether channels of which several were loud cancelled each other out."""

    def __call__(self, block: Float, names: tuple[str, ...], rate: int) -> Float:
        """Samples (C, n) to (1, n)."""
        if len(block) == 1:
            return block.copy()
        table = sides(names)
        mix = np.full(len(names), 1 / len(names), np.float32) if table is None or not table.any() else table.mean(0)
        if names != self._names:
            self._names, self._powers, self._weights = names, np.zeros(len(names) + 1, np.float32), None
        taken = mix > 0  # what is for a subwoofer alone is no speech
        signals = np.concatenate([block * taken[:, None], mix[None] @ block])
        kept = np.float32(np.exp(-block.shape[1] / (_MEMORY * rate)))
        self._powers = kept * self._powers + (1 - kept) * (signals**2).mean(1)
        channels, mixed = self._powers[:-1], self._powers[-1]
        loudest = int(channels.argmax())
        weights = mix
        if mixed < _LOST * channels[loudest]:
            weights = np.eye(len(names), dtype=np.float32)[loudest]
            self.cancelled |= bool(mixed < 0.1 * (mix**2 * channels).sum() and channels[loudest] > 1e-6)
        before = weights if self._weights is None else self._weights
        self._weights = weights
        if np.array_equal(before, weights):
            return weights[None] @ block
        share = np.linspace(0, 1, block.shape[1], dtype=np.float32)
        return ((before[:, None] * (1 - share) + weights[:, None] * share) * block).sum(0, keepdims=True)

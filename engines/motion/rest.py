"""Where a mouth is at rest, and how far it moves: estimated from whatever shows the person, one picture or thousands.

A frame alone says less of a mouth's rest the more it is open, or smiles: a regression over people says how far away from rest a frame's
mouth is, and its error is known. Frames in which the lips meet are evidence of their own; the more of them there are, the more
they count. What is not seen is as in usual people: a mouth that does not move says nothing of how far it opens.

`python -m engines.train rest` fits the regression. The numbers below were chosen by people held out of it (docs/motion.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.backends.weights import read_weights
from engines.motion.space import parted

Float = NDArray[np.float32]

WEIGHTS = "rest.npz"
_LIPS = len(face.LIPS)
_FARTHEST = 4.0  # standard deviations of a face's shape: beyond, nothing was learned
_DOUBT = 0.018  # IOD: a distance from rest as small as this may be the regression's own error
_ERROR, _GROWS = 0.02, 0.47  # IOD at rest, and by how much it grows with the distance from rest
_PEOPLE = 0.024  # IOD: what any number of frames away from rest leaves open
_SHUT, _CALM = 0.02, 0.06  # IOD: opening and distance from rest within which a frame shows rest itself
_BELIEVED = 20  # such frames weigh as much as the regression
_MEET = 0.05  # IOD: where a regression's inner lips are nearer than this, a person's meet

USUAL_OPENING, USUAL_WIDTH = 0.20, 0.046  # ranges of the median person of the training clips, IOD
_SPREAD = 0.41  # standard deviation over people of the opening range's logarithm
_MOVES, _AROUND = 0.01, 9  # IOD: a mouth whose opening varies by this over so many frames speaks as likely as not
_SPOKEN = 10  # frames of speech that weigh as much as what people usually do
_WIDE = 0.93  # quantile of the opening in speech that is the range, which is the 95th percentile over all frames


@dataclass(frozen=True)
class Mouth:
    """What is known of somebody's mouth. Lengths in IOD, in the head's frame."""

    rest: Float
    """(L, 2) motion with the lips closed and relaxed."""
    rest_error: float
    """Standard deviation of a lip point of it."""
    opening_range: float
    """95th percentile of the opening in speech above rest."""
    width_range: float
    """Standard deviation of the width in speech."""
    range_error: float
    """Standard deviation of the logarithm of `opening_range`."""


@dataclass(frozen=True)
class Regression:
    """From a face to how far away from rest its mouth is: linear in what `inputs` says."""

    mean: Float
    """(478 * 3,) the mean face, in the head's frame."""
    basis: Float
    """(478 * 3, C) principal components of faces, each divided by its standard deviation."""
    matrix: Float
    """(inputs, L * 2)."""

    def inputs(self, heads: Float) -> Float:
        """What the matrix takes of faces (N, 478, 3) in the head's frame, each under its own pose: (N, inputs)."""
        shape = (heads.reshape(len(heads), -1) - self.mean) @ self.basis
        motion = face.motion_of(heads)
        opening, width = face.opening(motion), face.width(motion) - np.float32(0.9)
        gap = np.minimum(opening, 0.7)
        numbers = [gap * 10 - 0.7, width * 6, np.sqrt(gap) * 4 - 1, gap**2 * 20, width**2 * 20, gap * width * 40]
        told = np.concatenate([np.ones((len(heads), 1)), shape, np.stack(numbers, 1)], 1)
        return np.clip(told, -_FARTHEST, _FARTHEST).astype(np.float32)

    def away(self, heads: Float) -> Float:
        """(N, L, 2): from where the mouth is in faces (N, 478, 3) to where it is at rest."""
        return (self.inputs(heads) @ self.matrix).reshape(len(heads), face.L, 2)


@cache
def regression() -> Regression:
    """The regression that is shipped. Raises WeightsFault where it is damaged."""
    with np.load(BytesIO(read_weights(WEIGHTS)), allow_pickle=False) as found:
        return Regression(*(found[name].astype(np.float32) for name in ("mean", "basis", "matrix")))


def estimate(motion: Float, heads: Float, known: Regression | None = None) -> Mouth:
    """Rest and range from motion (N, L, 2) of a person's own frames, N >= 1, and their faces (N, 478, 3).

    heads: landmarks in the head's frame, each under its own pose (`face.pose`, `face.to_head`).
    """
    away = (known or regression()).away(heads)
    apart = face.lips_apart(away, np.zeros_like(away[0]))
    share = apart**2 / (apart**2 + _DOUBT**2)
    variance = _ERROR**2 + (_GROWS * apart) ** 2
    told = _mean(motion + share[:, None, None].astype(np.float32) * away, variance**-2)
    doubt = _PEOPLE**2 + max(float(variance.min()) - _PEOPLE**2, 0.0)
    shows = np.exp(-face.opening(motion) / _SHUT - 0.5 * (apart / _CALM) ** 2)
    frames = float(shows.sum()) if len(motion) > 1 else 0.0
    seen = _mean(motion, np.maximum(shows, 1e-9))
    believed = frames / (frames + _BELIEVED)
    rest = believed * seen + (1 - believed) * parted(told, _MEET)
    opening, width, error = _ranges(motion, face.opening(rest))
    return Mouth(rest, float(np.sqrt(doubt * (1 - believed))), opening, width, error)


def _ranges(motion: Float, rest: Float) -> tuple[float, float, float]:
    """Ranges of opening and width, and the error of the first's logarithm, from motion (N, L, 2) and the opening at rest."""
    opening, width = face.opening(motion) - rest, face.width(motion)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(opening, _AROUND // 2, mode="edge"), _AROUND).std(1)
    speaks = 1 / (1 + (_MOVES / np.maximum(around, 1e-4)) ** 4)
    frames = float(speaks.sum())
    believed = frames / (frames + _SPOKEN)
    order = np.argsort(opening)
    share = np.cumsum(speaks[order])
    reach = max(float(opening[order[np.searchsorted(share, _WIDE * share[-1])]]), 0.03)
    middle = (speaks * width).sum() / max(frames, 1e-6)
    spread = max(float(np.sqrt((speaks * (width - middle) ** 2).sum() / max(frames, 1e-6))), 0.01)
    seen, usual = np.log([reach, spread]), np.log([USUAL_OPENING, USUAL_WIDTH])
    ranges = np.exp(believed * seen + (1 - believed) * usual)
    return float(ranges[0]), float(ranges[1]), float(_SPREAD * np.sqrt(1 - believed))


def _mean(values: NDArray[Any], weights: NDArray[Any]) -> Float:
    return np.asarray(np.average(values, 0, weights), np.float32)

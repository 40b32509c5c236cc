"""The space of motion: an actor's rest and range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines import face

Float = NDArray[np.float32]
USUAL_RANGE = 0.15
"""Opening range of a usual person, IOD."""


def rest_and_range(motion: Float) -> tuple[Float, float, float]:
    """The mouth at rest and how far it moves, from motion (T, L, 2) of a person's own frames.

    Returns the neutral motion (L, 2): the mean of the tenth of frames with the smallest opening (at least 3); the
    opening's 95th percentile above neutral, at least 0.05 IOD; the width's standard deviation, at least 0.01 IOD.
    """
    opening = face.opening(motion)
    closed = np.argsort(opening, kind="stable")[: max(3, len(motion) // 10)]
    neutral = motion[closed].mean(0)
    reach = float(np.percentile(opening, 95) - face.opening(neutral))
    return neutral, max(reach, 0.05), max(float(face.width(motion).std()), 0.01)


def unit(opening_range: float) -> float:
    """The unit, in IOD, of what the motion net gives: the geometric mean of the actor's range and a usual one.

    Measured on people held out of training: better than the actor's range alone (a noisy number from a short video), and
    nearer to the lips than no range at all.
    """
    return float(np.sqrt(USUAL_RANGE * opening_range))

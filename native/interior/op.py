"""The operator `interior`: one signature, checks in words, dispatch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.interior import cpu
from native.interior.profile import ROWS

Float = NDArray[np.float32]


def interior(
    patch: NDArray[np.uint8], corner: tuple[int, int], size: tuple[int, int], place: Float, profile: Float, light: Float,
    unit: float, soft: float, share: float,
) -> NDArray[np.uint8]:  # fmt: skip
    """Draw the inside of a mouth into a copy of a patch: dark, with a tongue, and teeth above and below, shaded by the lips.

    patch: (h, w, 3) RGB uint8. corner: x and y of the part that is drawn. size: its rows and columns. place: (2, 3) float32, takes
    (x, y, 1) of the part's pixels to a sample of the profile and a height in IOD. profile: (11, N) float32, N at least 2, what
    `native.interior.profile.ROWS` names, along the mouth. light: (2, 3) float32, the colour of a well-lit tooth at the first and
    at the last sample, 0..255. unit: pixels in an IOD. soft: pixels over
    which an edge goes, at least 1. share: opacity, 0..1. Raises ValueError where shapes do not fit.
    """
    (x, y), (rows, columns) = corner, size
    if min(x, y, rows, columns) < 0 or y + rows > patch.shape[0] or x + columns > patch.shape[1]:
        raise ValueError(f"a part of {size} at {corner} does not fit a patch of {patch.shape[:2]}")
    if len(profile) != len(ROWS) or profile.shape[1] < 2 or place.shape != (2, 3) or light.shape != (2, 3):
        raise ValueError(
            f"a profile must be ({len(ROWS)}, 2 or more), place and light (2, 3), got {profile.shape, place.shape, light.shape}"
        )
    if not soft >= 1:
        raise ValueError(f"an edge goes over a pixel at least, got {soft}")
    return cpu.interior(patch, corner, size, place, profile, light, unit, soft, share)

"""Pictures without colour: what is made in them has none either, whatever the references are like."""

from __future__ import annotations

import numpy as np

from engines.spec import Picture
from native.planes import planes

_LEVELS = 3.0  # of chroma between nearly all pixels: what is left of grey, or of one tint, after coding


def colourless(frame: Picture, corner: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a frame (I420) is grey, or of one tint, in a part of it: `corner` is x, y, `size` height, width, all even."""
    x, y, tall, wide = corner[0] // 2, corner[1] // 2, size[0] // 2, size[1] // 2
    step = max(1, min(tall, wide) // 24)
    some = [plane[y : y + tall : step, x : x + wide : step] for plane in planes(frame)[1:]]
    return all(float(np.subtract(*np.percentile(plane, (97, 3)))) <= _LEVELS for plane in some)


def in_colours_of(picture: Picture, frame: Picture) -> Picture:
    """A picture with the chroma of another."""
    luma = frame.shape[0] * 2 // 3
    return np.concatenate([picture[:luma], frame[luma:]])

"""How blurred an actor's references are: what is drawn into them is to be as sharp, and no sharper."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.actor import Actor
from engines.spec import Float

_STRONG = 0.95  # of all slopes those above this share are edges
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_OWN = 0.45  # variance that an edge of no blur at all measures, in pixels squared: slopes are taken over two pixels


def blurs(actor: Actor) -> Float:
    """(K,): standard deviation, in IOD, of the Gaussian under which edges of each reference lie."""
    references = actor.references
    pixels = actor.units[references.frame] * references.crops[:, 2]
    return np.array([_blur(picture) for picture in references.pictures], np.float32) / pixels


def _blur(picture: NDArray[np.uint8]) -> float:
    """Of a picture (S, S, 3), in pixels: from how much less steep its steepest slopes are when they are blurred a little more."""
    part = np.s_[len(picture) // 6 : -(len(picture) // 6) or None]
    grey = picture[part, part] @ _LUMA
    more = grey[1:-1] / 2 + (grey[:-2] + grey[2:]) / 4
    more = more[:, 1:-1] / 2 + (more[:, :-2] + more[:, 2:]) / 4  # a Gaussian's, nearly, of variance a half
    slope, less = (np.hypot(*np.gradient(one)) for one in (grey[1:-1, 1:-1], more))
    edges = slope >= max(float(np.quantile(slope, _STRONG)), 1.0)
    if not edges.any():
        return 0.0
    ratio = float(np.median(slope[edges] / np.maximum(less[edges], 1e-3)))
    return float(np.sqrt(max(0.5 / max(ratio**2 - 1, 0.02) - _OWN, 0.0)))

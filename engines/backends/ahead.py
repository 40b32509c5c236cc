"""Which nets are made ready for a card, in which types."""

from __future__ import annotations

from collections.abc import Iterator

from engines.backends.half import half
from engines.backends.weights import read_weights
from engines.motion.config import EARS, EXACT, LIPS


def nets() -> Iterator[tuple[str, bytes]]:
    """Names and float16 files of the shipped nets that run there.

    Raises WeightsFault where one is missing or damaged, BackendFault without onnx.
    """
    for name in (EARS, LIPS):
        yield name, half(read_weights(name), EXACT)

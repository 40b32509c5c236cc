"""Cases of `copy`: the same table feeds the tests and the benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from native.case import Case
from native.copy.reference import UNIT


def cases() -> Iterator[Case]:
    """Lines that lie together and apart on either side, one line, and none."""
    random = np.random.default_rng(9)
    for name, lines, length, from_step, to_step in (
        ("together", 5, 7, 7, 7), ("spread out", 24, 16, 16, 528), ("gathered", 6, 3, 11, 3), ("the same again", 3, 9, 0, 9),
        ("one", 1, 301, 0, 0), ("no line", 0, 4, 4, 4), ("empty lines", 4, 0, 2, 2),
    ):  # fmt: skip
        yield case(name, random, lines, length, from_step, to_step)


def timed(random: np.random.Generator) -> Case:
    """The size at which speed is measured: what the motion encoder remembers of a conversation, given to it again."""
    return case("four rings of 50 kB", random, 4, 3168, 3168, 3168)


def case(name: str, random: np.random.Generator, lines: int, length: int, from_step: int, to_step: int) -> Case:
    """Bytes by chance, in arrays that are as long as they have to be."""
    source, target = (
        random.integers(0, 256, UNIT * max((lines - 1) * step + length, 1) * bool(lines * length), np.uint8)
        for step in (from_step, to_step)
    )
    arguments = {"source": source, "target": target, "lines": lines, "length": length, "from_step": from_step, "to_step": to_step}
    return Case(name, arguments, tolerance=0, bytes=2 * UNIT * lines * length)

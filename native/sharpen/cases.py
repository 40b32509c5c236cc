"""Cases of `sharpen`: the same table feeds the tests and the benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from native.case import Case


def cases() -> Iterator[Case]:
    """Patches that are too soft, sharp enough and hopeless; odd sizes, boxes at the edges, and one that is too small."""
    random = np.random.default_rng(7)
    for name, size, box, sigma, wanted, before in (
        ("soft", (41, 53), (8, 36, 9, 44), 0.9, 340.0, -1.0), ("as before", (34, 37), (0, 34, 0, 37), 0.45, 260.0, 0.3),
        ("sharp", (30, 33), (3, 29, 4, 31), 1.6, 1.0, 0.6), ("hopeless", (29, 40), (0, 20, 11, 40), 2.3, 1e6, -1.0),
        ("small", (20, 22), (2, 9, 3, 20), 1.0, 100.0, 0.2),
    ):  # fmt: skip
        yield case(name, random, size, box, sigma, wanted, before)


def timed(random: np.random.Generator) -> Case:
    """The size at which speed is measured."""
    return case("512x512", random, (512, 512), (128, 384, 128, 384), 1.6, 340.0, -1.0)


def case(
    name: str, random: np.random.Generator, size: tuple[int, int], box: tuple[int, int, int, int],
    sigma: float, wanted: float, before: float,
) -> Case:  # fmt: skip
    """A patch of noise on a slope. The card reads and writes the patch, four bytes a pixel, once at least."""
    y, x = np.mgrid[: size[0], : size[1]]
    slope = np.stack([40 + 2.5 * x + y, 60 + x + 1.5 * y, 90 + 2 * y], -1) % 230 + random.normal(0, 3, (*size, 3))
    patch = np.clip(slope, 0, 255).astype(np.uint8)
    return Case(
        name, {"patch": patch, "box": box, "sigma": sigma, "wanted": wanted, "before": before, "quick": 0.3}, tolerance=0.05,
        bytes=2 * 4 * size[0] * size[1],
    )  # fmt: skip

"""Cases of `composite`: the same table feeds the tests and the benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from native.case import Case


def cases() -> Iterator[Case]:
    """Patches in the middle, at the frame's edges, and over the whole frame; an empty mask."""
    random = np.random.default_rng(6)
    for name, size, corner, patch in (
        ("middle", (48, 64), (10, 8), (30, 36)), ("corner", (48, 64), (34, 18), (30, 30)), ("whole", (30, 34), (0, 0), (30, 34)),
        ("empty mask", (48, 64), (10, 8), (30, 36)),
    ):  # fmt: skip
        yield case(name, random, size, corner, patch, 9.0)


def timed(random: np.random.Generator) -> Case:
    """The size at which speed is measured."""
    return case("512x512, all of it", random, (512, 512), (0, 0), (512, 512), 60.0)


def case(
    name: str, random: np.random.Generator, size: tuple[int, int], corner: tuple[int, int], patch: tuple[int, int], shade: float
) -> Case:  # fmt: skip
    """A patch of a size with a round mask, in a noisy frame."""
    height, width = patch
    y, x = np.mgrid[:height, :width]
    away = np.hypot((y - height / 2) / height, (x - width / 2) / width)
    alpha = np.clip(2.2 - 6 * away, 0, 1).astype(np.float32) * (name != "empty mask")
    frame = np.full((size[0] * 3 // 2, size[1]), 120, np.uint8)
    slope = np.add.outer(np.arange(size[0]) * 48 / size[0], np.arange(size[1]) * 64 / size[1])
    frame[: size[0]] = np.clip(90 + slope + random.normal(0, 3, size), 16, 235)
    down, across = 30 * y / height, 36 * x / width
    colours = np.stack([60 + down + across, 90 + down, 80 + across], -1) + random.normal(0, 2, (height, width, 3))
    ring = (1 - alpha) * (away < 0.6)
    arguments = {
        "frame": frame, "corner": corner, "patch": np.clip(colours, 0, 255).astype(np.uint8), "alpha": alpha,
        "ring": ring.astype(np.float32), "shade": shade,
    }  # fmt: skip
    moved = 2 * frame.size + 8 * height * width  # frame in and out, the patch's colours and mask in
    return Case(name, arguments, tolerance=1.0, bytes=moved)

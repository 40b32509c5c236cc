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
        height, width = patch
        y, x = np.mgrid[:height, :width]
        away = np.hypot((y - height / 2) / height, (x - width / 2) / width)
        alpha = np.clip(2.2 - 6 * away, 0, 1).astype(np.float32) * (name != "empty mask")
        frame = np.full((size[0] * 3 // 2, size[1]), 120, np.uint8)
        frame[: size[0]] = np.clip(90 + np.add.outer(np.arange(size[0]), np.arange(size[1])) + random.normal(0, 3, size), 16, 235)
        colours = np.clip(np.stack([60 + y + x, 90 + y, 80 + x], -1) + random.normal(0, 2, (height, width, 3)), 0, 255).astype(np.uint8)
        ring = (1 - alpha) * (away < 0.6)
        yield Case(
            name,
            {"frame": frame, "corner": corner, "patch": colours, "alpha": alpha, "ring": ring.astype(np.float32), "shade": 9.0},
            tolerance=1.0,
        )

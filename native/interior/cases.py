"""Cases of `interior`: the same table feeds the tests and the benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from native.case import Case


def cases() -> Iterator[Case]:
    """Wide and narrow mouths, at the patch's corner and over all of it, faint, in little light, and none at all."""
    random = np.random.default_rng(8)
    for name, size, corner, part, unit, share, bright in (
        ("wide", (61, 75), (14, 22), (33, 47), 62.0, 1.0, 190), ("corner", (40, 44), (0, 0), (31, 29), 40.0, 0.6, 120),
        ("whole", (25, 34), (0, 0), (25, 34), 150.0, 1.0, 40), ("faint", (50, 70), (3, 9), (20, 64), 90.0, 0.05, 230),
        ("shut", (30, 30), (5, 6), (9, 20), 30.0, 1.0, 150),
    ):  # fmt: skip
        yield case(name, random, size, corner, part, unit, share, bright)


def timed(random: np.random.Generator) -> Case:
    """The size at which speed is measured."""
    return case("160x96 of 512x512", random, (512, 512), (176, 208), (96, 160), 160.0, 1.0, 190)


def case(
    name: str, random: np.random.Generator, size: tuple[int, int], corner: tuple[int, int], part: tuple[int, int],
    unit: float, share: float, bright: int,
) -> Case:  # fmt: skip
    """An oval mouth in noisy skin. The card reads and writes the part, three halves a pixel, once at least."""
    rows, columns = part
    y = np.arange(rows)[:, None]
    open_by = 0.0 if name == "shut" else 0.8
    away = np.abs(np.arange(columns) - (columns - 1) / 2) / (columns / 2)
    bow = open_by * rows / 2 * np.sqrt(np.clip(1 - away**2, 0, 1))
    upper, lower = (rows / 2 - bow).astype(np.float32), (rows / 2 + bow).astype(np.float32)
    inside = ((y >= upper) & (y <= lower) & (bow > 0)).astype(np.uint8)
    skin = np.array([bright, 0.7 * bright, 0.6 * bright]) + random.normal(0, 6, (*size, 3))
    arguments = {
        "patch": np.clip(skin, 0, 255).astype(np.uint8), "corner": corner, "inside": inside, "upper": upper, "lower": lower,
        "above": max(corner[1] - 1, 0), "unit": unit, "share": share,
    }  # fmt: skip
    return Case(name, arguments, tolerance=0.05, bytes=2 * 6 * rows * columns)

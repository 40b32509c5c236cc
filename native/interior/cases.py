"""Cases of `interior`: the same table feeds the tests and the benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from native.case import Case
from native.interior.profile import ROWS


def cases() -> Iterator[Case]:
    """Wide and narrow mouths, at the patch's corner and over all of it, tilted, faint, in little light, and none at all."""
    random = np.random.default_rng(8)
    for name, size, corner, part, unit, soft, tilt, share, bright in (
        ("wide", (61, 75), (14, 22), (33, 47), 62.0, 1.6, 0.0, 1.0, 190), ("corner", (40, 44), (0, 0), (31, 29), 40.0, 1.0, 0.4, 0.6, 120),
        ("whole", (25, 34), (0, 0), (25, 34), 250.0, 3.0, -0.2, 1.0, 40), ("faint", (50, 70), (3, 9), (20, 64), 90.0, 1.6, 0.1, 0.05, 230),
        ("shut", (30, 30), (5, 6), (9, 20), 30.0, 1.6, 0.0, 1.0, 150),
    ):  # fmt: skip
        yield case(name, random, size, corner, part, unit, soft, tilt, share, bright)


def timed(random: np.random.Generator) -> Case:
    """The size at which speed is measured."""
    return case("160x96 of 512x512", random, (512, 512), (176, 208), (96, 160), 160.0, 2.0, 0.1, 1.0, 190)


def case(
    name: str, random: np.random.Generator, size: tuple[int, int], corner: tuple[int, int], part: tuple[int, int],
    unit: float, soft: float, tilt: float, share: float, bright: int,
) -> Case:  # fmt: skip
    """An oval mouth with teeth in noisy skin, `tilt` radians from level. The card reads and writes the part, three halves a pixel."""
    (rows, columns), samples = part, 2 * part[1]
    along = np.linspace(-1, 1, samples)
    half = 0.5 * np.array([columns, rows]) / unit
    bow = (0.0 if name == "shut" else 0.9) * half[1] * np.sqrt(1 - along**2)
    teeth = 0.05 * half[1] * np.abs(np.sin(9 * along))
    profile = {
        "upper": -bow, "lower": bow, "edge": -0.3 * bow - teeth, "gum": -0.8 * bow - teeth, "lustre": 1 - 0.6 * along**2,
        "low_edge": 0.6 * bow + teeth, "low_gum": 0.9 * bow + teeth, "low_lustre": 0.8 - 0.5 * along**2, "tongue": 0.1 * bow,
        "shade": bow / (bow + 0.01), "lean": 1 / np.sqrt(1 + np.minimum(along**2, 2)),
    }  # fmt: skip
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]]) / unit
    turn[0] *= (samples - 1) / (2 * half[0])
    place = np.concatenate([turn, (-turn @ (np.array([columns, rows]) - 1) / 2)[:, None]], 1)
    place[0, 2] += (samples - 1) / 2
    skin = np.array([bright, 0.7 * bright, 0.6 * bright]) + random.normal(0, 6, (*size, 3))
    arguments = {
        "patch": np.clip(skin, 0, 255).astype(np.uint8), "corner": corner, "size": part, "place": place.astype(np.float32),
        "profile": np.stack([profile[row] for row in ROWS]).astype(np.float32),
        "light": np.array([[1.2, 1.1, 1], [0.9, 0.8, 0.7]], np.float32) * bright, "unit": unit, "soft": soft, "share": share,
    }  # fmt: skip
    return Case(name, arguments, tolerance=0.05, bytes=2 * 4 * rows * columns + 4 * len(ROWS) * samples)

"""Cases of `warp`: the same table feeds the tests and the benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from native.case import Case


def cases() -> Iterator[Case]:
    """Small ones, odd sizes on purpose."""
    random = np.random.default_rng(5)
    for name, count, amount in (("still", 1, 0.0), ("one", 1, 1.5), ("three blended", 3, 1.5), ("beyond the edge", 2, 12.0)):
        yield case(name, random, (34, 43), (37, 45), (4, 5), count, amount)


def timed(random: np.random.Generator) -> Case:
    """The size at which speed is measured."""
    return case("512x512, four references", random, (512, 512), (512, 512), (18, 18), 4, 3.0)


def case(
    name: str, random: np.random.Generator, size: tuple[int, int], picture: tuple[int, int], grid: tuple[int, int],
    count: int, amount: float,
) -> Case:  # fmt: skip
    """`count` pictures of a size under a mesh of (rows, columns) vertices, each moved by `amount` pixels or so."""
    rows, columns = grid
    across, down = np.meshgrid(np.linspace(2, size[1] - 3, columns), np.linspace(3, size[0] - 4, rows))
    target = np.stack([across.ravel(), down.ravel()], 1).astype(np.float32)
    quads = [
        (r * columns + c, r * columns + c + 1, (r + 1) * columns + c, (r + 1) * columns + c + 1)
        for r in range(rows - 1) for c in range(columns - 1)
    ]  # fmt: skip
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (b, d, c))], np.int32)
    height, width = picture
    smooth = np.add.outer(np.arange(height) * 110 / height, np.arange(width) * 90 / width)[:, :, None] + np.array([0, 30, 55])
    one = np.clip(smooth, 0, 255).astype(np.uint8)
    weights = np.arange(1, count + 1, dtype=np.float32)
    arguments = {
        "pictures": [np.roll(one, k, 0) for k in range(count)], "weights": weights / weights.sum(),
        "sources": np.stack([target + random.normal(0, amount, target.shape) for _ in range(count)]).astype(np.float32),
        "target": target, "triangles": triangles, "values": random.uniform(0, 1, (len(target), 2)).astype(np.float32), "size": size,
    }  # fmt: skip
    moved = 4 * count * height * width + 8 * size[0] * size[1]  # pictures in; colours and values out
    mesh = 8 * count * len(target) + 8 * len(target) + 12 * len(triangles) + 8 * len(target) + 4 * count
    return Case(name, arguments, tolerance=2.0 if amount > 5 else 1.0, bytes=moved + mesh)

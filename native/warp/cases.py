"""Cases of `warp`: the same table feeds the tests and the benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from native.case import Case


def cases() -> Iterator[Case]:
    """Small ones, odd sizes on purpose."""
    random = np.random.default_rng(5)
    across, down = np.meshgrid(np.linspace(2, 40, 5), np.linspace(3, 30, 4))
    target = np.stack([across.ravel(), down.ravel()], 1).astype(np.float32)
    quads = [(r * 5 + c, r * 5 + c + 1, (r + 1) * 5 + c, (r + 1) * 5 + c + 1) for r in range(3) for c in range(4)]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (b, d, c))], np.int32)
    smooth = np.add.outer(np.arange(37) * 3, np.arange(45) * 2)[:, :, None] + np.array([0, 30, 60])
    picture = np.clip(smooth, 0, 255).astype(np.uint8)
    for name, count, amount in (("still", 1, 0.0), ("one", 1, 1.5), ("three blended", 3, 1.5), ("beyond the edge", 2, 12.0)):
        sources = np.stack([target + random.normal(0, amount, target.shape) for _ in range(count)]).astype(np.float32)
        weights = np.arange(1, count + 1, dtype=np.float32)
        yield Case(
            name,
            {
                "pictures": [np.roll(picture, k, 0) for k in range(count)], "weights": weights / weights.sum(), "sources": sources,
                "target": target, "triangles": triangles, "values": random.uniform(0, 1, (len(target), 2)).astype(np.float32),
                "size": (34, 43),
            },
            tolerance=2.0 if amount > 5 else 1.0,
        )  # fmt: skip

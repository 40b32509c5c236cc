"""The operator `warp`: one signature, checks in words, dispatch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from native.warp import cpu

Float = NDArray[np.float32]


def warp(
    pictures: Sequence[NDArray[np.uint8]],
    weights: Float,
    sources: Float,
    target: Float,
    triangles: NDArray[np.int32],
    values: Float,
    size: tuple[int, int],
) -> tuple[NDArray[np.uint8], Float]:
    """Sample K pictures through a mesh and blend them.

    For an output pixel p in triangle (a, b, c) with barycentric coordinates u over `target`, picture k is sampled
    bilinearly, edges clamped, at q = u . sources[k][a, b, c]; the result is the sum over k of weights[k] * picture_k(q).
    `values` are interpolated in the same way. Where triangles overlap the later one counts. Pixels outside all triangles
    take the nearest picture's corner (coordinate 0, 0) and value 0: give them value 0 and do not use them.

    pictures: K arrays (h, w, 3) uint8. weights: (K,) float32, sum 1. sources: (K, V, 2) float32, pixels of the pictures.
    target: (V, 2) float32, pixels of the output; the centre of the first pixel is (0, 0). triangles: (T, 3) int32.
    values: (V, C) float32, numbers carried by the vertices (alpha, ring). size: (height, width) of the output.
    Returns the blended picture (height, width, 3) uint8 and the interpolated values (height, width, C) float32.
    Raises ValueError where shapes do not fit.
    """
    count, vertices = len(pictures), len(target)
    if sources.shape != (count, vertices, 2) or weights.shape != (count,):
        raise ValueError(f"{count} pictures and {vertices} vertices want sources {(count, vertices, 2)}, got {sources.shape}")
    if values.ndim != 2 or len(values) != vertices:
        raise ValueError(f"values must be ({vertices}, C), got {values.shape}")
    if not (np.isfinite(target).all() and np.isfinite(sources).all()):
        raise ValueError("vertices must be finite")
    return cpu.warp(pictures, weights, sources, target, triangles, values, size)

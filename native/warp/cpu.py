"""The quick twin of `reference.py`, with OpenCV.

The mesh is rasterised on a grid (`grid.grid`) and the coordinates are interpolated from there: they are
piecewise linear, so that only the kinks along edges are rounded off, by less than a cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from native.warp.grid import BEYOND, grid

Float = NDArray[np.float32]
_FIXED = 4  # fractional bits of the polygon rasteriser


def mesh_values(target: Float, triangles: NDArray[np.int32], values: Float, size: tuple[int, int]) -> Float:
    """Values (V, C) at the vertices `target` (V, 2), interpolated over the triangles: (height, width, C)."""
    return _interleaved(_fine(target, triangles, values, size), size)


def _fine(target: Float, triangles: NDArray[np.int32], values: Float, size: tuple[int, int]) -> list[Float]:
    """`mesh_values`, one field (height, width) a channel."""
    coarse = _coarse(target, triangles, values, size)
    if coarse.shape[1:] == size:
        return list(coarse)
    return [np.asarray(cv2.resize(channel, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32) for channel in coarse]


def _interleaved(fields: list[Float], size: tuple[int, int]) -> Float:
    return np.stack(fields, -1) if fields else np.zeros((*size, 0), np.float32)


def _coarse(target: Float, triangles: NDArray[np.int32], values: Float, size: tuple[int, int]) -> Float:
    """`mesh_values` on the grid: (C, rows, columns). Channels first, so that what is gathered lies together."""
    height, width = size
    rows, columns = grid(size)
    # a cell's centre lies where cv2.resize puts it
    scale = np.array([columns / width, rows / height], np.float32)
    cells = (target + 0.5) * scale - 0.5
    index = np.zeros((rows, columns), np.int32)
    corners = cells[triangles]
    fixed = np.round(corners * (1 << _FIXED)).astype(np.int32)
    for at, corner in enumerate(fixed, 1):
        cv2.fillConvexPoly(index, corner, at, lineType=cv2.LINE_8, shift=_FIXED)
    # two affine functions per triangle give the cell's place in it. The rasteriser also paints cells that an edge only
    # touches: the functions may run a cell beyond the triangle, but no further, or slivers would throw sparks.
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    inverse = 1 / np.where(np.abs(area) < 1e-3, np.inf, area)  # flat triangles show their first corner
    longest = np.sqrt(np.maximum(np.maximum((a**2).sum(1), (b**2).sum(1)), ((a - b) ** 2).sum(1)))
    beyond = np.zeros(len(triangles) + 1, np.float32)
    beyond[1:] = np.minimum(BEYOND * longest / np.maximum(np.abs(area), 1e-3), 0.5)
    place = np.zeros((len(triangles) + 1, 6), np.float32)
    place[1:, 0], place[1:, 1] = b[:, 1] * inverse, -b[:, 0] * inverse
    place[1:, 3], place[1:, 4] = -a[:, 1] * inverse, a[:, 0] * inverse
    place[1:, 2::3] = -np.einsum("tij,tj->ti", place[1:].reshape(-1, 2, 3)[:, :, :2], corners[:, 0])
    found, slack = np.take(np.ascontiguousarray(place.T), index, axis=1), np.take(beyond, index)
    x = np.arange(columns, dtype=np.float32)[None, :]
    y = np.arange(rows, dtype=np.float32)[:, None]
    u = np.clip(found[0] * x + found[1] * y + found[2], -slack, 1 + slack)
    v = np.clip(found[3] * x + found[4] * y + found[5], -slack, 1 + slack)
    v = np.minimum(v, 1 + slack - u)
    table = np.zeros((3, values.shape[1], len(triangles) + 1), np.float32)
    table[:, :, 1:] = values[triangles].transpose(1, 2, 0)
    table[1:] -= table[:1]
    carried, along_u, along_v = np.take(table, index, axis=2)
    along_u *= u
    along_v *= v
    carried += along_u
    carried += along_v
    return np.asarray(carried, np.float32)


def warp(
    pictures: Sequence[NDArray[np.uint8]],
    weights: Float,
    sources: Float,
    target: Float,
    triangles: NDArray[np.int32],
    values: Float,
    size: tuple[int, int],
) -> tuple[NDArray[np.uint8], Float]:
    """See `op.warp`."""
    count = len(pictures)
    columns = np.concatenate([*sources, values], 1)
    fields = _fine(target, triangles, columns, size)
    carried = _interleaved(fields[2 * count :], size)
    blended = np.zeros((*size, 3), np.float32)
    for k in range(count):
        sampled = cv2.remap(pictures[k], fields[2 * k], fields[2 * k + 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        if count == 1:
            return sampled.astype(np.uint8, copy=False), carried
        blended += sampled * weights[k]
    return np.clip(blended + 0.5, 0, 255).astype(np.uint8), carried

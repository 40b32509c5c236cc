"""What `cuda.cu` is told of each session, as one row of an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.warp.grid import grid

TILE, TABLE, CARRIED = 16, 35, 2
_SIZES = (
    "stored", "count", "height_in", "width_in", "vertices", "faces", "channels", "height", "width", "rows", "columns",
)  # fmt: skip
DESCRIPTOR = np.dtype(
    [
        *((n, np.uint64) for n in ("pictures", "sources", "which", "weights", "target", "triangles", "values", "flow")),
        *((n, np.uint64) for n in ("edges", "bins", "field", "colours", "mask")),
        *((n, np.int32) for n in _SIZES),
        *((n, np.float32) for n in ("across", "down")),
    ],
    align=True,
)  # fmt: skip
"""Addresses (which, flow: 0 for none), sizes, and the grid (`cells`)."""
ALIGNED = {
    "pictures": 4, "sources": 4, "which": 4, "weights": 4, "target": 4, "triangles": 4, "values": 4, "flow": 2, "edges": 4, "bins": 4,
    "field": 4, "colours": 4, "mask": 4,
}  # fmt: skip


def cells(sessions: NDArray[np.void]) -> None:
    """Write into descriptors that have their outputs' sizes the grids on which the meshes are painted."""
    sizes = np.stack([sessions["height"], sessions["width"]], -1)
    grids = np.array([grid((int(height), int(width))) for height, width in sizes]).reshape(sizes.shape)
    sessions["rows"], sessions["columns"] = grids.T
    sessions["down"], sessions["across"] = (grids / np.maximum(sizes, 1)).T


def extents(sessions: NDArray[np.void]) -> dict[str, NDArray[np.int64]]:
    """Bytes that each session has at each of its addresses."""
    s = {name: sessions[name].astype(np.int64) for name in _SIZES}
    area, tiles = s["height"] * s["width"], _tiles(s)
    return {
        "pictures": 4 * s["stored"] * s["height_in"] * s["width_in"], "sources": 8 * s["stored"] * s["vertices"], "which": 4 * s["count"],
        "weights": 4 * s["count"], "target": 8 * s["vertices"], "triangles": 12 * s["faces"], "values": 4 * s["vertices"] * s["channels"],
        "flow": 4 * s["count"] * area, "edges": 4 * TABLE * s["faces"], "bins": 4 * tiles * -(-s["faces"] // 32),
        "field": 4 * s["rows"] * s["columns"] * (2 * s["count"] + s["channels"]), "colours": 4 * area, "mask": 4 * area,
    }  # fmt: skip


def threads(sessions: NDArray[np.void]) -> list[int]:
    """The most that a session of each kernel has to do."""
    s = {name: sessions[name].astype(np.int64) for name in ("height", "width", "faces", "rows", "columns")}
    work = (s["faces"], _tiles(s) * -(-s["faces"] // 32), s["rows"] * s["columns"], s["height"] * s["width"])
    return [int(most.max(initial=0)) for most in work]


def misfit(sessions: NDArray[np.void]) -> str:
    """What is wrong with the numbers of a session, or nothing."""
    s, some = sessions, sessions["height"].astype(np.int64) * sessions["width"] > 0
    if any((s[name] < 0).any() for name in _SIZES):
        return "a size is negative"
    if (s["channels"] > CARRIED).any():
        return f"a mesh carries more than {CARRIED} values"
    if ((s["which"] == 0) & (s["count"] > s["stored"])).any():
        return "more pictures are blended than there are"
    if ((s["count"] > 0) & some & ((s["height_in"] < 1) | (s["width_in"] < 1))).any():
        return "an empty picture is sampled"
    if (some & ((s["rows"] < 1) | (s["columns"] < 1) | ~(s["across"] > 0) | ~(s["down"] > 0))).any():
        return "a mesh has no grid"
    return ""


def _tiles(s: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    return -(-s["rows"] // TILE) * -(-s["columns"] // TILE)

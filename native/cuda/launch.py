"""From descriptors to launches: what is checked before anything runs, and how large the grids are. Needs no card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from native.composite import cuda as composite
from native.copy import cuda as copy
from native.cuda.compile import OPERATORS
from native.interior import cuda as interior
from native.sharpen import cuda as sharpen
from native.warp import cuda as warp

BLOCK = 256
"""Threads of a block."""
ABOUT: dict[str, Any] = {"warp": warp, "sharpen": sharpen, "interior": interior, "composite": composite, "copy": copy}
"""What is known of each operator's descriptors."""
_OPTIONAL = {("warp", "which"), ("warp", "flow")}
_SESSIONS = 65_535  # of a grid's second axis; what is beyond strides
_THREADS = 1 << 30  # of a session: the kernels count in 32 bits


@dataclass(frozen=True)
class Room:
    """Bytes on a device."""

    address: int
    size: int


class Kernels(Protocol):
    """An operator's kernels, compiled for where they run."""

    def launch(self, kernel: str, grid: tuple[int, int], block: int, sessions: int, count: int) -> None:
        """Run one over `count` descriptors at the address `sessions`."""
        ...


def launch(operator: str, kernels: Kernels, sessions: NDArray[np.void], address: int, rooms: Sequence[Room] | None = None) -> None:
    """Run an operator's kernels, one after the other, over sessions: a copy of these descriptors lies at `address` on the device.

    Raises ValueError where they do not fit (`check`); nothing has run then.
    """
    check(operator, sessions, rooms)
    for kernel, grid in grids(operator, sessions):
        kernels.launch(kernel, grid, BLOCK, address, len(sessions))


def grids(operator: str, sessions: NDArray[np.void]) -> list[tuple[str, tuple[int, int]]]:
    """The kernels that have something to do, each with its blocks: enough for the largest session, times sessions."""
    most = zip(OPERATORS[operator], ABOUT[operator].threads(sessions), strict=True)
    return [(kernel, (-(-threads // BLOCK), min(len(sessions), _SESSIONS))) for kernel, threads in most if threads and len(sessions)]


def check(operator: str, sessions: NDArray[np.void], rooms: Sequence[Room] | None = None) -> None:
    """Raise ValueError where a session's sizes contradict each other, or an array is missing, misaligned, or not whole in one of `rooms`.

    Without rooms it is not known where arrays end.
    """
    about = ABOUT[operator]
    if sessions.dtype != about.DESCRIPTOR:
        raise ValueError(f"{operator} wants descriptors of its own, got {sessions.dtype}")
    if fault := about.misfit(sessions):
        raise ValueError(f"{operator}: {fault}")
    if max(about.threads(sessions)) > _THREADS:
        raise ValueError(f"{operator}: a session is too large")
    bounds = None if rooms is None else _bounds(rooms)
    for name, extent in about.extents(sessions).items():
        address = sessions[name].astype(np.int64)
        used = extent > 0
        if (operator, name) in _OPTIONAL:
            used &= address != 0
        address = address[used]
        if (address == 0).any():
            raise ValueError(f"{operator}: a session has no {name}")
        if (address % about.ALIGNED[name]).any():
            raise ValueError(f"{operator}: {name} must be aligned to {about.ALIGNED[name]} bytes")
        if bounds and not _within(address, extent[used], *bounds):
            raise ValueError(f"{operator}: {name} goes beyond the memory that it lies in")


def _bounds(rooms: Sequence[Room]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where rooms begin and end, in the order of their addresses."""
    found = np.array(sorted((room.address, room.address + room.size) for room in rooms), np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _within(address: NDArray[np.int64], extent: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> bool:
    """Whether each range of addresses lies in one room."""
    at = np.searchsorted(starts, address, side="right") - 1
    return bool((at >= 0).all() and (address + extent <= ends[at]).all())

"""The pixels made on a card, for all conversations of a tick at once: one small copy in, one copy out.

Actors' frames and references stay there (`shelf`). What is decided before pixels are touched comes from the engine (`Asked`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.appearance.config import WarpConfig
from engines.appearance.engine import Asked
from engines.appearance.interior import Gap, gap_of
from engines.appearance.mesh import mesh
from engines.appearance.shelf import FRAMES, Place, Shelf, frame_bytes
from engines.spec import Picture
from native.composite import cuda as composite
from native.cuda.device import Bytes, Device
from native.cuda.launch import Room
from native.interior import cuda as interior
from native.sharpen import cuda as sharpen
from native.warp import cuda as warp

_SHARE = 0.6  # of the memory that was free, for actors
_GIVEN = {"warp": ("which", "weights", "target", "triangles"), "interior": ("inside", "upper", "lower")}
_SCRATCH = {
    "warp": ("edges", "bins", "field", "out"), "sharpen": ("patch", "across", "soft", "sums"), "interior": ("patch", "skin"),
    "composite": ("patch", "small", "spread"),
}  # fmt: skip
_MADE = {"sharpen": ("amount",), "composite": ("out",)}
Sessions = dict[str, NDArray[np.void]]


class CardPainter:
    """Implements `engines.appearance.engine.Painter` on a device. `limit`: bytes for actors; 0.6 of what is free if not given.

    Raises CardFull where the actors of a tick have no room together. Of one thread, which the device was opened in.
    """

    def __init__(self, device: Device, config: WarpConfig | None = None, limit: int | None = None) -> None:
        self.device, self._config, self._mesh = device, config or WarpConfig(), mesh()
        self.shelf = Shelf(device, int(device.free * _SHARE) if limit is None else limit)
        values = np.ascontiguousarray(self._mesh.values)
        self._values = device.room(values.nbytes)
        device.put(values.reshape(-1).view(np.uint8), self._values.address)
        self._given, self._scratch, self._made = _Block(device), _Block(device), _Block(device)
        self._in, self._out = device.staging(1), device.staging(1)

    @property
    def working(self) -> int:
        """Bytes that are held beside the actors."""
        return self._given.size + self._scratch.size + self._made.size

    def paint(self, asked: Sequence[Asked]) -> list[tuple[Picture, float]]:
        """See `Painter.paint`."""
        changed = [at for at, one in enumerate(asked) if any(one.size)]
        made: dict[int, tuple[Picture, float]] = {}
        for rows in (changed[first : first + FRAMES] for first in range(0, len(changed), FRAMES)):
            made.update(zip(rows, self._launched([asked[at] for at in rows]), strict=True))
        return [made[at] if at in made else (one.actor.frames[one.index], one.crisp) for at, one in enumerate(asked)]

    def _launched(self, asked: Sequence[Asked]) -> Iterator[tuple[Picture, float]]:
        places = self.shelf.place(asked)
        gaps = [gap_of(one.lips, one.unit, one.size) if one.missing > 0 else None for one in asked]
        tick = _Tick()
        sessions = {
            "warp": np.zeros(len(asked), warp.DESCRIPTOR), "sharpen": np.zeros(len(asked), sharpen.DESCRIPTOR),
            "interior": np.zeros(sum(gap is not None for gap in gaps), interior.DESCRIPTOR),
            "composite": np.zeros(len(asked), composite.DESCRIPTOR),
        }  # fmt: skip
        drawn = iter(sessions["interior"])
        for row, (one, place, gap) in enumerate(zip(asked, places, gaps, strict=True)):
            patch = tick.scratch.take(16 * one.size[0] * one.size[1])
            self._describe_warp(tick, sessions["warp"][row], one, place, patch)
            self._describe_sharpen(tick, sessions["sharpen"][row], one, patch)
            if gap is not None:
                _describe_interior(tick, next(drawn), one, gap, patch)
            self._describe_composite(tick, sessions["composite"][row], one, place, patch)
        addresses = self._settled(tick, sessions)
        for operator, rows in sessions.items():
            self.device.run(operator, rows, addresses[operator])
        self.device.get(self._made.address, self._out[: tick.made.size])
        self.device.wait()
        return self._read(sessions, asked)

    def _describe_warp(self, tick: _Tick, row: np.void, one: Asked, place: Place, patch: int) -> None:
        row["pictures"], row["sources"], row["values"] = place.pictures, place.sources, self._values.address
        row["which"], row["weights"] = tick.give(one.chosen.astype(np.int32)), tick.give(one.weights)
        row["target"], row["triangles"] = tick.give(one.target), tick.give(one.triangles)
        row["stored"], row["height_in"], row["width_in"] = one.actor.references.pictures.shape[:3]
        row["count"], row["vertices"], row["faces"] = len(one.chosen), len(one.target), len(one.triangles)
        row["channels"], row["height"], row["width"] = self._mesh.values.shape[1], *one.size
        row["gain"], row["out"] = 1, patch
        warp.cells(row)
        _take(tick, row, warp, ("edges", "bins", "field"))

    def _describe_sharpen(self, tick: _Tick, row: np.void, one: Asked, patch: int) -> None:
        row["h"], row["w"] = one.size
        row["top"], row["bottom"], row["left"], row["right"] = one.mouth
        row["wanted"], row["before"], row["quick"] = self._config.crisp * one.sharpness, one.crisp, self._config.quick
        sharpen.blur(row, self._config.softness(one.unit))
        row["patch"], row["amount"] = patch, tick.made.take(4)
        _take(tick, row, sharpen, ("across", "soft", "sums"))

    def _describe_composite(self, tick: _Tick, row: np.void, one: Asked, place: Place, patch: int) -> None:
        row["frame"], row["out"], row["patch"] = place.frame, tick.made.take(frame_bytes(one.actor)), patch
        row["width"], row["height"] = one.actor.size
        row["x"], row["y"], row["h"], row["w"] = *one.corner, *one.size
        row["height_in"], row["width_in"] = one.size
        row["inverse"], row["gain"], row["strength"] = (1, 0, 0, 0, 1, 0), 1, one.shown
        composite.field(row, self._config.shade * one.unit)
        _take(tick, row, composite, ("small", "spread"))

    def _settled(self, tick: _Tick, sessions: Sessions) -> dict[str, int]:
        """Everything at its address, and copied; the addresses of the descriptors."""
        at = {operator: tick.give(rows) for operator, rows in sessions.items()}
        for block, wanted, names in (
            (self._given, tick.given, _GIVEN),
            (self._scratch, tick.scratch, _SCRATCH),
            (self._made, tick.made, _MADE),
        ):
            base = block.grown(wanted.size)
            for operator, own in names.items():
                for name in own:
                    sessions[operator][name] += np.uint64(base)
        self._in, self._out = (
            memory if len(memory) >= block.size else self.device.staging(block.size)
            for memory, block in ((self._in, self._given), (self._out, self._made))
        )
        for place, array in tick.arrays:
            self._in[place : place + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.device.put(self._in[: tick.given.size], self._given.address)
        return {operator: self._given.address + place for operator, place in at.items()}

    def _read(self, sessions: Sessions, asked: Sequence[Asked]) -> Iterator[tuple[Picture, float]]:
        """Copies: the memory is the next tick's."""
        base = np.uint64(self._made.address)
        for one, crisp, made in zip(asked, sessions["sharpen"]["amount"] - base, sessions["composite"]["out"] - base, strict=True):
            picture: Bytes = self._out[int(made) : int(made) + frame_bytes(one.actor)]
            amount = self._out[int(crisp) : int(crisp) + 4].view(np.float32)
            yield picture.reshape(one.actor.size[1] * 3 // 2, one.actor.size[0]).copy(), float(amount[0])


def _take(tick: _Tick, row: np.void, about: Any, names: Sequence[str]) -> None:
    """Places in scratch for arrays of a session that has its sizes."""
    extents = about.extents(np.array([row]))
    for name in names:
        row[name] = tick.scratch.take(int(extents[name][0]))


def _describe_interior(tick: _Tick, row: np.void, one: Asked, gap: Gap, patch: int) -> None:
    row["h"], row["w"] = one.size
    row["x"], row["y"], row["rows"], row["columns"] = *gap.corner, *gap.inside.shape
    row["above"], row["share"] = gap.above, one.missing
    interior.soften(row, one.unit)
    row["inside"], row["upper"], row["lower"] = tick.give(interior.packed(gap.inside)), tick.give(gap.upper), tick.give(gap.lower)
    row["patch"], row["skin"] = patch, tick.scratch.take(16)


class _Places:
    """Places in a block of memory, one after the other, each aligned to 16 bytes: what a tick needs of it."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, size: int) -> int:
        at = self.size
        self.size += -(-size // 16) * 16
        return at


class _Tick:
    """What a tick needs: places in what goes in, in scratch and in what comes out; and the arrays that go in."""

    def __init__(self) -> None:
        self.given, self.scratch, self.made = _Places(), _Places(), _Places()
        self.arrays: list[tuple[int, NDArray[np.generic]]] = []

    def give(self, array: NDArray[np.generic]) -> int:
        at = self.given.take(array.nbytes)
        self.arrays.append((at, array))
        return at


class _Block:
    """Memory that every tick uses anew; it grows where a tick needs more."""

    def __init__(self, device: Device) -> None:
        self._device, self._room = device, Room(0, 0)

    @property
    def size(self) -> int:
        return self._room.size

    @property
    def address(self) -> int:
        return self._room.address

    def grown(self, size: int) -> int:
        """Its address, once it has so many bytes."""
        if size > self._room.size:
            if self._room.size:
                self._device.leave(self._room)
            self._room = self._device.room(size + size // 4)  # a quarter more: patches breathe with the head
        return self._room.address

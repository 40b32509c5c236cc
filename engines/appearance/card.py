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
from engines.appearance.shelf import FRAMES, Place, Shelf, frame_bytes
from engines.backends import card_trouble
from engines.errors import CardFull
from engines.spec import Picture
from native.composite import cuda as composite
from native.cuda.device import Bytes, CardError, Device
from native.cuda.launch import Room
from native.interior import cuda as interior
from native.sharpen import cuda as sharpen
from native.warp import cuda as warp

_SHARE = 0.6  # of the memory that was free, for actors
_GIVEN = {"warp": ("which", "weights", "target", "triangles", "values"), "interior": ("profile",)}
_SCRATCH = {
    "warp": ("edges", "bins", "field", "out"), "sharpen": ("patch", "across", "soft", "sums"), "interior": ("patch",),
    "composite": ("patch", "small", "spread"),
}  # fmt: skip
_MADE = {"sharpen": ("amount",), "composite": ("out",)}
Rows = NDArray[np.void]
Sizes = NDArray[np.int64]


class CardPainter:
    """Implements `engines.appearance.engine.Painter` on a device. `limit`: bytes for actors; 0.6 of what is free if not given.

    Actors that have no room together take turns, in every tick; CardFull is raised where one has none alone. Of one thread, which
    the device was opened in.
    """

    def __init__(self, device: Device, config: WarpConfig | None = None, limit: int | None = None) -> None:
        self.device, self._config = device, config or WarpConfig()
        self.shelf = Shelf(device, int(device.free * _SHARE) if limit is None else limit)
        self._given, self._scratch, self._made = _Block(device), _Block(device), _Block(device)
        self._in, self._out = device.staging(1), device.staging(1)

    @property
    def working(self) -> int:
        """Bytes that are held beside the actors."""
        return self._given.size + self._scratch.size + self._made.size

    @card_trouble(CardError)
    def paint(self, asked: Sequence[Asked], *, plain: bool = False) -> list[tuple[Picture, float]]:
        """See `Painter.paint`."""
        changed = [at for at, one in enumerate(asked) if any(one.size)]
        made: dict[int, tuple[Picture, float]] = {}
        for rows in (changed[first : first + FRAMES] for first in range(0, len(changed), FRAMES)):
            made.update(self._painted(asked, rows))
        return [made[at] if at in made else (one.actor.frames[one.index], one.crisp) for at, one in enumerate(asked)]

    def _painted(self, asked: Sequence[Asked], rows: Sequence[int]) -> dict[int, tuple[Picture, float]]:
        """Pictures of some rows; where their actors have no room together, one half of the actors after the other."""
        try:
            return dict(zip(rows, self._launched([asked[at] for at in rows]), strict=True))
        except CardFull:
            actors = list(dict.fromkeys(id(asked[at].actor) for at in rows))
            if len(actors) == 1:
                raise
            first = set(actors[: len(actors) // 2])
            halves = ([at for at in rows if (id(asked[at].actor) in first) == chosen] for chosen in (True, False))
            return {at: made for half in halves for at, made in self._painted(asked, half).items()}

    def _launched(self, asked: Sequence[Asked]) -> Iterator[tuple[Picture, float]]:
        places = self.shelf.place(asked)
        tick = _Tick()
        sizes = np.array([one.size for one in asked], np.int64)
        patches = tick.scratch.spread(16 * sizes.prod(1))
        sessions = {
            "warp": self._warps(tick, asked, places, sizes, patches), "sharpen": self._sharpens(tick, asked, sizes, patches),
            "interior": _interiors(tick, asked, patches), "composite": self._composites(tick, asked, places, sizes, patches),
        }  # fmt: skip
        field, blurred = ("edges", "bins", "field"), ("across", "soft", "sums")  # when one is blurred, the other has been read
        _scratch(tick, (sessions["warp"], warp, field), (sessions["sharpen"], sharpen, blurred))
        addresses = self._settled(tick, sessions)
        for operator, rows in sessions.items():
            self.device.run(operator, rows, addresses[operator])
        self.device.get(self._made.address, self._out[: tick.made.size])
        self.device.wait()
        self.shelf.arrived()
        return self._read(sessions, asked)

    def _warps(self, tick: _Tick, asked: Sequence[Asked], places: Sequence[Place], sizes: Sizes, patches: Sizes) -> Rows:
        rows = np.zeros(len(asked), warp.DESCRIPTOR)
        rows["pictures"], rows["sources"] = [place.pictures for place in places], [place.sources for place in places]
        rows["vertices"], rows["channels"] = asked[0].values.shape
        rows["which"] = tick.give_all([one.chosen.astype(np.int32) for one in asked])
        rows["weights"], rows["target"] = tick.give_all([one.weights for one in asked]), tick.give_all([one.target for one in asked])
        rows["triangles"], rows["values"] = tick.give_all([one.triangles for one in asked]), tick.give_all([one.values for one in asked])
        stored = np.array([one.actor.references.pictures.shape[:3] for one in asked])
        rows["stored"], rows["height_in"], rows["width_in"] = stored.T
        rows["count"], rows["faces"] = [len(one.chosen) for one in asked], [len(one.triangles) for one in asked]
        rows["height"], rows["width"], rows["gain"], rows["out"] = *sizes.T, 1, patches
        warp.cells(rows)
        return rows

    def _sharpens(self, tick: _Tick, asked: Sequence[Asked], sizes: Sizes, patches: Sizes) -> Rows:
        rows, config = np.zeros(len(asked), sharpen.DESCRIPTOR), self._config
        rows["h"], rows["w"] = sizes.T
        rows["top"], rows["bottom"], rows["left"], rows["right"] = np.array([one.mouth for one in asked]).T
        rows["wanted"], rows["before"] = [config.crisp * one.sharpness for one in asked], [one.crisp for one in asked]
        rows["quick"], rows["patch"] = config.quick, patches
        sharpen.blur(rows, np.array([config.softness(one.unit) for one in asked]))
        rows["amount"] = tick.made.spread(np.full(len(asked), 4))
        return rows

    def _composites(self, tick: _Tick, asked: Sequence[Asked], places: Sequence[Place], sizes: Sizes, patches: Sizes) -> Rows:
        rows = np.zeros(len(asked), composite.DESCRIPTOR)
        rows["frame"], rows["patch"] = [place.frame for place in places], patches
        rows["out"] = tick.made.spread(np.array([frame_bytes(one.actor) for one in asked]))
        rows["width"], rows["height"] = np.array([one.actor.size for one in asked]).T
        rows["x"], rows["y"] = np.array([one.corner for one in asked]).T
        rows["h"], rows["w"] = rows["height_in"], rows["width_in"] = sizes.T
        rows["inverse"], rows["gain"], rows["strength"] = (1, 0, 0, 0, 1, 0), 1, [one.shown for one in asked]
        composite.field(rows, np.array([self._config.shade * one.unit for one in asked]))
        _scratch(tick, (rows, composite, ("small", "spread")))
        return rows

    def _settled(self, tick: _Tick, sessions: dict[str, Rows]) -> dict[str, int]:
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

    def _read(self, sessions: dict[str, Rows], asked: Sequence[Asked]) -> Iterator[tuple[Picture, float]]:
        """Copies: the memory is the next tick's."""
        base = np.uint64(self._made.address)
        for one, crisp, made in zip(asked, sessions["sharpen"]["amount"] - base, sessions["composite"]["out"] - base, strict=True):
            picture: Bytes = self._out[int(made) : int(made) + frame_bytes(one.actor)]
            amount = self._out[int(crisp) : int(crisp) + 4].view(np.float32)
            yield picture.reshape(one.actor.size[1] * 3 // 2, one.actor.size[0]).copy(), float(amount[0])


def _scratch(tick: _Tick, *users: tuple[Rows, Any, tuple[str, ...]]) -> None:
    """Places in scratch for arrays of sessions: of several operators, one after the other, the same."""
    nowhere = np.zeros(len(users[0][0]), np.int64)
    at = tick.scratch.spread(np.max([_laid(*user, nowhere) for user in users], 0))
    for user in users:
        _laid(*user, at)


def _laid(rows: Rows, about: Any, names: tuple[str, ...], at: Sizes) -> Sizes:
    """Arrays of sessions laid one after the other from `at` (B,) on; where they end."""
    extents = about.extents(rows)
    for name in names:
        rows[name] = at
        at = at + _even(extents[name])
    return at


def _interiors(tick: _Tick, asked: Sequence[Asked], patches: Sizes) -> Rows:
    """Of those few mouths whose inside is to be drawn."""
    drawn = [(at, one, inside) for at, one in enumerate(asked) if (inside := one.inside) is not None]
    rows = np.zeros(len(drawn), interior.DESCRIPTOR)
    for row, (at, one, inside) in zip(rows, drawn, strict=True):
        row["h"], row["w"] = one.size
        row["x"], row["y"], row["rows"], row["columns"] = *inside.corner, *inside.size
        row["samples"], row["place"], row["light"] = inside.profile.shape[1], inside.place, one.light
        row["unit"], row["soft"], row["share"] = one.unit, inside.soft, one.drawn
        row["patch"], row["profile"] = patches[at], tick.give(inside.profile)
    return rows


def _even(sizes: Sizes) -> Sizes:
    return -(-sizes // 16) * 16


class _Places:
    """Places in a block of memory, one after the other, each aligned to 16 bytes: what a tick needs of it."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, size: int) -> int:
        at = self.size
        self.size += -(-size // 16) * 16
        return at

    def spread(self, sizes: Sizes) -> Sizes:
        """Places for several, (B,) each."""
        ends = self.size + np.cumsum(_even(sizes))
        starts = np.concatenate([[self.size], ends[:-1]])
        self.size = int(ends[-1])
        return starts


class _Tick:
    """What a tick needs: places in what goes in, in scratch and in what comes out; and the arrays that go in."""

    def __init__(self) -> None:
        self.given, self.scratch, self.made = _Places(), _Places(), _Places()
        self.arrays: list[tuple[int, NDArray[np.generic]]] = []

    def give(self, array: NDArray[np.generic]) -> int:
        at = self.given.take(array.nbytes)
        self.arrays.append((at, array))
        return at

    def give_all(self, arrays: Sequence[NDArray[np.generic]]) -> Sizes:
        """Arrays of one type, one after the other."""
        sizes = np.array([array.nbytes for array in arrays])
        return self.give(np.concatenate(arrays)) + np.cumsum(sizes) - sizes


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
            self._room = self._device.room(size + size // 16)  # a little more: patches breathe with the head
        return self._room.address

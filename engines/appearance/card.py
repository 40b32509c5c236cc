"""The pixels made on a card, for all conversations of a tick at once: one small copy in, one copy out.

Actors' frames and references stay there (`shelf`). What is decided before pixels are touched comes from the engine (`Asked`).
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.actor import Actor
from engines.appearance.config import WarpConfig
from engines.appearance.engine import Asked
from engines.appearance.shelf import FRAMES, Place, Shelf, frame_bytes
from engines.backends import card_trouble
from engines.errors import CardFull
from engines.spec import Float, Picture
from native.composite import cuda as composite
from native.cuda.device import Bytes, CardError, Device
from native.cuda.launch import Room
from native.interior import cuda as interior
from native.sharpen import cuda as sharpen
from native.warp import cuda as warp

_SHARE = 0.6  # of the memory that was free, for actors
_FRESH = 8  # frames that came too late to be on the card, which are copied before they are waited for
_LENT = 8  # ticks whose pictures may be kept
_GIVEN = {"warp": ("which", "weights", "target", "triangles", "values"), "interior": ("profile",)}
_SCRATCH = {
    "warp": ("edges", "bins", "field", "colours", "mask"), "sharpen": ("colours", "across", "soft", "sums"), "interior": ("colours",),
    "composite": ("colours", "mask", "small", "spread"),
}  # fmt: skip
_MADE = {"sharpen": ("amount",), "composite": ("out",)}
Rows = NDArray[np.void]
Sizes = NDArray[np.int64]


class CardPainter:
    """Implements `engines.appearance.engine.Painter` on a device. `limit`: bytes for actors; 0.6 of what is free if not given.

    More than 64 pictures are made in several launches, of which the card has one ahead. Actors that have no room together take turns, in
    every tick; CardFull is raised where one has none alone. Of one thread, which the device was opened in; but for `hold`.
    """

    def __init__(self, device: Device, config: WarpConfig | None = None, limit: int | None = None) -> None:
        self.device, self._config = device, config or WarpConfig()
        self.shelf = Shelf(device, int(device.free * _SHARE) if limit is None else limit)
        self._given, self._scratch, self._made = _Block(device), _Block(device), _Block(device)
        self._flights = deque([_Flight(device), _Flight(device)])
        self._lent = Lent(device)

    @property
    def working(self) -> int:
        """Bytes that are held beside the actors."""
        return self._given.size + self._scratch.size + self._made.size

    @card_trouble(CardError)
    def hold(self, actor: Actor, sources: Float) -> None:
        """See `Painter.hold`."""
        self.shelf.hold(actor, sources)

    @card_trouble(CardError)
    def paint(self, asked: Sequence[Asked], *, plain: bool = False) -> list[tuple[Picture, float]]:
        """See `Painter.paint`."""
        changed = [at for at, one in enumerate(asked) if any(one.size)]
        todo = deque(changed[first : first + FRAMES] for first in range(0, len(changed), FRAMES))
        made: dict[int, tuple[Picture, float]] = {}
        flying: deque[tuple[_Flight, list[int]]] = deque()
        while todo or flying:
            if todo and len(flying) < len(self._flights):
                rows = todo.popleft()
                try:
                    flying.append((self._launched([asked[at] for at in rows]), rows))
                except CardFull:  # one half of the actors after the other
                    actors = list(dict.fromkeys(id(asked[at].actor) for at in rows))
                    if len(actors) == 1:
                        self.device.wait()
                        raise
                    first = set(actors[: len(actors) // 2])
                    todo.extendleft([at for at in rows if (id(asked[at].actor) in first) == chosen] for chosen in (False, True))
            else:
                flight, rows = flying.popleft()
                made.update(zip(rows, flight.landed(), strict=True))
        return [made[at] if at in made else (self.shelf.frame(one.actor, one.index), one.crisp) for at, one in enumerate(asked)]

    def _launched(self, asked: Sequence[Asked]) -> _Flight:
        flight = self._flights[0]
        places = self.shelf.place(asked, flight.send)
        self._flights.rotate()
        tick = _Tick()
        sizes = np.array([one.size for one in asked], np.int64)
        patches = np.stack([tick.scratch.spread(4 * sizes.prod(1)) for _ in range(2)])  # colours, masks
        sessions = {
            "warp": self._warps(tick, asked, places, sizes, patches), "sharpen": self._sharpens(tick, asked, sizes, patches[0]),
            "interior": _interiors(tick, asked, patches[0]), "composite": self._composites(tick, asked, places, sizes, patches),
        }  # fmt: skip
        field, blurred = ("edges", "bins", "field"), ("across", "soft", "sums")  # when one is blurred, the other has been read
        _scratch(tick, (sessions["warp"], warp, field), (sessions["sharpen"], sharpen, blurred))
        crisp, pictures = sessions["sharpen"]["amount"].tolist(), sessions["composite"]["out"].tolist()
        addresses = self._settled(tick, flight, sessions)
        for operator, rows in sessions.items():
            self.device.run(operator, rows, addresses[operator])
        flight.take_off(self._made.address, self._lent.take(tick.made.size), [one.actor.size for one in asked], pictures, crisp)
        return flight

    def _warps(self, tick: _Tick, asked: Sequence[Asked], places: Sequence[Place], sizes: Sizes, patches: Sizes) -> Rows:
        rows = np.zeros(len(asked), warp.DESCRIPTOR)
        rows["pictures"] = [place.pictures for place in places]
        rows["sources"] = [place.sources + int(one.meets > 0) * one.sources[0].nbytes for one, place in zip(asked, places, strict=True)]
        rows["vertices"], rows["channels"] = asked[0].values.shape
        rows["which"] = tick.give_all([one.chosen.astype(np.int32) for one in asked])
        rows["weights"], rows["target"] = tick.give_all([one.weights for one in asked]), tick.give_all([one.target for one in asked])
        rows["triangles"], rows["values"] = tick.give_all([one.triangles for one in asked]), tick.give_all([one.values for one in asked])
        stored = np.array([one.actor.references.pictures.shape[:3] for one in asked])
        rows["stored"], rows["height_in"], rows["width_in"] = stored.T
        rows["count"], rows["faces"] = [len(one.chosen) for one in asked], [len(one.triangles) for one in asked]
        rows["height"], rows["width"], (rows["colours"], rows["mask"]) = *sizes.T, patches
        warp.cells(rows)
        return rows

    def _sharpens(self, tick: _Tick, asked: Sequence[Asked], sizes: Sizes, patches: Sizes) -> Rows:
        rows, config = np.zeros(len(asked), sharpen.DESCRIPTOR), self._config
        rows["h"], rows["w"] = sizes.T
        rows["top"], rows["bottom"], rows["left"], rows["right"] = np.array([one.mouth for one in asked]).T
        rows["wanted"], rows["before"] = [config.crisp * one.sharpness for one in asked], [one.crisp for one in asked]
        rows["quick"], rows["colours"] = config.quick, patches
        sharpen.blur(rows, np.array([config.softness(one.unit) for one in asked]))
        rows["amount"] = tick.made.spread(np.full(len(asked), 4))
        return rows

    def _composites(self, tick: _Tick, asked: Sequence[Asked], places: Sequence[Place], sizes: Sizes, patches: Sizes) -> Rows:
        rows = np.zeros(len(asked), composite.DESCRIPTOR)
        rows["frame"], (rows["colours"], rows["mask"]) = [place.frame for place in places], patches
        rows["grey"] = [place.grey for place in places]
        rows["out"] = tick.made.spread(np.array([frame_bytes(one.actor) for one in asked]))
        rows["width"], rows["height"] = np.array([one.actor.size for one in asked]).T
        rows["x"], rows["y"] = np.array([one.corner for one in asked]).T
        rows["h"], rows["w"] = sizes.T
        rows["strength"] = [one.shown for one in asked]
        composite.field(rows, np.array([self._config.shade * one.unit for one in asked]))
        _scratch(tick, (rows, composite, ("small", "spread")))
        return rows

    def _settled(self, tick: _Tick, flight: _Flight, sessions: dict[str, Rows]) -> dict[str, int]:
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
        flight.give(tick.arrays, tick.given.size, self._given)
        return {operator: self._given.address + place for operator, place in at.items()}


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
        row["colours"], row["profile"] = patches[at], tick.give(inside.profile)
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


class _Flight:
    """A launch on its way: memory of this machine that goes with it, until it has landed."""

    def __init__(self, device: Device) -> None:
        self._device, self._in, self._fresh = device, device.staging(1), device.staging(1)
        self._used, self._mark = 0, None
        self._out: Bytes = np.empty(0, np.uint8)
        self._sizes: Sequence[tuple[int, int]] = ()
        self._pictures: Sequence[int] = ()
        self._crisp: Sequence[int] = ()

    def send(self, data: Bytes, address: int) -> None:
        """Copy data, of about one size each time, to the card; it may change at once."""
        if self._used + len(data) > len(self._fresh):
            self._device.wait()
            self._used = 0
            if len(self._fresh) < _FRESH * len(data):
                self._fresh = self._device.staging(_FRESH * len(data))
        there = self._fresh[self._used : self._used + len(data)]
        there[:] = data
        self._device.put(there, address)
        self._used += len(data)

    def give(self, arrays: Sequence[tuple[int, NDArray[np.generic]]], size: int, block: _Block) -> None:
        """Copy arrays to their places in a block, of which so many bytes are used."""
        if len(self._in) < size:
            self._device.wait()
            self._in = self._device.staging(block.size)
        for place, array in arrays:
            self._in[place : place + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._device.put(self._in[:size], block.address)

    def take_off(self, made: int, out: Bytes, sizes: Sequence[tuple[int, int]], pictures: Sequence[int], crisp: Sequence[int]) -> None:
        """All is asked for: what is made at an address goes into `out`; where in it are pictures of a size (width, height), and amounts."""
        self._device.get(made, out)
        self._mark = self._device.mark(self._mark)
        self._out, self._sizes, self._pictures, self._crisp = out, sizes, pictures, crisp

    def landed(self) -> Iterator[tuple[Picture, float]]:
        """Wait for it; what was made."""
        self._device.wait(self._mark)
        self._used, out = 0, self._out
        self._out = np.empty(0, np.uint8)
        for (width, height), at, crisp in zip(self._sizes, self._pictures, self._crisp, strict=True):
            picture = out[at : at + width * height * 3 // 2].reshape(height * 3 // 2, width)
            yield picture, float(out[crisp : crisp + 4].view(np.float32)[0])


class Lent:
    """Memory that copies are quick into, for pictures that others are handed: it is used again when nobody has them any more."""

    def __init__(self, device: Device) -> None:
        self._device, self._out = device, 0
        self._back: deque[Bytes] = deque()  # in whichever thread that is

    def take(self, size: int) -> Bytes:
        """So many bytes. Who keeps more than a few ticks' pictures is given ordinary memory."""
        known = None
        while self._back and known is None:
            known = self._back.popleft()
            self._out -= 1
            known = known if len(known) >= size else None
        if known is None:
            if self._out >= _LENT:
                return np.empty(size, np.uint8)
            known = self._device.staging(size + size // 16)
        self._out += 1
        lent: Bytes = np.frombuffer(known.data, np.uint8)  # which all views of it keep
        weakref.finalize(lent, self._back.append, known).atexit = False
        return lent[:size]


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

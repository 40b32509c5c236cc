"""What a card holds of actors: their references, and their frames as they were shown. Bounded: who was not shown for longest leaves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engines.actor import Actor
from engines.appearance.engine import Asked
from engines.errors import CardFull
from native.cuda.device import Device
from native.cuda.launch import Room

FRAMES = 64
"""Of one actor that must have room at once: as many as are shown in a launch."""


@dataclass(frozen=True)
class Place:
    """Where on the card what a picture is made from lies: addresses."""

    pictures: int
    sources: int
    frame: int


@dataclass(frozen=True)
class _Held:
    actor: Actor  # while it is held, its id is not another's
    room: Room
    pictures: int
    sources: int
    frames: int
    count: int
    """Frames that there is room for."""
    slots: OrderedDict[int, int] = field(default_factory=OrderedDict)
    """The frames that are there, the least recently shown first, and where."""


class Shelf:
    """Holds actors on a device, in at most `limit` bytes."""

    def __init__(self, device: Device, limit: int) -> None:
        self._device, self._limit = device, limit
        self._held: OrderedDict[int, _Held] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes that are held now."""
        return sum(held.room.size for held in self._held.values())

    @property
    def actors(self) -> int:
        """That are held now."""
        return len(self._held)

    def place(self, asked: Sequence[Asked]) -> list[Place]:
        """Have on the card what these pictures, at most `FRAMES`, are made from. Raises CardFull where it has no room for them together."""
        busy = {id(one.actor) for one in asked}
        places = []
        for one in asked:
            held = self._held.get(id(one.actor)) or self._admit(one, busy)
            self._held.move_to_end(id(one.actor))
            places.append(Place(held.pictures, held.sources, held.frames + self._slot(held, one.index) * frame_bytes(one.actor)))
        return places

    def _admit(self, asked: Asked, busy: Collection[int]) -> _Held:
        actor = asked.actor
        parts = [_even(size) for size in reference_bytes(asked)]
        frame, frames = frame_bytes(actor), len(actor.poses)
        for other in [other for other in self._held if other not in busy]:
            if self.used + sum(parts) + frames * frame <= self._limit:
                break
            self._device.leave(self._held.pop(other).room)
        count = min(frames, (self._limit - self.used - sum(parts)) // frame)
        if count < min(frames, FRAMES):
            needed = sum(parts) + min(frames, FRAMES) * frame
            raise CardFull(
                f"The card has no room for actor {actor.name}: it needs {_mib(needed)}, {_mib(self.used)} of {_mib(self._limit)} are used.",
                "Let fewer actors talk at once, or enrol smaller pictures.",
            )
        room = self._device.room(sum(parts) + count * frame)
        pictures, sources = room.address, room.address + parts[0]
        held = self._held[id(actor)] = _Held(actor, room, pictures, sources, sources + parts[1], count)
        four = np.zeros((*actor.references.pictures.shape[:3], 4), np.float16)
        four[..., :3] = actor.references.pictures
        self._device.put(four.reshape(-1).view(np.uint8), pictures)
        self._device.put(np.ascontiguousarray(asked.sources, np.float32).reshape(-1).view(np.uint8), sources)
        return held

    def _slot(self, held: _Held, index: int) -> int:
        if index not in held.slots:
            at = len(held.slots) if len(held.slots) < held.count else held.slots.popitem(last=False)[1]
            frame: NDArray[np.uint8] = np.ascontiguousarray(held.actor.frames[index]).reshape(-1)
            self._device.put(frame, held.frames + at * frame_bytes(held.actor))
            held.slots[index] = at
        held.slots.move_to_end(index)
        return held.slots[index]


def frame_bytes(actor: Actor) -> int:
    """Of one of its frames (I420)."""
    return actor.size[0] * actor.size[1] * 3 // 2


def reference_bytes(asked: Asked) -> tuple[int, int]:
    """Of an actor's references, four halves a pixel, and of where the mesh lies in them."""
    return int(np.prod(asked.actor.references.pictures.shape[:3])) * 8, asked.sources.size * 4


def _even(size: int) -> int:
    return -(-size // 16) * 16


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"

"""What a card holds of actors: their references, and their frames as they were shown.

Bounded: who was not shown for longest leaves; and who is not in this machine's memory any more, at once.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

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
    room: Room
    pictures: int
    sources: int
    frames: int
    count: int
    """Frames that there is room for."""
    slots: OrderedDict[int, int]
    """The frames that are there, the least recently shown first, and where."""
    end: weakref.finalize[..., Actor]
    """Says when the actor is in nobody's memory any more: its id may then be another's."""


class Shelf:
    """Holds actors on a device, in at most `limit` bytes."""

    def __init__(self, device: Device, limit: int) -> None:
        self._device, self._limit = device, limit
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._gone: deque[int] = deque()  # actors whose memory is to be given back: they may go in any thread
        self._sent: list[NDArray[np.uint8]] = []

    @property
    def used(self) -> int:
        """Bytes that are held now."""
        return sum(held.room.size for held in self._held.values())

    @property
    def actors(self) -> int:
        """That are held now."""
        return len(self._held)

    def place(self, asked: Sequence[Asked]) -> list[Place]:
        """Have on the card what these pictures, at most `FRAMES`, are made from: once the device is waited for (then say `arrived`).

        Raises CardFull where it has no room for them together.
        """
        while self._gone:
            if (held := self._held.pop(self._gone.popleft(), None)) is not None:
                self._device.leave(held.room)
        busy = {id(one.actor) for one in asked}
        places = []
        for one in asked:
            held = self._held.get(id(one.actor)) or self._admit(one, busy)
            self._held.move_to_end(id(one.actor))
            places.append(Place(held.pictures, held.sources, held.frames + self._slot(held, one) * frame_bytes(one.actor)))
        return places

    def arrived(self) -> None:
        """All that was copied is on the card: what it was copied from need not stay."""
        self._sent.clear()

    def _admit(self, asked: Asked, busy: Collection[int]) -> _Held:
        actor = asked.actor
        parts = [_even(size) for size in reference_bytes(asked)]
        frame, frames = frame_bytes(actor), len(actor.poses)
        for other in [other for other in self._held if other not in busy]:
            if self.used + sum(parts) + frames * frame <= self._limit:
                break
            left = self._held.pop(other)
            left.end.detach()
            self._device.leave(left.room)
        count = min(frames, (self._limit - self.used - sum(parts)) // frame)
        if count < min(frames, FRAMES):
            needed = sum(parts) + min(frames, FRAMES) * frame
            raise CardFull(
                f"The card has no room for actor {actor.name}: it needs {_mib(needed)}, {_mib(self.used)} of {_mib(self._limit)} are used.",
                "Let fewer actors talk at once, or enrol smaller pictures.",
            )
        room = self._device.room(sum(parts) + count * frame)
        pictures, sources = room.address, room.address + parts[0]
        end = weakref.finalize(actor, self._gone.append, id(actor))
        end.atexit = False
        held = self._held[id(actor)] = _Held(room, pictures, sources, sources + parts[1], count, OrderedDict(), end)
        four = np.zeros((*actor.references.pictures.shape[:3], 4), np.float16)
        four[..., :3] = actor.references.pictures
        self._send(four, pictures)
        self._send(np.ascontiguousarray(asked.sources, np.float32), sources)
        return held

    def _slot(self, held: _Held, asked: Asked) -> int:
        index = asked.index
        if index not in held.slots:
            at = len(held.slots) if len(held.slots) < held.count else held.slots.popitem(last=False)[1]
            self._send(np.ascontiguousarray(asked.actor.frames[index]), held.frames + at * frame_bytes(asked.actor))
            held.slots[index] = at
        held.slots.move_to_end(index)
        return held.slots[index]

    def _send(self, array: NDArray[np.generic], address: int) -> None:
        data: NDArray[np.uint8] = array.reshape(-1).view(np.uint8)
        self._sent.append(data)
        self._device.put(data, address)


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

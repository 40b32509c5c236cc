"""What a card holds of actors: their references, and their frames.

References and the first frames of an actor come before its first picture, in the thread that loads it (`hold`), beside the ticks of others;
its other frames when they are first shown. Bounded: who was not shown for longest leaves; and who is not in
this machine's memory any more, at once.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engines import face
from engines.actor import Actor
from engines.appearance.engine import Asked
from engines.appearance.grey import colourless
from engines.errors import CardFull
from engines.frames import GROUP, Picture
from engines.spec import Float
from native.cuda.device import Bytes, Device
from native.cuda.launch import Room

FRAMES = 64
"""Of one actor that must have room at once: as many as are shown in a launch."""
_CHUNK = 4 << 20  # bytes of this machine that copies quickly, through which an actor goes to the card
_FIRST = 64  # frames of an actor that are copied before they are shown
Send = Callable[[Bytes, int], None]
"""Copies data to an address of the card, and does not need it any more when it returns."""


@dataclass(frozen=True)
class Place:
    """Where on the card what a picture is made from lies: addresses."""

    pictures: int
    sources: int
    frame: int
    grey: bool
    """Whether what is made of the frame keeps its tint."""


@dataclass(frozen=True)
class _Slot:
    """A frame that is on the card."""

    at: int
    grey: bool


@dataclass(frozen=True)
class _Held:
    room: Room
    pictures: int
    sources: int
    frames: int
    count: int
    """Frames that there is room for."""
    slots: OrderedDict[int, _Slot]
    """The frames that are there, the least recently shown first."""
    free: deque[int]
    """Places for others."""
    end: weakref.finalize[..., Actor]
    """Says when the actor is in nobody's memory any more: its id may then be another's."""


class Shelf:
    """Holds actors on a device, in at most `limit` bytes. `hold` and `frame` may be called in any thread."""

    def __init__(self, device: Device, limit: int) -> None:
        self._device, self._limit = device, limit
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._gone: deque[int] = deque()  # actors whose memory is to be given back: they may go in any thread
        self._changing, self._copying, self._reading = threading.RLock(), threading.Lock(), threading.Lock()
        self._coming = 0  # bytes of an actor that another thread copies just now
        self._chunks: dict[int, Bytes] = {}  # of this device, and of the one beside it

    @property
    def used(self) -> int:
        """Bytes that are held now."""
        return self._coming + sum(held.room.size for held in self._held.values())

    @property
    def actors(self) -> int:
        """That are held now."""
        return len(self._held)

    def hold(self, actor: Actor, sources: Float) -> None:
        """Have an actor's references and first frames on the card before its first picture: they are there when this returns.

        Where it has no room without another's leaving, nothing is done: ticks see to it. sources: see `Asked`.
        """
        frame, frames = frame_bytes(actor), len(actor.poses)
        size = sum(_even(part) for part in reference_bytes(actor, sources)) + frames * frame
        with self._changing:
            if id(actor) in self._held or self.used + size > self._limit:
                return
            self._coming += size
        try:
            with self._copying:
                aside = self._device.beside()
                held = self._filled(aside, actor, sources, frames)
        finally:
            with self._changing:
                self._coming -= size
        with self._changing:
            if id(actor) in self._held:  # a tick was quicker
                held.end.detach()
                aside.leave(held.room)
                return
            self._held[id(actor)] = held
        for first in range(0, min(_FIRST, frames), GROUP):
            self._fill(held, actor, range(first, min(first + GROUP, frames)))

    def frame(self, actor: Actor, index: int) -> Picture:
        """A frame of an actor, on this machine."""
        with self._reading:  # one thread at a time
            return actor.frames[index]

    def place(self, asked: Sequence[Asked], send: Send) -> list[Place]:
        """Have on the card what these pictures, at most `FRAMES`, are made from; frames that are not there are sent.

        Raises CardFull where it has no room for them together.
        """
        with self._changing:
            while self._gone:
                if (held := self._held.pop(self._gone.popleft(), None)) is not None:
                    self._device.leave(held.room)
            busy = {id(one.actor) for one in asked}
            places = []
            for one in asked:
                held = self._held.get(id(one.actor)) or self._admit(one, busy)
                self._held.move_to_end(id(one.actor))
                slot = self._slot(held, one, send)
                places.append(Place(held.pictures, held.sources, held.frames + slot.at * frame_bytes(one.actor), slot.grey))
            return places

    def _admit(self, asked: Asked, busy: Collection[int]) -> _Held:
        actor = asked.actor
        parts = [_even(size) for size in reference_bytes(actor, asked.sources)]
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
        held = self._held[id(actor)] = self._filled(self._device, actor, asked.sources, count)
        return held

    def _filled(self, device: Device, actor: Actor, sources: Float, count: int) -> _Held:
        """Room for an actor and so many frames, with its references in it."""
        parts = [_even(size) for size in reference_bytes(actor, sources)]
        room = device.room(sum(parts) + count * frame_bytes(actor))
        pictures, at = room.address, room.address + parts[0]
        end = weakref.finalize(actor, self._gone.append, id(actor))
        end.atexit = False
        four = np.zeros((*actor.references.pictures.shape[1:3], 4), np.uint8)
        size = four.nbytes

        def references() -> Iterator[tuple[Bytes, int]]:
            for k, picture in enumerate(actor.references.pictures):
                four[..., :3] = picture
                yield four.reshape(-1), pictures + k * size
            yield np.ascontiguousarray(sources, np.float32).reshape(-1).view(np.uint8), at

        self._send(device, references())
        return _Held(room, pictures, at, at + parts[1], count, OrderedDict(), deque(range(count)), end)

    def _send(self, device: Device, parts: Iterator[tuple[Bytes, int]]) -> None:
        """Copy parts to addresses, through memory from which copies are quick; they are there when it returns."""
        if id(device) not in self._chunks:
            self._chunks[id(device)] = device.staging(_CHUNK)
        chunk, used = self._chunks[id(device)], 0
        for data, address in parts:
            for first in range(0, len(data), len(chunk)):
                part = data[first : first + len(chunk)]
                if used + len(part) > len(chunk):
                    device.wait()
                    used = 0
                chunk[used : used + len(part)] = part
                device.put(chunk[used : used + len(part)], address + first)
                used += len(part)
        device.wait()

    def _slot(self, held: _Held, asked: Asked, send: Send) -> _Slot:
        index = asked.index
        if index not in held.slots:
            at = held.free.popleft() if held.free else held.slots.popitem(last=False)[1].at
            frame = self.frame(asked.actor, index)
            send(np.ascontiguousarray(frame).reshape(-1), held.frames + at * frame_bytes(asked.actor))
            held.slots[index] = _Slot(at, _grey(asked.actor, index, frame))
        held.slots.move_to_end(index)
        return held.slots[index]

    def _fill(self, held: _Held, actor: Actor, wanted: range) -> None:
        """Frames, before they are shown."""
        frames = {index: self.frame(actor, index) for index in wanted}
        with self._changing:
            places = {index: held.free.popleft() for index in wanted if index not in held.slots}
        size = frame_bytes(actor)
        with self._copying:
            parts = ((np.ascontiguousarray(frames[index]).reshape(-1), held.frames + at * size) for index, at in places.items())
            self._send(self._device.beside(), parts)
        slots = {index: _Slot(at, _grey(actor, index, frames[index])) for index, at in places.items()}
        with self._changing:
            for index, slot in slots.items():
                if index in held.slots:  # a tick was quicker
                    held.free.append(slot.at)
                else:
                    held.slots[index] = slot


def frame_bytes(actor: Actor) -> int:
    """Of one of its frames (I420)."""
    return actor.size[0] * actor.size[1] * 3 // 2


def reference_bytes(actor: Actor, sources: Float) -> tuple[int, int]:
    """Of an actor's references, four bytes a pixel, and of where the mesh lies in them."""
    return int(np.prod(actor.references.pictures.shape[:3])) * 4, sources.size * 4


def _grey(actor: Actor, index: int, frame: Picture) -> bool:
    """Whether a frame has no colour around its mouth."""
    points = face.from_head(actor.neutral[face.MOTION], actor.poses[index])[:, :2]
    low, high = (np.clip(np.floor(edge / 2) * 2, 0, actor.size).astype(int) for edge in (points.min(0), points.max(0)))
    (x, y), (wide, tall) = low.tolist(), (high - low).tolist()
    return min(wide, tall) >= 2 and colourless(frame, (x, y), (tall, wide))


def _even(size: int) -> int:
    return -(-size // 16) * 16


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"

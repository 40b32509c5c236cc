"""The inference process: one pipeline, its actors and conversations. No asyncio here: `realtime.engine` is its client.

Messages go over a pipe as bytes, never pickled: a letter, then JSON, or a fixed struct for speech and pictures.
Pictures go through shared memory: a ring of slots for each conversation, each with its sequence number.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import struct
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.actor import Actor
from engines.errors import BackendFault, Fault
from engines.motion.manner import Manner, from_words
from engines.spec import TICK, Float, Picture
from native.planes import planes
from realtime.clock import Clock, WallClock
from realtime.load import SHARE, Overload, careful
from realtime.mark import Mark
from realtime.timeline import TICK_S

log = logging.getLogger(__name__)

NAME = "mytalk-engine"
SLOTS = 8
"""Pictures in a ring: more than may ever wait in the engine (`pacer.AHEAD`)."""
WARM = 5
"""Ticks with pictures that are made before the process says that it is ready."""
KEPT = 4
"""Actors that stay loaded although nobody talks."""
BATCHES = (1, 2, 4)
"""So many conversations at once are measured at the start on a CPU, where each costs what the first did."""
ON_CARD = (1, 4, 16, 64, 128, 256, 512)
"""The same on a card, where many cost little more than one; those beyond the first that do not fit into a tick are left out."""
MEASURED = 12
"""Ticks of each that are measured; the fastest counts: what the machine can, not what else it had to do just then."""
AT_ONCE = 16
"""Messages beyond two for each conversation that are taken between two steps, when something waits for a step."""
LOUD = 0.02
"""A tick of speech whose loudest sample is below is taken for silence."""
REPORT = 25
"""Steps between two reports of what they cost."""
SPEECH = struct.Struct("<cIQ")
PICTURE = struct.Struct("<cIQ?")
_HEADER = 64  # bytes before each slot; the first 8 are the sequence number + 1 of the picture that the slot holds
_STEPPING = slice(8, 16)  # bytes of the first slot's header: whether the conversation is in a step


class LivePipeline(Protocol):
    """What the worker needs of `engines.pipeline.Pipeline`, and what a fake has to do."""

    @property
    def look_ahead(self) -> int:
        """Ticks between hearing speech and having its picture."""
        ...

    @property
    def backend(self) -> str:
        """What makes the pictures: "cpu", "cuda", "tensorrt"."""
        ...

    def start(self, actor: Any, seed: int = 0, first: int = 0) -> Any:
        """A new conversation."""
        ...

    def interrupt(self, conversation: Any) -> Any:
        """The conversation after its speech was broken off."""
        ...

    def speak_as(self, conversation: Any, manner: Manner | None, strength: float = 1.0) -> Any:
        """The conversation, going on in another manner."""
        ...

    def step(
        self, conversations: Sequence[Any], speech: Float, unseen: Collection[int] = (), *, plain: bool = False
    ) -> tuple[list[Any], list[Picture | None]]:
        """One tick of each."""
        ...


class Actors(Protocol):
    """What the server and the worker need of `engines.actor.Store`."""

    def names(self) -> list[str]:
        """All actors."""
        ...

    def held(self) -> list[str]:
        """Those whose files are on this machine."""
        ...

    def preview(self, name: str) -> Path | None:
        """A picture of an actor, as a file; None where it has none."""
        ...

    @property
    def stage(self) -> Actors:
        """Where an actor is put together before it is published."""
        ...

    def publish(self, name: str) -> None:
        """An actor in `stage` is to be found from now on."""
        ...

    def changed(self) -> list[str]:
        """Actors that others removed or replaced since it was last asked."""
        ...

    def folder(self, name: str) -> Path:
        """Where an actor of this name lies or would lie."""
        ...

    def find(self, name: str) -> Path:
        """The folder of an actor."""
        ...

    def about(self, name: str) -> dict[str, int | float | str]:
        """What people are told of an actor."""
        ...

    def add(self, actor: Actor, preview: bytes = b"") -> Path:
        """Save a new actor."""
        ...

    def remove(self, name: str) -> None:
        """Remove an actor."""
        ...

    def load(self, name: str) -> Actor:
        """Load an actor."""
        ...


class Ring:
    """Slots for pictures of one size in shared memory; one writes, one reads, without locks."""

    def __init__(self, width: int, height: int, name: str | None = None) -> None:
        self.shape = (height * 3 // 2, width)
        stride = _HEADER + (self.shape[0] * self.shape[1] + 63) // 64 * 64
        self._memory = SharedMemory(name, create=name is None, size=stride * SLOTS)
        self.name = self._memory.name
        self._slots: NDArray[np.uint8] = np.ndarray((SLOTS, stride), np.uint8, self._memory.buf)

    def write(self, sequence: int, picture: Picture, label: Mark | None = None) -> None:
        """Put a picture into its slot, with a label upon it if there is one."""
        slot = self._slots[sequence % SLOTS]
        mark = slot[:8].view(np.uint64)
        mark[0] = 0
        shown = slot[_HEADER : _HEADER + picture.size].reshape(self.shape)
        shown[:] = picture
        if label:
            label.onto(shown)
        mark[0] = sequence + 1

    def read(self, sequence: int) -> Picture | None:
        """A copy of a picture, or None if its slot holds another by now."""
        slot = self._slots[sequence % SLOTS]
        mark = slot[:8].view(np.uint64)
        if mark[0] != sequence + 1:
            return None
        picture = slot[_HEADER : _HEADER + self.shape[0] * self.shape[1]].reshape(self.shape).copy()
        return picture if mark[0] == sequence + 1 else None

    @property
    def stepping(self) -> bool:
        """Whether its conversation is in a step: if the process has ended, in the one that ended it."""
        return bool(self._slots[0][_STEPPING].view(np.uint64)[0])

    @stepping.setter
    def stepping(self, so: bool) -> None:
        self._slots[0][_STEPPING].view(np.uint64)[0] = so

    def forget(self) -> None:
        """Remove the name; the memory goes when both sides have closed."""
        self._memory.unlink()

    def close(self) -> None:
        """Let go of the memory."""
        del self._slots
        self._memory.close()


@dataclass
class _Talk:
    """One conversation in the worker."""

    state: Any
    ring: Ring
    speech: deque[tuple[int, Float]] = field(default_factory=deque)
    alone_until: float = 0.0
    """Until then it has steps of its own: it was in one that was fatal."""
    pixels: int = 0
    """Of a picture of its actor."""
    label: Mark | None = None
    """What is laid upon its pictures."""
    loud: int = 0
    """Ticks in a row in which it heard speech: pictures of silence may cost nothing."""


class _Worker:
    def __init__(self, pipe: Connection, pipeline: LivePipeline, store: Actors, clock: Clock, largest: int | None, label: str) -> None:
        self._pipe, self._pipeline, self._store, self._clock = pipe, pipeline, store, clock
        self._largest, self._label = largest, label
        self._talks: dict[int, _Talk] = {}
        self._actors: OrderedDict[str, Actor] = OrderedDict()
        self._sending = threading.Lock()
        self._loaded: deque[tuple[int, str, float, Actor, Any]] = deque()
        self._orders: deque[tuple[int, str, float]] = deque()
        self._ordered = threading.Semaphore(0)
        self._overload = Overload()
        self._measuring: tuple[int, tuple[int, int], Generator[None, None, float]] | None = None
        self._took: list[tuple[int, float, bool]] = []  # of the steps since the last report: conversations, seconds, whether whole
        self._pixels = 0  # of the actor that was measured
        self._careful = 1  # up to so many conversations have pictures that are not plain

    def warm(self, name: str, *, measure: bool) -> dict[int, float]:
        """Talk to nobody for a few ticks: what is slow the first time is done before anyone waits for it.

        Returns the seconds that a tick of so many conversations takes, where that is to be measured: up to those that take all of it.
        Their pictures are plain: that is what the machine can. How many can be had with more care is found out beside it.
        """
        costs: dict[int, float] = {}
        measured, batches = (MEASURED, BATCHES if self._pipeline.backend == "cpu" else ON_CARD) if measure else (0, (1,))
        try:
            actor = self._actors[name] = self._store.load(name)
            self._pixels = actor.size[0] * actor.size[1]
            if isinstance(actor, Actor):
                actor = replace(actor, resting=None)  # a mouth at rest may be the frame's own, which costs nothing: all are made here
            noise = np.random.default_rng(0).normal(0, 0.1, (max(batches), TICK)).astype(np.float32)
            self._careful = careful(self._timed(actor, noise[:1], measured, plain=False))
            for count in batches:
                least = self._timed(actor, noise[:count], measured, plain=True)
                if measured:
                    costs[count] = least
                    if least > SHARE * TICK_S:
                        break
        except BackendFault:
            raise
        except Fault as fault:  # who asks for this actor will hear it
            log.warning("%s", fault)
        return costs

    def _measure(self, count: int) -> None:
        """Nobody talks: measure again what a tick of so many conversations takes. At the start the machine may have been busy."""
        if self._talks or self._orders or not self._actors:
            return
        actor: Any = next(reversed(self._actors.values()))
        if isinstance(actor, Actor):
            actor = replace(actor, resting=None)
        noise = np.random.default_rng(0).normal(0, 0.1, (count, TICK)).astype(np.float32)
        self._measuring = count, actor.size, self._timing(actor, noise, MEASURED, plain=True)

    def _measure_on(self, count: int, size: tuple[int, int], timing: Generator[None, None, float]) -> None:
        """One step of that, unless somebody comes."""
        if self._talks or self._orders:
            self._measuring = None
            return
        try:
            next(timing)
        except StopIteration as end:
            self._measuring = None
            self._say("measured", count=count, seconds=end.value, size=size)
        except (BrokenPipeError, ConnectionResetError, BackendFault):
            raise
        except Exception:  # who talks to this actor will hear it
            log.exception("ticks cannot be measured")
            self._measuring = None

    def _timed(self, actor: Any, noise: Float, measured: int, *, plain: bool) -> float:
        """The least seconds of a tick of conversations that hear noise (B, 640), of the last ticks of a few."""
        timing = self._timing(actor, noise, measured, plain=plain)
        while True:
            try:
                next(timing)
            except StopIteration as end:
                return float(end.value)

    def _timing(self, actor: Any, noise: Float, measured: int, *, plain: bool) -> Generator[None, None, float]:
        """The same, step by step."""
        talks, took = [self._pipeline.start(actor, seed) for seed in range(len(noise))], []
        for _ in range(self._pipeline.look_ahead + WARM + measured):
            began = self._clock.now()
            talks, _ = self._pipeline.step(talks, noise, plain=plain)
            took.append(self._clock.now() - began)
            yield
        return min(took[-(measured or WARM) :])

    def run(self, costs: dict[int, float]) -> None:
        """Until the other side of the pipe closes."""
        threading.Thread(target=self._load, daemon=True, name="actors").start()
        size = next(iter(self._actors.values())).size if self._actors else (0, 0)
        self._say("ready", look_ahead=self._pipeline.look_ahead, backend=self._pipeline.backend, costs=costs, size=size)
        taken = 0  # messages since the last step
        while True:
            waiting = any(talk.speech for talk in self._talks.values())
            full = waiting and taken >= AT_ONCE + 2 * len(self._talks)
            if not full and self._pipe.poll(0 if waiting or self._measuring else 0.02 if self._orders else None):
                self._take(self._pipe.recv_bytes())
                taken += 1
            elif waiting:
                self._step()
                taken = 0
            elif self._measuring:
                self._measure_on(*self._measuring)
            while self._loaded:
                self._open(*self._loaded.popleft())

    def _take(self, message: bytes) -> None:
        if message[:1] == b"S":
            _, session, sequence = SPEECH.unpack_from(message)
            if talk := self._talks.get(session):
                talk.speech.append((sequence, np.frombuffer(message, np.float32, TICK, SPEECH.size)))
            return
        order = json.loads(message[1:])
        session = order["session"]
        if order["what"] == "open":
            self._orders.append((session, order["actor"], self._clock.now() + order["alone"]))
            self._ordered.release()
        elif order["what"] == "ping":
            self._say("pong", number=session)
        elif order["what"] == "measure":
            self._measure(order["count"])
        elif order["what"] == "forget":
            self._actors.pop(order["actor"], None)
        elif order["what"] == "interrupt":
            if talk := self._talks.get(session):
                talk.state = self._pipeline.interrupt(talk.state)
                talk.speech = deque((sequence, np.zeros_like(old)) for sequence, old in talk.speech)
        elif order["what"] == "manner":
            if talk := self._talks.get(session):
                manner = None if order["manner"] is None else from_words(order["manner"])
                talk.state = self._pipeline.speak_as(talk.state, manner, order["strength"])
        elif talk := self._talks.pop(session, None):
            talk.ring.close()

    def _load(self) -> None:
        """Load actors beside the ticks of others, so that opening one stalls nobody."""
        while True:
            self._ordered.acquire()
            session, name, alone_until = self._orders[0]
            try:
                actor = self._actors.get(name)
                if actor is None:
                    actor = self._store.load(name)
                    actor.frames[0]
                self._loaded.append((session, name, alone_until, actor, self._pipeline.start(actor, seed=session)))
            except Fault as fault:
                self._say("refused", session=session, code=fault.code, message=fault.message, hint=fault.hint)
            except Exception:
                log.exception("actor %s cannot be loaded", name)
                self._say(
                    "refused",
                    session=session,
                    code="engine",
                    message=f"Actor {name!r} cannot be loaded.",
                    hint="See the server's log.",
                )
            self._orders.popleft()

    def _open(self, session: int, name: str, alone_until: float, actor: Actor, state: Any) -> None:
        self._actors[name] = actor
        self._actors.move_to_end(name)
        while len(self._actors) > KEPT:  # those in use live on in their conversations
            self._actors.popitem(last=False)
        width, height = shown_size(actor.size, self._largest)
        ring = Ring(width, height)
        label = Mark(self._label, (width, height)) if self._label else None
        self._talks[session] = _Talk(state, ring, alone_until=alone_until, pixels=actor.size[0] * actor.size[1], label=label)
        self._say("opened", session=session, ring=ring.name, width=width, height=height)

    def _step(self) -> None:
        """One tick of every conversation that has speech waiting."""
        due = [session for session, talk in self._talks.items() if talk.speech]
        self._overload.step(max(len(self._talks[session].speech) for session in due))
        now = self._clock.now()
        alone = [session for session in due if now < self._talks[session].alone_until]
        for group in ([session for session in due if session not in alone], *([session] for session in alone)):
            if group:
                self._step_together(group)

    def _step_together(self, due: list[int]) -> None:
        heard = [self._talks[session].speech.popleft() for session in due]
        try:
            self._answer(due, heard)
        except (BrokenPipeError, ConnectionResetError, BackendFault):  # the server has gone, or the card
            raise
        except Exception:  # the worker's border: whose conversation it was shows one by one
            log.exception("a tick of %d conversations failed", len(due))
            for session, speech in zip(due, heard, strict=True):
                self._step_alone(session, speech)

    def _step_alone(self, session: int, heard: tuple[int, Float]) -> None:
        """One tick of a conversation; if it fails, the conversation ends, the others go on."""
        try:
            self._answer([session], [heard])
        except (BrokenPipeError, ConnectionResetError, BackendFault):
            raise
        except Fault as fault:
            self._drop(session, fault)
        except Exception:
            log.exception("conversation %d ends", session)
            self._drop(session, Fault("This actor's pictures cannot be made.", "See the server's log."))

    def _drop(self, session: int, fault: Fault) -> None:
        self._talks.pop(session).ring.close()
        self._say("refused", session=session, code=fault.code, message=fault.message, hint=fault.hint)

    def _answer(self, due: Sequence[int], heard: Sequence[tuple[int, Float]]) -> None:
        talks = [self._talks[session] for session in due]
        speech = np.stack([samples for _, samples in heard])
        unseen = self._overload.unseen([(session, sequence) for session, (sequence, _) in zip(due, heard, strict=True)])
        plain = len(self._talks) > self._careful or self._overload.every > 1
        for talk, samples in zip(talks, speech, strict=True):
            talk.loud = talk.loud + 1 if float(np.abs(samples).max()) > LOUD else 0
        # no less was done than when it was measured
        whole = not unseen and all(talk.loud > self._pipeline.look_ahead and talk.pixels >= self._pixels for talk in talks)
        began = self._clock.now()
        for talk in talks:
            talk.ring.stepping = True
        try:
            states, pictures = self._pipeline.step([talk.state for talk in talks], speech, unseen, plain=plain)
        finally:
            for talk in talks:
                talk.ring.stepping = False
        self._took.append((len(due), self._clock.now() - began, whole))
        for session, talk, (sequence, _), state, picture in zip(due, talks, heard, states, pictures, strict=True):
            talk.state = state
            if picture is not None:
                talk.ring.write(sequence, scaled(picture, talk.ring.shape), talk.label)
            with self._sending:
                self._pipe.send_bytes(PICTURE.pack(b"P", session, sequence, picture is not None))
        if len(self._took) >= REPORT:
            self._say("load", steps=self._took, every=self._overload.every)
            self._took = []

    def _say(self, what: str, **rest: Any) -> None:
        with self._sending:
            self._pipe.send_bytes(b"J" + json.dumps({"what": what, **rest}).encode())


def shown_size(size: tuple[int, int], largest: int | None) -> tuple[int, int]:
    """Width and height (even) of the live pictures of an actor of this size, if no side is to be longer than `largest` pixels."""
    if largest is None or max(size) <= largest:
        return size
    by = largest / max(size)
    return max(2, round(size[0] * by / 2) * 2), max(2, round(size[1] * by / 2) * 2)


def scaled(picture: Picture, shape: tuple[int, int]) -> Picture:
    """A picture (I420) as one of another shape (H * 3 / 2, W)."""
    if picture.shape == shape:
        return picture
    height, width = shape[0] * 2 // 3, shape[1]
    sizes = ((width, height), (width // 2, height // 2), (width // 2, height // 2))
    parts = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA).reshape(-1) for plane, size in zip(planes(picture), sizes, strict=True)]
    return np.concatenate(parts).astype(np.uint8, copy=False).reshape(shape)


def main(
    pipe: Connection,
    factory: Callable[[], LivePipeline],
    store: Actors,
    actor: str,
    measure: bool = True,
    largest: int | None = None,
    label: str = "",
) -> None:
    """The inference process. `actor` is who will probably be asked for first; `measure` whether it says what ticks cost; `largest` the most
    pixels of a side of its pictures; `label` what is laid upon them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's; this side ends with the pipe
    with contextlib.suppress(OSError):  # what lists of processes call it, where they read that here
        Path("/proc/self/comm").write_text(NAME)
    try:
        worker = _Worker(pipe, factory(), store, WallClock(), largest, label)
        with contextlib.suppress(EOFError, OSError):  # the server has gone
            worker.run(worker.warm(actor, measure=measure))
    except BackendFault as fault:  # a card that is full or lost: another process tries it anew
        log.error("the engine ends: %s", fault)

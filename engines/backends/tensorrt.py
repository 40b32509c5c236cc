"""The backend `tensorrt`: plans on a card. Memory is taken when a plan is loaded; a run is one copy in, one CUDA graph, one copy out."""

from __future__ import annotations

import hashlib
import logging
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.backends import Net, card_trouble, found
from engines.backends.half import read_inputs, read_metadata
from engines.backends.plans import RANGES, Builder, builder, listener, plan
from engines.errors import BackendFault
from native.copy import cuda as copy
from native.copy.reference import UNIT
from native.cuda.device import Card as Opened
from native.cuda.device import CardError, asked
from native.kept import keep, kept

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Sizes that are captured: a batch is filled up to the next."""
_ALIGNED = 256  # bytes: what TensorRT wants of the addresses of inputs and outputs
_CHUNK = 16  # rings for which memory is taken together

log = logging.getLogger(__name__)


class Room(Protocol):
    """Memory of a card."""

    @property
    def address(self) -> int:
        """Where it begins, aligned to 256 bytes."""
        ...


class Card(Protocol):
    """The card that is current, and a stream of it: memory, copies and kernels in the order in which they are asked for.

    Whoever makes the pictures has one (`native.cuda.device.Card`): nets and kernels share it.
    """

    stream: int
    """A cudaStream_t; not 0, which cannot be captured."""

    def room(self, size: int) -> Any:
        """Memory on the card: a `Room`."""
        ...

    def leave(self, room: Any) -> None:
        """Give it back."""
        ...

    def staging(self, size: int) -> Bytes:
        """Memory of this machine that copies are quick from and to."""
        ...

    def put(self, data: Bytes, address: int) -> None:
        """Copy to the card; the data must stay as it is until `wait`."""
        ...

    def get(self, address: int, data: Bytes) -> None:
        """Copy from the card; whole after `wait`."""
        ...

    def run(self, operator: str, sessions: NDArray[np.void], address: int) -> None:
        """Launch an operator's kernels over sessions whose descriptors lie at an address too."""
        ...

    def wait(self) -> None:
        """Until all of it is done."""
        ...


@dataclass(frozen=True)
class Spot:
    """Where an input or output lies in its block, for one size of batch."""

    at: int
    kind: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def row(self) -> int:
        """Bytes of one conversation's."""
        return int(np.prod(self.shape[1:])) * self.kind.itemsize

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.at + self.shape[0] * self.row

    def of(self, block: Bytes) -> NDArray[Any]:
        """It as an array, in a block of this machine."""
        return block[self.at : self.end].view(self.kind).reshape(self.shape)


@dataclass(frozen=True)
class Bucket:
    """A size of batch that is captured."""

    size: int
    given: dict[str, Spot]
    made: dict[str, Spot]
    context: Any
    """Each has its own, as a captured graph goes on using its memory."""
    graph: Any
    """Its work, captured; None where it cannot be: then it is enqueued anew each time."""
    behind: Any
    """What the context was made with, and must not outlive: it goes after it."""


class Ring:
    """What a conversation remembers, on the card. Never changed; when nobody has it any more, its place is another's."""

    def __init__(self, address: int) -> None:
        self.address = address


class TensorRTNet(Net):
    """A plan on a card.

    Inputs lie one after the other in one block of the card's memory, and so do outputs, for each size of batch in its own order:
    what a batch is given or makes lies together.
    """

    @card_trouble(CardError)
    def __init__(
        self, plan: bytes, net: bytes, by: Builder, card: Card, batches: Sequence[int] = BATCHES, compiled: Path | None = None
    ) -> None:
        """`net` is the ONNX file that the plan was made of. `compiled`: a file for what TensorRT-RTX's compiler makes for this very card.

        Raises BackendFault where the plan, or the card, will not do.
        """
        from cuda.bindings import driver

        if not card.stream:
            raise ValueError("the default stream cannot be captured: make one")
        self.metadata = read_metadata(net)
        self._driver, self._card, self._batches, self._by = driver, card, tuple(batches), by
        self._said = listener(by.module)  # must outlive what speaks to it
        self._runtime = by.module.Runtime(self._said)
        self._engine = self._must("load", self._runtime.deserialize_cuda_engine, plan)
        self._inputs = read_inputs(net)
        names = [self._engine.get_tensor_name(at) for at in range(self._engine.num_io_tensors)]
        self._outputs = [name for name in names if name not in self._inputs]
        if {*names} != {*self._inputs, *self._outputs}:
            raise BackendFault(
                f"{by.title} has made a plan without {', '.join({*self._inputs} - {*names})}.", "Build it anew: mytalk build"
            )
        most = batches[-1]
        self._orders = _even(3 * most * copy.DESCRIPTOR.itemsize)  # bytes at the head of what goes in: where rings are copied
        self._in = card.staging(self._orders + self._size(self._inputs, most))
        self._out = card.staging(self._size(self._outputs, most))
        self._given, self._made = card.room(len(self._in)), card.room(len(self._out))
        self._in[:] = 0
        card.put(self._in, self._given.address)
        self._chunks: list[Any] = []
        self._free: deque[int] = deque()
        self._compiled = self._cache(compiled) if by.rtx else None
        self._buckets = {size: self._bucket(size) for size in self._batches}
        if self._compiled is not None and compiled is not None:
            made = bytes(self._must("keep what was compiled for", self._compiled.serialize))
            if made != kept(compiled):
                keep(compiled, made)

    @card_trouble(CardError)
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Net.run`. Any number of conversations: in parts, where they are too many for one."""
        count, most = len(next(iter(inputs.values()))), self._batches[-1]
        parts = []
        for at in range(0, count, most):
            given = {name: array[at : at + most] for name, array in inputs.items()}
            bucket = self._launched(given, self._orders)
            parts.append(self._read(bucket, min(most, count - at)))
        return _joined(parts)

    @card_trouble(CardError)
    def remember(
        self, inputs: Mapping[str, Array], rings: Sequence[Any], names: Sequence[str], ticks: Sequence[int]
    ) -> tuple[dict[str, Array], list[Any]]:
        """See `Net.remember`: rings stay on the card."""
        if self._inputs != (*inputs, *names):
            raise ValueError(f"the net's inputs are {', '.join(self._inputs)}: of these the last are the rings")
        made, after, most = [], [], self._batches[-1]
        for at in range(0, len(rings), most):
            given = {name: array[at : at + most] for name, array in inputs.items()}
            outputs, rest = self._remember(given, rings[at : at + most], names, ticks[at : at + most])
            made.append(outputs)
            after += rest
        return _joined(made), after

    def close(self) -> None:
        """Give back what was taken on the card."""
        for bucket in self._buckets.values():
            if bucket.graph is not None:
                asked(self._driver, self._driver.cuGraphExecDestroy(bucket.graph))
        self._buckets = {}  # with their contexts, before what these were made with
        self._compiled = None
        for room in (self._given, self._made, *self._chunks):
            self._card.leave(room)
        self._chunks = []
        self._free.clear()

    def _remember(
        self, inputs: Mapping[str, Array], rings: Sequence[Any], names: Sequence[str], ticks: Sequence[int]
    ) -> tuple[dict[str, Array], list[Any]]:
        """The rings are copied to where the net reads them, and to where they are to lie from now on; there, what is new is laid over."""
        count = len(rings)
        bucket = self._buckets[_next(count, self._batches)]
        first, last, new = bucket.given[names[0]], bucket.given[names[-1]], bucket.made["new"]
        _, heads, tokens, width = first.shape
        piece = new.shape[3] * width * first.kind.itemsize  # of a head, that is new
        fresh: list[Bytes] = []  # must stay until they are on the card
        before = [ring if isinstance(ring, Ring) else self._uploaded(ring, first.kind, fresh) for ring in rings]
        after = [self._ring(len(names) * first.row) for _ in rings]
        orders = np.zeros((3, count), copy.DESCRIPTOR)
        read, moved, laid = orders
        orders["source"][:2], orders["target"][1] = [ring.address for ring in before], [ring.address for ring in after]
        read["target"] = self._given.address + first.at + first.row * np.arange(count)
        apart = (last.at - first.at) // max(len(names) - 1, 1)
        read["lines"], read["length"], read["from_step"], read["to_step"] = len(names), *_units(first.row, first.row, apart)
        moved["lines"], moved["length"] = 1, *_units(len(names) * first.row)
        laid["source"] = self._made.address + new.at + new.row * np.arange(count)
        at = np.array(ticks, np.int64) * new.shape[3] % tokens
        laid["target"] = moved["target"] + (at * width * first.kind.itemsize).astype(np.uint64)
        laid["lines"], laid["length"], laid["from_step"], laid["to_step"] = (
            len(names) * heads, *_units(piece, piece, tokens * width * first.kind.itemsize),
        )  # fmt: skip
        self._in[: orders.nbytes] = orders.reshape(-1).view(np.uint8)
        self._launched(inputs, 0, orders[:2].reshape(-1))
        self._card.run("copy", laid, self._given.address + orders[:2].nbytes)
        return self._read(bucket, count), after

    def _launched(self, inputs: Mapping[str, Array], begin: int, orders: NDArray[np.void] | None = None) -> Bucket:
        """The inputs copied, from byte `begin` of the block on; rings too, where they are ordered; and the net enqueued."""
        count = len(next(iter(inputs.values())))
        bucket = self._buckets[_next(count, self._batches)]
        for name, array in inputs.items():
            there = bucket.given[name].of(self._in)
            there[:count], there[count:] = array, 0
        self._card.put(self._in[begin : max(bucket.given[name].end for name in inputs)], self._given.address + begin)
        if orders is not None:
            self._card.run("copy", orders, self._given.address)
        if bucket.graph is None:
            self._enqueue(bucket.context)
        else:
            asked(self._driver, self._driver.cuGraphLaunch(bucket.graph, self._card.stream))
        return bucket

    def _read(self, bucket: Bucket, count: int) -> dict[str, Array]:
        self._card.get(self._made.address, self._out[: max(spot.end for spot in bucket.made.values())])
        self._card.wait()
        return {name: spot.of(self._out)[:count].astype(np.float32) for name, spot in bucket.made.items()}

    def _uploaded(self, ring: Array, kind: np.dtype[Any], fresh: list[Bytes]) -> Ring:
        """A ring of this machine on the card."""
        data = np.ascontiguousarray(ring, kind).reshape(-1).view(np.uint8)
        fresh.append(data)
        there = self._ring(data.nbytes)
        self._card.put(data, there.address)
        return there

    def _ring(self, size: int) -> Ring:
        """A place for a ring."""
        if not self._free:
            room = self._card.room(_CHUNK * _even(size))
            self._chunks.append(room)
            self._free.extend(room.address + at * _even(size) for at in range(_CHUNK))
        ring = Ring(self._free.popleft())
        weakref.finalize(ring, self._free.append, ring.address).atexit = False
        return ring

    def _bucket(self, size: int) -> Bucket:
        given, made = self._spots(self._inputs, size, self._orders), self._spots(self._outputs, size, 0)
        context, behind = self._context(size)
        for spots, room, inputs in ((given, self._given, True), (made, self._made, False)):
            for name, spot in spots.items():
                if inputs:
                    self._must("prepare", context.set_input_shape, name, spot.shape)
                self._must("prepare", context.set_tensor_address, name, room.address + spot.at)
        return Bucket(size, given, made, context, self._capture(context, size), behind)

    def _spots(self, names: Sequence[str], size: int, at: int) -> dict[str, Spot]:
        """One after the other, from byte `at` on."""
        spots = {}
        for name in names:
            kind = np.dtype(self._by.module.nptype(self._engine.get_tensor_dtype(name)))
            spots[name] = spot = Spot(at, kind, (size, *tuple(self._engine.get_tensor_shape(name))[1:]))
            at = _even(spot.end)
        return spots

    def _size(self, names: Sequence[str], size: int) -> int:
        return max(spot.end for spot in self._spots(names, size, 0).values())

    def _cache(self, compiled: Path | None) -> Any:
        """What TensorRT-RTX's compiler has made and makes, for all contexts together."""
        cache = self._must("prepare", self._must("prepare", self._engine.create_runtime_config).create_runtime_cache)
        known = None if compiled is None else kept(compiled)
        if known is not None and not cache.deserialize(known):
            log.info("what was compiled for %s is of another driver or card: it is compiled anew", self._by.architecture)
        return cache

    def _context(self, size: int) -> tuple[Any, Any]:
        """What runs a batch of this size, and what it is made with."""
        options = None
        if self._by.rtx:  # it would else compile while it runs
            options = self._must("prepare", self._engine.create_runtime_config)
            options.dynamic_shapes_kernel_specialization_strategy = self._by.module.DynamicShapesKernelSpecializationStrategy.EAGER
            self._must("prepare", options.set_runtime_cache, self._compiled)
        context = self._must("prepare", self._engine.create_execution_context, *(() if options is None else (options,)))
        profile = next(at for at, (least, _, most) in enumerate(RANGES) if least <= size <= most)
        self._must("prepare", context.set_optimization_profile_async, profile, self._card.stream)
        return context, (options, self._compiled)

    def _capture(self, context: Any, size: int) -> Any:
        """Its work as a graph; None where it cannot be captured. It runs once before: what the first run makes must not be part of it."""
        stream, mode = self._card.stream, self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._enqueue(context)
        self._card.wait()
        try:
            if self._by.rtx and not context.is_stream_capturable(stream):
                raise CardError("its work may not be captured")
            asked(self._driver, self._driver.cuStreamBeginCapture(stream, mode))
            try:
                self._enqueue(context)
            finally:
                ended = self._driver.cuStreamEndCapture(stream)
            graph = asked(self._driver, ended)
            ready = asked(self._driver, self._driver.cuGraphInstantiate(graph, 0))
        except (CardError, BackendFault) as error:  # a card that is lost is so at the next wait, too
            log.warning("a batch of %d is not captured, which costs some time in each tick: %s", size, error)
            self._card.wait()
            return None
        asked(self._driver, self._driver.cuGraphDestroy(graph))
        return ready

    def _enqueue(self, context: Any) -> None:
        self._must("run", context.execute_async_v3, self._card.stream)

    def _must(self, what: str, call: Callable[..., Any], *given: Any) -> Any:
        """What the library answers. Raises BackendFault, with what it says this time, where it answers with nothing, or no."""
        self._said.errors.clear()
        answer = call(*given)
        if answer is None or answer is False:
            why = self._said.errors[0].strip() if self._said.errors else "without a word"
            raise BackendFault(
                f"{self._by.title} cannot {what} its plan: {why}.", f"Build it anew: mytalk build --arch {self._by.architecture}"
            )
        return answer


def on_card() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the engines are given so that they work on the first card: nets, and who makes the pixels, on one stream.

    Plans that are not there yet are built. Raises BackendFault where no card can be used, or nothing builds plans for it.
    """
    from engines.appearance.card import CardPainter
    from engines.backends.ahead import nets
    from engines.motion.config import EARS, LIPS

    try:
        card = Opened(None)
    except CardError as error:
        raise BackendFault(f"The backend tensorrt cannot be had: {error}", "Say --backend cpu.") from error
    with card_trouble(CardError):
        card.prepare()
    by = builder(card.architecture, [found.Card(card.name, card.architecture, card.free)])
    made = {}
    for name, net in nets():
        ready = plan(name, net, by)
        if ready.built:
            log.info("%s was built for %s", ready.place, by.card or by.architecture)
        own = hashlib.sha256(card.name.encode()).hexdigest()[:8]
        made[name] = TensorRTNet(ready.data, net, by, card, BATCHES, ready.place.with_suffix(f".{own}.compiled"))
    return {"ears": made[EARS], "lips": made[LIPS]}, {"painter": CardPainter(card)}


def _next(batch: int, batches: Sequence[int]) -> int:
    """The size to which a batch is filled up."""
    return next(size for size in batches if size >= batch)


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _even(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _units(*sizes: int) -> list[int]:
    """Sizes in bytes as `copy` counts them. Raises ValueError where one is no multiple."""
    if any(size % UNIT for size in sizes):
        raise ValueError(f"what is remembered must come in multiples of {UNIT} bytes, not {sizes}")
    return [size // UNIT for size in sizes]

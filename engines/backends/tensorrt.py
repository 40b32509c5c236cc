"""The backend `tensorrt`: a plan on a card. All memory is taken when it is loaded; a launch is one CUDA graph on the caller's stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.backends import Net
from engines.backends.plans import RANGES, Builder, listener
from engines.errors import BackendFault

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Sizes that are captured: a batch is filled up to the next."""


class Room(Protocol):
    """Memory of a card."""

    address: int


class Card(Protocol):
    """The card that is current, and a stream of it: memory and copies in the order in which they are asked for.

    Whoever launches the kernels has one: nets and kernels share it.
    """

    stream: int
    """A cudaStream_t; not 0, which cannot be captured."""

    def room(self, size: int) -> Room:
        """Memory on the card."""
        ...

    def leave(self, room: Room) -> None:
        """Give it back."""
        ...

    def staging(self, size: int) -> Bytes:
        """Memory of this machine that copies are quick from and to."""
        ...

    def put(self, data: Bytes, address: int) -> None:
        """Copy to the card; data from `staging` must stay as it is until `wait`."""
        ...

    def get(self, address: int, data: Bytes) -> None:
        """Copy from the card; whole after `wait`."""
        ...

    def wait(self) -> None:
        """Until all of it is done."""
        ...


@dataclass(frozen=True)
class Buffer:
    """An input or output for the largest batch; rows that a batch does not use hold what they held."""

    room: Any
    given: bool
    """Whether it is an input."""
    host: NDArray[Any]
    """(most, *row) in the type and shape that the net has, where copies go from and to."""

    def rows(self, batch: int) -> Bytes:
        """The bytes of the first rows of `host`."""
        return self.host[:batch].reshape(-1).view(np.uint8)


class TensorRTNet(Net):
    """A plan on a card.

    Who has the inputs on the card already writes them into the rooms of `buffers`, calls `launch`, and reads the outputs there:
    that copies nothing and waits for nothing.
    """

    def __init__(self, plan: bytes, by: Builder, card: Card, metadata: Mapping[str, str], batches: Sequence[int] = BATCHES) -> None:
        """`metadata` is what the net's file says of itself. Raises BackendFault where the plan, or the card, will not do."""
        from cuda.bindings import driver

        if not card.stream:
            raise ValueError("the default stream cannot be captured: make one")
        self.metadata = dict(metadata)
        self._driver, self._card, self._batches, self._by = driver, card, tuple(batches), by
        self._said = listener(by.module)  # must outlive what speaks to it
        self._runtime = by.module.Runtime(self._said)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._refused("load")
        names = [self._engine.get_tensor_name(at) for at in range(self._engine.num_io_tensors)]
        self.buffers = {name: self._buffer(by.module, name) for name in names}
        self._contexts = {batch: self._context(by.module, batch) for batch in self._batches}
        self._graphs = {batch: self._capture(context) for batch, context in self._contexts.items()}

    def launch(self, batch: int) -> None:
        """Enqueue the net for the first `batch` rows, 1 to the largest that was captured; returns at once."""
        self._asked(self._driver.cuGraphLaunch(self._graphs[bucket(batch, self._batches)], self._card.stream))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Net.run`. Any number of conversations: in parts, where they are too many for one."""
        count, most = len(next(iter(inputs.values()))), self._batches[-1]
        parts = [self._part({name: array[at : at + most] for name, array in inputs.items()}) for at in range(0, count, most)]
        return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def close(self) -> None:
        """Give back what was taken on the card."""
        for graph in self._graphs.values():
            self._asked(self._driver.cuGraphExecDestroy(graph))
        self._graphs, self._contexts = {}, {}
        for buffer in self.buffers.values():
            self._card.leave(buffer.room)
        self.buffers = {}

    def _part(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        batch = len(next(iter(inputs.values())))
        for name, array in inputs.items():
            self.buffers[name].host[:batch] = array
            self._card.put(self.buffers[name].rows(batch), self.buffers[name].room.address)
        self.launch(batch)
        outputs = {name: buffer for name, buffer in self.buffers.items() if not buffer.given}
        for buffer in outputs.values():
            self._card.get(buffer.room.address, buffer.rows(batch))
        self._card.wait()
        return {name: buffer.host[:batch].astype(np.float32) for name, buffer in outputs.items()}

    def _buffer(self, trt: Any, name: str) -> Buffer:
        kind, row = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))), tuple(self._engine.get_tensor_shape(name))[1:]
        shape = (self._batches[-1], *row)
        host = self._card.staging(int(np.prod(shape)) * kind.itemsize)
        host[:] = 0
        buffer = Buffer(
            self._card.room(host.nbytes), self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT, host.view(kind).reshape(shape)
        )  # fmt: skip
        self._card.put(host, buffer.room.address)  # rows that fill a batch up are computed too: of zeros, not of what lay there
        return buffer

    def _context(self, trt: Any, batch: int) -> Any:
        """What runs a batch of this size: each has its own, as a captured graph goes on using its memory."""
        if self._by.rtx:  # it would else compile while it runs
            options = self._engine.create_runtime_config()
            options.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            context = self._engine.create_execution_context(options)
        else:
            context = self._engine.create_execution_context()
        profile = next(at for at, (least, _, most) in enumerate(RANGES) if least <= batch <= most)
        context.set_optimization_profile_async(profile, self._card.stream)
        for name, buffer in self.buffers.items():
            if buffer.given:
                context.set_input_shape(name, (batch, *buffer.host.shape[1:]))
            context.set_tensor_address(name, buffer.room.address)
        return context

    def _capture(self, context: Any) -> Any:
        """Its work as a graph. It runs once before: what is made at the first run must not be part of it."""
        stream, mode = self._card.stream, self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._enqueue(context)
        self._card.wait()
        self._asked(self._driver.cuStreamBeginCapture(stream, mode))
        self._enqueue(context)
        graph = self._asked(self._driver.cuStreamEndCapture(stream))
        ready = self._asked(self._driver.cuGraphInstantiate(graph, 0))
        self._asked(self._driver.cuGraphDestroy(graph))
        return ready

    def _enqueue(self, context: Any) -> None:
        if not context.execute_async_v3(self._card.stream):
            raise self._refused("run")

    def _asked(self, answer: tuple[Any, ...]) -> Any:
        """What the driver gave. Raises BackendFault with what it said instead."""
        status, *rest = answer
        if int(status):
            _, name = self._driver.cuGetErrorName(status)
            raise BackendFault(f"The card's driver answered {name.decode() if name else int(status)}.", "See: mytalk doctor, nvidia-smi")
        return rest[0] if rest else None

    def _refused(self, what: str) -> BackendFault:
        why = self._said.errors[0].strip() if self._said.errors else "without a word"
        return BackendFault(
            f"{self._by.title} cannot {what} its plan: {why}.", f"Build it anew: mytalk build --arch {self._by.architecture}"
        )


def bucket(batch: int, batches: Sequence[int] = BATCHES) -> int:
    """The size to which a batch is filled up. Raises ValueError where none is large enough, or the batch is empty."""
    if not 1 <= batch <= batches[-1]:
        raise ValueError(f"a batch has 1 to {batches[-1]} conversations, not {batch}")
    return next(size for size in batches if size >= batch)

"""The backend `cuda`: the same ONNX files that the CPU runs, through torch, captured in a CUDA graph for each size of batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.backends import Net, card_trouble
from engines.backends.operators import OPERATORS, WHERE
from engines.backends.weights import read_weights
from engines.errors import BackendFault, WeightsFault
from native.cuda.device import Card, CardError

Array = NDArray[np.float32]
BUCKETS = (1, 2, 4, 8, 16, 32, 64)
"""Sizes of batches that are captured. What is between is filled up with rows that nobody reads; what is beyond is run in parts."""
_TROUBLE = (torch.AcceleratorError, torch.OutOfMemoryError)
_WARM = 3  # runs before a capture, as torch wants


@dataclass(frozen=True)
class Node:
    """One operation of a net."""

    operator: str
    attributes: dict[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass
class Bucket:
    """A net at one size of batch: where its inputs and outputs lie, and how it is run."""

    size: int
    given: Tensor
    """(N,) all inputs, one after the other, on the device."""
    shapes: dict[str, tuple[int, ...]]
    known: dict[str, Tensor]
    """What does not depend on the inputs."""
    nodes: list[Node]
    """What does, in order."""
    memory: tuple[Tensor, Tensor]
    """Inputs and outputs in memory of the host that copies are quick from and to."""
    made: Tensor = field(default_factory=lambda: torch.empty(0))
    """(M,) all outputs."""
    made_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    graph: Any = None


class CudaNet(Net):
    """A net on an NVIDIA card, in float32. `device` "cpu" runs the same operations without a card, and without graphs.

    Each size of batch in `BUCKETS` is prepared when it is first met: its operations are captured once, and from then on a run is
    one copy in, one replay, one copy out. Raises WeightsFault for a net with other operators than `OPERATORS`.
    """

    def __init__(self, data: bytes, *, device: str = "cuda") -> None:
        model = onnx.load_from_string(data)
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        """The strings that the file carries."""
        self._device = torch.device(device)
        nodes = [_node(node) for node in model.graph.node]
        if unknown := {node.operator for node in nodes} - set(OPERATORS):
            raise WeightsFault(
                f"The net has operators that the backend cuda does not know: {', '.join(sorted(unknown))}.", "Use --backend cpu."
            )
        self._known = {given.name: torch.from_numpy(onnx.numpy_helper.to_array(given).copy()) for given in model.graph.initializer}
        self._sides = {
            given.name: tuple(int(side.dim_value) for side in given.type.tensor_type.shape.dim[1:])
            for given in model.graph.input
            if given.name not in self._known
        }
        self._nodes = []
        for node in nodes:  # weights in eight bits become what they stand for, once
            if all(name in self._known for name in node.inputs if name):
                self._known.update(zip(node.outputs, _applied(node, [self._known.get(name) for name in node.inputs]), strict=False))
            else:
                self._nodes.append(node)
        self._shared: dict[str, Tensor] = {}  # of them, what was copied to the device
        self._outputs = [made.name for made in model.graph.output]
        self._buckets: dict[int, Bucket] = {}

    @torch.inference_mode()
    def prepare(self, most: int = BUCKETS[-1]) -> None:
        """Have every size of batch up to `most` ready: what is captured while conversations wait makes them late."""
        for size in BUCKETS[: BUCKETS.index(most) + 1]:
            self._bucket(size)

    @card_trouble(*_TROUBLE)
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Net.run`."""
        return _joined([self._run(part) for part in _cut(inputs)])

    @card_trouble(*_TROUBLE)
    def remember(
        self, inputs: Mapping[str, Array], rings: Sequence[Any], names: Sequence[str], ticks: Sequence[int]
    ) -> tuple[dict[str, Array], list[Any]]:
        """See `Net.remember`: rings stay on the device."""
        made, after, first = [], [], 0
        for part in _cut(inputs):
            count = len(next(iter(part.values())))
            rows = slice(first, first + count)
            outputs, kept = self._remember(part, rings[rows], names, ticks[rows])
            made.append(outputs)
            after += kept
            first += count
        return _joined(made), after

    @torch.inference_mode()
    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Inputs that are not given, the last ones, are on the device already."""
        count = len(next(iter(inputs.values())))
        bucket = self._bucket(count)
        host = bucket.memory[0].numpy()
        at = 0
        for name, shape in list(bucket.shapes.items())[: len(inputs)]:
            size = int(np.prod(shape))
            host[at : at + size].reshape(shape)[:count] = inputs[name]
            at += size
        bucket.given[:at].copy_(bucket.memory[0][:at], non_blocking=True)
        if bucket.graph is None:
            bucket.made = self._compute(bucket)
        else:
            bucket.graph.replay()
        bucket.memory[1].copy_(bucket.made, non_blocking=True)
        if self._device.type == "cuda":
            torch.cuda.current_stream().synchronize()
        parts = _parted(bucket.memory[1], bucket.made_shapes)
        return {name: part[:count].numpy().copy() for name, part in parts.items()}

    @torch.inference_mode()
    def _remember(
        self, inputs: Mapping[str, Array], rings: Sequence[Any], names: Sequence[str], ticks: Sequence[int]
    ) -> tuple[dict[str, Array], list[Any]]:
        bucket = self._bucket(len(rings))
        if tuple(bucket.shapes) != (*inputs, *names):
            raise WeightsFault(f"The net's inputs are {', '.join(bucket.shapes)}.", "Install mytalk-live again.")
        memory = torch.stack([torch.as_tensor(ring).to(self._device) for ring in rings], 1)
        there = _parted(bucket.given, bucket.shapes)
        for name, part in zip(names, memory, strict=True):
            there[name][: len(rings)].copy_(part)
        made = self._run(inputs)
        new = _parted(bucket.made, bucket.made_shapes)["new"]
        after = []
        for b, tick in enumerate(ticks):
            at, ring = tick * new.shape[3] % memory.shape[3], memory[:, b].clone()
            ring[:, :, at : at + new.shape[3]] = new[b]
            after.append(ring)
        return made, after

    def _bucket(self, count: int) -> Bucket:
        size = next(size for size in BUCKETS if size >= count)
        if size not in self._buckets:
            self._buckets[size] = self._prepared(size)
        return self._buckets[size]

    def _prepared(self, size: int) -> Bucket:
        shapes = {name: (size, *sides) for name, sides in self._sides.items()}
        numbers = sum(int(np.prod(shape)) for shape in shapes.values())
        pinned = self._device.type == "cuda"
        memory = torch.zeros(numbers, pin_memory=pinned)
        bucket = Bucket(size, torch.zeros(numbers, device=self._device), shapes, {}, [], (memory, memory))
        values = self._fold(bucket)
        bucket.made_shapes = {name: tuple(values[name].shape) for name in self._outputs}
        bucket.made = self._compute(bucket)
        bucket.memory = (memory, torch.zeros(len(bucket.made), pin_memory=pinned))
        if pinned:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM):
                    self._compute(bucket)
            torch.cuda.current_stream().wait_stream(side)
            bucket.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(bucket.graph):
                bucket.made = self._compute(bucket)
        return bucket

    def _fold(self, bucket: Bucket) -> dict[str, Tensor]:
        """Compute everything once. What depends on the inputs' shapes at most is kept in the bucket, and of the rest how it is computed."""
        known, values = dict(self._known), _parted(bucket.given, bucket.shapes)
        for node in self._nodes:
            if node.operator == "Shape" or all(name in known for name in node.inputs if name):
                arguments = [known.get(name, values.get(name)) for name in node.inputs]
                known.update(zip(node.outputs, _applied(node, arguments), strict=False))
                continue
            bucket.nodes.append(node)
            where = WHERE.get(node.operator, ())
            for at, name in enumerate(node.inputs):
                if name in known:
                    bucket.known[_there(name, at in where)] = known[name] if at in where else self._copied(name, known[name])
                elif name and at in where:
                    raise WeightsFault(f"The net decides {name} while it runs: the backend cuda cannot.", "Use --backend cpu.")
            values.update(zip(node.outputs, _applied(node, _arguments(node, bucket.known, values)), strict=False))
        return values

    def _copied(self, name: str, value: Tensor) -> Tensor:
        """A known value on the device; one copy of those that all buckets share."""
        if name not in self._known:
            return value.to(self._device)
        if name not in self._shared:
            self._shared[name] = value.to(self._device)
        return self._shared[name]

    def _compute(self, bucket: Bucket) -> Tensor:
        """All outputs, one after the other."""
        values = _parted(bucket.given, bucket.shapes)
        for node in bucket.nodes:
            values.update(zip(node.outputs, _applied(node, _arguments(node, bucket.known, values)), strict=False))
        return torch.cat([values[name].reshape(-1) for name in self._outputs])


def on_card() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the engines are given so that they work on the card that is current in torch: nets, and who makes the pixels.

    Everything is done on torch's current stream, in the order in which it is asked for. Raises BackendFault where no card can be used.
    """
    from engines.appearance.card import CardPainter
    from engines.motion.config import EARS, LIPS

    try:
        card = Card()
        torch.cuda.init()
        card.stream = torch.cuda.current_stream().cuda_stream
    except (CardError, RuntimeError, AssertionError) as error:  # the last is what torch says where it was built without CUDA
        raise BackendFault(f"The backend cuda cannot be had: {error}", "Say --backend cpu.") from error
    with card_trouble(CardError, *_TROUBLE):
        card.prepare()
        ears, lips = (CudaNet(read_weights(name)) for name in (EARS, LIPS))
        for net in (ears, lips):
            net.prepare()
        return {"ears": ears, "lips": lips}, {"painter": CardPainter(card)}


def divided(count: int) -> list[int]:
    """Where a batch is cut, from 0 to `count`: into the fewest parts that fit a bucket, as equal as can be, so that none waits for long."""
    parts = max(1, -(-count // BUCKETS[-1]))
    return [round(count * at / parts) for at in range(parts + 1)]


def _cut(inputs: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Inputs in parts that fit a bucket."""
    cuts = pairwise(divided(len(next(iter(inputs.values())))))
    return [{name: array[first:last] for name, array in inputs.items()} for first, last in cuts]


def _joined(made: list[dict[str, Array]]) -> dict[str, Array]:
    return made[0] if len(made) == 1 else {name: np.concatenate([part[name] for part in made]) for name in made[0]}


def _parted(flat: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), flat.split(sizes), strict=True)}


def _arguments(node: Node, known: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> list[Tensor | None]:
    where = WHERE.get(node.operator, ())
    return [
        None if not name else values[name] if name in values else known[_there(name, at in where)] for at, name in enumerate(node.inputs)
    ]


def _there(name: str, on_host: bool) -> str:
    """Under which name a known value is kept where it is read."""
    return name if on_host else f"{name} there"


def _applied(node: Node, arguments: list[Tensor | None]) -> tuple[Tensor, ...]:
    made = OPERATORS[node.operator](node.attributes, *arguments)
    return made if isinstance(made, tuple) else (made,)


def _node(node: Any) -> Node:
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    for name, value in attributes.items():
        if isinstance(value, onnx.TensorProto):
            attributes[name] = torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
    return Node(node.op_type, attributes | {"outputs": len(node.output)}, tuple(node.input), tuple(node.output))

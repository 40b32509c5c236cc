"""Nets in half precision: an ONNX file as it is shipped, in float32, made into one that says a type for every number it computes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.choice import EXTRA
from engines.errors import BackendFault

_KEPT = {"Resize": (1, 2)}  # inputs that the format has in float32: the region and the scales
_BOUNDED = ("Sin", "Cos")  # whatever goes in, what comes out is small


def half(data: bytes, exact: Collection[str] = ()) -> bytes:
    """The net in float16: its inputs, outputs, weights, and all that it computes; matrices kept in eight bits are laid out.

    float32 stays where float16 cannot count: in the inputs named `exact`, and in what is computed of them until it is a truth,
    an index, a sine or a cosine. Nothing else of the graph changes; what the file says of itself stays.
    Raises ValueError where a weight is beyond what float16 holds, BackendFault without onnx.
    """
    try:
        import onnx
    except ImportError as error:
        raise BackendFault("Making nets ready for a card needs onnx, which is not installed.", f"Install it: {EXTRA}") from error

    model = onnx.load_model_from_string(data)
    graph = model.graph
    _lay_out(graph)
    floats = _floats(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph)
    wide = _connected(graph, floats, exact)
    _Halving(graph, floats, wide).run()
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def read_metadata(data: bytes) -> dict[str, str]:
    """The strings that an ONNX file carries."""
    import onnx

    return {entry.key: entry.value for entry in onnx.load_model_from_string(data).metadata_props}


def read_inputs(data: bytes) -> tuple[str, ...]:
    """The names of an ONNX file's inputs, in its order."""
    import onnx

    graph = onnx.load_model_from_string(data).graph
    weights = {given.name for given in graph.initializer}
    return tuple(given.name for given in graph.input if given.name not in weights)


def _lay_out(graph: Any) -> None:
    """Make weights of what is constant: matrices in eight bits, and nodes that only hold an array."""
    from onnx import numpy_helper

    known = {given.name: given for given in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            made = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "DequantizeLinear" and all(name in known for name in node.input):
            steps, step, zero = (numpy_helper.to_array(known[name]) for name in node.input)
            axis = next(attribute.i for attribute in node.attribute if attribute.name == "axis")
            shape = [-1 if at == axis else 1 for at in range(steps.ndim)]
            made = (steps.astype(np.float32) - zero.reshape(shape)) * step.reshape(shape)
            for name in node.input:
                graph.initializer.remove(known.pop(name))
        else:
            continue
        graph.node.remove(node)
        graph.initializer.append(numpy_helper.from_array(made, node.output[0]))


def _floats(graph: Any) -> set[str]:
    """The names of all that is float32."""
    from onnx import TensorProto

    typed = [*graph.input, *graph.value_info, *graph.output]
    names = {value.name for value in typed if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {given.name for given in graph.initializer if given.data_type == TensorProto.FLOAT}


def _connected(graph: Any, floats: set[str], exact: Collection[str]) -> set[str]:
    """All float32 that hangs together with the inputs named, through floats, weights aside; and what the format has in float32."""
    weights = {given.name for given in graph.initializer}
    touching: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in (*node.input, *node.output):
            touching.setdefault(name, []).append(node)
    found: set[str] = set()
    todo = [*exact, *(node.input[at] for node in graph.node for at in _kept(node))]
    while todo:
        name = todo.pop()
        if name in found or name not in floats or name in weights:
            continue
        found.add(name)
        for node in touching.get(name, ()):
            if node.op_type not in _BOUNDED:
                todo += [other for at, other in enumerate(node.input) if at not in _kept(node)] + list(node.output)
    return found


def _kept(node: Any) -> Iterator[int]:
    return (at for at in _KEPT.get(node.op_type, ()) if at < len(node.input) and node.input[at])


class _Halving:
    """The types of a graph, changed in place. `floats` were float32; of those `wide` stay."""

    def __init__(self, graph: Any, floats: set[str], wide: set[str]) -> None:
        self.graph, self.floats, self.wide = graph, floats, wide
        self.weights = {given.name: given for given in graph.initializer if given.name in floats}
        self.kept: set[str] = set()

    def run(self) -> None:
        from onnx import TensorProto

        nodes = list(self.graph.node)
        del self.graph.node[:]
        for node in nodes:
            self._node(node)
        for value in (*self.graph.input, *self.graph.output):
            if value.name in self.floats - self.wide:
                value.type.tensor_type.elem_type = TensorProto.FLOAT16
        for name, given in self.weights.items():
            given.CopyFrom(_rounded(given, name))

    def _node(self, node: Any) -> None:
        from onnx import TensorProto, helper, numpy_helper

        wide = any(name in self.wide for name in (*node.input, *node.output)) and node.op_type not in _BOUNDED
        bent = node.op_type in _BOUNDED and node.input[0] in self.wide
        for at, name in enumerate(node.input):
            if name in self.weights and (wide or at in _kept(node)):
                node.input[at] = self._as_it_is(name)
        if not wide and node.output[0] in self.floats:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to":
                    attribute.i = TensorProto.FLOAT16
                elif attribute.type == attribute.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                    attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float16)))
        name = node.output[0]
        if bent:
            node.output[0] = f"{name}.wide"
        self.graph.node.append(node)
        if bent:
            self.graph.node.append(helper.make_node("Cast", [node.output[0]], [name], f"{node.name}.half", to=TensorProto.FLOAT16))

    def _as_it_is(self, name: str) -> str:
        """The name of a weight in float32, beside the one in float16."""
        own = f"{name}.wide"
        if name not in self.kept:
            self.kept.add(name)
            copy = self.graph.initializer.add()
            copy.CopyFrom(self.weights[name])
            copy.name = own
        return own


def _rounded(given: Any, name: str) -> Any:
    """A weight in float16."""
    from onnx import numpy_helper

    values: NDArray[np.float32] = numpy_helper.to_array(given)
    with np.errstate(over="ignore"):
        small = values.astype(np.float16)
    if not np.isfinite(small[np.isfinite(values)]).all():
        raise ValueError(f"{name} goes to {np.abs(values).max():.3g}: float16 ends at 65504")
    return numpy_helper.from_array(small, name)

"""Nets for tests: run as ONNX defines its operators, in the types that the file says; and the renderer's, with weights by chance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from engines.appearance.config import NETS
from engines.backends.half import read_metadata

SHAPES = Path(__file__).parent / "shapes"
"""The renderer's nets as they are exported, without their weights."""


class MatMul(OpRun):  # type: ignore[misc]
    """As cards have it: products are summed in float32, the sum is rounded. ONNX's own loops over float16 one by one."""

    def _run(self, a: Any, b: Any) -> tuple[Any]:
        return (np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype),)


class Gemm(OpRun):  # type: ignore[misc]
    """The same, with what is added."""

    def _run(self, a: Any, b: Any, c: Any = None, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0) -> tuple[Any]:  # noqa: N803
        a, b = (x.astype(np.float32) for x in (a.T if transA else a, b.T if transB else b))
        out = alpha * (a @ b) + (0 if c is None else beta * c.astype(np.float32))
        return (out.astype(c.dtype if c is not None else np.float32),)


class DefinedNet:
    """A `Net` by ONNX's definition: what is float16 is rounded after every operator."""

    def __init__(self, data: bytes) -> None:
        model = onnx.load_model_from_string(data)
        self.metadata = read_metadata(data)
        self._kinds = {value.name: helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in model.graph.input}
        self._outputs = [value.name for value in model.graph.output]
        self._net = ReferenceEvaluator(model, new_ops=[MatMul, Gemm])

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: array.astype(self._kinds[name]) for name, array in inputs.items()}
        return {name: array.astype(np.float32) for name, array in zip(self._outputs, self._net.run(None, given), strict=True)}


def without_weights(data: bytes) -> bytes:
    """A net's file with the sizes of its weights only, those that are small excepted."""
    model = onnx.load_model_from_string(data)
    for given in model.graph.initializer:
        given.CopyFrom(numpy_helper.from_array(_whole(given), given.name))
    laid = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for node in laid.values():  # matrices in eight bits are weights like others here
        steps = next(given for given in model.graph.initializer if given.name == node.input[0])
        model.graph.initializer.append(TensorProto(name=node.output[0], dims=steps.dims, data_type=TensorProto.FLOAT))
        for given in [given for given in model.graph.initializer if given.name in node.input]:
            model.graph.initializer.remove(given)
        model.graph.node.remove(node)
    for given in model.graph.initializer:
        if given.data_type == TensorProto.FLOAT and np.prod(given.dims) > 16:
            given.CopyFrom(TensorProto(name=given.name, dims=given.dims, data_type=given.data_type))
    return bytes(model.SerializeToString())


def renderer_nets(seed: int = 0) -> dict[str, bytes]:
    """The four files of a renderer that nobody trained, by name: none of its weights is zero."""
    return {name: _filled(onnx.load(SHAPES / name), np.random.default_rng([seed, at])) for at, name in enumerate(NETS)}


def _filled(model: Any, random: np.random.Generator) -> bytes:
    for given in model.graph.initializer:
        if given.data_type == TensorProto.FLOAT and not given.raw_data and not given.float_data and np.prod(given.dims):
            around = max(1, int(np.prod(given.dims[1:])))  # numbers that are summed into one
            values = random.normal(0, (1.5 / around) ** 0.5 if len(given.dims) > 1 else 0.1, tuple(given.dims))
            given.CopyFrom(numpy_helper.from_array(values.astype(np.float32), given.name))
    return bytes(model.SerializeToString())


def _whole(given: Any) -> Any:
    return numpy_helper.to_array(given)

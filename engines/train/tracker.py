"""The tracker's nets: MediaPipe's models, out of the wheel of mediapipe 0.10.14 (extra `mediapipe`), as OpenVINO's own operators.

OpenVINO reads the detector as it is. The face mesh with attention has three kinds of operators of MediaPipe's own (it looks again at
the lips and at each eye, in its own feature map): the graph is cut around them, they are written in plain operators here, and the parts
are joined. What MediaPipe does behind the net (the refined lips, eyes and irises take the places of the mesh's points) is part of it, too.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from engines.backends.weights import write_hash
from engines.tracking.nets import DETECTOR, MESH

Float = NDArray[np.float32]

PLACES = {
    "lips": """61 146 91 181 84 17 314 405 321 375 291 185 40 39 37 0 267 269 270 409 78 95 88 178 87 14 317 402 318 324 308
        191 80 81 82 13 312 311 310 415 76 77 90 180 85 16 315 404 320 307 306 184 74 73 72 11 302 303 304 408
        62 96 89 179 86 15 316 403 319 325 292 183 42 41 38 12 268 271 272 407""",
    "left": """33 7 163 144 145 153 154 155 133 246 161 160 159 158 157 173 130 25 110 24 23 22 26 112 243 247 30 29 27 28 56 190
        226 31 228 229 230 231 232 233 244 113 225 224 223 222 221 189 35 124 46 53 52 65 143 111 117 118 119 120 121 128 245
        156 70 63 105 66 107 55 193""",
    "right": """263 249 390 373 374 380 381 382 362 466 388 387 386 385 384 398 359 255 339 254 253 252 256 341 463 467 260 259
        257 258 286 414 446 261 448 449 450 451 452 453 464 342 445 444 443 442 441 413 265 353 276 283 282 295 372 340 346
        347 348 349 350 357 465 383 300 293 334 296 336 285 417""",
}
"""Which of the mesh's points each refined part gives, in its order."""
_RIM = 16
"""The first of an eye's points are its rim: an iris lies as deep as their mean."""
_IRISES = {"left": range(468, 473), "right": range(473, 478)}
_CELLS, _WINDOW = 48, 16  # cells a side of the mesh's feature map, and of the window in which a part is looked at again

_HASH = "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4"
_PICTURE, _POINTS, _MAP, _FLAG = 0, 186, 35, 710
"""Tensors of the file with that hash: what goes in; the mesh's points, the map, and the face's flag, before any window."""


@dataclass(frozen=True)
class _Part:
    """A refined part of the face."""

    operator: int
    """The one that lays its window: its options say around which points, and how large."""
    window: int
    """The tensor that goes into its graph."""
    outputs: tuple[int, ...]
    """The tensors that come out: its points, and an iris's."""
    to_map: int
    """A constant: from the mesh's pixels to the map's cells."""
    to_mesh: int
    """A constant: factors (4, 4), from the window's matrix to the mesh's pixels."""


_PARTS = {
    "lips": _Part(192, 199, (684,), 781, 925),
    "left": _Part(193, 200, (687, 690), 834, 792),
    "right": _Part(194, 201, (693, 696), 886, 927),
}


def make_tracker(out: Path) -> None:
    """Write `face_detector` and `face_mesh` (.xml, .bin) into a folder, with their hashes."""
    import mediapipe

    modules = Path(mediapipe.__file__).parent / "modules"
    detector = ov.Core().read_model(modules / "face_detection" / "face_detection_short_range.tflite")
    _name(detector, "boxes", "scores")
    mesh = _joined((modules / "face_landmark" / "face_landmark_with_attention.tflite").read_bytes())
    _name(mesh, "landmarks", "score")
    for model, name in ((detector, DETECTOR), (mesh, MESH)):
        ov.save_model(model, out / f"{name}.xml", compress_to_fp16=True)
        for suffix in (".xml", ".bin"):
            write_hash(out / f"{name}{suffix}")


def _name(model: ov.Model, *outputs: str) -> None:
    model.inputs[0].set_names({"picture"})
    for output, name in zip(model.outputs, outputs, strict=True):
        output.set_names({name})


class _File:
    """A .tflite file that can be read in parts."""

    def __init__(self, data: bytes) -> None:
        from mediapipe.tasks.metadata import schema_py_generated as schema

        assert hashlib.sha256(data).hexdigest() == _HASH, "this is not the model of mediapipe 0.10.14"
        self._data, self._schema = data, schema
        self._model = schema.Model.GetRootAsModel(data, 0)
        self._graph = self._model.Subgraphs(0)

    def options(self, operator: int) -> dict[str, Any]:
        """What an operator of MediaPipe's own is told."""
        from flatbuffers import flexbuffers

        return dict(flexbuffers.Loads(bytes(self._graph.Operators(operator).CustomOptionsAsNumpy())))

    def constant(self, tensor: int) -> Float:
        """A constant, which is kept in float16 behind an operator that widens it."""
        maker = next(o for o in map(self._graph.Operators, range(self._graph.OperatorsLength())) if tensor in o.OutputsAsNumpy())
        kept = self._graph.Tensors(int(maker.Inputs(0)))
        return self._model.Buffers(kept.Buffer()).DataAsNumpy().view(np.float16).astype(np.float32)

    def part(self, given: int, wanted: Sequence[int]) -> ov.Model:
        """The graph from one tensor to others."""
        model = self._schema.ModelT.InitFromObj(self._model)
        graph = model.subgraphs[0]
        maker = {int(made): operator for operator in graph.operators for made in operator.outputs}
        need, seen = list(wanted), {given}
        while need:
            if (tensor := need.pop()) not in seen:
                seen.add(tensor)
                need += [int(at) for at in maker[tensor].inputs if at >= 0] if tensor in maker else []
        graph.operators = [operator for operator in graph.operators if not seen.isdisjoint(set(map(int, operator.outputs)) - {given})]
        kept = sorted({int(at) for operator in graph.operators for at in (*operator.inputs, *operator.outputs) if at >= 0} | {given})
        place = {tensor: at for at, tensor in enumerate(kept)}
        graph.tensors = [graph.tensors[tensor] for tensor in kept]
        graph.inputs, graph.outputs = (np.array([place[int(at)] for at in ports], np.int32) for ports in ((given,), wanted))
        for operator in graph.operators:
            operator.inputs, operator.outputs = (
                np.array([place.get(int(at), -1) for at in ports], np.int32) for ports in (operator.inputs, operator.outputs)
            )
        used = {tensor.buffer for tensor in graph.tensors}
        for at, buffer in enumerate(model.buffers):
            buffer.data = buffer.data if at in used else None
        model.metadata, model.metadataBuffer, model.signatureDefs = None, None, None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "part.tflite"
            path.write_bytes(self._packed(model))
            return ov.Core().read_model(path)

    def _packed(self, model: Any) -> bytes:
        """The bytes of a graph, the buffers' data on multiples of 16, which the schema demands and its Python code forgets."""
        import flatbuffers

        schema, plain = self._schema, self._schema.BufferT.Pack

        def packed(buffer: Any, builder: Any) -> Any:
            if buffer.data is None or len(buffer.data) == 0:
                return plain(buffer, builder)
            raw = np.asarray(buffer.data, np.uint8).tobytes()
            builder.StartVector(1, len(raw), 16)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            data = builder.EndVector()
            schema.BufferStart(builder)
            schema.BufferAddData(builder, data)
            return schema.BufferEnd(builder)

        schema.BufferT.Pack = packed
        try:
            builder = flatbuffers.Builder(4 << 20)
            builder.Finish(model.Pack(builder), b"TFL3")
            return bytes(builder.Output())
        finally:
            schema.BufferT.Pack = plain


def _float(value: Any) -> Any:
    return ops.constant(np.asarray(value, np.float32))


def _int(value: Any) -> Any:
    return ops.constant(np.asarray(value, np.int64))


def _joined(data: bytes) -> ov.Model:
    """The face mesh: a picture (1, 192, 192, 3) in 0..1 -> landmarks (478, 3) in its pixels, and the score (1,) of there being a face."""
    file = _File(data)
    base = file.part(_PICTURE, [_POINTS, _MAP, _FLAG])
    points, features, flag = (output.get_node().input_value(0) for output in base.outputs)
    points = ops.reshape(points, _int([468, 3]), False)
    xy, z = ops.gather(points, _int([0, 1]), _int(1)), ops.gather(points, _int([2]), _int(1))
    features = ops.transpose(features, _int([0, 3, 1, 2]))
    found, order = [xy], [*range(468)]
    for name, part in _PARTS.items():
        first, *iris = _refined(file, part, xy, features)
        places = [int(point) for point in PLACES[name].split()]
        found, order = [*found, first, *iris], [*order, *places, *(_IRISES[name] if iris else ())]
    last = {point: at for at, point in enumerate(order)}  # what is refined takes the place of the mesh's
    depths = [z]
    for name in ("left", "right"):
        rim = [int(point) for point in PLACES[name].split()][:_RIM]
        depths.append(ops.multiply(ops.reduce_mean(ops.gather(z, _int(rim), _int(0)), _int([0]), True), _float(np.ones((5, 1)))))
    places = ops.gather(ops.concat(found, 0), _int([last[point] for point in range(478)]), _int(0))
    landmarks = ops.concat([places, ops.concat(depths, 0)], 1)
    score = ops.sigmoid(ops.reshape(flag, _int([1]), False))
    model = ov.Model([ops.result(landmarks), ops.result(score)], [base.inputs[0].get_node()], "face_mesh")
    model.validate_nodes_and_infer_types()
    return model


def _refined(file: _File, part: _Part, xy: Any, features: Any) -> list[Any]:
    """A part's points (P, 2) in the mesh's pixels, the longest list first: its own, then an iris's."""
    options = file.options(part.operator)
    window = _window(options, ops.multiply(xy, _float(file.constant(part.to_map).ravel()[0])))
    net = file.part(part.window, part.outputs)
    given = net.inputs[0].get_node()
    looked_at = _sampled(features, window)
    for use in list(given.output(0).get_target_inputs()):
        use.replace_source_output(looked_at.output(0))
    factors = file.constant(part.to_mesh).reshape(4, 4)[:2][:, [0, 1, 3]]
    back = ops.multiply(window, _float(factors))
    turn, shift = ops.gather(back, _int([0, 1]), _int(1)), ops.transpose(ops.gather(back, _int([2]), _int(1)), _int([1, 0]))
    lists = [
        ops.add(ops.matmul(ops.reshape(output.get_node().input_value(0), _int([-1, 2]), False), turn, False, True), shift)
        for output in net.outputs
    ]
    return sorted(lists, key=lambda points: -points.get_output_partial_shape(0)[0].get_length())


def _window(options: dict[str, Any], places: Any) -> Any:
    """The matrix (2, 3) from a window's cells to the map's: around some of the places (468, 2), along the line between two of them."""
    left, right = (ops.gather(places, _int(options[f"{side}_rotation_idx"]), _int(0)) for side in ("left", "right"))
    along = ops.subtract(right, left)
    along = ops.divide(along, ops.sqrt(ops.reduce_sum(ops.multiply(along, along), _int([0]), True)))
    cos, sin = (ops.gather(along, _int([at]), _int(0)) for at in (0, 1))
    turn = ops.reshape(ops.concat([cos, ops.negative(sin), sin, cos], 0), _int([2, 2]), False)  # from upright into the map
    upright = ops.matmul(ops.gather(places, _int(options["subset_idxs"]), _int(0)), turn, False, False)
    high, low = ops.reduce_max(upright, _int([0]), True), ops.reduce_min(upright, _int([0]), True)
    middle = ops.matmul(ops.multiply(ops.add(high, low), _float(0.5)), turn, False, True)
    cells = np.array([[options["output_width"], options["output_height"]]])
    scale = ops.multiply(ops.subtract(high, low), _float(np.array([[options["scale_x"], options["scale_y"]]]) / cells))
    scaled = ops.multiply(turn, scale)
    shift = ops.add(ops.transpose(middle, _int([1, 0])), ops.matmul(scaled, _float(-cells.T / 2), False, False))
    return ops.concat([scaled, shift], 1)


def _sampled(features: Any, window: Any) -> Any:
    """The window's cells (1, 16, 16, C) out of the map (1, C, 48, 48), between cells; nothing beyond the map's edge."""
    row, column = np.mgrid[0:_WINDOW, 0:_WINDOW].reshape(2, -1) + 0.5
    grid = _float(np.stack([column, row, np.ones_like(row)]))
    at = ops.subtract(ops.matmul(window, grid, False, False), _float(0.5))
    inside = ops.logical_and(ops.greater_equal(at, _float(0.0)), ops.less_equal(at, _float(_CELLS - 1.0)))
    inside = ops.reshape(ops.reduce_min(ops.convert(inside, "f32"), _int([0]), False), _int([1, 1, _WINDOW, _WINDOW]), False)
    at = ops.subtract(ops.divide(ops.add(ops.multiply(at, _float(2.0)), _float(1.0)), _float(_CELLS)), _float(1.0))
    at = ops.reshape(ops.transpose(at, _int([1, 0])), _int([1, _WINDOW, _WINDOW, 2]), False)
    sampled = ops.grid_sample(features, at, {"align_corners": False, "mode": "bilinear", "padding_mode": "zeros"})
    return ops.transpose(ops.multiply(sampled, inside), _int([0, 2, 3, 1]))

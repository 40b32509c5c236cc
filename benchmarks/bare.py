"""Stand-ins for packages that a machine with nothing but numpy and a CUDA build of torch lacks: as much of them as pictures on a card need.

What is there is used. Nothing here is measured, nor is it part of any product: triangles of a mesh, the outline of a mouth, the format of
ONNX files. An actor's frames and speech, which PyAV would read, are noise.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


def stand_in(backend: str) -> list[str]:
    """Put stand-ins where packages would be that are not there, for a backend; their names."""
    made = {"cv2": _cv2, "av": _av, "platformdirs": _platformdirs} | ({"onnx": _onnx} if backend == "cuda" else {})
    missing = [name for name in made if _absent(name)]
    for name in missing:
        for module in made[name]():
            sys.modules[module.__name__] = module
    return missing


def _absent(name: str) -> bool:
    """Whether a package is not there, or only what stands in for it."""
    return getattr(sys.modules.get(name), "__spec__", None) is None if name in sys.modules else find_spec(name) is None


def frames(size: tuple[int, int], count: int) -> list[Any]:
    """So many pictures (I420) of a size (width, height): eight of noise, again and again."""
    random = np.random.default_rng(3)
    some = [random.integers(16, 235, (size[1] * 3 // 2, size[0]), np.uint8) for _ in range(8)]
    return [some[at % 8] for at in range(count)]


def speech(seconds: float = 4.0) -> Any:
    """Noise that comes and goes as syllables do, 16 kHz."""
    count = int(16_000 * seconds)
    loud = np.clip(np.sin(np.arange(count) * (2 * np.pi * 4 / 16_000)), 0, 1)
    return (np.random.default_rng(4).normal(0, 0.1, count) * loud).astype(np.float32)


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    return module


def _platformdirs() -> list[ModuleType]:
    return [_module("platformdirs", user_cache_dir=lambda name: str(Path(tempfile.gettempdir()) / f"{name}-cache"))]


def _av() -> list[ModuleType]:
    stream = _module("av.video.stream", VideoStream=object)
    video = _module("av.video", stream=stream)
    return [_module("av", video=video), video, stream]


def _cv2() -> list[ModuleType]:
    return [_module("cv2", Subdiv2D=_Subdivision, Laplacian=_laplacian, fillPoly=_fill, LINE_8=8, CV_32F=5)]


class _Subdivision:
    """Delaunay's triangles, by putting in one point after the other (Bowyer, Watson, 1981)."""

    def __init__(self, box: tuple[int, int, int, int]) -> None:
        far = 20.0 * max(box)
        self._points: list[tuple[float, float]] = [(-far, -far), (far, -far), (0.0, far)]
        self._triangles = [(0, 1, 2)]

    def insert(self, points: list[tuple[float, float]]) -> None:
        for point in points:
            self._points.append(point)
            places = np.array(self._points)
            around = [triangle for triangle in self._triangles if _in_circle(*places[list(triangle)], places[-1])]
            edges = [(triangle[a], triangle[b]) for triangle in around for a, b in ((0, 1), (1, 2), (2, 0))]
            rim = [edge for edge in edges if edge[::-1] not in edges]
            gone, last = set(around), len(self._points) - 1
            self._triangles = [triangle for triangle in self._triangles if triangle not in gone] + [(a, b, last) for a, b in rim]

    def getTriangleList(self) -> Any:  # noqa: N802 as OpenCV calls it
        return np.array(self._points, np.float32)[np.array(self._triangles)].reshape(-1, 6)


def _in_circle(a: Any, b: Any, c: Any, point: Any) -> bool:
    rows = np.array([a, b, c]) - point
    return bool(np.linalg.det(np.column_stack([rows, (rows**2).sum(1)])) > 0)


def _laplacian(picture: Any, depth: int) -> Any:
    p = np.pad(picture.astype(np.float32), 1, mode="reflect")
    return p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * p[1:-1, 1:-1]


def _fill(mask: Any, polygons: list[Any], value: int, lineType: int, shift: int) -> None:  # noqa: N803
    """Pixels whose middle is inside, by the number of edges to their left."""
    x, y = np.meshgrid(np.arange(mask.shape[1]), np.arange(mask.shape[0]))
    for polygon in polygons:
        corners, inside = polygon / (1 << shift), np.zeros(mask.shape, bool)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
            if y0 != y1:
                inside ^= ((y0 > y) != (y1 > y)) & (x > x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        mask[inside] = value


class _Tensor(SimpleNamespace):
    """See `onnx.TensorProto`."""


def _onnx() -> list[ModuleType]:
    helper = _module("onnx.helper", get_attribute_value=lambda attribute: attribute.value)
    numpy_helper = _module("onnx.numpy_helper", to_array=lambda tensor: tensor.array)
    onnx = _module("onnx", load_from_string=_model, helper=helper, numpy_helper=numpy_helper, TensorProto=_Tensor)
    return [onnx, helper, numpy_helper]


_KINDS = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}


def _model(data: bytes) -> Any:
    """The parts of ONNX's ModelProto that the backend `cuda` reads: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto."""
    found = _fields(data)
    graph = _fields(_one(found, 7))
    said = [_fields(entry) for entry in found.get(14, ())]
    return SimpleNamespace(
        metadata_props=[SimpleNamespace(key=_text(_one(entry, 1)), value=_text(_one(entry, 2))) for entry in said],
        graph=SimpleNamespace(
            node=[_node(one) for one in graph.get(1, ())], initializer=[_tensor(one) for one in graph.get(5, ())],
            input=[_value(one) for one in graph.get(11, ())], output=[_value(one) for one in graph.get(12, ())],
        ),
    )  # fmt: skip


def _node(data: bytes) -> Any:
    found = _fields(data)
    return SimpleNamespace(
        input=[_text(name) for name in found.get(1, ())], output=[_text(name) for name in found.get(2, ())],
        name=_text(_one(found, 3, b"")), op_type=_text(_one(found, 4)), attribute=[_attribute(one) for one in found.get(5, ())],
    )  # fmt: skip


def _attribute(data: bytes) -> Any:
    found = _fields(data)
    kind = _one(found, 20)
    values: dict[int, Any] = {
        1: lambda: struct.unpack("<f", _one(found, 2))[0], 2: lambda: _signed(_one(found, 3, 0)), 3: lambda: _one(found, 4),
        4: lambda: _tensor(_one(found, 5)), 6: lambda: _many(found.get(7, ()), "<f4"), 7: lambda: _many(found.get(8, ()), ""),
    }  # fmt: skip
    return SimpleNamespace(name=_text(_one(found, 1)), value=values[kind]())


def _tensor(data: bytes) -> Any:
    found = _fields(data)
    kind, shape = _KINDS[_one(found, 2)], _many(found.get(1, ()), "")
    plain = next((_many(found[number], packed) for number, packed in ((4, "<f4"), (5, ""), (7, ""), (10, "<f8")) if number in found), [])
    array = np.frombuffer(found[9][0], kind) if 9 in found else np.array(plain, kind)
    return _Tensor(name=_text(_one(found, 8, b"")), array=array.reshape(shape))


def _value(data: bytes) -> Any:
    found = _fields(data)
    tensor = _fields(_one(_fields(_one(found, 2)), 1))
    sides = [_fields(side) for side in _fields(_one(tensor, 2, b"")).get(1, ())]
    shape = SimpleNamespace(dim=[SimpleNamespace(dim_value=_one(side, 1, 0)) for side in sides])
    return SimpleNamespace(name=_text(_one(found, 1)), type=SimpleNamespace(tensor_type=SimpleNamespace(shape=shape)))


def _fields(data: bytes) -> dict[int, list[Any]]:
    """A message of protobuf: by number, whole numbers as they are and all else as bytes."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        key, at = _whole(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _whole(data, at)
        else:
            size, at = _whole(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = bytes(data[at : at + size]), at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def _whole(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _many(values: Any, packed: str) -> list[Any]:
    """Repeated numbers: one by one, or packed together. Without a type they are whole."""

    def each() -> Iterator[Any]:
        for value in values:
            if packed:
                yield from np.frombuffer(value, packed).tolist()
            elif isinstance(value, int):
                yield _signed(value)
            else:
                at = 0
                while at < len(value):
                    number, at = _whole(value, at)
                    yield _signed(number)

    return list(each())


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _one(found: dict[int, list[Any]], number: int, otherwise: Any = None) -> Any:
    return found[number][-1] if number in found else otherwise


def _text(data: bytes) -> str:
    return data.decode()

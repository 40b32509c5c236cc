"""The CUDA source without a card: compiled for every architecture, and run on the host against the definitions and the twins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from native.case import Case
from native.composite import cases as composite_cases
from native.composite import cuda as composite_cuda
from native.composite import reference as composite_reference
from native.composite.op import composite
from native.cuda.compile import ARCHITECTURES, OPERATORS, CompileError, HostKernels, cubin, host
from native.planes import planes
from native.warp import cases as warp_cases
from native.warp import cpu as warp_cpu
from native.warp import cuda as warp_cuda
from native.warp import reference as warp_reference

Array = np.ndarray[Any, Any]
_GUARD, _SENTINEL = 64, 0xFF  # bytes on each side; as floats they are no numbers


class Fenced:
    """Arrays with sentinels around them."""

    def __init__(self) -> None:
        self._rooms: list[Array] = []

    def __call__(self, array: Array) -> Array:
        room = np.full(array.nbytes + 2 * _GUARD + 16, _SENTINEL, np.uint8)
        room = room[-room.ctypes.data % 16 :][: array.nbytes + 2 * _GUARD]
        self._rooms.append(room)
        inside = room[_GUARD : _GUARD + array.nbytes].view(array.dtype).reshape(array.shape)
        inside[...] = array
        return inside

    def check(self) -> None:
        for room in self._rooms:
            assert (room[:_GUARD] == _SENTINEL).all()
            assert (room[-_GUARD:] == _SENTINEL).all()


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], HostKernels]:
    folder = tmp_path_factory.mktemp("host")
    built = {operator: host(operator, folder) for operator in OPERATORS}
    assert built["warp"].descriptor == warp_cuda.DESCRIPTOR.itemsize
    assert built["composite"].descriptor == composite_cuda.DESCRIPTOR.itemsize
    return built.__getitem__


def launch(built: HostKernels, operator: str, sessions: Array) -> None:
    for kernel in OPERATORS[operator]:
        built.launch(kernel, (3, 2), 32, sessions.ctypes.data, len(sessions))  # fewer threads than pixels: they stride


def warp_session(fenced: Fenced, row: Any, case: Case, **more: Any) -> Array:
    a = case.arguments
    height, width = a["size"]
    inputs = {
        "pictures": np.stack([np.dstack([p, np.zeros(p.shape[:2], np.uint8)]) for p in a["pictures"]]).astype(np.float16),
        **{name: a[name] for name in ("weights", "sources", "target", "triangles", "values")},
        "bins": np.zeros(warp_cuda.bins(len(a["triangles"]), a["size"]), np.uint32),
    } | more.pop("inputs", {})  # fmt: skip
    planar = more.get("planar", 0)
    inputs["out"] = np.zeros((8, height, width) if planar else (height, width, 8), np.float16)
    placed = {name: fenced(array) for name, array in inputs.items()}
    for name, array in placed.items():
        row[name] = array.ctypes.data
    row["count"], row["height_in"], row["width_in"] = inputs["pictures"].shape[:3]
    row["vertices"], row["faces"], row["channels"] = len(a["target"]), len(a["triangles"]), a["values"].shape[1]
    row["height"], row["width"], row["gain"] = height, width, 1
    for name, value in more.items():
        row[name] = value
    return placed["out"]


def inner(case: Case) -> Array:
    mask = np.zeros(case.arguments["size"], bool)
    mask[5:-6, 4:-5] = True  # as in test_native: the outermost pixels lie partly outside the mesh
    return mask


def test_warp_in_one_launch_is_the_definition(kernels: Callable[[str], HostKernels]) -> None:
    fenced, cases = Fenced(), list(warp_cases.cases())
    sessions = fenced(np.zeros(len(cases) + 1, warp_cuda.DESCRIPTOR))  # the last one is an empty picture
    outs = [warp_session(fenced, row, case) for row, case in zip(sessions, cases, strict=False)]
    launch(kernels("warp"), "warp", sessions)
    fenced.check()
    for case, out in zip(cases, outs, strict=True):
        picture, values = warp_reference.warp(**case.arguments)
        difference = np.abs(out[:, :, :3].astype(float) - picture)
        assert difference[inner(case)].max() < 0.75  # half a step is the definition's rounding
        assert difference.max(2).mean() < 0.5
        assert np.abs(out[:, :, 3:5][inner(case)] - values[inner(case)]).max() < 1e-3
        assert not out[:, :, 5:].any()


def test_warp_with_cubics_is_the_twin_that_is_shipped(kernels: Callable[[str], HostKernels]) -> None:
    fenced, cases = Fenced(), list(warp_cases.cases())
    sessions = fenced(np.zeros(len(cases), warp_cuda.DESCRIPTOR))
    outs = [warp_session(fenced, row, case, cubic=1) for row, case in zip(sessions, cases, strict=True)]
    launch(kernels("warp"), "warp", sessions)
    fenced.check()
    for case, out in zip(cases, outs, strict=True):
        picture, _ = warp_cpu.warp(**case.arguments)
        difference = np.abs(out[:, :, :3].astype(float) - picture)[inner(case)]
        assert difference.mean() <= case.tolerance


def test_warp_normalises_lays_out_and_adds_the_flow(kernels: Callable[[str], HostKernels]) -> None:
    fenced, random = Fenced(), np.random.default_rng(3)
    case = list(warp_cases.cases())[2]
    a = case.arguments
    flow = np.broadcast_to(np.array([1.5, -2.25], np.float16), (len(a["pictures"]), *a["size"], 2))
    wild = np.where(random.random(flow.shape) < 0.3, [[np.nan, np.inf]], random.normal(0, 1e4, flow.shape)).astype(np.float16)
    sessions = fenced(np.zeros(2, warp_cuda.DESCRIPTOR))
    out = warp_session(fenced, sessions[0], case, planar=1, gain=1 / 127.5, offset=-1, inputs={"flow": flow})
    thrown = warp_session(fenced, sessions[1], case, inputs={"flow": wild})
    launch(kernels("warp"), "warp", sessions)
    fenced.check()
    moved, _ = warp_reference.warp(**a | {"sources": a["sources"] + np.array([1.5, -2.25], np.float32)})
    colours = (out[:3].transpose(1, 2, 0).astype(float) + 1) * 127.5
    assert np.abs(colours - moved)[inner(case)].max() < 0.75
    assert np.isfinite(thrown).all()
    assert thrown.min() >= 0
    assert thrown.max() <= 255


def test_warp_of_random_meshes_shows_the_later_triangle(kernels: Callable[[str], HostKernels]) -> None:
    """More triangles than a word of the bins holds, folded over each other, flat ones too, in pictures of any size."""
    fenced, random = Fenced(), np.random.default_rng(11)
    cases = []
    for count, (height, width) in ((1, (1, 1)), (2, (17, 33)), (3, (31, 16))):
        target = random.uniform(-6, 40, (60, 2)).astype(np.float32)
        triangles = random.integers(0, 60, (70, 3)).astype(np.int32)
        triangles[::9, 2] = triangles[::9, 1]
        smooth = np.add.outer(np.arange(height + 5) * 2, np.arange(width + 3) * 3)[:, :, None] + np.array([0, 20, 90])
        arguments = {
            "pictures": [np.clip(smooth, 0, 255).astype(np.uint8)] * count, "weights": np.full(count, 1 / count, np.float32),
            "sources": random.uniform(-5, 40, (count, 60, 2)).astype(np.float32), "target": target, "triangles": triangles,
            "values": random.uniform(0, 1, (60, 5)).astype(np.float32), "size": (height, width),
        }  # fmt: skip
        cases.append(Case("random", arguments, tolerance=1.0))
    sessions = fenced(np.zeros(len(cases), warp_cuda.DESCRIPTOR))
    outs = [warp_session(fenced, row, case) for row, case in zip(sessions, cases, strict=True)]
    launch(kernels("warp"), "warp", sessions)
    fenced.check()
    for case, out in zip(cases, outs, strict=True):
        picture, values = warp_reference.warp(**case.arguments)
        same = (np.abs(out[:, :, :3].astype(float) - picture).max(2) < 1) & (np.abs(out[:, :, 3:] - values).max(2) < 2e-3)
        assert same.mean() > 0.98  # of two triangles that share an edge a pixel on it may show either


def composite_session(fenced: Fenced, row: Any, a: dict[str, Any], patch: Array, inverse: Array, formats: tuple[int, int]) -> Array:
    frame, (h, w) = a["frame"], a["alpha"].shape
    if formats[0]:
        frame = nv12(frame)
    row["height"], row["width"], row["x"], row["y"] = len(frame) * 2 // 3, frame.shape[1], *a["corner"]
    row["h"], row["w"], row["height_in"], row["width_in"] = h, w, *patch.shape[:2]
    composite_cuda.field(row, a["shade"])
    row["nv12_in"], row["nv12_out"] = formats
    row["inverse"], row["gain"], row["offset"], row["strength"] = inverse, 255, 0, 1
    scratch = np.full((row["rows"], row["columns"], 4), np.nan, np.float32)
    placed = {"frame": frame, "out": np.zeros_like(frame), "patch": patch, "small": scratch, "spread": scratch}
    for name, array in placed.items():
        placed[name] = fenced(array)
        row[name] = placed[name].ctypes.data
    return placed["out"]


def nv12(frame: Array) -> Array:
    luma, u, v = planes(frame)
    return np.concatenate([luma.ravel(), np.stack([u, v], -1).ravel()]).reshape(frame.shape)


def eight(a: dict[str, Any]) -> Array:
    """Patch, alpha and ring as `warp` leaves them for a net."""
    channels = np.dstack([a["patch"] / 255, a["alpha"], a["ring"]])
    return np.concatenate([channels, np.zeros((*channels.shape[:2], 3))], 2).astype(np.float16)


@pytest.mark.parametrize("formats", [(0, 0), (0, 1), (1, 0), (1, 1)], ids=["I420", "to NV12", "from NV12", "NV12"])
def test_composite_in_one_launch_is_definition_and_twin(kernels: Callable[[str], HostKernels], formats: tuple[int, int]) -> None:
    fenced, cases = Fenced(), list(composite_cases.cases())
    sessions = fenced(np.zeros(len(cases) + 1, composite_cuda.DESCRIPTOR))  # the last one is an empty frame
    identity = np.array([1, 0, 0, 0, 1, 0], np.float32)
    outs = [
        composite_session(fenced, row, case.arguments, eight(case.arguments), identity, formats)
        for row, case in zip(sessions, cases, strict=False)
    ]
    launch(kernels("composite"), "composite", sessions)
    fenced.check()
    for case, out in zip(cases, outs, strict=True):
        a = case.arguments
        for true in (composite_reference.composite(**a), composite(**a)):
            difference = np.abs(out.astype(int) - (nv12(true) if formats[1] else true))
            assert difference.mean() <= 0.1 * case.tolerance
            assert difference.max() <= 3
        if case.name == "empty mask":
            assert np.array_equal(out, nv12(a["frame"]) if formats[1] else a["frame"])


def test_composite_undoes_a_crop_and_stays_inside_it(kernels: Callable[[str], HostKernels]) -> None:
    fenced, a = Fenced(), next(iter(composite_cases.cases())).arguments
    random = np.random.default_rng(8)
    patch = eight(a)[:27, :31]  # odd, smaller than the part
    turned = np.array([0.9, 0.1, -1.5, -0.1, 0.9, 2.0], np.float32)
    sessions = fenced(np.zeros(4, composite_cuda.DESCRIPTOR))
    out = composite_session(fenced, sessions[0], a, patch, turned, (0, 0))
    for row in sessions[1:]:
        composite_session(fenced, row, a, patch, np.array([np.nan, 1e30, *random.normal(0, 1e3, 4)], np.float32), (0, 0))
    launch(kernels("composite"), "composite", sessions)
    fenced.check()
    h, w = a["alpha"].shape
    i, j = np.meshgrid(np.arange(w), np.arange(h))
    x, y = (turned[k] * i + turned[k + 1] * j + turned[k + 2] for k in (0, 3))
    seen = (x >= -0.5) & (y >= -0.5) & (x <= 30.5) & (y <= 26.5)
    maps = (np.clip(x, 0, 30).astype(np.float32), np.clip(y, 0, 26).astype(np.float32))
    there = np.dstack([cv2.remap(patch[:, :, c].astype(np.float32), *maps, cv2.INTER_LINEAR) for c in range(5)]) * seen[:, :, None]
    same = {"patch": np.round(there[:, :, :3] * 255).astype(np.uint8), "alpha": there[:, :, 3], "ring": there[:, :, 4]}
    difference = np.abs(out.astype(int) - composite_reference.composite(**a | same))
    assert difference.mean() < 0.1
    assert difference.max() <= 4


def test_no_sessions_are_no_work(kernels: Callable[[str], HostKernels]) -> None:
    for operator, kind in (("warp", warp_cuda.DESCRIPTOR), ("composite", composite_cuda.DESCRIPTOR)):
        launch(kernels(operator), operator, np.zeros(0, kind))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("operator", list(OPERATORS))
def test_compiles_for_every_card(operator: str, architecture: str, tmp_path: Path) -> None:
    code = cubin(operator, architecture, tmp_path)
    assert code.startswith(b"\x7fELF")
    assert all(kernel.encode() in code for kernel in OPERATORS[operator])


def test_what_was_compiled_is_kept_and_mended(tmp_path: Path) -> None:
    code = cubin("warp", "sm_89", tmp_path)
    (kept,) = tmp_path.iterdir()
    written = kept.stat().st_mtime_ns
    assert cubin("warp", "sm_89", tmp_path) == code
    assert kept.stat().st_mtime_ns == written
    kept.write_bytes(kept.read_bytes()[:100])
    assert cubin("warp", "sm_89", tmp_path) == code
    assert kept.stat().st_mtime_ns > written
    assert cubin("warp", "sm_90", tmp_path) != code


def test_what_the_compiler_says_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="sm_1"):
        cubin("warp", "sm_1", tmp_path)
    assert not list(tmp_path.iterdir())

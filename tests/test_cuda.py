"""The CUDA source without a card: compiled for every architecture, and run on the host against the definitions and the twins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
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
from native.copy import cases as copy_cases
from native.copy import cuda as copy_cuda
from native.copy import reference as copy_reference
from native.cuda.compile import ARCHITECTURES, OPERATORS, CompileError, HostKernels, cubin, host
from native.cuda.launch import ABOUT, Room, check, grids
from native.interior import cases as interior_cases
from native.interior import cuda as interior_cuda
from native.interior import reference as interior_reference
from native.interior.op import interior
from native.sharpen import cases as sharpen_cases
from native.sharpen import cuda as sharpen_cuda
from native.sharpen import reference as sharpen_reference
from native.sharpen.op import sharpen
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
def kernels(kernels_folder: Path) -> Callable[[str], HostKernels]:
    built = {operator: host(operator, kernels_folder) for operator in OPERATORS}
    assert {operator: one.descriptor for operator, one in built.items()} == {
        operator: about.DESCRIPTOR.itemsize for operator, about in ABOUT.items()
    }
    return built.__getitem__


def launch(built: HostKernels, operator: str, sessions: Array) -> None:
    check(operator, sessions)
    for kernel in OPERATORS[operator]:
        built.launch(kernel, (3, 2), 32, sessions.ctypes.data, len(sessions))  # fewer threads than pixels: they stride


def warp_session(fenced: Fenced, row: Any, case: Case, **more: Any) -> Array:
    a = case.arguments
    height, width = a["size"]
    inputs = {
        "pictures": np.stack([np.dstack([p, np.zeros(p.shape[:2], np.uint8)]) for p in a["pictures"]]),
        **{name: a[name] for name in ("weights", "sources", "target", "triangles", "values")},
    } | more.pop("inputs", {})  # fmt: skip
    row["stored"], row["height_in"], row["width_in"] = inputs["pictures"].shape[:3]
    row["count"], row["vertices"], row["faces"] = len(a["weights"]), len(a["target"]), len(a["triangles"])
    row["channels"], row["height"], row["width"] = a["values"].shape[1], height, width
    warp_cuda.cells(row[None])
    extent = {name: int(size[0]) for name, size in warp_cuda.extents(row[None]).items()}
    inputs |= {name: np.zeros(extent[name] // 4, np.uint32) for name in ("edges", "bins", "field")}
    for name, array in inputs.items():
        row[name] = fenced(array).ctypes.data
    made = fenced(np.zeros((2, height, width), np.uint32))
    row["colours"], row["mask"] = made[0].ctypes.data, made[1].ctypes.data
    for name, value in more.items():
        row[name] = value
    return made


def shown(operator: str, made: Array) -> Array:
    """What kernels have made, as numbers: of a warp (h, w, 5) colours and values, of patches (h, w, 3)."""
    if operator == "warp":
        colours, values = made[0][..., None].view(np.uint8)[..., :3], made[1][..., None].view(np.float16)
        return np.concatenate([colours, values], -1, dtype=float)
    return (made[..., :3] if operator in ("sharpen", "interior") else made).astype(float)


def moved(operator: str, row: Array) -> int:
    """Bytes of all that a session is given and makes, by its descriptor."""
    scratch = {"edges", "bins", "field", "small", "spread", "across", "soft", "sums", "amount"}
    return sum(int(size[0]) for name, size in ABOUT[operator].extents(row[None]).items() if name not in scratch and row[name])


def inner(case: Case) -> Array:
    mask = np.zeros(case.arguments["size"], bool)
    mask[5:-6, 4:-5] = True  # as in test_native: the outermost pixels lie partly outside the mesh
    return mask


def test_warp_in_one_launch_is_definition_and_twin(kernels: Callable[[str], HostKernels]) -> None:
    fenced, cases = Fenced(), list(warp_cases.cases())
    sessions = fenced(np.zeros(len(cases) + 1, warp_cuda.DESCRIPTOR))  # the last one is an empty picture
    outs = [warp_session(fenced, row, case) for row, case in zip(sessions, cases, strict=False)]
    launch(kernels("warp"), "warp", sessions)
    fenced.check()
    for row, case, out in zip(sessions, cases, outs, strict=False):
        assert moved("warp", row) == case.bytes
        same_as_twin(case, out)
        picture, values = warp_reference.warp(**case.arguments)
        seen = shown("warp", out)
        assert np.abs(seen[:, :, :3] - picture)[inner(case)].mean() <= case.tolerance
        assert np.abs(seen[:, :, 3:] - values)[inner(case)].mean() < 0.02


def same_as_twin(case: Case, out: Array, others: int = 0) -> None:
    """At edges and folds too the same triangles are shown, but for so many pixels."""
    picture, values = warp_cpu.warp(**case.arguments)
    seen = shown("warp", out)
    colours = np.abs(seen[:, :, :3] - picture).max(2)
    carried = np.abs(seen[:, :, 3 : 3 + values.shape[2]] - values).max(2)
    assert colours.mean() < 1  # the twin's bytes are rounded
    assert ((colours > 4) | (carried > 2e-3)).sum() <= others


def test_warp_adds_the_flow(kernels: Callable[[str], HostKernels]) -> None:
    fenced, random = Fenced(), np.random.default_rng(3)
    case = list(warp_cases.cases())[2]
    a = case.arguments
    flow = np.broadcast_to(np.array([1.5, -2.25], np.float16), (len(a["pictures"]), *a["size"], 2))
    wild = np.where(random.random(flow.shape) < 0.3, [[np.nan, np.inf]], random.normal(0, 1e4, flow.shape)).astype(np.float16)
    sessions = fenced(np.zeros(2, warp_cuda.DESCRIPTOR))
    out = warp_session(fenced, sessions[0], case, inputs={"flow": flow})
    thrown = warp_session(fenced, sessions[1], case, inputs={"flow": wild})
    launch(kernels("warp"), "warp", sessions)
    fenced.check()
    shifted = Case("shifted", a | {"sources": a["sources"] + np.array([1.5, -2.25], np.float32)}, case.tolerance, 0)
    same_as_twin(shifted, out)
    assert np.isfinite(shown("warp", thrown)).all()


def random_mesh(random: np.random.Generator, shape: tuple[int, int], count: int) -> Case:
    low, high = np.array([0, 0]), np.array(shape[::-1]) - 1
    target = random.uniform(low, high, (60, 2)).astype(np.float32)
    triangles = random.integers(0, 60, (70, 3)).astype(np.int32)
    triangles[::9, 2] = triangles[::9, 1]
    smooth = np.add.outer(np.arange(shape[0] + 5) * 60 / shape[0], np.arange(shape[1] + 3) * 90 / shape[1])
    arguments = {
        "pictures": [np.clip(smooth[:, :, None] + [0, 20, 90], 0, 255).astype(np.uint8)] * count,
        "weights": np.full(count, 1 / count, np.float32), "target": target, "triangles": triangles,
        "sources": random.uniform(low, high, (count, 60, 2)).astype(np.float32),
        "values": random.uniform(0, 1, (60, 5)).astype(np.float32)[:, :2], "size": shape,
    }  # fmt: skip
    return Case("random", arguments, tolerance=1.0, bytes=0)


@pytest.mark.parametrize("shape", [(1, 1), (17, 33), (31, 16), (144, 90), (201, 270)], ids=str)
def test_warp_of_random_meshes_shows_what_the_twin_shows(kernels: Callable[[str], HostKernels], shape: tuple[int, int]) -> None:
    """More triangles than a word of the bins holds, folded over each other, flat ones too, in pictures of any size."""
    fenced, random = Fenced(), np.random.default_rng(shape[0])
    cases = [random_mesh(random, shape, count) for count in (1, 2, 3)]
    sessions = fenced(np.zeros(len(cases), warp_cuda.DESCRIPTOR))
    outs = [warp_session(fenced, row, case) for row, case in zip(sessions, cases, strict=True)]
    launch(kernels("warp"), "warp", sessions)
    fenced.check()
    for case, out in zip(cases, outs, strict=True):
        same_as_twin(case, out, others=1)  # where an edge passes just between two cells


def test_warp_blends_those_of_the_stored_pictures_that_are_named(kernels: Callable[[str], HostKernels]) -> None:
    fenced, case = Fenced(), list(warp_cases.cases())[2]
    a = case.arguments
    which = fenced(np.array([2, 0, 7], np.int32))  # there is no picture 7
    sessions = fenced(np.zeros(1, warp_cuda.DESCRIPTOR))
    out = warp_session(fenced, sessions[0], case, which=which.ctypes.data)
    launch(kernels("warp"), "warp", sessions)
    fenced.check()
    named = {"pictures": [a["pictures"][k] for k in (2, 0)], "sources": a["sources"][[2, 0]], "weights": a["weights"][:2]}
    same_as_twin(Case("named", a | named, case.tolerance, 0), out)


def composite_session(fenced: Fenced, row: Any, a: dict[str, Any]) -> Array:
    frame, (h, w) = a["frame"], a["alpha"].shape
    row["height"], row["width"], row["x"], row["y"] = len(frame) * 2 // 3, frame.shape[1], *a["corner"]
    row["h"], row["w"], row["strength"] = h, w, 1
    composite_cuda.field(row[None], np.array([a["shade"]]))
    scratch = np.full((row["rows"], row["columns"], 4), np.nan, np.float32)
    mask = np.stack([a["alpha"], a["ring"]], -1).astype(np.float16)
    inside = placed(
        fenced, row, frame=frame, out=np.zeros_like(frame), colours=filled(a["patch"]), mask=mask, small=scratch, spread=scratch
    )
    return inside["out"]


def test_composite_in_one_launch_is_definition_and_twin(kernels: Callable[[str], HostKernels]) -> None:
    fenced, cases = Fenced(), list(composite_cases.cases())
    sessions = fenced(np.zeros(len(cases) + 1, composite_cuda.DESCRIPTOR))  # the last one is an empty frame
    outs = [composite_session(fenced, row, case.arguments) for row, case in zip(sessions, cases, strict=False)]
    launch(kernels("composite"), "composite", sessions)
    fenced.check()
    for row, case, out in zip(sessions, cases, outs, strict=False):
        assert moved("composite", row) == case.bytes
        a = case.arguments
        for true in (composite_reference.composite(**a), composite(**a)):
            difference = np.abs(out.astype(int) - true)
            assert difference.mean() <= 0.1 * case.tolerance
            assert difference.max() <= 3
        if case.name == "empty mask":
            assert np.array_equal(out, a["frame"])


def test_a_picture_without_colour_keeps_its_tint(kernels: Callable[[str], HostKernels]) -> None:
    fenced, a = Fenced(), next(iter(composite_cases.cases())).arguments
    sessions = fenced(np.zeros(2, composite_cuda.DESCRIPTOR))
    coloured, grey = (composite_session(fenced, row, a) for row in sessions)
    sessions["grey"] = [0, 1]
    launch(kernels("composite"), "composite", sessions)
    luma = len(a["frame"]) * 2 // 3
    assert np.array_equal(grey[:luma], coloured[:luma])
    assert np.array_equal(grey[luma:], a["frame"][luma:])
    assert not np.array_equal(coloured[luma:], a["frame"][luma:])


def filled(patch: Array) -> Array:
    """A patch as `warp` leaves it for the next kernel."""
    return np.dstack([patch, np.zeros(patch.shape[:2], np.uint8)])


def placed(fenced: Fenced, row: Any, **arrays: Array) -> dict[str, Array]:
    inside = {name: fenced(array) for name, array in arrays.items()}
    for name, array in inside.items():
        row[name] = array.ctypes.data
    return inside


def sharpen_session(fenced: Fenced, row: Any, a: dict[str, Any]) -> tuple[Array, Array]:
    row["h"], row["w"] = h, w = a["patch"].shape[:2]
    row["top"], row["bottom"], row["left"], row["right"] = a["box"]
    for name in ("wanted", "before", "quick"):
        row[name] = a[name]
    sharpen_cuda.blur(row[None], np.array([a["sigma"]]))
    inside = placed(
        fenced, row, colours=filled(a["patch"]), across=np.zeros((h, w), np.uint64), soft=np.zeros((h, w), np.uint32),
        sums=np.zeros((5, sharpen_cuda.PARTS), np.int64), amount=np.zeros(1, np.float32),
    )  # fmt: skip
    return inside["colours"], inside["amount"]


def test_sharpen_in_one_launch_is_definition_and_twin(kernels: Callable[[str], HostKernels]) -> None:
    fenced, cases = Fenced(), list(sharpen_cases.cases())
    sessions = fenced(np.zeros(len(cases) + 1, sharpen_cuda.DESCRIPTOR))  # the last one is an empty patch
    outs = [sharpen_session(fenced, row, case.arguments) for row, case in zip(sessions, cases, strict=False)]
    launch(kernels("sharpen"), "sharpen", sessions)
    fenced.check()
    for row, case, (out, amount) in zip(sessions, cases, outs, strict=False):
        assert moved("sharpen", row) * 2 == case.bytes  # what is given is changed where it lies
        for true, given_back in (sharpen_reference.sharpen(**case.arguments), sharpen(**case.arguments)):
            difference = np.abs(shown("sharpen", out) - true)
            assert difference.mean() <= case.tolerance
            assert difference.max() <= 2
            assert amount[0] == pytest.approx(given_back, abs=0.01)
    by_name = {case.name: float(amount[0]) for case, (_, amount) in zip(cases, outs, strict=True)}
    assert 0 < by_name["soft"] < 1
    assert by_name["hopeless"] == 1
    assert by_name["small"] == pytest.approx(0.2)


@pytest.mark.parametrize("sigma", [0.3, 0.62, 1.0, 2.37, 4.9])
def test_the_gaussian_of_bytes_is_opencvs(sigma: float) -> None:
    sessions = np.zeros(2, sharpen_cuda.DESCRIPTOR)
    sharpen_cuda.blur(sessions, np.array([2 * sigma, sigma]))
    row = sessions[1]
    taps = row["taps"][: row["reach"] + 1]
    point = np.zeros((64, 64), np.uint8)
    point[32, 32] = 255
    spread = cv2.GaussianBlur(point, (0, 0), sigma)[32:, 32:]
    ours = (np.multiply.outer(taps, taps) * 255 + (1 << 15)) >> 16
    assert np.array_equal(spread[: len(taps), : len(taps)], ours)
    assert not spread[len(taps) :].any()


def interior_session(fenced: Fenced, row: Any, a: dict[str, Any]) -> Array:
    row["h"], row["w"] = a["patch"].shape[:2]
    row["x"], row["y"], row["rows"], row["columns"] = *a["corner"], *a["size"]
    row["samples"] = a["profile"].shape[1]
    for name in ("place", "light", "unit", "soft", "share"):
        row[name] = a[name]
    return placed(fenced, row, colours=filled(a["patch"]), profile=a["profile"])["colours"]


def test_interior_in_one_launch_is_definition_and_twin(kernels: Callable[[str], HostKernels]) -> None:
    fenced, cases = Fenced(), list(interior_cases.cases())
    sessions = fenced(np.zeros(len(cases) + 1, interior_cuda.DESCRIPTOR))  # the last one is an empty patch
    outs = [interior_session(fenced, row, case.arguments) for row, case in zip(sessions, cases, strict=False)]
    launch(kernels("interior"), "interior", sessions)
    fenced.check()
    for case, out in zip(cases, outs, strict=True):
        patch = case.arguments["patch"]
        for true in (interior_reference.interior(**case.arguments), interior(**case.arguments)):
            difference = np.abs(shown("interior", out) - true)
            assert difference.mean() <= case.tolerance
            assert difference.max() <= 1
        assert (out[:, :, :3] != patch).any() == (case.name != "shut")


def copy_session(fenced: Fenced, row: Any, a: dict[str, Any]) -> Array:
    for name in ("lines", "length", "from_step", "to_step"):
        row[name] = a[name]
    return placed(fenced, row, source=a["source"], target=a["target"])["target"]


def test_copy_in_one_launch_is_its_definition(kernels: Callable[[str], HostKernels]) -> None:
    fenced, cases = Fenced(), list(copy_cases.cases())
    sessions = fenced(np.zeros(len(cases), copy_cuda.DESCRIPTOR))
    outs = [copy_session(fenced, row, case.arguments) for row, case in zip(sessions, cases, strict=True)]
    launch(kernels("copy"), "copy", sessions)
    fenced.check()
    for case, out in zip(cases, outs, strict=True):
        assert np.array_equal(out, copy_reference.copy(**case.arguments))
    for harm, words in (({"to_step": 3}, "over each other"), ({"lines": -1}, "negative"), ({"source": 1}, "aligned to 16")):
        bad = sessions[:1].copy()
        for name, value in harm.items():
            bad[name] = value
        with pytest.raises(ValueError, match=words):
            check("copy", bad)


def table(operator: str) -> list[Case]:
    cases = {"warp": warp_cases, "sharpen": sharpen_cases, "interior": interior_cases, "composite": composite_cases, "copy": copy_cases}
    more = [random_mesh(np.random.default_rng(at), (201, 270), 1) for at in range(4)] if operator == "warp" else []
    return [*cases[operator].cases(), *more]


def laid(fenced: Fenced, operator: str, cases: list[Case]) -> tuple[Array, list[Array]]:
    """Cases as sessions, and what each makes."""
    sessions = fenced(np.zeros(len(cases), ABOUT[operator].DESCRIPTOR))
    made: dict[str, Callable[[Any, Case], Array]] = {
        "warp": lambda row, case: warp_session(fenced, row, case),
        "sharpen": lambda row, case: sharpen_session(fenced, row, case.arguments)[0],
        "interior": lambda row, case: interior_session(fenced, row, case.arguments),
        "composite": lambda row, case: composite_session(fenced, row, case.arguments),
        "copy": lambda row, case: copy_session(fenced, row, case.arguments),
    }
    return sessions, [made[operator](row, case) for row, case in zip(sessions, cases, strict=True)]


def patches(operator: str, random: np.random.Generator) -> Iterator[Case]:
    """Of random sizes, in boxes and frames of random sizes."""
    for h, w in random.integers(9, 120, (12, 2)).tolist():
        top, left = random.integers(0, [h // 2, w // 2]).tolist()
        bottom, right = random.integers([h // 2 + 1, w // 2 + 1], [h + 1, w + 1]).tolist()
        if operator == "sharpen":
            yield sharpen_cases.case("", random, (h, w), (top, bottom, left, right), random.uniform(0.4, 3), 300.0, -1.0)
        elif operator == "interior":
            part = (bottom - top, right - left)
            yield interior_cases.case(
                "", random, (h, w), (left, top), part, random.uniform(20, 300), random.uniform(1, 4), random.uniform(-0.5, 0.5), 0.9, 180
            )
        else:
            part, (x, y) = (h // 2 * 2, w // 2 * 2), (left * 2, top * 2)
            yield composite_cases.case("", random, (part[0] + y + 4, part[1] + x + 2), (x, y), part, random.uniform(3, 40))


@pytest.mark.parametrize("operator", ["sharpen", "interior", "composite"])
def test_patches_of_random_sizes_are_the_twins(kernels: Callable[[str], HostKernels], operator: str) -> None:
    fenced, cases = Fenced(), list(patches(operator, np.random.default_rng(12)))
    sessions, outs = laid(fenced, operator, cases)
    launch(kernels(operator), operator, sessions)
    fenced.check()
    twins: dict[str, Callable[..., Array]] = {"sharpen": lambda **a: sharpen(**a)[0], "interior": interior, "composite": composite}
    for case, out in zip(cases, outs, strict=True):
        difference = np.abs(shown(operator, out) - twins[operator](**case.arguments))
        assert difference.mean() <= 0.1
        assert difference.max() <= 3


@pytest.mark.parametrize("operator", list(OPERATORS))
def test_threads_may_run_in_any_order(kernels: Callable[[str], HostKernels], operator: str) -> None:
    """On a card they run at once: what a kernel makes must not depend on what others of its threads have made."""
    fenced, outs = Fenced(), []
    for backwards in (False, True):
        sessions, made = laid(fenced, operator, table(operator))
        launch(replace(kernels(operator), backwards=backwards), operator, sessions)
        outs.append(made)
    fenced.check()
    assert all(np.array_equal(one, other) for one, other in zip(*outs, strict=True))


@pytest.mark.parametrize("operator", list(OPERATORS))
def test_what_a_card_does_otherwise_than_this_processor(
    kernels: Callable[[str], HostKernels], operator: str, kernels_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Products and sums are made one, with one rounding; and nothing relies on what C++ leaves open: addresses that are not aligned, whole
    numbers that overflow, numbers that do not fit.
    """
    contracted = ["-ffp-contract=fast", *(["-mfma"] if " fma " in Path("/proc/cpuinfo").read_text() else [])]
    checked = ["-fsanitize=undefined,float-cast-overflow", "-fno-sanitize=vptr"]
    try:
        harsh = host(operator, kernels_folder, [*contracted, *checked])
    except CompileError:
        harsh = host(operator, kernels_folder, contracted)  # a compiler that came without what checks
    fenced = Fenced()
    (plain, true), (sessions, made) = (laid(fenced, operator, table(operator)) for _ in range(2))
    launch(kernels(operator), operator, plain)
    launch(harsh, operator, sessions)
    fenced.check()
    for one, other in zip(made, true, strict=True):
        difference = np.abs(shown(operator, one) - shown(operator, other))
        assert difference.max(initial=0) <= {"copy": 0}.get(operator, 1)
        assert difference.sum() <= 0.01 * max(difference.size, 1)
    assert "runtime error" not in capfd.readouterr().err


def test_no_sessions_are_no_work(kernels: Callable[[str], HostKernels]) -> None:
    for operator, about in ABOUT.items():
        launch(kernels(operator), operator, np.zeros(0, about.DESCRIPTOR))
        assert grids(operator, np.zeros(0, about.DESCRIPTOR)) == []


def test_grids_are_as_large_as_the_largest_session() -> None:
    fenced, case = Fenced(), next(iter(warp_cases.cases()))
    sessions = np.zeros(3, warp_cuda.DESCRIPTOR)
    warp_session(fenced, sessions[0], case)
    warp_session(fenced, sessions[1], Case("", case.arguments | {"size": (200, 100)}, 0, 0))
    cells = -(-144 * 72 // 256)  # of the grid
    assert grids("warp", sessions) == [("warp_edges", (1, 3)), ("warp_bin", (1, 3)), ("warp_field", (cells, 3)), ("warp", (79, 3))]


def test_what_does_not_fit_is_refused_before_it_runs() -> None:
    fenced, a = Fenced(), next(iter(composite_cases.cases())).arguments
    good = np.zeros(1, composite_cuda.DESCRIPTOR)
    composite_session(fenced, good[0], a)
    whole = [Room(int(good[name][0]), int(size[0])) for name, size in composite_cuda.extents(good).items()]
    check("composite", good, whole)
    for harm, words in (
        ({"colours": good["colours"] + 2}, "colours must be aligned to 4 bytes"), ({"frame": 0}, "has no frame"), ({"x": 11}, "not even"),
        ({"w": 60}, "does not fit its frame"), ({"sigma": np.nan}, "Gaussian"), ({"sigma": np.inf}, "Gaussian"),
        ({"height": -2}, "negative"),
    ):  # fmt: skip
        bad = good.copy()
        for name, value in harm.items():
            bad[name] = value
        with pytest.raises(ValueError, match=words):
            check("composite", bad)
    for at, name in enumerate(composite_cuda.extents(good)):
        with pytest.raises(ValueError, match=f"{name} goes beyond"):
            check("composite", good, [*whole[:at], Room(whole[at].address, whole[at].size - 1), *whole[at + 1 :]])
    with pytest.raises(ValueError, match="descriptors of its own"):
        check("warp", good)
    many = np.zeros(1, warp_cuda.DESCRIPTOR)
    many["channels"] = 3
    with pytest.raises(ValueError, match="more than 2 values"):
        check("warp", many)
    for about, harm, words in (
        (sharpen_cuda, {"bottom": 3}, "box"),
        (interior_cuda, {"rows": 3}, "part"),
        (interior_cuda, {"rows": 3, "columns": 3, "h": 3, "w": 3, "samples": 2, "soft": 0.5}, "pixel"),
        (interior_cuda, {"rows": 3, "columns": 3, "h": 3, "w": 3, "samples": 1, "soft": 1}, "samples"),
        (sharpen_cuda, {"reach": 16}, "16 pixels"),
    ):
        odd = np.zeros(1, about.DESCRIPTOR)
        for name, value in harm.items():
            odd[name] = value
        with pytest.raises(ValueError, match=words):
            check("sharpen" if about is sharpen_cuda else "interior", odd)


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

"""Pictures made on a card: the host takes its place, so that all but the launching itself is run here; a card too where there is one."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from engines import face
from engines.actor import Actor
from engines.appearance.card import CardPainter
from engines.appearance.engine import WarpAppearance, WarpState
from engines.errors import BackendFault, CardFull
from engines.person import PRESENTER, Mouth, shape
from engines.pipeline import ConversationState, Pipeline
from engines.spec import BACKENDS
from native.cuda.device import Card, CardError, Device, Host
from native.planes import from_rgb, to_rgb
from tests.driver import STREAM, HostDriver
from tests.people import small_actor
from tests.test_features import speech

Array = np.ndarray[Any, Any]


def a_card() -> Card | None:
    try:
        return Card()
    except CardError:
        return None


@pytest.fixture(scope="module", params=["host", "card"])
def device(request: pytest.FixtureRequest, kernels_folder: Path) -> Iterator[Device]:
    if request.param == "host":
        yield Host(kernels_folder)
    elif card := a_card():
        yield card
    else:
        pytest.skip("no NVIDIA card here")


class Counted:
    """A device that counts what is asked of it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.counts: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        self.counts[name] = self.counts.get(name, 0) + 1
        return getattr(self._device, name)


def photo(actor: Actor) -> Actor:
    """The same, known from one picture with a shut mouth."""
    shut = int(np.argmin(face.opening(actor.references.motion)))
    kept = {name: getattr(actor.references, name)[shut : shut + 1] for name in ("frame", "pictures", "crops", "motion")}
    return replace(actor, name="photo", references=replace(actor.references, **kept))


def grey(actor: Actor) -> Actor:
    """The same in frames without colour."""
    luma, frames = actor.size[1], [frame.copy() for frame in actor.frames[:9]]
    for frame in frames:
        frame[luma:] = 131
    references = replace(actor.references, frame=actor.references.frame % 9)
    return replace(actor, name="grey", poses=actor.poses[:9], frames=frames, references=references)


def larger(actor: Actor, factor: float = 1.6) -> Actor:
    """The same in larger frames, nothing of which is a multiple of much: its crops are as they were."""
    side = round(actor.size[0] * factor / 2) * 2
    frames = [from_rgb(cv2.resize(to_rgb(frame), (side, side + 6), interpolation=cv2.INTER_CUBIC)) for frame in actor.frames[:9]]
    poses = actor.poses[:9].copy()
    poses[:, :, 3] = (poses[:, :, 3] + [0.5, 0.5, 0]) * (side / actor.size[0]) - [0.5, 0.5, 0]
    poses[:, :, :3] *= side / actor.size[0]
    references = replace(actor.references, frame=actor.references.frame % 9)
    return replace(actor, name="larger", size=(side, side + 6), poses=poses.astype(np.float32), frames=frames, references=references)


def mouth_box(actor: Actor, index: int, motion: Array) -> tuple[slice, slice]:
    """1.6 times as wide and 1.8 times as high as the lips."""
    lips = face.from_head(face.with_motion(actor.neutral, motion), actor.poses[index])[list(face.LIPS), :2]
    middle, half = (lips.min(0) + lips.max(0)) / 2, (lips.max(0) - lips.min(0)) / 2 * [1.6, 1.8]
    (x0, y0), (x1, y1) = np.maximum(middle - half, 0).astype(int), (middle + half).astype(int)
    return slice(y0, y1), slice(x0, x1)


def agree(actor: Actor, index: int, motion: Array, one: Array, other: Array) -> None:
    difference = np.abs(to_rgb(one).astype(int) - to_rgb(other))[mouth_box(actor, index, motion)]
    assert difference.mean() <= 2
    assert difference.max() <= 12


def step_both(pipelines: tuple[Pipeline, Pipeline], talks: list[list[ConversationState]], heard: Array, *, seen: bool = True) -> None:
    """The same tick in both pipelines: `talks` go on; their pictures, if they are made, agree."""
    pictures = []
    for k, pipeline in enumerate(pipelines):
        unseen = () if seen else range(len(heard))
        talks[k], made = pipeline.step(talks[k], heard, unseen, plain=True)  # a card refines nothing
        pictures.append(made)
    for talk, one, other in zip(talks[0], *pictures, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            index = talk.actor.frame_at(talk.first + talk.tick - 1 - pipelines[0].look_ahead)
            agree(talk.actor, index, talk.motion.shown, one, other)


def test_pictures_are_those_of_the_cpu(device: Device) -> None:
    """Several actors, sizes and mouths at once: an open one that no reference shows, faces half and wholly lost, one without colour."""
    small = small_actor()
    lost = replace(small, name="lost", shown=np.where(np.arange(len(small.poses)) == 4, 0, 0.5).astype(np.float32))
    rows = [
        (small, 3, Mouth()), (small, 20, Mouth(16)), (photo(small), 0, Mouth(24)), (lost, 4, Mouth(10)), (lost, 5, Mouth(10)),
        (larger(small), 7, Mouth(12, width=0.6)), (small, 3, Mouth(8, width=-0.5)), (grey(small), 2, Mouth(12)),
    ]  # fmt: skip
    motion = np.stack([face.motion_of(shape(PRESENTER, mouth)) for _, _, mouth in rows])
    engines = WarpAppearance(), WarpAppearance(painter=CardPainter(device))
    states: list[list[WarpState]] = [[engine.start(actor) for actor, _, _ in rows] for engine in engines]
    for at in range(2):  # what was given back of detail is carried on
        index = [(index + at) % len(actor.frames) for actor, index, _ in rows]
        made = []
        for k, engine in enumerate(engines):
            states[k], pictures = engine.step(states[k], index, motion)
            made.append(pictures)
        for row, (actor, _, _) in enumerate(rows):
            agree(actor, index[row], motion[row], made[0][row], made[1][row])
            assert states[1][row].crisp == pytest.approx(states[0][row].crisp, abs=0.05)
            outside = np.ones(actor.size[::-1], bool)
            outside[mouth_box(actor, index[row], motion[row])] = False
            away = np.abs(to_rgb(made[0][row]).astype(int) - to_rgb(made[1][row]))[outside]
            assert away.mean() < 0.3
            if actor is lost and index[row] == 4:
                assert made[1][row] is actor.frames[4]
    assert any(state.crisp > 0.05 for state in states[0])


def test_a_tick_is_one_copy_in_and_one_out_and_takes_no_memory(device: Device) -> None:
    counted = Counted(device)
    painter = CardPainter(counted)
    engine, actor = WarpAppearance(painter=painter), small_actor()
    states = [engine.start(actor)] * 3
    motion = np.stack([face.motion_of(shape(PRESENTER, Mouth(opening))) for opening in (4, 8, 24)])
    for _ in range(4):
        states, shown = engine.step(states, [1, 2, 3], motion)
        counted.counts.clear()
    kept = [picture.copy() for picture in shown]
    states, _ = engine.step(states, [2, 3, 1], motion)
    assert all(np.array_equal(*pair) for pair in zip(shown, kept, strict=True))  # who has pictures keeps them
    assert counted.counts.pop("run") <= 4
    assert counted.counts == {"put": 1, "get": 1, "mark": 1, "wait": 1}


def test_rows_are_what_they_are_alone_however_many(device: Device) -> None:
    engine, actor = WarpAppearance(painter=CardPainter(device)), small_actor()
    openings = np.linspace(0, 20, 70)  # more than go into a launch
    motion = np.stack([face.motion_of(shape(PRESENTER, Mouth(opening))) for opening in openings])
    state = engine.start(actor)
    after, pictures = engine.step([state] * 70, [at % 30 for at in range(70)], motion)
    for at in (0, 40, 69):
        (alone,), (picture,) = engine.step([state], [at % 30], motion[at : at + 1])
        assert np.array_equal(picture, pictures[at])
        assert alone.crisp == after[at].crisp
    assert engine.step([], [], motion[:0]) == ([], [])


def test_actors_that_were_not_shown_for_longest_leave(device: Device) -> None:
    small, big = small_actor(), larger(small_actor())
    crowd = [replace(small, name=f"{at}") for at in range(3)]
    open_mouth = face.motion_of(shape(PRESENTER, Mouth(10)))[None]
    probe = CardPainter(device)
    start = WarpAppearance(painter=probe)
    start.step([start.start(small)], [0], open_mouth)
    one = probe.shelf.used
    counted = Counted(device)
    painter = CardPainter(counted, limit=2 * one)
    engine = WarpAppearance(painter=painter)
    states = [engine.start(actor) for actor in crowd]
    first = [engine.step([state], [3], open_mouth)[1][0] for state in states]  # the third takes the first one's place
    assert painter.shelf.used == 2 * one
    for state, picture in zip(states, first, strict=True):
        assert np.array_equal(engine.step([state], [3], open_mouth)[1][0], picture)
        assert painter.shelf.used <= 2 * one
    counted.counts.clear()
    engine.step([states[2]], [3], open_mouth)  # it is still there
    assert "room" not in counted.counts
    _, together = engine.step(states, [3, 3, 3], np.repeat(open_mouth, 3, 0))  # more than there is room for: they take turns
    assert all(np.array_equal(picture, alone) for picture, alone in zip(together, first, strict=True))
    assert painter.shelf.used <= 2 * one
    little = WarpAppearance(painter=CardPainter(device, limit=one - 1))
    with pytest.raises(CardFull, match=r"no room for actor small: it needs \d+ MiB") as full:
        little.step([little.start(big), little.start(small)], [1, 1], np.repeat(open_mouth, 2, 0))
    assert full.value.again
    _, (shown,) = little.step([little.start(big)], [1], open_mouth)  # what was refused broke nothing
    agree(big, 1, open_mouth[0], shown, WarpAppearance().step([WarpAppearance().start(big)], [1], open_mouth)[1][0])


def test_an_actor_that_nobody_has_any_more_leaves_at_once(device: Device) -> None:
    painter, open_mouth = CardPainter(device), face.motion_of(shape(PRESENTER, Mouth(10)))[None]
    used = []
    for name in ("one", "two"):
        engine, actor = WarpAppearance(painter=painter), replace(small_actor(), name=name)
        engine.step([engine.start(actor)], [3], open_mouth)
        used.append((painter.shelf.actors, painter.shelf.used))
        del engine, actor
        gc.collect()
    assert used[0] == used[1]
    assert used[0][0] == 1


def test_frames_of_a_long_actor_take_turns(device: Device) -> None:
    small = small_actor()
    count = 200
    long = replace(
        small,
        name="long",
        poses=np.resize(small.poses, (count, 3, 4)),
        frames=[small.frames[at % len(small.frames)] for at in range(count)],
        resting=None,
    )
    open_mouth = face.motion_of(shape(PRESENTER, Mouth(10)))[None]
    frame, references = long.frames[0].nbytes, small.references.pictures[..., 0].size * 4
    painter = CardPainter(device, limit=references + 70 * frame + 200_000)
    engine = WarpAppearance(painter=painter)
    state, plain = engine.start(long), WarpAppearance()
    for index in (0, 63, 64, 150, 0, 199, *range(100, 190, 3), 64):
        _, (picture,) = engine.step([state], [index], open_mouth)
        _, (true,) = plain.step([plain.start(long)], [index], open_mouth)
        agree(long, index, open_mouth[0], picture, true)
    assert painter.shelf.used <= references + 70 * frame + 200_000


def test_a_whole_conversation_looks_the_same(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(device, Host):  # a card is asked for all of it, nets and pictures
        monkeypatch.setitem(sys.modules, "on_device", SimpleNamespace(options=lambda: ({}, {"painter": CardPainter(device)})))
        monkeypatch.setitem(BACKENDS, "cuda", "on_device:options")
    pipelines, small = (Pipeline(), Pipeline(backend="cuda")), small_actor()
    half = replace(small, name="half", shown=np.full(len(small.poses), 0.7, np.float32))
    actors = [small, photo(small), larger(small), half]
    talks = [[pipeline.start(actor, seed=at, first=7 * at) for at, actor in enumerate(actors)] for pipeline in pipelines]
    for tick, block in enumerate(speech(2.4).reshape(-1, 640)[:60]):
        step_both(pipelines, talks, np.outer(np.array([1, 0.3, 0.6, 0.8], np.float32), block), seen=tick % 5 == 4)


@pytest.mark.skipif(a_card() is not None, reason="there is a card")
def test_without_a_card_the_backend_says_so() -> None:
    with pytest.raises(CardError, match="No NVIDIA card can be used here"):
        Card()
    pytest.importorskip("torch", reason="the backend needs the extra `gpu`")
    pytest.importorskip("onnx", reason="the backend needs the extra `gpu`")
    with pytest.raises(BackendFault, match=r"backend cuda cannot be had.*--backend cpu"):
        Pipeline(backend="cuda")


BARE = """
import sys
from importlib import import_module
from pathlib import Path
sys.modules.update(dict.fromkeys(("av", "cv2", "mediapipe", "onnx", "openvino", "platformdirs")))

def bench(name, *options):
    sys.argv = [name, *options]
    try:
        import_module(f"benchmarks.{name}").main()
    except SystemExit as end:
        return end.code

assert [bench("kernels"), bench("stages", "--backend", "cuda"), bench("capacity", "--backend", "cuda")] == [2, 2, 2]
try:
    from engines.backends import cuda
except ModuleNotFoundError:
    sys.exit(3)
from engines.appearance.card import CardPainter
from engines.backends.weights import read_weights
from native.cuda.device import Host
nets = {name: cuda.CudaNet(read_weights(f"{name}.onnx"), device="cpu") for name in ("ears", "lips")}
cuda.on_card = lambda: (nets, {"painter": CardPainter(Host(Path("FOLDER")))})
bench("stages", "--backend", "cuda", "--batches", "1", "--ticks", "2")
"""


@pytest.mark.slow
@pytest.mark.skipif(a_card() is not None, reason="there is a card")
def test_the_benchmarks_need_little_and_say_what_they_lack(kernels_folder: Path) -> None:
    """They are meant for machines on which nothing is installed but torch."""
    code = BARE.replace("FOLDER", str(kernels_folder))
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=100)
    lines = done.stderr.splitlines()
    assert len(lines) == 3, done.stderr
    assert all(line.startswith(("The kernels cannot be measured: ", "This cannot be measured: ")) for line in lines)
    if done.returncode == 3:
        pytest.skip("no torch here")
    assert all("card" in line for line in lines)
    assert "without cv2, av, platformdirs, onnx: stand-ins" in done.stdout
    assert "cuda on host" in done.stdout
    assert '{"backend": "cuda", "median_ms": {"1": ' in done.stdout.splitlines()[-1]


def test_a_card_is_asked_as_its_driver_wants_it(kernels_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = HostDriver(kernels_folder)
    monkeypatch.setattr("cuda.bindings.driver", driver, raising=False)
    monkeypatch.setattr("native.cuda.device.cubin", driver.code)
    card = Card(STREAM)
    assert (card.name, card.architecture, card.free) == ("acted", "sm_89", 1 << 30)
    engines = [WarpAppearance(painter=CardPainter(device)) for device in (card, Host(kernels_folder))]
    actor, motion = photo(small_actor()), np.stack([face.motion_of(shape(PRESENTER, Mouth(opening))) for opening in (3, 24)])
    pictures = [engine.step([engine.start(actor)] * 2, [4, 5], motion)[1] for engine in engines]
    assert np.array_equal(*pictures)
    card.leave(card.room(100))
    assert driver.freed >= 1
    monkeypatch.setattr("cuda.bindings.driver", HostDriver(kernels_folder, status=100), raising=False)
    with pytest.raises(CardError, match=r"No NVIDIA card can be used here: CUDA answered CUDA_ERROR_NO_DEVICE\.$"):
        Card(STREAM)


def test_a_join_copies_beside_the_ticks(kernels_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who loads an actor, in a thread of its own, copies it to the card: the first tick with it copies what all ticks do, and no more."""
    driver = HostDriver(kernels_folder)
    monkeypatch.setattr("cuda.bindings.driver", driver, raising=False)
    monkeypatch.setattr("native.cuda.device.cubin", driver.code)
    counted = Counted(Card(STREAM))
    engine, motion = WarpAppearance(painter=CardPainter(counted)), face.motion_of(shape(PRESENTER, Mouth(10)))[None]
    known = engine.start(small_actor())
    for _ in range(4):
        (known,), before = engine.step([known], [3], motion)
    with ThreadPoolExecutor(1) as loader:
        joined = loader.submit(engine.start, replace(small_actor(), name="joined")).result()
    counted.counts.clear()
    _, pictures = engine.step([known, joined], [3, 3], np.repeat(motion, 2, 0))
    assert counted.counts["put"] == 1
    assert np.array_equal(pictures[1], WarpAppearance(painter=CardPainter(Host(kernels_folder))).step([joined], [3], motion)[1][0])
    assert np.array_equal(pictures[0], before[0])

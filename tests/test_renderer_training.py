"""The renderer's training: drawn people are packed, nets learn, and what is exported renders what training rendered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
onnx = pytest.importorskip("onnx", reason="training needs the extra `train`")

from engines import face  # noqa: E402
from engines.appearance.config import NETS  # noqa: E402
from engines.appearance.engine import WarpAppearance  # noqa: E402
from engines.appearance.fusion import FusionAppearance  # noqa: E402
from engines.appearance.net import Renderer  # noqa: E402
from engines.errors import WeightsFault  # noqa: E402
from engines.person import PRESENTER, Mouth, shape  # noqa: E402
from engines.train.crops import Half, drawn_halves, neighbours  # noqa: E402
from engines.train.renderer import Phase, Plan, export, judge, make_batch, show, train  # noqa: E402
from native.planes import to_rgb  # noqa: E402
from tests.nets import SHAPES  # noqa: E402
from tests.people import small_actor  # noqa: E402

PLAN = Plan(phases=(Phase(6, 32, 48, 2e-3),), halves=1, pairs=2, references=3)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Half:
    return drawn_halves(tmp_path_factory.mktemp("crops"), people=1, pairs=3)[0]


@torch.no_grad()
def test_what_is_packed_is_the_warp_of_the_references(half: Half) -> None:
    rows = list(range(len(half.frame)))
    assert list(neighbours(half)) == [(n, n + 1) for n in rows[:-1]]
    shown = show(Renderer(), make_batch([(half, rows)], None), 48, 96)
    inside = shown.mask.expand_as(shown.picture) > 0.9
    true, hidden = shown.target[inside], shown.picture[inside]
    assert float((true - hidden).abs().mean()) < 0.03  # untrained nets leave the landmarks' warp alone
    moved = make_batch([(half, rows)], None)
    elsewhere = show(Renderer(), replace(moved, target=moved.target.flip(0)), 48, 96)
    assert float((elsewhere.picture - shown.picture)[inside].abs().mean()) < 0.02  # the frame's own mouth is not looked at


def test_training_learns_is_taken_up_again_and_is_what_is_served(half: Half, tmp_path: Path) -> None:
    torch.manual_seed(0)
    lines: list[str] = []
    first = train([half], [], replace(PLAN, phases=(Phase(30, 32, 48, 3e-3),)), tmp_path / "a.pt", say=lines.append, every=10)
    losses = [sum(float(value) for value in line.split()[3:10:2]) for line in lines]
    assert losses[-1] < losses[0]
    again = train([half], [], replace(PLAN, phases=(Phase(30, 32, 48, 3e-3),)), tmp_path / "a.pt", say=lines.append)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))  # it was done
    assert judge(first, [half], 32, 96)["psnr"] > 20

    export(Renderer(), PLAN, 48, tmp_path / "untrained", "a test")
    export(first, PLAN, 48, tmp_path / "trained", "a test")
    actor = small_actor()
    wide, rest = face.motion_of(shape(PRESENTER, Mouth(22))), face.motion_of(actor.neutral)
    pictures = {}
    for name in ("untrained", "trained"):
        engine = FusionAppearance(tmp_path / name)
        state = engine.start(actor)
        states, both = engine.step([state, state], [5, 5], np.stack([wide, rest]))
        _, alone = engine.step([state], [5], rest[None])
        assert np.array_equal(both[1], alone[0])  # rows of a batch do not touch each other
        assert states[0].weights.sum() == pytest.approx(1)
        pictures[name] = to_rgb(both[0]).astype(int)
    _, (warped,) = WarpAppearance().step([WarpAppearance().start(actor)], [5], wide[None])
    frame = to_rgb(actor.frames[5]).astype(int)
    changed = np.abs(to_rgb(warped) - frame).mean()
    assert np.abs(pictures["untrained"] - to_rgb(warped)).mean() < 0.35 * changed
    assert 0 < np.abs(pictures["trained"] - pictures["untrained"]).mean() < changed


def test_nets_of_two_trainings_are_not_mixed(tmp_path: Path) -> None:
    export(Renderer(), PLAN, 48, tmp_path, "one")
    kept = (tmp_path / NETS[0]).read_bytes()
    export(Renderer(), PLAN, 48, tmp_path, "two")
    (tmp_path / NETS[0]).write_bytes(kept)
    with pytest.raises(WeightsFault, match="damaged"):
        FusionAppearance(tmp_path)


def test_the_nets_whose_shapes_other_tests_know_are_those_that_are_exported(tmp_path: Path) -> None:
    export(Renderer(), PLAN, 96, tmp_path, "a test")
    for name in NETS:
        now, known = (onnx.load(folder / name).graph for folder in (tmp_path, SHAPES))
        assert [node.op_type for node in now.node] == [node.op_type for node in known.node], f"export it again, `without_weights`: {name}"
        assert sorted(list(given.dims) for given in now.initializer) == sorted(list(given.dims) for given in known.initializer)

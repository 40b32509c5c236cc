"""The refiner's training: drawn people are packed, a net learns, and what is exported corrects as what training corrected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("onnx", reason="training needs the extra `train`")

from engines.appearance.config import REFINER  # noqa: E402
from engines.appearance.net import RefinerNet  # noqa: E402
from engines.appearance.refine import inputs, laid  # noqa: E402
from engines.appearance.zone import CELLS, SIDE, View, Zone  # noqa: E402
from engines.backends.cpu import CpuNet  # noqa: E402
from engines.train.crops import Half, drawn_halves  # noqa: E402
from engines.train.renderer import Plan, correct, export, judge, make_batch, train  # noqa: E402
from native.planes import from_rgb, to_rgb  # noqa: E402

PLAN = Plan(steps=40, rate=1e-2, pairs=1, average=0.8)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Half:
    return drawn_halves(tmp_path_factory.mktemp("crops"), people=1, count=4)[0]


@torch.no_grad()
def test_what_is_packed_is_what_the_warp_makes_of_the_truth(half: Half) -> None:
    assert half.frame.tolist() == list(range(8))
    batch = make_batch([(half, range(8))], None)
    inside = batch.mask.expand_as(batch.target) > 0.9
    assert float((batch.picture - batch.target)[inside].abs().mean()) < 0.06
    assert 0.03 < float(batch.mouth.mean()) < 0.5
    assert torch.allclose(correct(RefinerNet(), batch), batch.picture, atol=1e-4)  # untrained it corrects nothing


def test_training_learns_is_taken_up_again_and_is_what_is_served(half: Half, tmp_path: Path) -> None:
    lines: list[str] = []
    redder = np.clip(half.picture.astype(int) + np.array([30, 0, 0]), 0, 255).astype(np.uint8)
    half = replace(half, target=redder)  # something that is learned at once
    net = train([half], [half], PLAN, tmp_path / "a.pt", say=lines.append, every=10)
    losses = [float(line.split()[3]) for line in lines]
    assert losses[-1] < losses[0]
    found = judge(net, half)
    assert found.after > found.before + 1
    again = train([half], [], PLAN, tmp_path / "a.pt", say=lines.append)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))  # it was done
    longer = train([half], [], replace(PLAN, steps=41), tmp_path / "a.pt", say=lines.append)
    assert not torch.equal(longer.head.bias, net.head.bias)  # it goes on

    export(again, tmp_path, "a test")
    served, row = CpuNet((tmp_path / REFINER).read_bytes()), 3
    whole = np.kron(half.picture[row], np.ones((2, 2, 1), np.uint8))  # a frame that is the zone, twice as fine as the net sees it
    view = View(Zone(0, 0, 2 * SIDE), whole, *(getattr(half, name)[row] for name in ("picture", "references", "drawn", "numbers")))
    said = served.run(inputs(view))
    assert said["flow"].shape == (1, 2, CELLS, CELLS)
    frame = from_rgb(whole)
    made = to_rgb(laid(frame, view, said["flow"][0], said["added"][0], (0, 0), np.ones(whole.shape[:2], np.float32))).astype(float)
    batch = make_batch([(half, [row])], None)
    with torch.no_grad():
        true = correct(again, replace(batch, mask=torch.ones_like(batch.mask)))[0]
    fine = ((true.numpy().transpose(1, 2, 0) + 1) * 127.5).clip(0, 255)
    judged = np.kron(half.drawn[row][:, :, 0] == 0, np.ones((2, 2), bool))  # less is added between the lips
    judged[[*range(16), *range(-16, 0)]] = judged[:, [*range(16), *range(-16, 0)]] = False  # and at the zone's edge
    apart = np.abs(made.reshape(SIDE, 2, SIDE, 2, 3).mean((1, 3)) - fine)[judged].mean()
    assert apart < 0.25 * np.abs(fine - half.picture[row])[judged].mean()

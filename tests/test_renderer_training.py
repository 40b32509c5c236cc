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
from engines.train.perceptual import Perceptual  # noqa: E402
from engines.train.renderer import Plan, correct, export, judge, make_batch, train  # noqa: E402
from native.planes import from_rgb, to_rgb  # noqa: E402

PLAN = Plan(steps=24, rate=1.5e-2, pairs=1, average=0.8)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Half:
    return drawn_halves(tmp_path_factory.mktemp("crops"), people=1, count=4)[0]


@torch.no_grad()
def test_what_is_packed_is_what_the_warp_makes_of_the_truth(half: Half) -> None:
    assert half.targets["frame"].tolist() == list(range(8))
    batch = make_batch([(half, range(8))], None)
    inside = batch.mask.expand_as(batch.target) > 0.9
    assert float((batch.picture - batch.target)[inside].abs().mean()) < 0.06
    assert 0.03 < float(batch.mouth.mean()) < 0.5
    assert torch.allclose(correct(RefinerNet(), batch), batch.picture, atol=1e-4)  # untrained it corrects nothing


def test_training_learns_is_taken_up_again_to_the_bit_and_is_what_is_served(half: Half, tmp_path: Path) -> None:
    lines: list[str] = []
    redder = np.array(half.targets)
    redder["target"] = np.clip(redder["picture"].astype(int) + np.array([30, 0, 0]), 0, 255)
    half = replace(half, targets=redder)  # something that is learned at once
    net = train([half], [half], PLAN, tmp_path / "a.pt", say=lines.append, every=8)
    losses = [float(line.split()[3]) for line in lines]
    assert losses[-1] < losses[0]
    assert "min left" in lines[0]
    found = judge(net, half)
    assert found.after > found.before + 1
    again = train([half], [], PLAN, tmp_path / "a.pt", say=lines.append)
    assert same(net, again)  # it was done
    short = replace(PLAN, steps=4)
    with pytest.raises(InterruptedError):
        train([half], [], short, tmp_path / "b.pt", say=interrupt, every=2)
    assert same(train([half], [], short, tmp_path / "c.pt"), train([half], [], short, tmp_path / "b.pt"))

    export(again, tmp_path, "a test")
    onward = train([half], [], replace(PLAN, steps=0, onward=str(tmp_path)), tmp_path / "d.pt")
    assert same(net, onward)  # what is trained on is what was exported
    served, row = CpuNet((tmp_path / REFINER).read_bytes()), half.targets[3]
    whole = np.kron(row["picture"], np.ones((2, 2, 1), np.uint8))  # a frame that is the zone, twice as fine as the net sees it
    view = View(Zone(0, 0, 2 * SIDE), whole, *(row[name] for name in ("picture", "references", "drawn", "numbers")))
    said = served.run(inputs(view))
    said = {name: said[name][0] for name in ("flow", "added")}
    assert said["flow"].shape == (2, CELLS, CELLS)
    frame, alpha = from_rgb(whole), np.ones(whole.shape[:2], np.float32)
    made = to_rgb(laid(frame, view, **said, corner=(0, 0), alpha=alpha)).astype(float)
    batch = make_batch([(half, [3])], None)
    with torch.no_grad():
        true = correct(again, replace(batch, mask=torch.ones_like(batch.mask)))[0]
    fine = ((true.numpy().transpose(1, 2, 0) + 1) * 127.5).clip(0, 255)
    judged = np.ones(fine.shape[:2], bool)  # also between the lips, where less is added
    judged[[*range(16), *range(-16, 0)]] = judged[:, [*range(16), *range(-16, 0)]] = False  # at the zone's edge
    apart = np.abs(made.reshape(SIDE, 2, SIDE, 2, 3).mean((1, 3)) - fine)[judged].mean()
    assert apart < 0.25 * np.abs(fine - row["picture"])[judged].mean()


def same(a: RefinerNet, b: RefinerNet) -> bool:
    return all(torch.equal(own, other) for own, other in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def interrupt(line: str) -> None:
    raise InterruptedError(line)


def test_the_perceptual_distance_tells_blur_from_a_slight_shift_of_colour() -> None:
    torch.manual_seed(0)
    shapes = {
        "_conv_stem.weight": (8, 3, 3, 3),
        "_blocks.0._depthwise_conv.weight": (8, 1, 3, 3),
        "_blocks.0._project_conv.weight": (4, 8, 1, 1),
    }
    for at, inside, out, wide in ((1, 4, 6, 3), (2, 6, 6, 3), (3, 6, 8, 5), (4, 8, 8, 5)):
        shapes |= {
            f"_blocks.{at}._expand_conv.weight": (12, inside, 1, 1), f"_blocks.{at}._depthwise_conv.weight": (12, 1, wide, wide),
            f"_blocks.{at}._project_conv.weight": (out, 12, 1, 1),
        }  # fmt: skip
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    for name in ["_bn0", *(f"_blocks.{at}._bn{n}" for at in range(5) for n in range(3))]:
        block = name.rpartition(".")[0]
        width = {"_bn0": 8}.get(name) or shapes[f"{block}._{'project' if name.endswith('2') else 'depthwise'}_conv.weight"][0]
        weights |= {
            f"{name}.{part}": fill(width)
            for part, fill in (("running_mean", torch.zeros), ("running_var", torch.ones), ("bias", torch.zeros), ("weight", torch.ones))
        }
    far = Perceptual(weights)
    picture = torch.rand(2, 3, 32, 32) * 2 - 1
    blurred = torch.nn.functional.avg_pool2d(picture, 3, 1, 1)
    shifted = picture + (blurred - picture).square().mean().sqrt() * 0.5
    assert far(picture, picture).abs().max() < 1e-6
    assert (far(blurred, picture) > far(shifted, picture)).all()

"""Trains the refiner, from clips to the file that is served.

1. clips are tracked and packed (`crops`), 2. the net learns to correct the warp's pictures of one half of a clip, made from references of
the other; 3. it is exported. Judged is what figures judge, the mouth's box in dB, with what dB alone would spoil: sharpness, how a net that
tells things apart sees it, and what changes from a picture to the next.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
import torch.nn.functional as f
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.appearance.config import REFINER, RefinerConfig
from engines.appearance.net import RefinerNet
from engines.appearance.refine import INSIDE
from engines.appearance.zone import CELLS, NUMBERS, SIDE, K, border
from engines.backends.weights import read_weights
from engines.train import device
from engines.train.crops import Half, drawn_halves, prepare_crops
from engines.train.export import write
from engines.train.motion import apart
from engines.train.perceptual import Perceptual, fetch


@dataclass(frozen=True)
class Plan:
    """Everything that may be chosen. Defaults are what is shipped."""

    steps: int = 12_000
    rate: float = 1.5e-3
    pairs: int = 8
    """Of neighbouring targets in a batch, each of another half."""
    whole: float = 0.2
    """Weight of the whole mask beside the mouth's box."""
    steady: float = 2.0
    sharp: float = 2.0
    """That nothing gets softer: blur is the cheapest way to more dB."""
    seen: float = 0.5
    """That it looks like the truth (`perceptual`)."""
    made: float = 0.4
    """How often pictures that generators made are dealt, against filmed ones."""
    average: float = 0.998
    """Of the weights that are kept, over steps."""
    onward: str = ""
    """The folder of a net that is trained on; none: from nothing."""
    seed: int = 0
    free: bool = False
    """Leave out the clips whose rights are not stated, too."""


ONWARD: dict[str, Any] = {"steps": 4_000, "rate": 8e-4, "pairs": 4}
"""Of a plan that trains a net on."""


@dataclass(frozen=True)
class Batch:
    """B targets, neighbours side by side; as the net takes them. Pictures in -1..1."""

    picture: Tensor
    references: Tensor
    drawn: Tensor
    numbers: Tensor
    target: Tensor
    """(B, 3, SIDE, SIDE)."""
    mask: Tensor
    """(B, 1, SIDE, SIDE)."""
    mouth: Tensor
    """(B, 1, SIDE, SIDE) 1 in the mouth's box, 0 where its inside was drawn: nobody can know this person's."""
    centre: Tensor
    """(B, 2) of the mouth, x and y in -1..1."""
    kept: Tensor
    """(B, 1, SIDE, SIDE) how much of the colour is added: see `refine.laid`."""


class Deal:
    """Deals batches: halves at random, a pair of neighbours of each; mirrored and lit at random."""

    def __init__(self, halves: Sequence[Half], pairs: int, made: float) -> None:
        self._halves, self._pairs = halves, min(pairs, len(halves))
        people: dict[str, int] = {}
        for half in halves:
            people[half.person] = people.get(half.person, 0) + 1
        chance = np.array(
            [people[half.person] ** -0.5 * min(1, len(half.targets) / 8) * (made if half.set == "made" else 1) for half in halves]
        )  # many halves of one count less
        self._chance = chance / chance.sum()

    def batch(self, random: np.random.Generator) -> Batch:
        """The next one."""
        parts = []
        for at in random.choice(len(self._halves), self._pairs, p=self._chance, replace=False):
            first = 2 * int(random.integers(len(self._halves[at].targets) // 2))
            parts.append((self._halves[at], [first, first + 1]))
        batch = make_batch(parts, random)
        return jittered(batch, random) if random.random() < _JITTERED else batch


def make_batch(parts: Sequence[tuple[Half, Sequence[int]]], random: np.random.Generator | None) -> Batch:
    """A batch of some targets of some halves; `random` alters them, None leaves them as they are."""
    stacks: dict[str, list[Tensor]] = {}
    for half, chosen in parts:
        targets = half.targets[list(chosen)]
        shown = [torch.from_numpy(np.moveaxis(targets[name], -1, -3).copy()).float() / 127.5 - 1 for name in _COLOURED]
        drawn = torch.from_numpy(np.moveaxis(targets["drawn"], -1, 1).copy()).float() / 255
        box, missing = torch.from_numpy(targets["mouth"].copy()), torch.from_numpy(targets["missing"].copy())[:, None, None, None]
        if random is not None:
            shown = _otherwise(shown, random)
            if random.random() < 0.5:
                shown, drawn = [x.flip(-1) for x in shown], drawn.flip(-1)
                box = torch.stack([1 - box[:, 2], box[:, 1], 1 - box[:, 0], box[:, 3]], 1)
        picture, target, references = shown
        lips = larger(drawn[:, :1], SIDE)
        made = {
            "picture": picture, "target": target, "references": references.flatten(1, 2), "drawn": drawn,
            "numbers": torch.from_numpy(targets["numbers"].copy()), "mask": larger(drawn[:, 3:], SIDE),
            "mouth": boxes(box, SIDE) * (1 - lips * missing),
            "centre": box[:, :2] + box[:, 2:] - 1, "kept": 1 - lips * (1 - INSIDE * (1 - missing / 2)),
        }  # fmt: skip
        for name, value in made.items():
            stacks.setdefault(name, []).append(value.to(device.KIND))
    return Batch(**{name: torch.cat(values) for name, values in stacks.items()})


def _otherwise(shown: list[Tensor], random: np.random.Generator) -> list[Tensor]:
    """Picture, target and references (..., 3, h, w) of a scene as another camera might have them: other light, paler, softer, noisier."""
    gain = torch.tensor(random.uniform(0.7, 1.2) * random.uniform(0.9, 1.1, 3), dtype=torch.float32)[:, None, None]
    shift, pale = float(random.uniform(-0.1, 0.1)), float(random.uniform(0, 0.6)) if random.random() < _PALE else 0.0
    shown = [((x + 1) * gain - 1 + shift).clip(-1, 1) for x in shown]
    if pale:
        shown = [x + pale * (x.mean(-3, keepdim=True) - x) for x in shown]
    if random.random() < _SOFT:
        fewer = int(random.integers(SIDE // 2, SIDE))
        picture, target, references = shown  # as coarse as the net sees them, references stay as they are
        shown = [*(larger(f.interpolate(x, size=(fewer, fewer), mode="area"), SIDE) for x in (picture, target)), references]
    if random.random() < _NOISY:  # what is made of several pictures has less of it; the truth's cannot be told
        amount, noise = float(random.uniform(0.005, 0.03)), torch.Generator().manual_seed(int(random.integers(2**31)))
        picture, target, references = shown
        references = references + amount * torch.randn(references.shape, generator=noise)
        shown = [picture + amount / 2 * torch.randn(picture.shape, generator=noise), target, references]
    return shown


def jittered(batch: Batch, random: np.random.Generator) -> Batch:
    """The batch, each pair turned, scaled and shifted a little: zones are found from poses, and those err."""
    pairs = len(batch.picture) // 2
    turn, scale = random.uniform(-0.12, 0.12, pairs), random.uniform(0.87, 1.12, pairs)
    way = np.zeros((pairs, 2, 3), np.float32)
    way[:, 0, 0] = way[:, 1, 1] = np.cos(turn) * scale
    way[:, 1, 0] = np.sin(turn) * scale
    way[:, 0, 1] = -way[:, 1, 0]
    way[:, :, 2] = random.uniform(-0.06, 0.06, (pairs, 2))
    both = torch.from_numpy(np.repeat(way, 2, 0)).to(batch.picture.device)

    def moved(x: Tensor, beyond: str = "border") -> Tensor:
        grid = f.affine_grid(both, [len(x), 1, *x.shape[2:]], align_corners=False)
        return f.grid_sample(x, grid, mode="bilinear", padding_mode=beyond, align_corners=False)

    drawn = moved(batch.drawn, "zeros")
    drawn[:, 3] = torch.minimum(drawn[:, 3], torch.from_numpy(border(CELLS)).to(drawn.device))
    shown = moved(torch.cat([batch.picture, batch.target], 1))
    centre = (torch.linalg.inv(both[:, :, :2]) @ (batch.centre - both[:, :, 2])[:, :, None])[:, :, 0]
    return replace(
        batch, picture=shown[:, :3], target=shown[:, 3:], references=moved(batch.references), drawn=drawn, mask=larger(drawn[:, 3:], SIDE),
        mouth=(moved(batch.mouth, "zeros") > 0.5).float(), centre=centre, kept=moved(batch.kept),
    )  # fmt: skip


_COLOURED = ("picture", "target", "references")
_JITTERED = 0.6  # share of the batches
_PALE, _SOFT, _NOISY = 0.2, 0.2, 0.2  # of the pairs
_CROP = 56  # pixels a side about the mouth, of which it is asked what they look like


def larger(field: Tensor, side: int) -> Tensor:
    """A field (B, C, h, h) at `side` a side."""
    return f.interpolate(field, size=(side, side), mode="bilinear", align_corners=False)


def boxes(shares: Tensor, side: int) -> Tensor:
    """Boxes (B, 4) as pictures (B, 1, side, side) of 0 and 1."""
    at = ((torch.arange(side, device=shares.device) + 0.5) / side)[None]
    across, down = ((at >= shares[:, axis, None]) & (at <= shares[:, axis + 2, None]) for axis in (0, 1))
    return (down[:, None, :, None] & across[:, None, None, :]).float()


def correct(net: RefinerNet, batch: Batch) -> Tensor:
    """The pictures (B, 3, SIDE, SIDE), corrected: `refine.laid` in torch, at the net's own size."""
    flow, added = net(batch.picture, batch.references, batch.drawn, batch.numbers)
    at = (torch.arange(SIDE, device=flow.device, dtype=torch.float32) + 0.5) / SIDE
    here = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)
    way = (here + larger(flow, SIDE).permute(0, 2, 3, 1)) * 2 - 1
    moved = f.grid_sample(batch.picture, way, mode="bicubic", padding_mode="border", align_corners=False)
    return batch.picture + batch.mask * (moved + added * batch.kept - batch.picture)


def crops(picture: Tensor, centre: Tensor) -> Tensor:
    """(B, 3, _CROP, _CROP) of pictures (B, 3, SIDE, SIDE), about places (B, 2) in -1..1, moved to whole pixels and into the picture."""
    first = ((centre + 1) / 2 * SIDE - _CROP / 2).round().long().clip(0, SIDE - _CROP).tolist()
    return torch.stack([one[:, y : y + _CROP, x : x + _CROP] for one, (x, y) in zip(picture, first, strict=True)])


def square(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """(B,) mean square of the difference of pictures in -1..1, weighted."""
    return ((a - b) ** 2 * where).sum((1, 2, 3)) / (3 * where.sum((1, 2, 3))).clip(1)


def edges(picture: Tensor, where: Tensor) -> Tensor:
    """(B,) sum of squares of the Laplacian."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], device=picture.device)[None, None]
    return (f.conv2d(picture.mean(1, keepdim=True), kernel, padding=1) ** 2 * where).sum((1, 2, 3))


def losses(made: Tensor, batch: Batch, plan: Plan, perceptual: nn.Module | None = None) -> dict[str, Tensor]:
    """Each loss, weighted."""
    found = {
        "mouth": torch.log(square(made, batch.target, batch.mouth) + 1e-4).mean(),
        "whole": plan.whole * torch.log(square(made, batch.target, batch.mask) + 1e-4).mean(),
    }
    difference = made - batch.target  # the target's own change is in both
    found["steady"] = plan.steady * ((difference[1::2] - difference[::2]).abs() * batch.mouth[::2]).mean()
    blurred = torch.log((edges(made, batch.mouth) + 1e-3) / (edges(batch.picture, batch.mouth) + 1e-3)).clip(max=0)
    found["sharp"] = plan.sharp * (blurred**2).mean()
    if perceptual is not None:
        found["seen"] = plan.seen * torch.log(perceptual(*(crops(x, batch.centre) for x in (made, batch.target))) + 1e-3).mean()
    return found


@dataclass(frozen=True)
class Judged:
    """Figures of a half, or means of such: in the mouth's box, of the warp alone and of what was made of it."""

    before: float
    """PSNR, dB."""
    after: float
    sharp_before: float
    """Against the truth's sharpness."""
    sharp_after: float
    moved: float
    """From picture to picture, against the truth."""
    seen_before: float
    """Perceptual distance to the truth; 0 where there is no net for it."""
    seen_after: float


@torch.no_grad()
def judge(net: RefinerNet, half: Half, most: int = 6, perceptual: nn.Module | None = None) -> Judged:
    """Of at most so many pairs of a half."""
    count = len(half.targets) // 2
    batch = make_batch([(half, [2 * int(p) + n for p in np.linspace(0, count - 1, min(most, count)) for n in (0, 1)])], None)
    made = correct(net, batch).clip(-1, 1)
    both = (batch.picture, made)
    psnr = [-10 * np.log10(device.array(square(x, batch.target, batch.mouth).clip(4e-10) / 4)).mean() for x in both]
    true = edges(batch.target, batch.mouth).clip(1e-6)
    before, after = (float((edges(x, batch.mouth) / true).median()) for x in both)
    change = [((x[1::2] - x[::2]).abs() * batch.mouth[::2]).sum() for x in (made, batch.target)]
    seen = [0.0, 0.0]
    if perceptual is not None:
        seen = [float(perceptual(*(crops(x, batch.centre) for x in (one, batch.target))).mean()) for one in both]
    return Judged(float(psnr[0]), float(psnr[1]), before, after, float(change[0] / change[1].clip(1e-6)), seen[0], seen[1])


def mean(judged: Sequence[Judged]) -> Judged:
    """Of several halves."""
    return Judged(*np.mean([list(asdict(one).values()) for one in judged], 0).tolist())


def train(
    taught: Sequence[Half], held: Sequence[Half], plan: Plan, saved: Path, *, say: Callable[[str], None] = print, every: int = 500,
    perceptual: nn.Module | None = None,
) -> RefinerNet:  # fmt: skip
    """Train as planned; what is written to `saved` every so many steps is taken up again, to the bit."""
    torch.manual_seed(plan.seed)
    device.use()
    net, kept = RefinerNet(), RefinerNet()
    if plan.onward:
        net.load_state_dict(shipped(Path(plan.onward)))
    kept.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), plan.rate, weight_decay=1e-3)
    parts = {"net": net, "kept": kept, "optimiser": optimiser}
    deal, done, began, total = Deal(taught, plan.pairs, plan.made), 0, time.monotonic(), 0.0
    if saved.exists():
        found = torch.load(saved, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(found[name])
        done = found["done"]
    first = done
    while done < plan.steps:
        for group in optimiser.param_groups:
            share = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done / plan.steps))
            group["lr"] = plan.rate * min(1, (done + 1) / 100) * share
        batch = deal.batch(np.random.default_rng([plan.seed, done]))
        loss = torch.stack(list(losses(correct(net, batch), batch, plan, perceptual).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        done += 1
        total += float(loss.detach())
        with torch.no_grad():
            share = min(plan.average, (done + 1) / (done + 10))
            for a, b in zip(kept.parameters(), net.parameters(), strict=True):
                a.lerp_(b, 1 - share)
        if done % every == 0 or done == plan.steps:
            torch.save({name: part.state_dict() for name, part in parts.items()} | {"done": done}, saved.with_suffix(".part"))
            saved.with_suffix(".part").replace(saved)
            figures = mean([judge(kept, half, perceptual=perceptual) for half in held]) if held else ""
            took = time.monotonic() - began
            left = took / (done - first) * (plan.steps - done) / 60
            say(f"{done} {took:.0f}s loss {total / every:.4f} | {left:.0f} min left | {figures}")
            total = 0.0
    return kept


def shipped(folder: Path) -> dict[str, Tensor]:
    """The parameters of the net in a folder of weights."""
    model = onnx.load_from_string(read_weights(REFINER, folder))
    return {given.name: torch.from_numpy(onnx.numpy_helper.to_array(given).copy()) for given in model.graph.initializer}


def train_all(data: Path, cache: Path, out: Path, plan: Plan) -> None:
    """Pack, train, export; prints figures on people held out of `train`, and leaves a preview of them in the cache."""
    halves = [half for half in prepare_crops(data, cache / "crops") if half.free != "no" and not (plan.free and half.free != "yes")]
    held = held_out(halves)
    taught = [half for half in halves if not apart(half.person)] + drawn_halves(cache / "crops")
    key = hashlib.sha256(json.dumps(asdict(plan)).encode()).hexdigest()[:8]
    net = train(taught, held, plan, cache / f"refiner-{key}.pt", perceptual=Perceptual(fetch(cache)).to(device.KIND))
    preview(net, held[:12], cache / f"refiner-{key}.png")
    export(net, out, key)


def held_out(halves: Sequence[Half]) -> list[Half]:
    """One half of each filmed person who is held out; three of those of GRID."""
    own: dict[str, list[Half]] = {}
    for half in halves:
        if apart(half.person) and not half.few and half.set != "made":
            own.setdefault(half.person, []).append(half)
    return [half for of in own.values() for half in of[: 3 if of[0].set == "grid" else 1]]


def scaled(plan: Plan, length: float) -> Plan:
    """A plan so many times as long."""
    return replace(plan, steps=max(2, round(plan.steps * length)))


@torch.no_grad()
def preview(net: RefinerNet, halves: Sequence[Half], path: Path) -> None:
    """Real, warp alone, refined, difference (x 3) of a target of each half."""
    lines = []
    for half in halves:
        batch = make_batch([(half, [len(half.targets) // 2])], None)
        made = correct(net, batch)
        lines.append(torch.cat([batch.target, batch.picture, made, (3 * (made - batch.target)).clip(-1, 1)], 3)[0])
    sheet: NDArray[np.float32] = (device.array(torch.cat(lines, 1)).transpose(1, 2, 0)[:, :, ::-1] + 1) * 127.5
    cv2.imwrite(str(path), sheet.clip(0, 255).astype(np.uint8))


def export(net: RefinerNet, out: Path, training: str) -> None:
    """Write the file that is served, with its configuration inside and its hash beside it."""
    out.mkdir(parents=True, exist_ok=True)
    given = {
        "picture": torch.zeros(2, 3, SIDE, SIDE), "references": torch.zeros(2, 3 * K, CELLS, CELLS),
        "drawn": torch.zeros(2, 4, CELLS, CELLS), "numbers": torch.zeros(2, NUMBERS),
    }  # fmt: skip
    write(net.eval(), given, ["flow", "added"], out / REFINER, RefinerConfig(training))

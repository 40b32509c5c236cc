"""Trains the renderer's nets, from clips to the files that are served.

1. clips are tracked and packed (`crops`), 2. the nets learn to show a frame of one half of a clip from references of the other,
coarse pictures first, fine ones then; 3. they are exported. Losses need no trained nets: differences of pixels, of gradients,
of the features of random convolutions, and of neighbouring frames' changes; the mouth counts more.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as f
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.appearance.config import NETS, RendererConfig
from engines.appearance.net import Renderer, blend, larger
from engines.train import device
from engines.train.crops import PLACE, Half, drawn_halves, neighbours, prepare_crops
from engines.train.export import write
from engines.train.motion import apart

MOUTH = np.array([1.6, 1.8], np.float32)  # the mouth's box against the lips', as figures have it


@dataclass(frozen=True)
class Phase:
    """A part of the training."""

    steps: int
    inside: int
    """Side of what the nets see."""
    shown: int
    """Side of what is judged."""
    rate: float


@dataclass(frozen=True)
class Plan:
    """Everything that may be chosen. Defaults are what is shipped."""

    phases: tuple[Phase, ...] = (Phase(6000, 96, 128, 1e-3), Phase(1500, 128, 192, 4e-4))
    width: int = 32
    halves: int = 3
    """Of clips in a batch."""
    pairs: int = 2
    """Of neighbouring targets from each."""
    mouth: float = 3.0
    """Weight of the mouth's box beside the whole mask's 1."""
    gradient: float = 0.5
    random: float = 0.3
    steady: float = 0.5
    average: float = 0.998
    """Of the weights that are kept, over steps."""
    references: int = 3
    """That are fused, at most `crops.K`."""
    seed: int = 0
    free: bool = False
    """Leave out the clips whose rights are not stated, too."""


@dataclass(frozen=True)
class Batch:
    """B targets; fields as `crops.Half` has them, pictures (B, 3, side, side) in 0..1."""

    references: Tensor
    """(U, 3, R, R) of all targets together."""
    which: Tensor
    """(B, K) into them."""
    prior: Tensor
    far: Tensor
    target: Tensor
    places: Tensor
    """(B, K, 2, GRID, GRID)."""
    tints: Tensor
    """(B, K, 3, TINTS, TINTS)."""
    alpha: Tensor
    hidden: Tensor
    drawn: Tensor
    mouth: Tensor
    """(B, 1, side, side) 1 in the mouth's box."""


class Deal:
    """Deals batches: halves at random, pairs of neighbours from each; mirrored and tinted at random."""

    def __init__(self, halves: list[Half], plan: Plan) -> None:
        self._halves = [(half, list(neighbours(half))) for half in halves]
        self._halves = [(half, pairs) for half, pairs in self._halves if pairs]
        people: dict[str, int] = {}
        for half, _ in self._halves:
            people[half.person] = people.get(half.person, 0) + 1
        chance = np.array([people[half.person] ** -0.5 for half, _ in self._halves])  # people with many clips count less
        self._chance, self._plan = chance / chance.sum(), plan

    def batch(self, random: np.random.Generator) -> Batch:
        """The next one."""
        plan, parts = self._plan, []
        for at in random.choice(len(self._halves), plan.halves, p=self._chance, replace=False):
            half, pairs = self._halves[at]
            chosen = random.choice(len(pairs), plan.pairs, replace=len(pairs) < plan.pairs)
            parts.append((half, [n for p in chosen for n in pairs[p]]))
        return make_batch(parts, random, plan.references)


def make_batch(parts: list[tuple[Half, list[int]]], random: np.random.Generator | None, references: int = 4) -> Batch:
    """A batch of some targets of some halves; `random` alters them, None leaves them as they are."""
    stacks: dict[str, list[Tensor]] = {}
    start = 0
    for half, rows in parts:
        chosen = half.chosen[rows][:, :references].astype(np.int64)
        used, which = np.unique(chosen, return_inverse=True)
        flip = random is not None and random.random() < 0.5
        gain = np.ones(3, np.float32) if random is None else random.uniform(0.8, 1.2) * random.uniform(0.93, 1.07, 3).astype(np.float32)
        light = torch.tensor(gain, dtype=torch.float32)[:, None, None]
        shift = 0.0 if random is None else float(random.uniform(-0.06, 0.06))

        def picture(found: NDArray[np.uint8], flip: bool = flip) -> Tensor:
            x = torch.from_numpy(np.moveaxis(found, -1, 1).copy()).float() / 255
            return x.flip(-1) if flip else x

        def lit(found: NDArray[np.uint8], light: Tensor = light, shift: float = shift) -> Tensor:
            return (picture(found) * light + shift).clip(0, 1)

        places = torch.from_numpy(np.moveaxis(half.places[rows][:, :, :, :references], (3, 4), (1, 2)).astype(np.float32)) / PLACE
        tints = torch.from_numpy(np.moveaxis(half.tints[rows][:, :references], -1, 2).astype(np.float32)) / 255 * light
        if flip:
            places, tints = places.flip(-1), tints.flip(-1)
            places = torch.cat([1 - places[:, :, :1], places[:, :, 1:]], 2)
        prior = half.prior[rows][:, :references]
        made = {
            "references": lit(half.references[used]), "which": torch.from_numpy(which.reshape(chosen.shape) + start),
            "prior": torch.from_numpy(prior / prior.sum(1, keepdims=True)), "far": torch.from_numpy(half.far[rows][:, :references]),
            "target": lit(half.target[rows]), "places": places, "tints": tints,
            "alpha": picture(half.alpha[rows][..., None]), "hidden": picture(half.hidden[rows][..., None] * np.uint8(255)),
            "drawn": picture(half.drawn[rows]), "mouth": picture(boxes(half.mouth[rows], half.target.shape[1])),
        }  # fmt: skip
        start += len(used)
        for name, value in made.items():
            stacks.setdefault(name, []).append(value.to(device.KIND))
    return Batch(**{name: torch.cat(values) for name, values in stacks.items()})


def boxes(lips: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """Boxes of lips (B, 4), shares of the side, enlarged to the mouth's: (B, side, side, 1), 255 inside."""
    out = np.zeros((len(lips), side, side, 1), np.uint8)
    for picture, box in zip(out, lips, strict=True):
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * MOUTH
        (x0, y0), (x1, y1) = (np.clip(np.round(p * side), 0, side).astype(int) for p in (middle - half, middle + half))
        picture[y0:y1, x0:x1] = 255
    return out


@dataclass(frozen=True)
class Shown:
    """What the nets made of a batch, at the judged size."""

    picture: Tensor
    """(B, 3, side, side) laid over the target with the mask."""
    warped: Tensor
    """The same, from the landmarks' warp alone."""
    target: Tensor
    mask: Tensor
    mouth: Tensor


def show(net: Renderer, batch: Batch, inside: int, side: int, *, warped: bool = False) -> Shown:
    """Render a batch: the nets see pictures of `inside` a side, what is shown has `side`."""
    cells = inside // 2
    target = sized(batch.target, side)
    hidden = (area(batch.hidden, inside) > 0).float()
    face = net.face(torch.cat([sized(batch.target, inside) * (1 - hidden), 1 - hidden], 1))
    lips = net.lips(sized(batch.references, inside))[batch.which]
    b, k = batch.prior.shape
    coarse = area(batch.places.flatten(0, 1), cells // 2).permute(0, 2, 3, 1).unflatten(0, (b, k))
    drawn = sized(batch.drawn, cells)
    fused = net.fusion(lips, coarse, face, drawn, batch.far, batch.prior)
    places = larger(batch.places.flatten(0, 1), side).permute(0, 2, 3, 1).unflatten(0, (b, k))
    references = batch.references[batch.which]
    blended = blend(references, places, batch.tints, fused)
    alpha = larger(batch.alpha, side)
    added = net.decoder(sized(torch.where(alpha > 0, blended, 0.5), inside), fused.features, drawn)
    picture = target + alpha * (blended + sized(added, side) - target)
    plain = picture
    if warped:
        still = fused._replace(flow=fused.flow * 0, weights=batch.prior[:, :, None, None].expand_as(fused.weights))
        plain = target + alpha * (blend(references, places, batch.tints, still) - target)
    return Shown(picture, plain, target, alpha, sized(batch.mouth, side))


def area(field: Tensor, side: int) -> Tensor:
    """A field at a smaller side, averaged."""
    return f.interpolate(field, size=(side, side), mode="area")


def sized(field: Tensor, side: int) -> Tensor:
    """A field at another side."""
    if field.shape[-1] == side:
        return field
    return area(field, side) if side < field.shape[-1] else larger(field, side)


class RandomFeatures(nn.Module):
    """Convolutions that nobody trained: what differs in them differs to the eye more than pixels say."""

    def __init__(self, seed: int = 7) -> None:
        super().__init__()
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        self.layers = nn.ModuleList([nn.Conv2d(3, 16, 5, 1, 2), nn.Conv2d(16, 24, 3, 2, 1), nn.Conv2d(24, 32, 3, 2, 1)])
        torch.set_rng_state(state)
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight)
            layer.weight.data -= layer.weight.data.mean((2, 3), keepdim=True)  # edges, not brightness
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, S, S) -> features of each layer."""
        out = []
        for layer in self.layers:
            x = torch.relu(layer(x))
            out.append(x)
        return out


def losses(shown: Shown, plan: Plan, features: RandomFeatures) -> dict[str, Tensor]:
    """Each loss, weighted."""
    weight = (shown.mask > 0.02).float() + plan.mouth * shown.mouth
    weight = weight / weight.mean()
    difference = shown.picture - shown.target
    found = {"pixels": (torch.sqrt(difference**2 + 1e-5) * weight).mean() * 10}
    slopes = [
        (difference[..., 1:] - difference[..., :-1]).abs() * weight[..., 1:],
        (difference[..., 1:, :] - difference[..., :-1, :]).abs() * weight[..., 1:, :],
    ]
    found["gradient"] = plan.gradient * 10 * (slopes[0].mean() + slopes[1].mean())
    change = difference[1::2] - difference[::2]  # the target's own change is in both
    found["steady"] = plan.steady * 10 * (change.abs() * weight[::2]).mean()
    if plan.random:
        true = features(shown.target)
        layers = zip(features(shown.picture), true, strict=True)
        apart = [((a - b).abs() * sized(weight, a.shape[-1])).mean() / b.abs().mean().clip(1e-3) for a, b in layers]
        found["random"] = plan.random * torch.stack(apart).sum()
    return found


def psnr(picture: Tensor, target: Tensor, mouth: Tensor) -> NDArray[np.float64]:
    """Of each picture in its mouth's box, dB."""
    square = ((picture - target) ** 2 * mouth).sum((1, 2, 3)) / (3 * mouth.sum((1, 2, 3))).clip(1)
    return np.asarray(-10 * np.log10(device.array(square).clip(1e-9)))


def sharpness(picture: Tensor, mouth: Tensor) -> NDArray[np.float64]:
    """Mean square of the Laplacian in the mouth's box, of each picture."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    edges = f.conv2d(picture.mean(1, keepdim=True), kernel, padding=1) ** 2
    return np.asarray(device.array((edges * mouth).sum((1, 2, 3)) / mouth.sum((1, 2, 3)).clip(1)), np.float64)


@torch.no_grad()
def judge(net: Renderer, halves: list[Half], inside: int, side: int = 192, most: int = 6, references: int = 4) -> dict[str, float]:
    """Means over halves: PSNR of the nets and of the warp alone, sharpness against the truth, movement against the truth."""
    rows = []
    for half in halves:
        pairs = list(neighbours(half))
        chosen = [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(most, len(pairs))).astype(int)]
        batch = make_batch([(half, [n for pair in chosen for n in pair])], None, references)
        shown = show(net, batch, inside, side, warped=True)
        moved = [(x[1::2] - x[::2]).abs().mul(shown.mouth[::2]).sum() for x in (shown.picture, shown.target)]
        rows.append([
            psnr(shown.picture, shown.target, shown.mouth).mean(), psnr(shown.warped, shown.target, shown.mouth).mean(),
            np.median(sharpness(shown.picture, shown.mouth) / sharpness(shown.target, shown.mouth)),
            np.median(sharpness(shown.warped, shown.mouth) / sharpness(shown.target, shown.mouth)), float(moved[0] / moved[1]),
        ])  # fmt: skip
    return dict(zip(("psnr", "warp alone", "sharpness", "sharpness of the warp", "temporal"), np.mean(rows, 0), strict=True))


def train(
    train_on: list[Half], held: list[Half], plan: Plan, path: Path, *, say: Callable[[str], None] = print, every: int = 250,
    minutes: float | None = None,
) -> Renderer:  # fmt: skip
    """Train as planned, or until so many minutes have passed; what is written to `path` now and then is taken up again."""
    torch.manual_seed(plan.seed)
    device.use()
    net, kept, features = Renderer(plan.width), Renderer(plan.width), RandomFeatures()
    kept.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), plan.phases[0].rate, betas=(0.9, 0.99), weight_decay=1e-4)
    deal, done = Deal(train_on, plan), 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        for part, name in ((net, "net"), (kept, "kept"), (optimiser, "optimiser")):
            part.load_state_dict(saved[name])
        done = saved["done"]
    began, total = time.monotonic(), sum(phase.steps for phase in plan.phases)
    sums: dict[str, float] = {}
    while done < total:
        phase, at = phase_of(plan, done)
        for group in optimiser.param_groups:
            group["lr"] = phase.rate * min(1, (at + 1) / 100) * (0.05 + 0.475 * (1 + math.cos(math.pi * at / phase.steps)))
        random = np.random.default_rng([plan.seed, done])
        batch = deal.batch(random)
        inside = int(random.choice([phase.inside, phase.inside, phase.inside * 4 // 3 // 16 * 16]))
        found = losses(show(net, batch, inside, phase.shown), plan, features)
        optimiser.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        done += 1
        with torch.no_grad():
            share = min(plan.average, (done + 1) / (done + 10))
            for a, b in zip(kept.parameters(), net.parameters(), strict=True):
                a.lerp_(b, 1 - share)
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        late = minutes is not None and time.monotonic() - began > 60 * minutes
        if done % every == 0 or done == total or late:
            torch.save(
                {"net": net.state_dict(), "kept": kept.state_dict(), "optimiser": optimiser.state_dict(), "done": done},
                path.with_suffix(".part"),
            )
            path.with_suffix(".part").replace(path)
            figures = judge(kept, held, phase.inside) if held else {}
            text = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
            say(f"{done} {time.monotonic() - began:.0f}s " + " ".join(f"{n} {v / every:.4f}" for n, v in sums.items()) + " | " + text)
            sums = {}
        if late:
            break
    return kept


def train_all(data: Path, cache: Path, out: Path, plan: Plan) -> None:
    """Pack, train, export; prints figures on people held out of `train`, and leaves a preview of them in the cache."""
    halves = [half for half in prepare_crops(data, cache / "crops") if half.free != "no" and not (plan.free and half.free != "yes")]
    held = [half for half in halves if apart(half.person)]
    taught = [half for half in halves if not apart(half.person)] + drawn_halves(cache / "crops")
    key = hashlib.sha256(json.dumps(asdict(plan)).encode()).hexdigest()[:8]
    net = train(taught, held[::2], plan, cache / f"renderer-{key}.pt")
    side = plan.phases[-1].inside
    preview(net, held[:12], cache / f"renderer-{key}.png", side)
    print(judge(net, held, side, references=plan.references))
    export(net, plan, side, out, key)


def scaled(plan: Plan, length: float) -> Plan:
    """A plan so many times as long."""
    return replace(plan, phases=tuple(replace(phase, steps=max(2, round(phase.steps * length))) for phase in plan.phases))


def phase_of(plan: Plan, done: int) -> tuple[Phase, int]:
    """The phase of a step, and how far in it."""
    for phase in plan.phases:
        if done < phase.steps:
            return phase, done
        done -= phase.steps
    raise IndexError(done)


@torch.no_grad()
def preview(net: Renderer, halves: list[Half], path: Path, inside: int, side: int = 192) -> None:
    """Real, warp alone, rendered, difference (x 3) of a target of each half."""
    lines = []
    for half in halves:
        shown = show(net, make_batch([(half, [len(half.frame) // 2])], None), inside, side, warped=True)
        difference = (0.5 + 3 * (shown.picture - shown.target)).clip(0, 1)
        lines.append(torch.cat([shown.target, shown.warped, shown.picture, difference], 3)[0])
    cv2.imwrite(str(path), (device.array(torch.cat(lines, 1)).transpose(1, 2, 0)[:, :, ::-1] * 255).clip(0, 255).astype(np.uint8))


def export(net: Renderer, plan: Plan, side: int, out: Path, training: str) -> None:
    """Write the four files that are served, for pictures of `side`, with their configuration inside and their hashes."""
    out.mkdir(parents=True, exist_ok=True)
    net, config = net.eval(), RendererConfig(side, plan.references, training)
    two, half, k, width = 2, side // 4, plan.references, plan.width
    lips, face = torch.zeros(two, 3, side, side), torch.zeros(two, 4, side, side)
    features, drawn = torch.zeros(two, width, half, half), torch.zeros(two, 3, side // 2, side // 2)
    asked = {
        "lips": torch.zeros(two, k, width, half, half), "places": torch.zeros(two, k, half, half, 2), "face": features, "drawn": drawn,
        "far": torch.zeros(two, k, 2), "prior": torch.full((two, k), 1 / k),
    }  # fmt: skip
    write(net.lips, {"picture": lips}, ["lips"], out / NETS[0], config)
    write(net.face, {"picture": face}, ["face"], out / NETS[1], config)
    write(net.fusion, asked, ["flow", "weights", "features"], out / NETS[2], config)
    write(net.decoder, {"blended": lips, "features": features, "drawn": drawn}, ["added"], out / NETS[3], config)

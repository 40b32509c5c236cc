"""The net that sees things before a mouth, and faces of two pictures in one: trained on chips of clips, spoilt in both ways.

    python -m engines.train covered --data ../shared/data

Chips are packed once into the cache; what spoils them is drawn anew each time (`engines.train.covers`, `engines.train.mixed`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines import face
from engines.backends.weights import write_hash
from engines.chips import HEIGHT, WIDTH, chip, whole
from engines.covered import WEIGHTS
from engines.drawn import draw
from engines.enrol import Follower
from engines.person import Mouth, idle, random_look
from engines.tracker import Tracker
from engines.train.covers import cover
from engines.train.data import pictures, read_manifest, side_by_side
from engines.train.mixed import alone, mix
from native.planes import from_rgb

Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]
_FRAMES, _EVERY, _CHIPS, _LEAST = 200, 2, 45, 10  # of a clip: frames that are looked at, each so many-th, chips at most, chips at least
_CLIPS = 3  # of a person at most
_DRAWN, _POSES = 40, 12  # people, and chips of each
_NOT, _IS = 0.02, 0.15  # of the lips hidden: less is not covered, more is; between them nothing is taught
_ONE, _TWO = 0.03, 0.2  # the same of how plain a mixture is
_SINGLE = 0.25
_BATCH = 64


@dataclass(frozen=True)
class Plan:
    """How long is trained."""

    epochs: float = 7
    rate: float = 3e-3
    seed: int = 0


@dataclass(frozen=True)
class Chips:
    """N chips of C clips."""

    clean: Bytes
    """(N, HEIGHT, WIDTH, 3) YUV."""
    usual: Bytes
    """(C, HEIGHT, WIDTH, 3) the median chip of each clip."""
    clip: NDArray[np.int64]
    """(N,) which clip each is of."""
    person: NDArray[np.str_]
    """(N,) of whom."""


class Net(nn.Module):
    """A chip and the usual one, (B, 6, HEIGHT, WIDTH) 0..255, to two logits (B,): something before the mouth; two pictures in one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(9, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 40, 3, 2, 1), nn.ReLU(), nn.Conv2d(40, 56, 3, padding=1), nn.ReLU(),
            nn.Conv2d(56, 56, 3, 2, 1), nn.ReLU(),
        )  # fmt: skip
        self.covered, self.mixed = nn.Linear(56 * 4, 1), nn.Linear(56 * 2, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        x = (x - 128) / 48
        x = self.body(torch.cat([x, x[:, :3] - x[:, 3:]], 1))
        low = x[:, :, 3:]  # from the nose on down
        told = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return self.covered(torch.cat([told, low.mean((2, 3)), low.amax((2, 3))], 1))[:, 0], self.mixed(told)[:, 0]


def prepare_chips(data: Path, cache: Path, jobs: int = 2) -> Chips:
    """Chips of training clips, none under non-commercial terms, and of drawn people; what `cache` does not hold is tracked into it."""
    people: dict[str, list[dict[str, str]]] = {}
    for row in read_manifest(data):
        if row["split"] in ("train", "train-picture") and row["set"] != "made" and row["free"] != "no":
            people.setdefault(row["person"], []).append(row)
    rows = [row for own in people.values() for row in own[:_CLIPS]]
    cache.mkdir(parents=True, exist_ok=True)
    with side_by_side(jobs) as pool:
        found = list(pool.map(_packed, rows, [data] * len(rows), [cache] * len(rows), chunksize=4))
    own = [(row["person"], clip) for row, clip in zip(rows, found, strict=True) if len(clip) >= _LEAST]
    own += [(f"drawn {number}", _drawn(number)) for number in range(_DRAWN)]
    random = np.random.default_rng(0)
    some = [clip[random.permutation(len(clip))[:_CHIPS]] for _, clip in own]
    return Chips(
        np.concatenate(some), np.stack([np.median(clip, 0).astype(np.uint8) for _, clip in own]),
        np.repeat(np.arange(len(own)), [len(one) for one in some]), np.repeat([person for person, _ in own], [len(one) for one in some]),
    )  # fmt: skip


def _packed(row: dict[str, str], data: Path, cache: Path) -> Bytes:
    """The chips (n, HEIGHT, WIDTH, 3) of a clip."""
    cv2.setNumThreads(1)
    path = cache / (row["file"].replace("/", "_") + ".npy")
    if not path.exists():
        found: list[Bytes] = []
        with Tracker() as tracker:
            follower = Follower(tracker)
            for count, (_, picture) in enumerate(pictures(data / row["file"])):
                if count == _FRAMES:
                    break
                follower.see(picture)
                if count % _EVERY == 0 and follower.last is not None:
                    found.append(whole(chip(picture, face.pose(follower.last))))
        shown = np.stack(found) if found else np.zeros((0, HEIGHT, WIDTH, 3), np.uint8)
        partial = path.with_suffix(".part.npy")
        np.save(partial, shown)
        partial.replace(path)
    return np.asarray(np.load(path), np.uint8)


def _drawn(number: int) -> Bytes:
    """Chips of a drawn person."""
    random, own = np.random.default_rng(1000 + number), []
    for at in range(_POSES):
        mouth = (
            Mouth(float(random.uniform(0, 32)), width=float(random.uniform(-1, 1)), bite=float(random.random() < 0.1))
            if at > 2
            else Mouth()
        )
        rgb, landmarks = draw(random_look(100 + number), mouth, idle(int(random.integers(200))), (int(random.choice([320, 480])), 240))
        own.append(whole(chip(from_rgb(rgb), face.pose(landmarks))))
    return np.stack(own)


@dataclass(frozen=True)
class Spoilt:
    """Chips (M, HEIGHT, WIDTH, 3), what is true of them, and where they are from."""

    shown: Bytes
    source: NDArray[np.int64]
    """(M,) the chip that each is made of."""
    covered: Float
    """(M,) 0 not, 1 yes, NaN where nothing is taught."""
    mixed: Float
    """(M,) the same."""
    hidden: Float
    """(M,) the share of the lips that is covered, or how plain a mixture is."""
    kind: NDArray[np.int64]
    """(M,) 0 clean, 1 covered, 2 mixed."""
    single: NDArray[np.bool_]
    """(M,) whether there is no usual chip beside it but itself, as of a photo, or of who wears a mask throughout."""


def spoilt(chips: Chips, kept: NDArray[np.int64], random: np.random.Generator, singles: float = _SINGLE) -> Spoilt:
    """Each of the chips `kept` clean, covered and mixed; `singles` of those that are not mixed alone."""
    by_clip = {clip: np.flatnonzero(chips.clip == clip) for clip in np.unique(chips.clip[kept])}
    parts: list[tuple[Bytes, int, float, float, float, int]] = []
    for at in kept.tolist():
        clean = chips.clean[at]
        parts.append((alone(clean, random) if random.random() < 0.5 else clean, at, 0.0, 0.0, 0.0, 0))
        other = chips.clean[int(random.choice(kept))]
        over, hidden = cover(clean, other, random)
        parts.append((over, at, _label(hidden, _NOT, _IS), 0.0, hidden, 1))
        alike = random.random() < 0.7
        second = chips.clean[int(random.choice(by_clip[chips.clip[at]]))] if alike else other
        two, plain = mix(clean, second, alike, random)
        parts.append((two, at, np.nan, _label(plain, _ONE, _TWO), plain, 2))
    shown, source, covered, mixed, hidden_, kind = zip(*parts, strict=True)
    single = (random.random(len(kind)) < singles) & (np.array(kind) < 2)
    return Spoilt(
        np.stack(shown), np.array(source), np.array(covered, np.float32), np.where(single, np.nan, mixed).astype(np.float32),
        np.array(hidden_, np.float32), np.array(kind), single,
    )  # fmt: skip


def _label(share: float, no: float, yes: float) -> float:
    return 1.0 if share > yes else 0.0 if share < no else np.nan


def _graded(x: torch.Tensor) -> torch.Tensor:
    """As if filmed otherwise: lighter, darker, grey, coloured, mirrored, moved."""
    count = len(x)
    gain, lift = torch.empty(count, 1, 1, 1).uniform_(0.75, 1.25), torch.empty(count, 1, 1, 1).normal_(0, 12)
    tint = torch.empty(count, 2, 1, 1).normal_(0, 5) * (torch.rand(count, 1, 1, 1) < 0.5)
    colour = torch.where(torch.rand(count, 1, 1, 1) < 0.1, 0.0, torch.empty(count, 1, 1, 1).uniform_(0.8, 1.2))
    parts = []
    for part in (x[:, :3], x[:, 3:]):
        luma, chroma = (part[:, :1] - 110) * gain + 110 + lift, (part[:, 1:] - 128) * colour + 128 + tint
        parts.append(torch.cat([luma, chroma], 1).clamp(0, 255))
    dy, dx = (int(torch.randint(-1, 2, ())) for _ in range(2))
    out = torch.cat([torch.roll(parts[0], (dy, dx), (2, 3)), parts[1]], 1)
    return torch.flip(out, (3,)) if torch.rand(()) < 0.5 else out


def _batch(chips: Chips, found: Spoilt, rows: NDArray[np.int64]) -> torch.Tensor:
    usual = np.where(found.single[rows, None, None, None], found.shown[rows], chips.usual[chips.clip[found.source[rows]]])
    pairs = np.concatenate([found.shown[rows], usual], 3)
    return torch.from_numpy(np.ascontiguousarray(pairs.transpose(0, 3, 1, 2))).float()


def train(chips: Chips, kept: NDArray[np.int64], plan: Plan) -> Net:
    """The net, from the chips `kept`."""
    torch.manual_seed(plan.seed)
    random = np.random.default_rng(plan.seed)
    net = Net()
    total = max(int(plan.epochs * 3 * len(kept)) // _BATCH, 2)
    optimiser = torch.optim.AdamW(net.parameters(), plan.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=total)
    step, losses = 0, []
    while step < total:
        found = spoilt(chips, kept, random)
        truth = [torch.from_numpy(one) for one in (found.covered, found.mixed)]
        for rows in np.array_split(random.permutation(len(found.kind)), max(len(found.kind) // _BATCH, 1)):
            if step == total:
                break
            loss = torch.zeros(())
            for told, true in zip(net(_graded(_batch(chips, found, rows))), truth, strict=True):
                known = ~torch.isnan(true[rows])
                loss = loss + nn.functional.binary_cross_entropy_with_logits(told[known], true[rows][known])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
            step += 1
        print(f"step {step} of {total}: {np.mean(losses[-len(found.kind) // _BATCH :]):.4f}", flush=True)
    return net.eval()


def judge(net: Net, chips: Chips, held: NDArray[np.int64]) -> str:
    """How well chips that were held out are told, in words."""
    lines = []
    for title, singles in (("", 0.0), ("alone, ", 1.0)):
        found = spoilt(chips, held, np.random.default_rng(9), singles)
        with torch.no_grad():
            parts = [net(_batch(chips, found, rows)) for rows in np.array_split(np.arange(len(found.kind)), -(-len(found.kind) // 512))]
        for name, told, kind, levels in (
            ("covered", torch.cat([one for one, _ in parts]).numpy(), 1, (0.15, 0.3, 0.6, 1.01)),
            ("mixed", torch.cat([two for _, two in parts]).numpy(), 2, (0.1, 0.2, 0.35, 0.51)),
        )[: 1 if singles else 2]:
            for level in range(6):
                wrong = _above(told[found.kind == 0], level)
                rates = [
                    _above(told[(found.kind == kind) & (found.hidden >= low) & (found.hidden < high)], level)
                    for low, high in pairwise(levels)
                ]
                words = ", ".join(f"{low:.2f} and more {rate:.1f}" for low, rate in zip(levels, rates, strict=False))
                lines.append(f"{title}{name}, logit > {level}: clean {wrong:.2f} %; of {words} %")
    return "\n".join(lines)


def _above(told: Float, level: float) -> float:
    """Per cent of logits above a level; NaN of none."""
    return 100 * float((told > level).mean()) if len(told) else float("nan")


def export(net: Net) -> bytes:
    """The net as ONNX: input "chips" (B, 6, HEIGHT, WIDTH) 0..255, outputs "covered" and "mixed" (B,)."""
    out = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, which is the old one
        torch.onnx.export(
            net, (torch.zeros(2, 6, HEIGHT, WIDTH),), out, input_names=["chips"], output_names=["covered", "mixed"],
            dynamic_axes={name: {0: "B"} for name in ("chips", "covered", "mixed")}, opset_version=17, dynamo=False,
        )  # fmt: skip
    return out.getvalue()


def train_covered(data: Path, cache: Path, out: Path, length: float = 1.0) -> None:
    """Pack, train, say how well people who were held out are judged, and write the net into `out`."""
    chips, plan = prepare_chips(data, cache), Plan()
    plan = replace(plan, epochs=plan.epochs * length)
    people = np.unique(chips.person)
    held = np.isin(chips.person, np.random.default_rng(5).permutation(people)[: len(people) // 5])
    net = train(chips, np.flatnonzero(~held), plan)
    print(judge(net, chips, np.flatnonzero(held)))
    (out / WEIGHTS).write_bytes(export(net))
    write_hash(out / WEIGHTS)

"""Trains the shipped motion nets on: encoder and denoiser at once, from speech to lips, on all filmed and made faces.

1. clips are packed, heard by whole-sentence ears (`whole`), and timed below a frame by them (`timing`),
2. a ridge from those ears to lips says, people balanced, what of a clip's lips its speech tells at all,
3. both nets go on from their files (`shipped`): lips as filmed, and as told; what the whole-sentence ears heard; as quick and as wide; and
   of speech without a face (`pool`) what is heard and told; and synthetic voices with synthetic mouths (`mouths`), so that lips meet at
   /p b m/ in any language,
4. they are written, and the figures of people who were held out of it printed.
What was cut off goes on from its checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engines import face
from engines.backends.cpu import CpuNet
from engines.motion.config import EARS, LIPS
from engines.motion.engine import DiffusionMotion
from engines.motion.net import CIRCLE, Denoiser, Dropout, Ears
from engines.motion.sampler import noises
from engines.motion.space import IDENTITY
from engines.spec import TICK
from engines.train import kinds, report, timing
from engines.train.augment import spoil
from engines.train.data import Clip, in_units, prepare
from engines.train.diffusion import Recipe, curves, losses
from engines.train.export import export
from engines.train.figures import LEAST, speech_frames
from engines.train.mouths import Mouth, synthetic
from engines.train.pairs import COMPONENTS, SILENT, Space, mel, who
from engines.train.pool import pooled
from engines.train.shipped import read_back
from engines.train.timing import Timing
from engines.train.whole import Whole, fetch

Float = NDArray[np.float32]
Random = np.random.Generator
LOOK_AHEAD = (2, 0)
HEARD = 96
"""Components of what the whole-sentence ears heard."""
_AROUND = range(-4, 4)  # ticks whose features the ridge sees
_RIDGE_COMPONENTS, _RIDGE = 128, 0.3
_KEEP = 40  # steps between checkpoints
_PAUSED, _PAUSE = 0.15, (5, 40)  # share of pieces with silence in them, and its ticks
_LATER = 2  # ticks: what the look-ahead has heard is taught, too
_BEGUN = 4  # ticks of a piece in which the encoder has heard nothing yet


@dataclass(frozen=True)
class Onward:
    """Everything that may be chosen."""

    steps: int = 900
    size: int = 16
    ticks: int = 90
    rates: tuple[float, float] = (5e-4, 5e-4)
    """Of the encoder and of the denoiser."""
    made: float = 0.15
    """Share of pieces from generated clips."""
    faceless: float = 0.3
    """Share of pieces of speech without a face."""
    pool: int = 320
    """Windows of it."""
    synthetic: float = 0.08
    """Share of pieces with synthetic mouths."""
    minutes: float = 12
    """Of synthetic voices."""
    heard: float = 1.0
    """Weight of giving back what whole-sentence ears heard."""
    told: float = 0.5
    """Weight of lips as a whole sentence tells them, beside lips as they were filmed."""
    follow: float = 0.5
    """Weight of opening and widening when they do."""
    quick: float = 0.6
    """Weight of moving as quickly, and changing as suddenly, as the filmed do."""
    wide: float = 0.1
    """Weight of opening and widening as far."""
    spoilt: float = 0.4
    """Share of pieces whose sound is spoilt."""
    temperature: float = 0.3
    dropout: float = 0.3
    seed: int = 0


FILMED, MADE, FACELESS, SYNTHETIC = "filmed", "made", "faceless", "synthetic"


@dataclass(frozen=True)
class Lips:
    """Something said, N ticks, to learn from."""

    kind: str
    person: str
    speech: Float
    """(N * 640,)."""
    rows: Float
    """(N, COMPONENTS + HEARD + COMPONENTS): the lips seen, what whole-sentence ears heard, the lips that they tell."""
    seen: Float
    """(N,) whether the lips are known."""
    who: Float | None
    """(I,) None: anybody's."""
    trust: float
    """0.25 to 1: by how far lips and sound agree."""


def apart(clip: Clip) -> bool:
    """Whether a clip's person is held out: one in six of those who came last, whom the first training has not seen."""
    return clip.person.startswith("q") and int(hashlib.sha256(clip.person.encode()).hexdigest(), 16) % 6 == 0


def train_on(data: Path, cache: Path, out: Path, recipe: Onward) -> None:
    """Go on with the nets in `out` and write them there; `cache` keeps what is packed, and `onward.pt`."""
    clips = prepare(data, cache)
    whole = Whole(fetch(cache))
    table = cache / "timing-whole.csv"
    heard = {clip.file: _kept(cache / f"whole-{clip.file.replace('/', '_')}.npy", clip, whole) for clip in clips}
    if not table.exists():
        timing.write(table, timing.find_timing(clips, [heard[clip.file].astype(np.float32) for clip in clips]))
    known = timing.read(table)
    begun = read_back(out, LOOK_AHEAD)
    train = [clip for clip in clips if clip.split == "train" and clip.free != "no"]
    lips = lessons([clip for clip in train if not apart(clip)], known, heard, begun.space, recipe, pooled(data, cache, whole, recipe.pool))
    print(
        f"{len(lips)} pieces of speech, of {len({one.person for one in lips if one.kind in (FILMED, MADE)})} people with lips", flush=True
    )
    ears, net = go_on(begun.ears, begun.net, begun.space, lips, recipe, cache / "onward.pt")
    training = f"onward from {begun.config.training}; {recipe.steps} steps, seed {recipe.seed}"
    export(ears, net, begun.space, begun.usual, out, steps=1, temperature=recipe.temperature, training=training)
    held = timing.trusted([clip for clip in train if apart(clip) and clip.set != "made"], known)
    engine = DiffusionMotion(ears=CpuNet((out / EARS).read_bytes()), lips=CpuNet((out / LIPS).read_bytes()))
    print(report.table({"held out": report.judged(held, report.said_by(engine, held))}))


def _kept(path: Path, clip: Clip, whole: Whole) -> NDArray[np.float16]:
    if not path.exists():
        np.save(path, whole.hear_all(clip.speech).astype(np.float16))
    found: NDArray[np.float16] = np.load(path)
    return found


def lessons(
    clips: list[Clip],
    known: dict[str, Timing],
    heard: dict[str, NDArray[np.float16]],
    space: Space,
    recipe: Onward,
    pool: list[tuple[Float, Float]],
) -> list[Lips]:
    """From clips whose lips and sound agree, their sound moved to where the lips say that it is; and from synthetic voices.

    pool: speech without a face, and what was heard of it (`engines.train.pool`).
    """
    moved = timing.trusted(clips, known)
    ticks = {clip.file: _at_ticks(heard[clip.file], known[clip.file].lag, len(clip.motion)) for clip in moved}
    rows = np.concatenate([ticks[clip.file][::8] for clip in moved])
    mean = rows.mean(0)
    values, axes = np.linalg.eigh(np.cov((rows - mean).T))
    large, basis = values[::-1], axes[:, ::-1].astype(np.float32)
    ridge = _ridge(moved, ticks, known, space, mean, basis[:, :_RIDGE_COMPONENTS] / np.sqrt(large[:_RIDGE_COMPONENTS]))
    scaled = basis[:, :HEARD] / np.sqrt(large[:HEARD]) * (large[:HEARD] / large[0]) ** 0.25  # what varies little counts less

    def rows_of(lips: Float, near: Float) -> Float:
        return np.concatenate([lips, (near - mean) @ scaled, ridge.lips(near)], 1).astype(np.float32)

    made = []
    for clip in moved:
        kind, trust = MADE if clip.set == "made" else FILMED, trust_of(known[clip.file])
        lips = rows_of(space.encode(in_units(clip)[0]), ticks[clip.file])
        made.append(Lips(kind, clip.person, clip.speech, lips, clip.seen.astype(np.float32), who(clip), trust))
    for number, (said, near) in enumerate(pool):
        lips, nothing = rows_of(np.zeros((len(near), COMPONENTS), np.float32), near), np.zeros(len(near), np.float32)
        made.append(Lips(FACELESS, f"{FACELESS} {number}", said, lips, nothing, None, 1.0))
    mouth = Mouth([clip for clip in moved if clip.set != "made"], space)
    for said, shown in synthetic(mouth, recipe.minutes, recipe.seed, np.random.default_rng(recipe.seed)):
        lips = np.concatenate([shown, np.zeros((len(shown), HEARD + COMPONENTS), np.float32)], 1)
        made.append(Lips(SYNTHETIC, SYNTHETIC, said, lips, np.ones(len(shown), np.float32), None, 1.0))
    return made


def trust_of(found: Timing) -> float:
    """How far a clip counts."""
    return float(np.clip((found.agrees - 0.3) / 0.4, 0.25, 1))


def _at_ticks(heard: NDArray[np.float16], lag: float, count: int) -> Float:
    """(count, 512): what was heard in each tick, of a sound that is moved later by `lag` seconds."""
    at = np.clip(np.arange(2 * count) - lag * 50, 0, len(heard) - 1)
    low = np.minimum(at.astype(int), len(heard) - 2)
    part = (at - low)[:, None].astype(np.float32)
    tokens = heard[low].astype(np.float32) * (1 - part) + heard[low + 1].astype(np.float32) * part
    return np.asarray(tokens.reshape(count, 2, -1).mean(1), np.float32)


@dataclass(frozen=True)
class _Ridge:
    """A linear map from what is heard around a tick to lips."""

    mean: Float
    axes: Float
    matrix: Float
    middle: Float

    def inputs(self, heard: Float) -> Float:
        """(N, D) of what is heard in ticks (N, 512)."""
        near = (heard - self.mean) @ self.axes
        at = np.arange(len(near))
        return np.concatenate([near[np.clip(at + ago, 0, len(near) - 1)] for ago in _AROUND], 1).astype(np.float32)

    def lips(self, heard: Float) -> Float:
        """(N, COMPONENTS), about where lips are in speech."""
        x = self.inputs(heard)
        return ((x - x.mean(0)) @ self.matrix + self.middle).astype(np.float32)


def _ridge(clips: list[Clip], ticks: dict[str, Float], known: dict[str, Timing], space: Space, mean: Float, axes: Float) -> _Ridge:
    """The map, from clips whose ticks were heard; every person by the root of how much there is."""
    empty = _Ridge(mean, axes, np.zeros(0, np.float32), np.zeros(0, np.float32))
    people: dict[str, list[tuple[Float, Float, Float, float]]] = {}
    for clip in clips:
        spoken = speech_frames(clip.speech, len(clip.motion)) & clip.seen
        if spoken.sum() < LEAST:
            continue
        x, y, trust = empty.inputs(ticks[clip.file])[spoken], space.encode(in_units(clip)[0])[spoken], trust_of(known[clip.file])
        away_x, away_y = x - x.mean(0), y - y.mean(0)
        people.setdefault(clip.person, []).append((trust * away_x.T @ away_x, trust * away_x.T @ away_y, y.sum(0) * trust, trust * len(x)))
    share = {person: 1 / np.sqrt(sum(count for *_, count in own)) for person, own in people.items()}
    gram, cross, total = (sum(share[p] * part[at] for p, own in people.items() for part in own) for at in (0, 1, 2))
    count = sum(share[p] * part[3] for p, own in people.items() for part in own)
    matrix = np.linalg.solve(gram + _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)), cross)
    return replace(empty, matrix=matrix.astype(np.float32), middle=(total / count).astype(np.float32))


@dataclass(frozen=True)
class _Batch:
    """B pieces of T ticks."""

    mel: Tensor
    """(B, 3 + 4 (T + 2), 80)."""
    rows: Tensor
    """(B, T, ...), see `Lips`."""
    weight: Tensor
    """(B, T) of the lips seen."""
    told: Tensor
    """(B, T) whether the rest of the rows is known."""
    who: Tensor
    """(B, I)."""


class _Pieces:
    """Draws batches: kinds in fixed shares, and in a kind people by the root of how much there is of them."""

    def __init__(self, lips: list[Lips], recipe: Onward, space: Space, random: Random) -> None:
        self._recipe, self._random, self._all = recipe, random, lips
        known: dict[tuple[str, str], list[Lips]] = {}
        for one in lips:
            known.setdefault((one.kind, one.person), []).append(one)
        self._people, kind = list(known.values()), np.array([key[0] for key in known])
        share = np.array([np.sqrt(sum(len(one.rows) * one.trust for one in own)) for own in self._people])
        parts = {MADE: recipe.made, FACELESS: recipe.faceless, SYNTHETIC: recipe.synthetic}
        for name, part in (parts | {FILMED: 1 - sum(parts.values())}).items():
            share[kind == name] *= part / max(share[kind == name].sum(), 1e-9)
        self._share = share / share.sum()
        self._rest = np.concatenate([
            space.encode(np.zeros((1, face.L, 2), np.float32)), np.zeros((1, HEARD + COMPONENTS), np.float32)
        ], 1)  # fmt: skip

    def batch(self) -> _Batch:
        """The next one."""
        ticks, parts = self._recipe.ticks, []
        for _ in range(self._recipe.size):
            speech, rows, weights, one = self._piece()
            more = ((0, ticks - len(rows)), (0, 0))
            heard = mel(np.pad(speech, (0, (more[0][1] + sum(LOOK_AHEAD)) * TICK)))
            weight, told = np.pad(weights * np.array([one.trust, 1], np.float32), more).T
            who = self._random.normal(0, 0.7, IDENTITY) if one.who is None else one.who
            parts.append((heard, np.pad(rows, more), weight, told, who))
        return _Batch(*(torch.tensor(np.stack(part).astype(np.float32)) for part in zip(*parts, strict=True)))

    def _piece(self) -> tuple[Float, Float, Float, Lips]:
        """Speech (N * 640,), rows (N, ...), whether lips and the rest are known (N, 2), and what it is of; N at most `ticks`."""
        random, ticks = self._random, self._recipe.ticks
        own = self._people[int(random.choice(len(self._people), p=self._share))]
        one = own[int(random.integers(len(own)))]
        speech, rows, weights = one.speech, one.rows, np.stack([one.seen, np.full(len(one.seen), one.kind != SYNTHETIC)], 1)
        spoilt, paused = random.random() < self._recipe.spoilt, random.random() < _PAUSED
        room = ticks - (int(random.integers(*_PAUSE)) if paused else 0)
        if spoilt and random.random() < 0.35:
            long = int(1.3 * room) + 1
            first = int(random.integers(0, max(len(rows) - long, 0) + 1))
            cut = slice(first, first + long)
            speech, rows, weights = _faster(
                speech[first * TICK : (first + long) * TICK], rows[cut], weights[cut], random.uniform(0.85, 1.2)
            )
        if len(rows) > room:
            first = int(random.integers(0, len(rows) - room + 1))
            cut = slice(first, first + room)
            speech, rows, weights = speech[first * TICK : (first + room) * TICK], rows[cut], weights[cut].copy()
            weights[: _BEGUN if first else 0] = 0
        if paused:
            speech, rows, weights = self._with_pause(speech, rows, weights, min(ticks - room, ticks - len(rows)))
        if spoilt:
            speech = kinds.some(speech, random, self._other)
            return spoil(speech, random, self._other, codecs=random.random() < 0.5), rows, weights, one
        return speech * np.float32(10 ** (random.uniform(-10, 6) / 20)), rows, weights, one

    def _with_pause(self, speech: Float, rows: Float, weights: Float, count: int) -> tuple[Float, Float, Float]:
        """With so many ticks of silence, and lips at rest in it but near speech: before, after or in the midst."""
        at = int(self._random.choice([0, int(self._random.integers(0, len(rows) + 1)), len(rows)]))
        calm = np.zeros((count, 2), np.float32)
        calm[_BEGUN if at else 0 : count - (_BEGUN if at < len(rows) else 0), 0] = SILENT
        quiet = np.zeros(count * TICK, np.float32)
        speech = np.concatenate([speech[: at * TICK], quiet, speech[at * TICK :]])
        return speech, np.insert(rows, [at] * count, self._rest[0], 0), np.concatenate([weights[:at], calm, weights[at:]])

    def _other(self) -> Float:
        return self._all[int(self._random.integers(len(self._all)))].speech


def _faster(speech: Float, rows: Float, weights: Float, speed: float) -> tuple[Float, Float, Float]:
    """So many times as fast, pitch with it."""
    speech = np.interp(np.arange(0, len(speech) - 1, speed), np.arange(len(speech)), speech).astype(np.float32)
    at = np.arange(len(speech) // TICK) * speed
    low = np.minimum(at.astype(int), len(rows) - 1)
    high, part = np.minimum(low + 1, len(rows) - 1), (at - low)[:, None].astype(np.float32)
    return speech[: len(low) * TICK], rows[low] + part * (rows[high] - rows[low]), weights[low]


def go_on(ears: Ears, net: Denoiser, space: Space, lips: list[Lips], recipe: Onward, kept: Path) -> tuple[Ears, Denoiser]:
    """Both nets, trained on: the moving average of their weights."""
    torch.manual_seed(recipe.seed)
    for module in net.modules():
        if isinstance(module, Dropout):
            module.dropped = round(recipe.dropout * 256)
    both, head = nn.ModuleList([ears, net]), nn.Linear(2 * ears.width, 2 * HEARD)
    average = {name: value.clone() for name, value in both.state_dict().items()}
    groups = zip((ears, net, head), (*recipe.rates, 1e-3), strict=True)
    optimizer = torch.optim.AdamW(
        [{"params": one.parameters(), "rate": rate} for one, rate in groups], weight_decay=0.02, betas=(0.9, 0.98)
    )
    begun, said = 0, torch.zeros(())
    if kept.exists():
        found = torch.load(kept, weights_only=True)
        both.load_state_dict(found["both"])
        head.load_state_dict(found["head"])
        optimizer.load_state_dict(found["optimizer"])
        average, begun = found["average"], found["step"]
    random = np.random.default_rng([recipe.seed, begun])
    pieces, weights = _Pieces(lips, recipe, space, random), torch.tensor(space.weight)
    for step in range(begun + 1, recipe.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * min(1, step / 40) * max(0.03, (1 - step / recipe.steps) ** 0.8)
        given, count = pieces.batch(), recipe.size
        both.train()
        whose = (given.who + 0.2 * torch.randn_like(given.who)) * (torch.rand(count, 1) > 0.15)
        features = ears(given.mel, torch.randint(0, CIRCLE, (count,)))[:, : recipe.ticks]
        drawn = recipe.temperature * torch.tensor(np.stack([noises(random, recipe.ticks, COMPONENTS) for _ in range(count)]))
        out, _ = net(features, drawn, torch.zeros(count), whose, torch.zeros(count, net.hidden))
        parts = torch.stack(list(_losses(out, head(features), given, space, weights, recipe)))
        loss, said = parts.sum(), 0.98 * said + 0.02 * parts.detach() if step > begun + 1 else parts.detach()
        optimizer.zero_grad()
        loss.backward()
        for one in both:
            nn.utils.clip_grad_norm_(one.parameters(), 1.0)
        optimizer.step()
        share = min(0.02, 2 / (step + 2)) if step < 200 else 0.008
        for name, value in both.state_dict().items():
            average[name].lerp_(value, share)
        if step % _KEEP == 0 or step == recipe.steps:
            print(f"{step} steps, parts of the loss:", " ".join(f"{part:.3f}" for part in said.tolist()), flush=True)
            states = {
                "both": both.state_dict(),
                "head": head.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average,
                "step": step,
            }
            torch.save(states, kept.with_suffix(".part"))
            kept.with_suffix(".part").replace(kept)
    both.load_state_dict(average)
    return ears.eval(), net.eval()


def _losses(out: Tensor, heard: Tensor, given: _Batch, space: Space, weights: Tensor, recipe: Onward) -> Iterator[Tensor]:
    """The parts of the loss of components (B, T, C): lips, hearing, lips as told and when they move, quickness (2), range (2)."""
    true, known, told = given.rows.split([COMPONENTS, HEARD, COMPONENTS], -1)
    weight, spoken = given.weight, (given.weight > 0).float()
    yield losses(out, true, weight, spoken, space, Recipe())
    settled = given.told.clone()
    settled[:, :_BEGUN] = 0
    count = settled.sum().clamp(min=1)
    now, later = heard.chunk(2, -1)
    both = settled[:, _LATER:] * settled[:, :-_LATER]
    now_error, later_error = ((now - known) ** 2).mean(-1) * settled, ((later[:, :-_LATER] - known[:, _LATER:]) ** 2).mean(-1) * both
    yield recipe.heard * (now_error.sum() / count + 0.5 * later_error.sum() / both.sum().clamp(min=1))
    away = (out - told) * weights
    away = away - (away * settled[..., None]).sum(1, keepdim=True) / settled.sum(1).clamp(min=1)[:, None, None]  # where it is, is not told
    near = F.smooth_l1_loss(away * settled[..., None], torch.zeros_like(away), reduction="none").sum()
    yield recipe.told * (near + 0.3 * (away.diff(dim=1).abs() * settled[:, 1:, None]).sum()) / count
    for ours, theirs in zip(curves(out, space), curves(told, space), strict=True):
        yield recipe.follow * (1 - _together(ours, theirs, settled)).mean()
    for order in (1, 2):
        among = weight.unfold(1, order + 1, 1).amin(-1)[..., None]
        ours, theirs = (
            ((part * weights).diff(n=order, dim=1).abs() * among).sum((0, 1)) / among.sum().clamp(min=1) for part in (out, true)
        )
        yield recipe.quick * (ours - theirs).abs().sum()
    spreads = [[_spread(curve, spoken) for curve in curves(part, space)] for part in (out, true)]
    for ours, theirs, share in zip(*spreads, (1.0, 0.5), strict=True):
        yield recipe.wide * share * (ours.log() - theirs.log()).abs().mean()


def _together(a: Tensor, b: Tensor, there: Tensor) -> Tensor:
    """(B,) the correlation of two curves (B, T) where there is something."""
    count = there.sum(1, keepdim=True).clamp(min=1)
    a, b = ((part - (part * there).sum(1, keepdim=True) / count) * there for part in (a, b))
    return (a * b).sum(1) / ((a * a).sum(1) * (b * b).sum(1) + 1e-4).sqrt()


def _spread(curve: Tensor, spoken: Tensor) -> Tensor:
    """(B,) the standard deviation of a curve (B, T) where there is speech."""
    count = spoken.sum(1).clamp(min=1)
    away = curve - ((curve * spoken).sum(1) / count)[:, None]
    return (((away**2) * spoken).sum(1) / count + 1e-4).sqrt()


def scaled(recipe: Onward, length: float) -> Onward:
    """A recipe so many times as long."""
    return replace(recipe, steps=max(2, round(recipe.steps * length)))

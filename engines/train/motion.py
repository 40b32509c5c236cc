"""Trains the motion net `gru`: a few small recurrent nets from different seeds, averaged in one ONNX file.

Each hears log-mel frames of a tick and gives, two ticks later, the lips' and jaw's difference from rest in units of the
actor's opening range, as components of a PCA. Losses: components (smooth L1), their change, and 1 - r of opening and width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engines import face, features
from engines.backends.cpu import CpuNet
from engines.motion.engine import VERSION, WEIGHTS, GruMotion, GruState
from engines.motion.space import rest_and_range, unit
from engines.spec import TICK
from engines.train.data import Clip, in_units, prepare, trusted
from engines.train.figures import all_figures, speech_frames

Float = NDArray[np.float32]
LOOK_AHEAD = 2
HIDDEN, COMPONENTS = 192, 20
TICKS, BATCH = 75, 32
_FORGIVEN = 0.7
_SILENT = 0.3  # weight of a tick of silence against one of speech
HELD_OUT = 18  # people of `train` that choose the checkpoint
_SHARE = np.array([1.0] * 20 + [1.5] * 20 + [0.5] * 20, np.float32)  # outer lips, inner lips, jaw
_AT = {int(point): at for at, point in enumerate(face.MOTION)}


@dataclass(frozen=True)
class Space:
    """PCA of motion in an actor's units: (L * 2,) = mean + components (C,) @ decode (C, L * 2)."""

    mean: Float
    decode: Float
    weight: Float
    """(C,) standard deviations, the first 1: what a component's error counts."""

    def encode(self, moved: Float) -> Float:
        """Components (N, C) of differences (N, L, 2)."""
        return ((moved.reshape(len(moved), -1) - self.mean) @ np.linalg.pinv(self.decode)).astype(np.float32)


def make_space(moved: list[Float]) -> Space:
    """The space of the given differences, each (N, L, 2)."""
    rows = np.concatenate(moved).reshape(-1, face.L * 2)[::3]
    share = np.repeat(_SHARE, 2)
    mean = rows.mean(0)
    _, scale, axes = np.linalg.svd((rows - mean) * share, full_matrices=False)
    deviation = (scale[:COMPONENTS] / np.sqrt(len(rows))).astype(np.float32)
    decode = (axes[:COMPONENTS] * deviation[:, None] / share).astype(np.float32)
    return Space(mean, decode, (deviation / deviation[0]).astype(np.float32))


class Gru(nn.Module):
    """Features (B, T, 320), hidden (B, 2 * H) -> components (B, T, C), hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Sequential(
            nn.Linear(features.BANDS * features.FRAMES, 256), nn.LayerNorm(256), nn.SiLU(), nn.Dropout(0.3), nn.Linear(256, HIDDEN)
        )
        self.low = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.high = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.drop = nn.Dropout(0.4)
        self.outward = nn.Sequential(nn.Linear(2 * HIDDEN, 128), nn.SiLU(), nn.Dropout(0.3), nn.Linear(128, COMPONENTS))

    def forward(self, heard: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        h_low, h_high = hidden[:, :HIDDEN].contiguous()[None], hidden[:, HIDDEN:].contiguous()[None]
        low, h_low = self.low(self.drop(self.inward(heard)), h_low)
        high, h_high = self.high(self.drop(low), h_high)
        return self.outward(self.drop(torch.cat([low, high], -1))), torch.cat([h_low[0], h_high[0]], -1)


class Shipped(nn.Module):
    """The nets' average, a tick at a time: features (B, 320), hidden (B, nets * 2 * H) -> motion (B, L * 2), hidden."""

    def __init__(self, nets: list[Gru], space: Space, gain: Float) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self.register_buffer("mean", torch.tensor(space.mean))
        self.register_buffer("decode", torch.tensor(space.decode * gain[:, None]))

    def forward(self, features: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        parts = hidden.split(2 * HIDDEN, 1)
        done = [net(features[:, None], part) for net, part in zip(self.nets, parts, strict=True)]
        components = torch.stack([out[:, 0] for out, _ in done]).mean(0)
        return self.mean + components @ self.decode, torch.cat([after for _, after in done], 1)


@dataclass(frozen=True)
class Lesson:
    """A clip ready to learn from: features (N, 320), components (N, C), weight (N,)."""

    heard: Float
    components: Float
    weight: Float


def lesson(clip: Clip, space: Space, random: np.random.Generator) -> Lesson:
    """A clip with chance speed, noise, tone and level, and with silence around it in which the mouth rests."""
    moved, _, _ = in_units(clip)
    components, weight, speech = space.encode(moved), clip.seen.astype(np.float32), clip.speech
    if random.random() < 0.5:  # faster or slower, pitch with it
        speed = random.uniform(0.85, 1.18)
        speech = np.interp(np.arange(0, len(speech) - 1, speed), np.arange(len(speech)), speech).astype(np.float32)
        at = np.arange(len(speech) // TICK) * speed
        low = np.minimum(at.astype(int), len(components) - 1)
        high = np.minimum(low + 1, len(components) - 1)
        components = components[low] + (at - low)[:, None].astype(np.float32) * (components[high] - components[low])
        weight, speech = weight[low], speech[: len(low) * TICK]
    before, after = int(random.integers(0, 12)), int(random.integers(LOOK_AHEAD, 15))
    rest = space.encode(np.zeros((1, face.L, 2), np.float32))
    speech = np.concatenate([np.zeros(before * TICK, np.float32), speech, np.zeros(after * TICK, np.float32)])
    components = np.concatenate([np.repeat(rest, before, 0), components, np.repeat(rest, after, 0)])
    calm = 4  # ticks next to speech that may still move
    silent = [np.r_[np.full(max(n - calm, 0), _SILENT), np.zeros(min(n, calm))] for n in (before, after)]
    weight = np.concatenate([silent[0], weight, silent[1][::-1]])
    if random.random() < 0.6:
        speech = speech + random.normal(0, 10 ** random.uniform(-4.5, -2), len(speech)).astype(np.float32)
    if random.random() < 0.5:
        speech = np.concatenate([speech[:1], speech[1:] + np.float32(random.uniform(-0.5, 0.5)) * speech[:-1]])
    speech = speech * np.float32(10 ** random.uniform(-0.6, 0.6))
    _, heard = features.step(features.start(), speech.astype(np.float32))
    return Lesson(heard.reshape(-1, features.BANDS * features.FRAMES), components.astype(np.float32), weight.astype(np.float32))


def batch_of(lessons: list[Lesson], random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """BATCH pieces of TICKS + LOOK_AHEAD ticks: features, components (delayed by the look-ahead), weights."""
    length = TICKS + LOOK_AHEAD
    heard = np.full((BATCH, length, features.BANDS * features.FRAMES), -3, np.float32)
    components, weight = np.zeros((BATCH, length, COMPONENTS), np.float32), np.zeros((BATCH, length), np.float32)
    for b in range(BATCH):
        chosen = lessons[int(random.integers(len(lessons)))]
        start = int(random.integers(0, max(1, len(chosen.heard) - TICKS)))
        piece = slice(start, start + length)
        count = len(chosen.heard[piece])
        heard[b, :count] = chosen.heard[piece]
        components[b, LOOK_AHEAD:count] = chosen.components[piece][: count - LOOK_AHEAD]
        weight[b, LOOK_AHEAD:count] = chosen.weight[piece][: count - LOOK_AHEAD]
        weight[b, : LOOK_AHEAD + (5 if start else 0)] = 0
        if random.random() < 0.5:  # a gap in the spectrum
            low, wide = random.integers(0, features.BANDS - 10), random.integers(3, 10)
            heard[b].reshape(length, features.FRAMES, features.BANDS)[:, :, low : low + wide] = -0.5
    return torch.tensor(heard), torch.tensor(components), torch.tensor(weight)


def losses(out: Tensor, true: Tensor, weight: Tensor, space: Space) -> Tensor:
    """The training loss of components (B, T, C)."""
    share, decode = torch.tensor(space.weight), torch.tensor(space.decode)
    total = weight.sum() + 1e-6
    spoken = (weight > _SILENT + 1e-3).float()  # what tells people apart is learned there; silence is easy
    # a person's rest is a noisy guess: most of a constant difference from it is forgiven
    constant = ((out - true) * spoken[:, :, None]).sum(1, keepdim=True) / spoken.sum(1).clamp(min=1)[:, None, None]
    true = true + _FORGIVEN * constant.detach() * spoken[:, :, None]

    near = (functional.smooth_l1_loss(out * share, true * share, reduction="none").sum(-1) * weight).sum() / total
    change = (((out.diff(dim=1) - true.diff(dim=1)) * share).abs().sum(-1) * weight[:, 1:] * weight[:, :-1]).sum() / total

    def curves(components: Tensor) -> tuple[Tensor, Tensor]:
        moved = (components @ decode).unflatten(-1, (face.L, 2))
        return moved[..., _AT[14], 1] - moved[..., _AT[13], 1], moved[..., _AT[291], 0] - moved[..., _AT[61], 0]

    def apart(a: Tensor, b: Tensor) -> Tensor:
        count = spoken.sum(1, keepdim=True).clamp(min=1)
        a, b = ((x - (x * spoken).sum(1, keepdim=True) / count) * spoken for x in (a, b))
        return (1 - (a * b).sum(1) / ((a * a).sum(1) * (b * b).sum(1) + 1e-4).sqrt()).mean()

    (opening, width), (true_opening, true_width) = curves(out), curves(true)
    return near + 0.3 * change + 0.5 * apart(opening, true_opening) + 0.5 * apart(width, true_width)


def train_one(fit: list[Clip], judge: Callable[[Gru], float], space: Space, seed: int, steps: int, kept: Path) -> Gru:
    """One net; its best moving average by `judge` is kept in a file, so that a second call with it only loads."""
    net, average = Gru(), Gru()
    if kept.exists():
        net.load_state_dict(torch.load(kept, weights_only=True))
        return net.eval()
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    net = Gru()
    average.load_state_dict(net.state_dict())
    people = sorted({clip.person for clip in fit})
    own = {person: [clip for clip in fit if clip.person == person] for person in people}
    share = np.sqrt([sum(len(clip.motion) for clip in own[person]) for person in people])
    share /= share.sum()

    def lessons(count: int) -> list[Lesson]:
        chosen = (own[people[random.choice(len(people), p=share)]] for _ in range(count))
        return [lesson(clips[random.integers(len(clips))], space, random) for clips in chosen]

    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    known, best = lessons(300), -np.inf
    for count in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, count / 100) * (1 - count / steps) ** 0.7 + 1e-5
        if count % 20 == 0:
            known = known[40:] + lessons(40)
        heard, components, weight = batch_of(known, random)
        net.train()
        out, _ = net(heard, torch.zeros(BATCH, 2 * HIDDEN))
        loss = losses(out, components, weight, space)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for slow, quick in zip(average.parameters(), net.parameters(), strict=True):
                slow.lerp_(quick, 0.004 if count > 300 else 0.02)
        if count % 100 == 0:
            score = judge(average.eval())
            print(f"seed {seed}, {count} steps: loss {loss.item():.3f}, held-out r {score:.3f}", flush=True)
            if score > best:
                best = score
                torch.save(average.state_dict(), kept)
    if not kept.exists():
        torch.save(average.state_dict(), kept)
    net.load_state_dict(torch.load(kept, weights_only=True))
    return net.eval()


def predicted(net: Gru, clip: Clip) -> Float:
    """Components (N, C) that a net gives for a clip."""
    padded = np.concatenate([clip.speech, np.zeros(LOOK_AHEAD * TICK, np.float32)])
    _, heard = features.step(features.start(), padded)
    with torch.no_grad():
        out, _ = net(torch.tensor(heard.reshape(1, -1, features.BANDS * features.FRAMES)), torch.zeros(1, 2 * HIDDEN))
    return np.asarray(out[0, LOOK_AHEAD:].numpy(), np.float32)


def gain_of(nets: list[Gru], clips: list[Clip], space: Space) -> Float:
    """(C,): by how much averaged components must be stretched so that opening and width move as far as they truly do.

    A regression moves too little where it is unsure. One number for all components keeps mouths plausible; it is the
    geometric mean of half of what is missing, since stretching also stretches what is wrong.
    """
    ratios = []
    for clip in clips:
        moved, rest, reach = in_units(clip)
        out = np.mean([predicted(net, clip) for net in nets], 0)
        shown = rest + (space.mean + out @ space.decode).reshape(-1, face.L, 2) * reach
        found = all_figures(clip.motion, shown, speech_frames(clip.speech, len(moved)) & clip.seen)
        if found:
            ratios.append(found["amplitude ratio"])
    gain = float(np.clip(np.exp(-np.log(np.median(ratios))), 1, 1.6)) if ratios else 1.0
    return np.full(COMPONENTS, gain, np.float32)


def export(nets: list[Gru], space: Space, gain: Float, out: Path, about: dict[str, object]) -> None:
    """Write the ONNX file with its configuration inside, and its hash beside it."""
    import onnx

    hidden = 2 * HIDDEN * len(nets)
    path = out / WEIGHTS
    torch.onnx.export(
        Shipped(nets, space, gain).eval(), (torch.zeros(2, features.BANDS * features.FRAMES), torch.zeros(2, hidden)), str(path),
        input_names=["features", "hidden"], output_names=["motion", "hidden_after"], dynamo=False, opset_version=17,
        dynamic_axes={name: {0: "conversations"} for name in ("features", "hidden", "motion", "hidden_after")},
    )  # fmt: skip
    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = "mytalk", json.dumps({"version": VERSION, "look_ahead": LOOK_AHEAD, "hidden": hidden} | about)
    onnx.save(model, str(path))
    hashes = out / "hashes.json"
    known = json.loads(hashes.read_text()) if hashes.exists() else {}
    known[WEIGHTS] = hashlib.sha256(path.read_bytes()).hexdigest()
    hashes.write_text(json.dumps(known, indent=1) + "\n")


def through_engine(clip: Clip, engine: GruMotion) -> Float:
    """Motion (N, L, 2) of a clip as the shipped engine gives it, tick by tick; rest and range from its first half."""
    half = slice(0, max(len(clip.motion) // 2, 25))
    rest, reach, _ = rest_and_range(clip.motion[half][clip.seen[half]])
    hidden = np.zeros(engine.hidden, np.float32)
    state, shown = GruState(rest, unit(reach), features.start(), hidden, 0, 1.0, 0), []
    for block in np.concatenate([clip.speech, np.zeros(engine.look_ahead * TICK, np.float32)]).reshape(-1, 1, TICK):
        (state,), motion = engine.step([state], block)
        shown.append(motion[0])
    return np.stack(shown[engine.look_ahead :])


def report(clips: list[Clip], engine: GruMotion) -> str:
    """A markdown table of the engine's figures."""
    groups = {"val-unseen": "val-unseen", "val-unseen, GRID": "val-unseen", "val-seen": "val-seen"}
    lines = []
    for title, split in groups.items():
        found = []
        for clip in clips:
            if clip.split == split and ("GRID" not in title or clip.set == "grid"):
                shown = through_engine(clip, engine)
                found.append(all_figures(clip.motion, shown, speech_frames(clip.speech, len(shown)) & clip.seen))
        found = [f for f in found if f]
        for name in found[0] if found else ():
            values = np.array([f[name] for f in found])
            values = values[np.isfinite(values)]
            lines.append(
                f"| {title} | {name} | {len(values)} | "
                + " | ".join(f"{f(values):.3f}" for f in (np.mean, np.median, np.min, np.max))
                + " |"
            )
    return "\n".join(["| clips | figure | number | mean | median | least | most |", "|---|---|---|---|---|---|---|", *lines])


def train_all(data: Path, cache: Path, out: Path, steps: int, count: int, free: bool) -> None:
    """Pack, train, export, and print the table."""
    clips = prepare(data, cache)
    train = [clip for clip in clips if clip.split == "train" and clip.free in (("yes",) if free else ("yes", "unclear"))]
    people = sorted({clip.person for clip in train if clip.set != "grid"})
    rigs = sorted({clip.person for clip in train if clip.set == "grid"})
    random = np.random.default_rng(1)
    held = {*random.choice(people, min(HELD_OUT, len(people) // 4), replace=False), *rigs[-1:]}
    good = [clip for clip in train if trusted(clip)]
    fit, judges = [c for c in good if c.person not in held], [c for c in good if c.person in held]
    space = make_space([in_units(clip)[0][clip.seen] for clip in fit])

    def judge(net: Gru) -> float:
        rs = []
        for clip in judges:
            shown = (space.mean + predicted(net, clip) @ space.decode).reshape(-1, face.L, 2)
            moved, rest, reach = in_units(clip)
            found = all_figures(clip.motion, (rest + shown * reach).astype(np.float32), speech_frames(clip.speech, len(moved)) & clip.seen)
            rs += [[found["opening r"], found["width r"]]] if found else []
        print("held out, opening r {:.3f}, width r {:.3f}".format(*np.mean(rs, 0)))
        return float(np.mean(rs))

    name = "free-" if free else ""
    nets = [train_one(fit, judge, space, seed, steps, cache / f"{name}gru-{seed}.pt") for seed in range(count)]
    gain = gain_of(nets, judges, space)
    print(f"{len(fit)} clips to fit, {len(judges)} held out ({len(held)} people), gain {gain[0]:.2f}")
    export(nets, space, gain, out, {"free": free, "nets": count})
    print(report(clips, GruMotion(net=CpuNet((out / WEIGHTS).read_bytes()))))

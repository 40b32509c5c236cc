"""The motion diffusion: a teacher that learns from pairs, and students that reach it in one, two or four steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engines import face
from engines.motion.net import Denoiser
from engines.motion.sampler import noises, sample
from engines.motion.space import IDENTITY
from engines.train.device import array, half
from engines.train.judges import WINDOW, Identity, Sync
from engines.train.pairs import COMPONENTS, FACELESS, SILENT, SYNTHETIC, Batch, Lesson, Space, batch

Float = NDArray[np.float32]
_AT = {int(point): at for at, point in enumerate(face.MOTION)}
_FORGIVEN = 0.7


@dataclass(frozen=True)
class Recipe:
    """How a denoiser is trained."""

    steps: int = 800
    size: int = 32
    ticks: int = 75
    rate: float = 1.5e-3
    diffusion: bool = True
    """Otherwise noise is zero and the level too: a regression."""
    deaf: float = 0.1
    """Share of pieces whose speech is not heard."""
    own: float = 0.5
    """Share of pieces whose noisy motion is made of the net's own guess, not of the truth: so that it goes on listening."""
    change: float = 0.3
    apart: float = 0.5
    closure: float = 1.0
    identity: float = 0.1
    sync: float = 0.05
    synthetic: float = 0.2
    """Share of pieces with synthetic mouths, where there are any."""
    faceless: float = 0.3
    """Share of pieces of real speech without a face, where there are any."""
    width: int = 192
    layers: int = 2
    dropout: float = 0.35


def curves(components: Tensor, space: Space) -> tuple[Tensor, Tensor]:
    """Opening and width (B, T) in the actor's units, of components (B, T, C)."""
    moved = (components @ torch.tensor(space.decode)).unflatten(-1, (face.L, 2))
    return moved[..., _AT[14], 1] - moved[..., _AT[13], 1], moved[..., _AT[291], 0] - moved[..., _AT[61], 0]


def losses(out: Tensor, true: Tensor, weight: Tensor, spoken: Tensor, space: Space, recipe: Recipe) -> Tensor:
    """The training loss of components (B, T, C); `spoken` (B, T) is 1 where there is speech."""
    share = torch.tensor(space.weight)
    total = weight.sum() + 1e-6
    # a person's rest is a noisy guess: most of a constant difference from it is forgiven
    constant = ((out - true) * spoken[:, :, None]).sum(1, keepdim=True) / spoken.sum(1).clamp(min=1)[:, None, None]
    true = true + _FORGIVEN * constant.detach() * spoken[:, :, None]
    near = (F.smooth_l1_loss(out * share, true * share, reduction="none").sum(-1) * weight).sum() / total
    change = (((out.diff(dim=1) - true.diff(dim=1)) * share).abs().sum(-1) * weight[:, 1:] * weight[:, :-1]).sum() / total

    count = spoken.sum(1, keepdim=True).clamp(min=1)

    def moving(curve: Tensor) -> Tensor:
        return (curve - (curve * spoken).sum(1, keepdim=True) / count) * spoken

    def apart(a: Tensor, b: Tensor) -> Tensor:
        return (1 - (a * b).sum(1) / ((a * a).sum(1) * (b * b).sum(1) + 1e-4).sqrt()).mean()

    (opening, width), (true_opening, true_width) = ([moving(curve) for curve in curves(x, space)] for x in (out, true))
    loss = near + recipe.change * change + recipe.apart * (apart(opening, true_opening) + apart(width, true_width))
    if recipe.closure:  # where lips come nearest, not reaching it is worse than passing it
        shut = torch.exp((true_opening.amin(1, keepdim=True) - true_opening) / 0.12) * spoken
        loss = loss + recipe.closure * (shut * (opening - true_opening).clamp(min=0)).sum() / shut.sum().clamp(min=1)
    return loss


class _Judges:
    """The judges of `engines.train.judges` beside a net in training."""

    YOUNG = 60  # batches in which they learn before they are asked

    def __init__(self, people: list[str], heard: int, recipe: Recipe, random: np.random.Generator) -> None:
        self.recipe, self.random = recipe, random
        self.numbers = torch.tensor([-1 if person in (SYNTHETIC, FACELESS) else at for at, person in enumerate(people)])
        self.identity, self.sync = Identity(COMPONENTS, len(people)), Sync(heard, COMPONENTS)
        self.both = nn.ModuleList([self.identity, self.sync])
        self.optimizer = torch.optim.AdamW(self.both.parameters(), 1e-3, weight_decay=0.05)

    def _at(self, ticks: int, count: int) -> Tensor:
        return torch.tensor(self.random.integers(3, ticks - WINDOW, count))

    def ask(self, given: Batch, out: Tensor, spoken: Tensor, count: int) -> Tensor:
        """The loss of motion (B, T, C), in the eyes of both."""
        if count <= self.YOUNG or not (self.recipe.identity or self.recipe.sync):
            return torch.zeros(())
        self.both.eval().requires_grad_(requires_grad=False)
        loss = self.recipe.identity * self.identity.asks(out, given.components, spoken)
        return loss + self.recipe.sync * self.sync(given.heard, out, self._at(out.shape[1], len(out)))

    def learn(self, given: Batch, spoken: Tensor) -> None:
        """A step of both on true motion."""
        if not (self.recipe.identity or self.recipe.sync):
            return
        self.both.train().requires_grad_(requires_grad=True)
        loss = self.identity.learns(given.components, spoken, self.numbers[given.person])
        loss = loss + self.sync(given.heard, given.components, self._at(spoken.shape[1], len(spoken)))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def grouped(lessons: list[Lesson], recipe: Recipe) -> tuple[dict[str, list[Lesson]], Float]:
    """Lessons by person, and the share in which people are drawn: by the root of how much there is of them."""
    known: dict[str, list[Lesson]] = {}
    for lesson in lessons:
        known.setdefault(lesson.person, []).append(lesson)
    fixed = {person: share for person, share in ((SYNTHETIC, recipe.synthetic), (FACELESS, recipe.faceless)) if person in known}
    share = np.array([0 if person in fixed else np.sqrt(sum(len(lesson.heard) for lesson in own)) for person, own in known.items()])
    share *= (1 - sum(fixed.values())) / share.sum()
    return known, np.array([fixed.get(person, part) for person, part in zip(known, share, strict=True)])


def train_denoiser(lessons: list[Lesson], space: Space, recipe: Recipe, seed: int) -> Denoiser:
    """A teacher (or a regression) from pairs: the moving average of its weights."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    known, share = grouped(lessons, recipe)
    heard_width = lessons[0].heard.shape[1]
    net, average = (Denoiser(heard_width, COMPONENTS, IDENTITY, recipe.width, recipe.layers, recipe.dropout) for _ in range(2))
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    judges = _Judges(list(known), heard_width, recipe, random)
    for count in range(1, recipe.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * min(1, count / 60) * (1 - count / recipe.steps) ** 0.7 + 1e-6
        given = batch(known, share, recipe.size, recipe.ticks, random)
        heard, true = given.heard, given.components
        who = (given.who + 0.3 * torch.randn_like(given.who)) * (torch.rand(len(true), 1) > 0.3)
        level = torch.zeros(len(true))
        noisy, deaf = torch.zeros_like(true), torch.zeros(len(true), dtype=torch.bool)
        if recipe.diffusion:
            level = torch.rand(len(true)) * (torch.rand(len(true)) > 0.25)
            drawn = torch.tensor(np.stack([noises(random, true.shape[1], true.shape[2]) for _ in range(len(true))]))
            deaf = torch.rand(len(true)) < recipe.deaf
            net.train()
            with torch.no_grad(), half():
                guess, _ = net(heard, drawn, torch.zeros(len(true)), who, torch.zeros(len(true), net.hidden), deaf)
            known_as = torch.where((torch.rand(len(true)) < recipe.own)[:, None, None], guess.float(), true)
            noisy = (1 - level[:, None, None]) * drawn + level[:, None, None] * known_as
        net.train()
        with half():
            out, _ = net(heard, noisy, level, who, torch.zeros(len(true), net.hidden), deaf)
        spoken = (given.weight > SILENT + 1e-3).float()  # what tells people apart is learned there; silence is easy
        loss = losses(out.float(), true, given.weight, spoken, space, recipe) + judges.ask(given, out.float(), spoken, count)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        judges.learn(given, spoken)
        with torch.no_grad():
            for slow, quick in zip(average.parameters(), net.parameters(), strict=True):
                slow.lerp_(quick, min(0.02, 2 / (count + 2)) if count < 300 else 0.006)
    return average.eval()


def predict(
    net: Denoiser, heard: NDArray[Any], who: Float, noise: Float, steps: int, guidance: float = 1.0
) -> Float:  # fmt: skip
    """Components (N, C) for features (N, 2 * W), by so many steps from noise (N, C)."""
    with torch.no_grad():
        ears = torch.tensor(np.asarray(heard, np.float32))
        clean = walk(net, ears[None], torch.tensor(noise)[None], torch.tensor(who)[None], steps, guidance)
    return np.asarray(array(clean[0]), np.float32)


def train_student(
    teacher: Denoiser, lessons: list[Lesson], space: Space, recipe: Recipe, seed: int, *,
    wide: NDArray[np.float16], batches: int, teacher_steps: int, guidance: float, temperature: float,
) -> Denoiser:  # fmt: skip
    """A student that goes the teacher's way from noise in one, two or four steps: the moving average of its weights.

    Of every batch the teacher, with all its steps and its guidance, makes the motion that belongs to a noise; the student
    learns to arrive there from the same noise, in one, two and four steps, and to move as widely and as quickly as the teacher.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed + 1)
    known, share = grouped(lessons, recipe)
    net, average = (Denoiser(wide.shape[2], COMPONENTS, IDENTITY, recipe.width, recipe.layers, 0.1) for _ in range(2))
    net.load_state_dict(teacher.state_dict())
    average.load_state_dict(teacher.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    weights = torch.tensor(space.weight)
    teacher.eval()
    for count in range(1, batches + 1):
        for group in optimizer.param_groups:
            group["lr"] = 4e-4 * min(1, count / 20) * (1 - count / batches) ** 0.7 + 1e-6
        given = batch(known, share, recipe.size, recipe.ticks, random)
        heard, weight, who = given.heard, given.weight, given.who
        faceless = len(heard) // 2  # of the pieces are speech without a face
        for row in range(faceless):
            begin = int(random.integers(0, wide.shape[1] - recipe.ticks + 1))
            heard[row] = torch.tensor(wide[int(random.integers(len(wide))), begin : begin + recipe.ticks].astype(np.float32))
        weight[:faceless] = 1
        drawn = temperature * torch.tensor(np.stack([noises(random, heard.shape[1], COMPONENTS) for _ in range(len(heard))]))
        with torch.no_grad(), half():
            wanted = walk(teacher, heard, drawn, who, teacher_steps, guidance).float()
        seen = (weight > 0).float()
        for steps in (1, 2, 4):
            net.train()
            with half():
                out = walk(net, heard, drawn, who, steps)
            out = out.float()
            near = (((out - wanted) * weights) ** 2).sum(-1).mul(seen).sum() / seen.sum()
            change = (((out.diff(dim=1) - wanted.diff(dim=1)) * weights) ** 2).sum(-1).mul(seen[:, 1:]).sum() / seen.sum()
            spread = ((out.flatten(0, 1).std(0) - wanted.flatten(0, 1).std(0)).abs() * weights).sum()
            quick = ((out.diff(dim=1).abs().mean((0, 1)) - wanted.diff(dim=1).abs().mean((0, 1))).abs() * weights).sum()
            loss = near + 2 * change + 0.3 * spread + quick
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        with torch.no_grad():
            for slow, quick_ in zip(average.parameters(), net.parameters(), strict=True):
                slow.lerp_(quick_, min(0.05, 2 / (count + 2)))
    return average.eval()


def walk(net: Denoiser, heard: Tensor, drawn: Tensor, who: Tensor, steps: int, guidance: float = 1.0) -> Tensor:
    """Components (B, T, C) from noise (B, T, C) in so many steps of a whole piece, from a cold start."""
    guided = guidance != 1

    def both(x: Tensor) -> Tensor:
        return torch.cat([x, x]) if guided else x

    deaf = torch.arange(len(both(heard))) >= len(heard)

    def denoise(noisy: Tensor, level: float, state: None) -> tuple[Tensor, None]:
        rows = both(noisy)
        out, _ = net(both(heard), rows, torch.full((len(rows),), level), both(who), torch.zeros(len(rows), net.hidden), deaf)
        if guided:
            out, free = out.chunk(2)
            out = free + guidance * (out - free)
        return out, None

    return sample(denoise, drawn, [None] * steps)[0]

"""Trains the motion nets, from clips and speech to the files that are served and the table of their figures.

1. clips and speech are packed (`corpus`), the clips' timing is refined (`timing`),
2. a few first nets learn lips from clips and synthetic mouths (`pairs`, `mouths`) as the encoder's teacher hears them: whole sentences,
   both ways; they say of much speech without a face how its lips may move,
3. the causal encoder is distilled (`ears`): the teacher's features, and those lips,
4. the teacher of motion learns through it, from clips, synthetic mouths, and those lips (`diffusion`),
5. the student goes that teacher's way in few steps, 6. both are exported and judged.
What a step made is kept in the cache and not made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engines.backends.cpu import CpuNet
from engines.motion.config import EARS, LIPS
from engines.motion.engine import DiffusionMotion
from engines.motion.net import Denoiser, Ears
from engines.motion.sampler import noise
from engines.motion.space import IDENTITY, NEAR, identity, lean, parted, unit
from engines.spec import TICK
from engines.train import device, report, timing
from engines.train.augment import spoil
from engines.train.corpus import HELD_OUT, prepare_speech, sound
from engines.train.data import Clip, in_units, prepare, usual_habit
from engines.train.diffusion import Recipe, predict, train_denoiser, train_student, walk
from engines.train.ears import TAUGHT, Labels, distil, teach
from engines.train.export import export
from engines.train.mouths import Mouth, synthetic_lessons
from engines.train.pairs import COMPONENTS, FACELESS, Hears, Lesson, Space, hear, lessons, make_space
from engines.train.teacher import Teacher, fetch, ticks
from engines.train.timing import Timing

Float = NDArray[np.float32]
HEARD = 768  # numbers of the encoder for a tick
TIMING = "timing.csv"


@dataclass(frozen=True)
class Plan:
    """Everything that may be chosen. Defaults are what is shipped."""

    look_ahead: tuple[int, ...] = (2, 0)
    """Ticks that each block of the encoder hears ahead."""
    ears: int = 1300
    """Steps of distillation."""
    variants: int = 4
    """In which each clip is heard, beside as it is."""
    minutes: float = 35
    """Of synthetic voices with synthetic mouths; 0 for none."""
    firsts: int = 3
    """Nets that say how the lips of speech without a face may move; 0: that speech is not used."""
    faceless: int = 1600
    """Windows of that speech that the teacher of motion learns from, at most."""
    guess: float = 1.25
    """Guidance of what they say."""
    first: Recipe = field(default=Recipe(steps=200, dropout=0.45, own=0.7, closure=0.5, synthetic=0.2, identity=0, sync=0))
    teacher: Recipe = field(default=Recipe(steps=350, dropout=0.45, own=0.7))
    student: int = 100
    """Batches of the student."""
    teacher_steps: int = 8
    """Of the teacher whom the student follows."""
    guidance: float = 1.4
    temperature: float = 0.3
    steps: int = 1
    """That are served: two and four are no better."""
    gain: float = 0.88
    """Of what is served: guidance makes mouths move too far."""
    seed: int = 0
    free: bool = False
    """Leave out the clips whose rights are not stated, too."""
    voices: bool = True
    """Synthetic voices in the encoder's speech."""
    held: bool = False
    """Hold people of `train` out, to choose by them."""


def scaled(plan: Plan, length: float) -> Plan:
    """A plan so many times as long."""

    def part(count: int, least: int) -> int:
        return max(least, round(count * length)) if count else 0

    return replace(
        plan, ears=part(plan.ears, 2), student=part(plan.student, 2), minutes=plan.minutes * min(1, length),
        first=replace(plan.first, steps=part(plan.first.steps, 4)), teacher=replace(plan.teacher, steps=part(plan.teacher.steps, 4)),
    )  # fmt: skip


@dataclass(frozen=True)
class Ground:
    """What every training stands on: packed once."""

    cache: Path
    clips: list[Clip]
    timing: dict[str, Timing]
    speech: NDArray[np.int16]
    sets: list[str]
    teacher: Teacher


def lay(data: Path, cache: Path) -> Ground:
    """Pack what `cache` does not hold yet: clips, speech, the teacher's features of it, the clips' timing."""
    device.use()
    clips = prepare(data, cache)
    speech, sets = prepare_speech(data, cache, clips)
    teach(cache, speech)
    net = Teacher(fetch(cache))
    table = cache / TIMING
    if not table.exists():
        timing.write(table, timing.find_timing(clips, [net.hear_all(clip.speech) for clip in clips]))
    return Ground(cache, clips, timing.read(table), speech, sets, net)


@dataclass(frozen=True)
class Taught:
    """What the denoiser of a plan learns from, and through which ears."""

    ears: Ears
    space: Space
    lessons: list[Lesson]
    wide: NDArray[np.float16]
    """(N, 200, 2 * W) speech without a face, heard."""
    held: list[Clip]
    """Clips of people that no training has seen (see `Plan.held`)."""
    usual: Float
    """(L, 2) `engines.train.data.usual_habit`."""


def learn(ground: Ground, plan: Plan) -> Taught:
    """Labels for speech without a face, the encoder, the lessons."""
    trusted = timing.trusted([clip for clip in ground.clips if clip.split == "train" and clip.free != "no"], ground.timing)
    held = [clip for clip in trusted if plan.held and apart(clip.person)]
    train = [clip for clip in trusted if not (plan.held and apart(clip.person)) and not (plan.free and clip.free != "yes")]
    space = make_space([in_units(clip)[0][clip.seen] for clip in train])
    rows = [row for row, name in enumerate(ground.sets) if name not in (HELD_OUT, "clips")]
    if not plan.voices:
        rows = [row for row in rows if ground.sets[row] != "synthetic"]

    def clean(row: int) -> Float:
        return sound(ground.speech[row])

    def others(random: np.random.Generator) -> Callable[[], Float]:
        return lambda: clean(rows[int(random.integers(len(rows)))])

    def known(hears: Hears) -> list[Lesson]:
        other = others(np.random.default_rng(plan.seed))
        made = lessons(train, hears, space, plan.variants, plan.seed, other)
        return made + (synthetic_lessons(hears, Mouth(train, space), plan.minutes, plan.seed, other) if plan.minutes else [])

    labels = None
    if plan.firsts:
        path = (
            ground.cache
            / f"labels-{_key(plan.first, plan.firsts, plan.guess, plan.variants, plan.minutes, plan.seed, plan.free, plan.held)}.npz"
        )
        if not path.exists():
            told = known(lambda speeches: [ticks(ground.teacher.hear_all(speech)) for speech in speeches])
            nets = [train_denoiser(told, space, plan.first, seed) for seed in range(plan.firsts)]
            _keep(path, guessed(nets, np.load(ground.cache / TAUGHT, mmap_mode="r"), plan.guess, plan.seed))
        with np.load(path, allow_pickle=False) as found:
            labels = Labels(found["components"], found["who"], space.weight)
    own = [] if plan.held else [row for row, name in enumerate(ground.sets) if name == "clips"]
    judges = [row for row, name in enumerate(ground.sets) if name == HELD_OUT]
    name = _key(plan.look_ahead, plan.ears, plan.voices, plan.seed, plan.held, labels and path.name)
    ears = distil(ground.cache, ground.cache / f"ears-{name}.pt", rows + own, judges, plan.look_ahead, plan.ears, labels, plan.seed)
    some = rows[:: -(-len(rows) // plan.faceless)]
    heard = ground.cache / f"heard-{_key(name, plan.faceless)}.npy"
    if not heard.exists():
        random = np.random.default_rng(plan.seed)
        other = others(random)
        pieces = (spoil(clean(row), random, other, codecs=False) if random.random() < 0.75 else clean(row) for row in some)
        _keep(heard, np.stack(hear(ears, pieces, 16)))
    wide, made = np.load(heard, mmap_mode="r"), known(partial(hear, ears))
    if labels is not None:
        weight = np.ones(wide.shape[1], np.float32)
        weight[:8] = 0  # nets that have just begun
        made += [
            Lesson(FACELESS, part, labels.components[row].astype(np.float32), weight, labels.who[row])
            for row, part in zip(some, wide, strict=True)
        ]
    print(f"{len(train)} clips of {len({clip.person for clip in train})} people, {len(made)} lessons", flush=True)
    return Taught(ears, space, made, wide, held, usual_habit(train))


def apart(person: str) -> bool:
    """Whether a person of `train` is held out where a plan wants it: one in six."""
    return int(hashlib.sha256(person.encode()).hexdigest(), 16) % 6 == 0


def train_all(data: Path, cache: Path, out: Path, plan: Plan) -> None:
    """All steps; prints the tables, and writes what the teacher says in `cache`/said for `benchmarks.motion`."""
    ground = lay(data, cache)
    taught = learn(ground, plan)
    work = cache / f"plan-{_key(plan)}"
    work.mkdir(exist_ok=True)
    teacher = _kept(work / "teacher.pt", plan.teacher, lambda: train_denoiser(taught.lessons, taught.space, plan.teacher, plan.seed))
    student = _kept(
        work / "student.pt", plan.teacher,
        lambda: train_student(
            teacher, taught.lessons, taught.space, plan.teacher, plan.seed, wide=taught.wide, batches=plan.student,
            teacher_steps=plan.teacher_steps, guidance=plan.guidance, temperature=plan.temperature,
        ),
    )  # fmt: skip
    training = f"{'free ' if plan.free else ''}{_key(plan)}, seed {plan.seed}"
    space = replace(taught.space, mean=plan.gain * taught.space.mean, decode=plan.gain * taught.space.decode)
    export(
        taught.ears.cpu(), student.cpu(), space, taught.usual, out, steps=plan.steps, temperature=plan.temperature, training=training
    )  # fmt: skip
    timing.write(out / TIMING, ground.timing)
    judge(ground.clips, replace(taught, space=space), teacher, plan, out, cache)


def guessed(nets: list[Denoiser], taught: NDArray[np.float16], guidance: float, seed: int) -> dict[str, NDArray[Any]]:
    """What nets that hear through the teacher, on average, think of the lips of speech without a face: see `Labels`."""
    who, components = (0.6 * np.random.default_rng(seed).standard_normal((len(taught), IDENTITY))).astype(np.float32), []
    for begin in range(0, len(taught), 32):
        rows = slice(begin, begin + 32)
        heard = torch.tensor(np.stack([ticks(np.asarray(window)) for window in taught[rows]]).astype(np.float32))
        drawn = torch.zeros(*heard.shape[:2], COMPONENTS)
        with torch.no_grad(), device.half():
            said = torch.stack([walk(net, heard, drawn, torch.tensor(who[rows]), 1, guidance).float() for net in nets]).mean(0)
        components.append(device.array(said).astype(np.float16))
    return {"components": np.concatenate(components), "who": who}


def judge(clips: list[Clip], taught: Taught, teacher: Denoiser, plan: Plan, out: Path, cache: Path) -> None:
    """Print the student's figures as it is served beside the teacher's, on val-unseen."""
    unseen = [clip for clip in clips if clip.split == "val-unseen"]
    ears_net, lips_net = (CpuNet((out / name).read_bytes()) for name in (EARS, LIPS))
    teacher = teacher.cpu()
    systems = {
        f"teacher, {steps} steps": said_by_teacher(unseen, taught.ears, teacher, taught.space, plan, steps, taught.usual)
        for steps in (32, 2)
    }
    for name, shown in systems.items():
        folder = cache / "said" / name.replace(", ", "-").replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        for file, motion in shown.items():
            np.save(folder / (file.replace("/", "_") + ".npy"), motion)
    for steps in (4, 2, 1):
        systems[f"student, {steps}"] = report.said_by(DiffusionMotion(steps=steps, ears=ears_net, lips=lips_net), unseen)
    for title, chosen in (("val-unseen", unseen), ("val-unseen, grid", [clip for clip in unseen if clip.set == "grid"])):
        print(f"\n{title}\n\n" + report.table({name: report.judged(chosen, shown) for name, shown in systems.items()}), flush=True)


def said_by_teacher(
    clips: list[Clip], ears: Ears, net: Denoiser, space: Space, plan: Plan, steps: int, usual: Float | None = None
) -> dict[str, Float]:
    """The teacher's motion of every clip by its file, whole clips at once; people's habits are followed where the usual one is given."""
    ahead = sum(plan.look_ahead)
    heard = hear(ears, (np.pad(clip.speech, (0, ahead * TICK)) for clip in clips))
    out = {}
    for at, (clip, features) in enumerate(zip(clips, heard, strict=True)):
        rest, reach, wide, own = report.first_half(clip)
        count = len(clip.motion)
        drawn = np.stack([noise(at, tick + ahead, COMPONENTS) for tick in range(count)]) * np.float32(plan.temperature)
        if plan.teacher.diffusion:
            components = predict(net, features[:count], identity(rest, reach, wide), drawn, steps, plan.guidance)
        else:
            components = predict(net, features[:count], identity(rest, reach, wide), 0 * drawn, 1)
        middle = rest if usual is None else rest + lean(own, rest, unit(reach), usual)
        out[clip.file] = parted(middle + space.motion(components) * unit(reach), NEAR * unit(reach))
    return out


def _key(*of: object) -> str:
    """The name in the cache of what is made by this."""
    return hashlib.sha256(repr(of).encode()).hexdigest()[:8]


def _kept(path: Path, recipe: Recipe, make: Callable[[], Denoiser]) -> Denoiser:
    """A net from its file, or made and kept there."""
    if not path.exists():
        net = make()
        partial = path.with_suffix(".part")
        torch.save(net.state_dict(), partial)
        partial.replace(path)
    net = Denoiser(HEARD, COMPONENTS, IDENTITY, recipe.width, recipe.layers, recipe.dropout)
    net.load_state_dict(torch.load(path, weights_only=True))
    return net.eval()


def _keep(path: Path, made: NDArray[Any] | dict[str, NDArray[Any]]) -> None:
    """Write an array (.npy) or several (.npz), whole or not at all."""
    beside = path.with_suffix(f".part{path.suffix}")
    if isinstance(made, dict):
        np.savez(beside, allow_pickle=False, **made)
    else:
        np.save(beside, made)
    beside.replace(path)

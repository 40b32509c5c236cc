"""Clips into what the refiner learns from. Packed once, outside the repository.

A clip's halves are judged by each other, as strangers' clips are: references are of one half, targets of the other.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.engine import WarpAppearance
from engines.appearance.zone import CELLS, NUMBERS, SIDE, K, Views, resized
from engines.drawn import draw
from engines.enrol import Follower, Tracks, choose, make_actor, make_references
from engines.errors import FaceFault
from engines.person import Mouth, idle, random_look, shape
from engines.presenter import make_presenter
from engines.spec import Float, Picture
from engines.tracker import Tracker
from engines.train.data import pictures, read_manifest, side_by_side
from native.planes import from_rgb

_PAIRS = {"grid": 12, "varied": 8, "made": 5}  # of neighbours, at most, of half a clip
_LEAST = 20  # frames with a face that half a clip needs
_FEW = (1, 3, 8, 8)  # references that short clips and photos have: half of the halves are packed with so few, too
MOUTH = np.array([1.6, 1.8], np.float32)  # the mouth's box against the lips', as figures have it

Bytes = NDArray[np.uint8]


_COLOURS = (np.uint8, (SIDE, SIDE, 3))
TARGET = np.dtype([
    ("picture", *_COLOURS), ("references", np.uint8, (K, CELLS, CELLS, 3)), ("drawn", np.uint8, (CELLS, CELLS, 4)),
    ("numbers", np.float32, NUMBERS), ("target", *_COLOURS), ("mouth", np.float32, 4), ("frame", np.int32), ("missing", np.float32),
])  # fmt: skip
"""A picture to learn from: what `zone.View` has of it as the warp made it; the same place as it was filmed (`target`); the mouth's box
(x0, y0, x1, y1, shares of the zone's side); which frame of the clip; how much of the mouth's inside was drawn, 0..1."""


@dataclass(frozen=True)
class Half:
    """What may be learned from half a clip: targets in pairs of neighbours."""

    person: str
    set: str
    free: str
    few: bool
    """Whether from few references, as a photo or a short clip has."""
    targets: NDArray[np.void]
    """(N,) of TARGET, read from the file when they are looked at."""


def prepare_crops(data: Path, cache: Path, splits: Sequence[str] = ("train", "train-picture"), jobs: int = 2) -> list[Half]:
    """The halves of all clips of these splits; what `cache` does not hold yet is tracked and packed into it."""
    rows = [row for row in read_manifest(data) if row["split"] in splits]
    cache.mkdir(parents=True, exist_ok=True)
    with side_by_side(jobs) as pool:
        packed = list(pool.map(_packed, rows, [data] * len(rows), [cache] * len(rows), chunksize=2))
    return [_half(row["person"], row["set"], row["free"], path) for row, paths in zip(rows, packed, strict=True) for path in paths]


def _half(person: str, kind: str, free: str, path: Path) -> Half:
    return Half(person, kind, free, ".few." in path.name, np.load(path, mmap_mode="r", allow_pickle=False))


def _packed(row: dict[str, str], data: Path, cache: Path) -> list[Path]:
    cv2.setNumThreads(1)
    name = row["file"].replace("/", "_")
    if not (cache / f"{name}.done").exists():
        frames = [picture for _, picture in pictures(data / row["file"])]
        tracks = _tracked(frames)
        for side in (0, 1):
            if tracks is not None:
                _pack(frames, tracks.landmarks, tracks.seen, side, _PAIRS[row["set"]], cache, name)
        (cache / f"{name}.done").touch()
    return sorted(cache.glob(f"{name}.[01].*npy"))


def _tracked(frames: Sequence[Picture]) -> Tracks | None:
    """Landmarks of pictures (I420); None where no face is in them."""
    with Tracker() as tracker:
        follower = Follower(tracker)
        for picture in frames:
            follower.see(picture)
    try:
        return follower.tracks()
    except FaceFault:
        return None


def _pack(frames: list[Picture], landmarks: Float, seen: NDArray[np.bool_], side: int, most: int, cache: Path, name: str) -> None:
    """References from one half (`side` 0: the first), targets from the other."""
    count = len(frames)
    use = (np.arange(count) < count // 2) == (side == 0)
    first = [at for at in range(count - 1) if seen[at : at + 2].all() and not use[at : at + 2].any()]
    if (use & seen).sum() < _LEAST or not first:
        return
    first = [first[at] for at in np.unique(np.linspace(0, len(first) - 1, most).astype(int))]
    actor = make_actor(name, frames, landmarks, seen, use=use)
    motion = _motions(landmarks, actor)
    store(pairs(actor, frames, motion, first), cache / f"{name}.{side}.all.npy")
    random = np.random.default_rng(zlib.crc32(f"{name}{side}".encode()))
    if random.random() < 0.5:
        chosen = choose(motion, actor.poses, use & seen, int(random.choice(_FEW)))
        actor = replace(actor, references=make_references(frames, chosen, actor.poses, motion))
        store(pairs(actor, frames, motion, first[::2]), cache / f"{name}.{side}.few.npy")


def _motions(landmarks: Float, actor: Actor) -> Float:
    """The motion (N, L, 2) that landmarks (N, 478, 3) of an actor's frames show."""
    return np.stack(
        [face.motion_onto(points[face.MOTION, :2], pose, actor.neutral) for points, pose in zip(landmarks, actor.poses, strict=True)]
    )


def pairs(actor: Actor, frames: Sequence[Picture], motion: Float, first: Sequence[int]) -> NDArray[np.void]:
    """Targets, of TARGET: the frames `first` and those that follow each; `frames[n]` is what frame n saying `motion[n]` looks like."""
    actor, engine, views = replace(actor, resting=None), WarpAppearance(), Views()
    rows: list[tuple[object, ...]] = []
    for at in first:
        state, made = engine.start(actor), []
        for index in (at, at + 1):
            (asked,) = engine.ask([state], np.array([index]), motion[index][None])
            if not any(asked.size):
                break
            (state,), (picture,) = engine.step([state], [index], motion[index][None])
            made.append((asked, views.of(asked, picture)))
        for index, (asked, view) in zip((at, at + 1), made if len(made) == 2 else (), strict=False):
            lips = view.zone.place(asked.lips + np.array(asked.corner, np.float32), 1) + 0.5
            middle, half = (lips.min(0) + lips.max(0)) / 2, np.ptp(lips, 0) / 2 * MOUTH
            target, mouth = resized(view.zone.cut(frames[index]), SIDE), np.concatenate([middle - half, middle + half])
            rows.append((view.picture, view.references, view.drawn, view.numbers, target, mouth, index, asked.missing))
    return np.array(rows, TARGET)


def store(targets: NDArray[np.void], path: Path) -> None:
    """Write the targets of a half, if there are any."""
    if len(targets):
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.save(file, targets)
        partial.replace(path)


def drawn_halves(cache: Path, people: int = 12, count: int = 16) -> list[Half]:
    """The same of drawn people, whose landmarks are exact: the presenter's kin, and not the presenter."""
    cache.mkdir(parents=True, exist_ok=True)
    return [_half(f"drawn{seed}", "drawn", "yes", _drawn(seed, count, cache / f"drawn{seed}.npy")) for seed in range(1, people + 1)]


def _drawn(seed: int, count: int, path: Path) -> Path:
    if not path.exists():
        random, person = np.random.default_rng(seed), random_look(seed)
        actor = make_presenter(person, 384, 2 * count, f"drawn{seed}")
        frames, motion = [], []
        for tick in range(2 * count):
            if tick % 2 == 0:
                opening = float(random.choice([0.0, random.uniform(0, 12), random.uniform(4, 30)]))
                width, smile = float(random.uniform(-1, 1)), float(random.uniform(0, 0.5))
            step = random.normal(size=2)  # neighbours are alike
            mouth = Mouth(max(opening + 2 * step[0], 0.0), float(np.clip(width + 0.1 * step[1], -1, 1)), smile=smile)
            frames.append(from_rgb(draw(person, mouth, idle(tick), 384)[0]))
            motion.append(face.motion_of(shape(person, mouth)))
        store(pairs(actor, frames, np.stack(motion), range(0, 2 * count, 2)), path)
    return path

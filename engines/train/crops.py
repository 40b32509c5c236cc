"""Clips into what the renderer learns from. Packed once, outside the repository.

A clip's halves are judged by each other, as strangers' clips are: references are of one half, targets of the other.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.appearance.config import WarpConfig
from engines.appearance.layout import GRID, cut_out, hidden, lay_out, resized, sources, tints
from engines.appearance.mesh import mesh
from engines.appearance.references import costs, far, weigh
from engines.drawn import draw
from engines.enrol import Follower, Tracks, make_actor
from engines.errors import FaceFault
from engines.person import Mouth, idle, random_look, shape
from engines.presenter import make_presenter
from engines.spec import Float, Picture
from engines.tracker import Tracker
from engines.train.data import pictures, read_manifest
from native.planes import from_rgb

SIDE = 192
"""Of the targets that are packed; references are 256, so that they are as fine where they are shown."""
REFERENCE = 256
SMALL = 64
K = 4
PLACE = 20_000  # places are packed as whole numbers of this fraction of a reference's side
_EVERY = {"grid": 9, "varied": 5}  # a pair of neighbours is taken every so many frames
_LEAST = 20  # frames with a face that half a clip needs

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Half:
    """What may be learned from half a clip: N targets, R references of the other half. Fields as `layout.Layout` has them."""

    person: str
    free: str
    split: str
    references: Bytes
    """(R, 256, 256, 3)."""
    chosen: Bytes
    """(N, K) the references of each target."""
    prior: Float
    """(N, K) their weights before the net."""
    far: Float
    """(N, K, 2) how far their lips are, and how much more they are open; IOD."""
    target: Bytes
    """(N, 192, 192, 3)."""
    places: NDArray[np.int16]
    """(N, GRID, GRID, K, 2)."""
    tints: NDArray[np.int8]
    """(N, K, TINTS, TINTS, 3)."""
    alpha: Bytes
    """(N, GRID, GRID)."""
    hidden: Bytes
    """(N, GRID, GRID) 0 or 1."""
    drawn: Bytes
    """(N, GRID, GRID, 3)."""
    mouth: Float
    """(N, 4) the box of the lips in the square: x0, y0, x1, y1 as shares of its side."""
    frame: NDArray[np.int32]
    """(N,) which frame of the clip: neighbours differ by 1."""


_FIELDS = ("references", "chosen", "prior", "far", "target", "places", "tints", "alpha", "hidden", "drawn", "mouth", "frame")


def prepare_crops(data: Path, cache: Path, splits: Sequence[str] = ("train", "train-picture"), jobs: int = 2) -> list[Half]:
    """The halves of all clips of these splits; what `cache` does not hold yet is tracked and packed into it."""
    rows = [row for row in read_manifest(data) if row["split"] in splits]
    cache.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(jobs) as pool:
        packed = list(pool.map(_packed, rows, [data] * len(rows), [cache] * len(rows), chunksize=2))
    return [_half(row["person"], row["free"], row["split"], path) for row, paths in zip(rows, packed, strict=True) for path in paths]


def _half(person: str, free: str, split: str, path: Path) -> Half:
    with np.load(path, allow_pickle=False) as found:
        return Half(person, free, split, **{name: found[name] for name in _FIELDS})


def _packed(row: dict[str, str], data: Path, cache: Path) -> list[Path]:
    cv2.setNumThreads(1)
    name = row["file"].replace("/", "_")
    paths = [cache / f"{name}.{side}.npz" for side in (0, 1)]
    if not (cache / f"{name}.done").exists():
        frames = [picture for _, picture in pictures(data / row["file"])]
        tracks = _tracked(frames, cache / f"{name}.tracks.npz")
        for side, path in enumerate(paths):
            if tracks is not None:
                _pack(frames, tracks.landmarks, tracks.seen, side, _EVERY[row["set"]], path, name)
        (cache / f"{name}.done").touch()
    return [path for path in paths if path.exists()]


def _tracked(frames: list[Picture], path: Path) -> Tracks | None:
    """Landmarks of a clip's pictures, kept in a file; None where no face is in them."""
    if not path.exists():
        with Tracker() as tracker:
            follower = Follower(tracker)
            for picture in frames:
                follower.see(picture)
        try:
            tracks = follower.tracks()
        except FaceFault:
            return None
        partial = path.with_suffix(".part.npz")
        np.savez(partial, landmarks=tracks.landmarks, seen=tracks.seen, faces=tracks.faces)
        partial.replace(path)
    with np.load(path, allow_pickle=False) as found:
        return Tracks(found["landmarks"], found["seen"], int(found["faces"]))


def _pack(frames: list[Picture], landmarks: Float, seen: NDArray[np.bool_], side: int, every: int, path: Path, name: str) -> None:
    """References from one half (`side` 0: the first), targets from the other."""
    count = len(frames)
    use = (np.arange(count) < count // 2) == (side == 0)
    targets = [at for at in range(count - 1) if seen[at] and seen[at + 1] and not use[at] and not use[at + 1] and at % every == 0]
    targets = [at + more for at in targets for more in (0, 1)]
    if (use & seen).sum() < _LEAST or not targets:
        return
    actor = make_actor(name, frames, landmarks, seen, use=use)
    motion = np.stack(
        [face.motion_onto(points[face.MOTION, :2], pose, actor.neutral) for points, pose in zip(landmarks, actor.poses, strict=True)]
    )
    store(actor, [frames[at] for at in targets], targets, motion[targets], zlib.crc32(f"{name}{side}".encode()), path)


def store(actor: Actor, frames: Sequence[Picture], index: Sequence[int], motion: Float, seed: int, path: Path) -> None:
    """Pack an actor's references and its true frames (`frames[n]` is what frame `index[n]` saying `motion[n]` looks like)."""
    random, net, config = np.random.default_rng(seed), mesh(), WarpConfig(blended=K)
    at = sources(actor, net)
    small = [resized(picture, SMALL) for picture in actor.references.pictures]
    rows: dict[str, list[np.ndarray]] = {name: [] for name in _FIELDS[1:]}
    kind = 0.0
    for n, (frame, i, said) in enumerate(zip(frames, index, motion, strict=True)):
        if n == 0 or index[n] != index[n - 1] + 1:  # neighbours are made in the same way
            kind = random.random()
        chosen, weights = _choice(actor, config, i, said, kind)
        layout = lay_out(actor, net, at[chosen], i, said)
        whole = cut_out(frame, layout.square)
        lips = layout.square.place(face.from_head(face.with_motion(actor.neutral, said)[list(face.LIPS)], actor.poses[i]), 1) + 0.5
        for key, value in {
            "chosen": chosen.astype(np.uint8), "prior": weights.astype(np.float32),
            "far": far(actor, chosen, said), "target": resized(whole, SIDE),
            "places": np.round(np.clip(layout.places, -0.6, 1.6) * PLACE).astype(np.int16),
            "tints": np.round(np.clip(tints(resized(whole, GRID), [small[k] for k in chosen], layout), -127, 127)).astype(np.int8),
            "alpha": np.round(layout.alpha * 255).astype(np.uint8), "hidden": hidden(actor, net, i).astype(np.uint8),
            "drawn": layout.drawn, "mouth": np.concatenate([lips.min(0), lips.max(0)]).astype(np.float32), "frame": np.int32(i),
        }.items():  # fmt: skip
            rows[key].append(np.asarray(value))
    used, renamed = np.unique(np.stack(rows["chosen"]), return_inverse=True)
    out = {key: np.stack(value) for key, value in rows.items()}
    out["chosen"] = renamed.reshape(out["chosen"].shape).astype(np.uint8)
    out["references"] = np.stack([resized(actor.references.pictures[k], REFERENCE) for k in used])
    partial = path.with_suffix(".part.npz")
    np.savez(partial, **out)  # type: ignore[arg-type]
    partial.replace(path)


def drawn_halves(cache: Path, people: int = 16, pairs: int = 16) -> list[Half]:
    """The same of drawn people, whose landmarks are exact: the presenter's kin, and not the presenter."""
    cache.mkdir(parents=True, exist_ok=True)
    return [_half(f"drawn{seed}", "yes", "train", _drawn(seed, pairs, cache / f"drawn{seed}.npz")) for seed in range(1, people + 1)]


def _drawn(seed: int, pairs: int, path: Path) -> Path:
    if not path.exists():
        random, person = np.random.default_rng(seed), random_look(seed)
        actor = make_presenter(person, 384, 2 * pairs, f"drawn{seed}")
        frames, motion = [], []
        for tick in range(2 * pairs):
            if tick % 2 == 0:
                opening = float(random.choice([0.0, random.uniform(0, 12), random.uniform(4, 30)]))
                width, smile = float(random.uniform(-1, 1)), float(random.uniform(0, 0.5))
            step = random.normal(size=2)  # neighbours are alike
            mouth = Mouth(max(opening + 2 * step[0], 0.0), float(np.clip(width + 0.1 * step[1], -1, 1)), smile=smile)
            frames.append(from_rgb(draw(person, mouth, idle(tick), 384)[0]))
            motion.append(face.motion_of(shape(person, mouth)))
        store(actor, frames, range(2 * pairs), np.stack(motion), seed, path)
    return path


def _choice(actor: Actor, config: WarpConfig, index: int, motion: Float, kind: float) -> tuple[NDArray[np.int64], Float]:
    """K references: the best as a rule; now and then far ones, or one alone (as a photo has)."""
    none = np.zeros(len(actor.references.frame), np.float32)
    if kind < 0.7 or len(none) < 2 * K:
        weights = weigh(actor, config, index, motion, none)
        chosen = np.argsort(-weights, kind="stable")[:K]
    else:
        order = np.argsort(costs(actor, config, index, motion), kind="stable")
        chosen = order[K : 3 * K : 2][:K] if kind < 0.85 else order[: 3 * K : 3][:K]
        far = costs(actor, config, index, motion)[chosen]
        weights = np.zeros_like(none)
        weights[chosen] = np.exp(-(far - far[0]) / config.sharp)
    if len(chosen) < K:
        chosen = np.resize(chosen, K)
    found = weights[chosen]
    return chosen, np.asarray(found / found.sum(), np.float32)


def neighbours(half: Half) -> Iterator[tuple[int, int]]:
    """The pairs of targets that follow each other."""
    for n in range(len(half.frame) - 1):
        if half.frame[n + 1] == half.frame[n] + 1:
            yield n, n + 1

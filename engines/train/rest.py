"""Fits how far away from rest a face's mouth is (`engines.motion.rest`): each frame of a clip is a photo, the clip says the truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.backends.weights import write_hash
from engines.motion.rest import WEIGHTS, Regression, estimate
from engines.motion.space import rest_and_range
from engines.train.data import read_manifest, side_by_side, track

Float = NDArray[np.float32]
_COMPONENTS, _RIDGE = 40, 0.01
_FRAMES = 60  # of a clip
_LEAST = 40  # frames of a clip that know its person's rest
_CLOSED = 0.035  # IOD: whose lips are farther apart than this in the calmest tenth has not shown rest
_DAMP = 0.3  # of the tenth component's standard deviation: the last components are noise
_FOLDS = 5


@dataclass(frozen=True)
class Faces:
    """Frames of a clip."""

    person: str
    heads: Float
    """(N, 478, 3) in the head's frame, each under its own pose."""
    rest: Float
    """(N, L, 2) where the person's rest lies in each frame, under that pose."""


def train_rest(data: Path, cache: Path, out: Path) -> None:
    """Write `rest.npz` into `out`, and print its error on people held out."""
    rows = [
        row for row in read_manifest(data) if row["split"] in ("train", "train-picture") and row["set"] != "made" and row["free"] != "no"
    ]
    cache.mkdir(parents=True, exist_ok=True)
    with side_by_side() as pool:
        found = pool.map(_faces, rows, [data] * len(rows), [cache] * len(rows), chunksize=8)
        clips = [clip for clip in found if clip is not None]
    people = sorted({clip.person for clip in clips})
    print(f"{len(clips)} clips of {len(people)} people")
    fold = {person: at % _FOLDS for at, person in enumerate(np.random.default_rng(0).permutation(people))}
    rows_ = []
    for held in range(_FOLDS):
        known = fit([clip for clip in clips if fold[clip.person] != held])
        rows_ += [_judged(clip, known) for clip in clips if fold[clip.person] == held]
    for name, (before, after) in zip(("nearest to rest", "widest", "any"), np.mean(rows_, 0), strict=True):
        print(
            f"people held out, one frame, {name}: the frame's own mouth {before:.2f}, estimated {after:.2f} % of the distance of the eyes"
        )
    known = fit(clips)
    path = out / WEIGHTS
    np.savez_compressed(path, mean=known.mean, basis=known.basis.astype(np.float16), matrix=known.matrix.astype(np.float16))
    write_hash(path)


def fit(clips: list[Faces]) -> Regression:
    """The regression by these clips and their mirror images, every person as much as the square root of their clips."""
    both = clips + [Faces(clip.person, _mirrored(clip.heads), mirrored_motion(clip.rest)) for clip in clips]
    shapes = np.concatenate([clip.heads[::5].reshape(-1, face.POINTS * 3) for clip in both])
    mean = shapes.mean(0)
    values, vectors = np.linalg.eigh(np.cov((shapes - mean).T.astype(np.float32)))
    size = np.sqrt(values[::-1][:_COMPONENTS])
    basis = vectors[:, ::-1][:, :_COMPONENTS] / (size + _DAMP * size[10])
    empty = Regression(mean.astype(np.float32), basis.astype(np.float32), np.zeros((0, 0), np.float32))
    count = Counter(clip.person for clip in both)
    gram: NDArray[np.float64] | float = 0.0
    cross: NDArray[np.float64] | float = 0.0
    total = 0.0
    for clip in both:
        inputs = empty.inputs(clip.heads).astype(np.float64)
        weight = 1 / np.sqrt(count[clip.person])
        gram = gram + weight * inputs.T @ inputs / len(inputs)
        cross = cross + weight * inputs.T @ (clip.rest - face.motion_of(clip.heads)).reshape(len(inputs), -1) / len(inputs)
        total += weight
    ridge = np.eye(np.shape(gram)[0]) * _RIDGE * total
    ridge[0, 0] = 0
    return Regression(empty.mean, empty.basis, np.linalg.solve(gram + ridge, cross).astype(np.float32))


def _faces(row: dict[str, str], data: Path, cache: Path) -> Faces | None:
    path = cache / (row["file"].replace("/", "_") + ".npz")
    if not path.exists():
        landmarks, seen, _ = track(data / row["file"])
        np.savez(path, landmarks=landmarks, seen=seen)
    with np.load(path, allow_pickle=False) as found:
        landmarks = found["landmarks"][found["seen"]]
        if found["seen"].mean() < 0.75 or len(landmarks) < _LEAST:
            return None
    heads = face.to_head(landmarks, face.pose(landmarks))
    own = np.median(heads, 0).astype(np.float32)
    poses = face.pose(landmarks, own)
    motion = np.stack([face.motion_onto(p[face.MOTION, :2], pose, own) for p, pose in zip(landmarks, poses, strict=True)])
    rest, _, _ = rest_and_range(motion)
    if face.opening(rest) > _CLOSED:
        return None
    order = np.argsort(face.opening(motion), kind="stable")
    taken = np.unique(order[np.linspace(0, len(order) - 1, _FRAMES).astype(int)])
    shown = face.from_head(face.with_motion(own, rest)[None], poses[taken])[:, face.MOTION, :2]
    lies = [
        face.motion_onto(points, face.pose(marks), head)
        for points, marks, head in zip(shown, landmarks[taken], heads[taken], strict=True)
    ]  # fmt: skip
    return Faces(row["person"], heads[taken], np.stack(lies))


def _judged(clip: Faces, known: Regression) -> list[tuple[float, float]]:
    """Of the frame nearest to rest, of the widest, and of the mean one: how far its mouth and the estimate are from rest, % IOD."""
    motion = face.motion_of(clip.heads)
    told = np.stack([estimate(motion[k : k + 1], clip.heads[k : k + 1], known).rest for k in range(len(motion))])
    before, after = (100 * face.lips_apart(of, clip.rest) for of in (motion, told))
    near, wide = int(np.argmin(before)), int(np.argmax(face.opening(motion) + face.width(motion)))
    return [
        (float(before[near]), float(after[near])),
        (float(before[wide]), float(after[wide])),
        (float(before.mean()), float(after.mean())),
    ]


_PARTNER = np.linalg.norm(face.canonical()[:, None] * np.array([-1, 1, 1], np.float32) - face.canonical()[None], axis=-1).argmin(1)
_AT = {int(point): at for at, point in enumerate(face.MOTION)}
_PARTNER_MOTION = np.array([_AT[int(_PARTNER[point])] for point in face.MOTION])


def _mirrored(heads: Float) -> Float:
    return np.asarray(heads[:, _PARTNER] * np.array([-1, 1, 1], np.float32), np.float32)


def mirrored_motion(motion: Float) -> Float:
    """Motion (..., L, 2) of the face in a mirror."""
    return np.asarray(motion[..., _PARTNER_MOTION, :] * np.array([-1, 1], np.float32), np.float32)

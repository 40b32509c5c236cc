"""The mean face that `engines.face` ships: a generalised Procrustes mean over the people of `train`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.train.data import read_manifest, track

Float = NDArray[np.float32]
_ROUNDS = 8
_CALM = 8  # one in so many frames of a clip counts: those with the mouth most closed


def make_face(data: Path, out: Path) -> None:
    """Write `face.npy` (478, 3): mouth closed, symmetrical, eyes level, unit IOD, origin between the eyes."""
    people: dict[str, list[Float]] = {}
    for row in read_manifest(data):
        if row["split"] == "train":
            landmarks, seen, _ = track(data / row["file"])
            landmarks = landmarks[seen]
            gap = np.linalg.norm(landmarks[:, 13] - landmarks[:, 14], axis=-1) / face.iod(landmarks)
            people.setdefault(row["person"], []).append(landmarks[np.argsort(gap)[: max(5, len(gap) // _CALM)]])
    faces = [np.concatenate(calm) for calm in people.values()]
    mean = _upright(max(faces, key=len)[0])
    for _ in range(_ROUNDS):
        poses = [face.pose(calm, mean) for calm in faces]
        mean = _upright(
            _symmetrical(np.mean([face.to_head(calm, pose).mean(0) for calm, pose in zip(faces, poses, strict=True)], 0).astype(np.float32))
        )
    np.save(out / "face.npy", mean)
    print(f"{len(faces)} people, opening {np.linalg.norm(mean[13] - mean[14]):.3f}, width {np.linalg.norm(mean[61] - mean[291]):.3f}")


def _upright(points: Float) -> Float:
    return np.asarray((points - face.eye_centres(points).mean(0)) / face.iod(points), np.float32)


def _symmetrical(points: Float) -> Float:
    """The mean of a face and its mirror image; a point's partner is the nearest in the mirror."""
    mirrored = points * np.array([-1, 1, 1], np.float32)
    nearest = np.linalg.norm(points[:, None] - mirrored[None], axis=-1).argmin(1)
    return np.asarray((points + mirrored[nearest]) / 2, np.float32)

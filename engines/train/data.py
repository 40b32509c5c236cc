"""Clips into arrays: speech, and the motion that the tracker sees. Packed once, outside the repository."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.enrol import Follower
from engines.motion.space import habit, rest_and_range, unit
from engines.spec import FPS, RATE, TICK, Picture
from engines.tracker import Tracker

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """A clip, packed. Everything at 25 a second."""

    file: str
    set: str
    person: str
    split: str
    free: str
    speech: Float
    """(N * 640,) at 16 kHz, from the first picture on."""
    motion: Float
    """(N, L, 2) in the head's frame."""
    seen: NDArray[np.bool_]
    """(N,) whether the face was found."""


def read_manifest(data: Path) -> list[dict[str, str]]:
    """The rows of a folder's manifest.csv."""
    with (data / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def side_by_side(jobs: int | None = None) -> ProcessPoolExecutor:
    """So many processes; as many as there are cores if not given. They begin anew: one that is forked beside threads of torch or OpenVINO
    may wait for ever for what a thread held."""
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))


def prepare(data: Path, cache: Path, jobs: int = 2) -> list[Clip]:
    """All clips of `data`/manifest.csv; what `cache` does not hold yet is tracked and packed into it."""
    rows = read_manifest(data)
    cache.mkdir(parents=True, exist_ok=True)
    with side_by_side(jobs) as pool:
        clips = list(pool.map(_packed, rows, [data] * len(rows), [cache] * len(rows), chunksize=8))
    return [clip for clip in clips if clip is not None]


def _packed(row: dict[str, str], data: Path, cache: Path) -> Clip | None:
    path = cache / (row["file"].replace("/", "_") + ".npz")
    if not path.exists():
        landmarks, seen, first = track(data / row["file"])
        speech = _speech(data / row["file"], first, len(seen))
        partial = path.with_suffix(".part.npz")
        np.savez(partial, speech=speech, motion=_motion(landmarks, seen), seen=seen)
        partial.replace(path)
    with np.load(path, allow_pickle=False) as found:
        clip = Clip(
            row["file"], row["set"], row["person"], row["split"], row["free"],
            found["speech"], found["motion"], found["seen"],
        )  # fmt: skip
    return clip if clip.seen.mean() > 0.75 else None


def pictures(path: Path) -> Iterator[tuple[float, Picture]]:
    """A clip's pictures (I420) at 25 a second, each with the first one's time in seconds."""
    with av.open(str(path)) as container:
        shown, first, before = 0, None, None
        for frame in container.decode(video=0):
            at = float(frame.time or 0)
            first = at if first is None else first
            while before is not None and shown / FPS < at - first - 1e-3:
                yield first, before
                shown += 1
            before = frame.reformat(frame.width // 2 * 2, frame.height // 2 * 2, "yuv420p").to_ndarray().astype(np.uint8, copy=False)
        if before is not None:
            yield first or 0.0, before


def track(path: Path) -> tuple[Float, NDArray[np.bool_], float]:
    """Landmarks (N, 478, 3), whether seen (N,), and the first picture's time in seconds."""
    first = 0.0
    with Tracker() as tracker:
        follower = Follower(tracker)
        for first, picture in pictures(path):  # noqa: B007 the last one's is every one's
            follower.see(picture)
    tracks = follower.tracks()
    return tracks.landmarks, tracks.seen, first


def _speech(path: Path, first: float, count: int) -> Float:
    """(count * 640,) samples from time `first` on; silence where the sound is shorter."""
    resampler, blocks, begin = av.AudioResampler("flt", "mono", RATE), [], None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            begin = float(frame.time or 0) if begin is None else begin
            blocks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    blocks += [part.to_ndarray()[0] for part in resampler.resample(None)]
    offset = round(((begin or 0.0) - first) * RATE)
    heard = np.concatenate([np.zeros(max(offset, 0), np.float32), *blocks])[max(-offset, 0) :]
    speech = np.zeros(count * TICK, np.float32)
    speech[: min(len(heard), len(speech))] = heard[: len(speech)]
    return speech


def _motion(landmarks: Float, seen: NDArray[np.bool_]) -> Float:
    """Motion as enrolment sees it: under the person's own face as template; lightly smoothed against the tracker's noise."""
    own = np.median(face.to_head(landmarks[seen], face.pose(landmarks[seen])), 0).astype(np.float32)
    poses = face.pose(landmarks, own)
    motion = np.stack([face.motion_onto(p[face.MOTION, :2], pose, own) for p, pose in zip(landmarks, poses, strict=True)])
    padded = np.pad(motion, [(1, 1), (0, 0), (0, 0)], mode="edge")
    return (0.15 * padded[:-2] + 0.7 * padded[1:-1] + 0.15 * padded[2:]).astype(np.float32)


def in_units(clip: Clip) -> tuple[Float, Float, float]:
    """A clip's motion as difference from its own rest in the net's unit (N, L, 2); rest (L, 2); unit in IOD."""
    rest, reach, _ = rest_and_range(clip.motion[clip.seen])
    return (clip.motion - rest) / unit(reach), rest, unit(reach)


def usual_habit(clips: list[Clip]) -> Float:
    """(L, 2) where mouths are in speech, from their rest, in the net's unit: the mean over the people of the clips."""
    people: dict[str, list[Float]] = {}
    for clip in clips:
        _, rest, one = in_units(clip)
        found = habit(clip.motion[clip.seen])
        if found is not None:
            people.setdefault(clip.person, []).append((found.mean - rest) / one)
    return np.asarray(np.mean([np.mean(own, 0) for own in people.values()], 0), np.float32)

"""The tracker: small faces in large scenes, and how far it is from MediaPipe.

    python -m benchmarks.tracker --data ../shared/data --split val-unseen --eyes 24 --size 1920x1080

`found`: faces of the split's clips, made small until their eyes are so many pixels apart, are laid at random places into scenes stretched
from what lies beside the faces of other clips: one still each, then a second of video that drifts through the scene. A face is found
where the middle of its eyes is within a quarter of their distance; landmarks are held against those of the clip at its own size.
`turned` does the same with stills that are turned by a quarter, a half and three quarters. `near`: stills cut so close that the eyes are
half the picture's width apart. `empty`: scenes without anybody; what is found there, and what a picture costs.
`agreement` follows the clips with this tracker and with MediaPipe (extra `mediapipe`): landmarks apart, in % of the distance of the eyes.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.enrol import Follower
from engines.errors import FaceFault
from engines.tracker import Tracker
from native.planes import from_rgb, to_rgb
from realtime.media import read_pictures

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
PARTS = ("found", "turned", "near", "empty", "agreement")
VIDEO = 25  # pictures of a scene that moves
_REACH = 0.85  # of the box around the landmarks: what is laid into a scene, an ellipse
_NEAR = 0.25  # of the distance of the eyes


@dataclass(frozen=True)
class Person:
    """Some pictures of a clip with its landmarks (N, 478, 3)."""

    name: str
    pictures: list[Bytes]
    landmarks: Float


def people(data: Path, split: str, every: int, most: int) -> Iterator[Person]:
    """The first pictures of each clip in which the face is found all the time."""
    with (data / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split][::every]
    for row in rows:
        frames = list(islice(read_pictures(data / row["file"]), most))
        with Tracker() as tracker:
            follower = Follower(tracker)
            for frame in frames:
                follower.see(frame)
        tracks = follower.tracks()
        if tracks.seen.all():
            yield Person(row["file"], [to_rgb(frame) for frame in frames], tracks.landmarks)


def scene(person: Person, size: tuple[int, int], random: np.random.Generator) -> Bytes:
    """What lies beside somebody's face, stretched to a picture of `size` (W, H), with some noise."""
    picture, points = person.pictures[0], person.landmarks[0][:, :2]
    width = picture.shape[1]
    left, right = int(points[:, 0].min() * 0.7), int(points[:, 0].max() + 0.3 * (width - points[:, 0].max()))
    strips = [strip for strip in (picture[:, :left], picture[:, right:]) if strip.shape[1] > 4] or [
        picture[: max(4, picture.shape[0] // 12)]
    ]
    strip = max(strips, key=lambda s: s.shape[1])
    stretched = cv2.resize(np.concatenate([strip, strip[:, ::-1]], 1), size, interpolation=cv2.INTER_CUBIC)
    noise = random.normal(0, 3, (size[1] // 2, size[0] // 2)).repeat(2, 0).repeat(2, 1)
    return np.clip(stretched + noise[:, :, None], 0, 255).astype(np.uint8)


def lay(into: Bytes, picture: Bytes, landmarks: Float, eyes: float, at: Float) -> Float:
    """Lay a head, its eyes so many pixels apart, into a scene with the middle of its face at (x, y); its landmarks there."""
    scale = eyes / float(face.iod(landmarks))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    scales = np.array([small.shape[1] / picture.shape[1], small.shape[0] / picture.shape[0]])
    points = landmarks[:, :2] * scales
    low, high = points.min(0), points.max(0)
    middle, reach = (low + high) / 2 - np.array([0, 0.1 * np.ptp(points[:, 1])]), (high - low) * _REACH
    y, x = np.indices(small.shape[:2])
    away = np.hypot((x - middle[0]) / reach[0], (y - middle[1]) / reach[1])
    share = np.clip((1 - away) / 0.12, 0, 1)[:, :, None]
    corner = np.round(at - middle).astype(int)
    ours, theirs = _both(corner, small.shape[:2], into.shape[:2])
    into[theirs] = (small[ours] * share[ours] + into[theirs] * (1 - share[ours])).astype(np.uint8)
    laid = landmarks * scale
    laid[:, :2] = points + corner
    return laid


def _both(corner: Any, small: tuple[int, int], large: tuple[int, int]) -> tuple[Any, Any]:
    """Where a small picture at a corner and a large one overlap, in each."""
    low = np.maximum(corner, 0)
    high = np.minimum(corner + small[::-1], large[::-1])
    return (
        np.s_[low[1] - corner[1] : high[1] - corner[1], low[0] - corner[0] : high[0] - corner[0]],
        np.s_[low[1] : high[1], low[0] : high[0]],
    )


def hit(faces: Sequence[Float], true: Float) -> float | None:
    """How far the landmarks of the face at the true one's place are from it, in % of its eyes' distance; None where there is none."""
    eyes, unit = face.eye_centres(true).mean(0)[:2], float(face.iod(true))
    for found in faces:
        if np.linalg.norm(face.eye_centres(found).mean(0)[:2] - eyes) < _NEAR * unit:
            return float(np.linalg.norm((found - true)[:, :2], axis=1).mean() / unit * 100)
    return None


def found(all_of_them: list[Person], size: tuple[int, int], eyes: float, tries: int, random: np.random.Generator) -> dict[str, Any]:
    """Stills, then video."""
    stills: list[float | None] = []
    moving: list[float | None] = []
    seconds: list[float] = []
    with Tracker(4, video=False) as looker:
        for at, person in enumerate(all_of_them):
            for _ in range(tries):
                picture = scene(all_of_them[at - 1], size, random)
                place = random.uniform([2.5 * eyes] * 2, np.array(size) - 2.5 * eyes)
                true = lay(picture, person.pictures[0], person.landmarks[0], eyes, place)
                begin = perf_counter()
                faces = looker.track(picture)
                seconds.append(perf_counter() - begin)
                stills.append(hit(faces, true))
            place = random.uniform([4 * eyes] * 2, np.array(size) - 4 * eyes)
            moving += _moving(person, scene(all_of_them[at - 1], size, random), eyes, place, random)
    return {"stills": _figures(stills), "video": _figures(moving), "ms a still": round(1e3 * float(np.median(seconds)), 1)}


def _moving(person: Person, background: Bytes, eyes: float, place: Float, random: np.random.Generator) -> list[float | None]:
    drift, true = random.uniform(-eyes / 25, eyes / 25, 2), []
    with Tracker(4) as tracker:
        follower = Follower(tracker)
        for at, (picture, landmarks) in enumerate(zip(person.pictures[:VIDEO], person.landmarks, strict=False)):
            shown = background.copy()
            true.append(lay(shown, picture, landmarks, eyes, place + at * drift))
            follower.see(from_rgb(shown))
    try:
        tracks = follower.tracks()
    except FaceFault:
        return [None] * len(true)
    return [hit([one] if seen else [], own) for one, seen, own in zip(tracks.landmarks, tracks.seen, true, strict=True)]


def _figures(hits: list[float | None]) -> dict[str, float]:
    errors = np.array([error for error in hits if error is not None])
    return {
        "tried": len(hits), "found": round(len(errors) / max(len(hits), 1), 4),
        "% off, median": round(float(np.median(errors)), 2) if len(errors) else float("nan"),
        "% off, p95": round(float(np.percentile(errors, 95)), 2) if len(errors) else float("nan"),
    }  # fmt: skip


def turned(all_of_them: list[Person], size: tuple[int, int], eyes: float, random: np.random.Generator) -> dict[str, Any]:
    """Stills turned by quarters."""
    made: dict[str, Any] = {}
    with Tracker(4, video=False) as tracker:
        for quarters in (1, 2, 3):
            hits = []
            for at, person in enumerate(all_of_them):
                picture = scene(all_of_them[at - 1], size, random)
                place = random.uniform([2.5 * eyes] * 2, np.array(size) - 2.5 * eyes)
                true = lay(picture, person.pictures[0], person.landmarks[0], eyes, place)
                width = size[0]
                for _ in range(quarters):
                    true[:, :2] = np.stack([true[:, 1], width - 1 - true[:, 0]], 1)
                    picture, width = np.ascontiguousarray(np.rot90(picture)), picture.shape[0]
                hits.append(hit(tracker.track(picture), true))
            made[f"{90 * quarters} degrees"] = _figures(hits)
    return made


def near(all_of_them: list[Person]) -> dict[str, Any]:
    """Stills cut so close that chin, brow and cheeks are at the edge or beyond."""
    hits = []
    with Tracker(4, video=False) as tracker:
        for person in all_of_them:
            picture, true = person.pictures[0], person.landmarks[0].copy()
            reach = float(face.iod(true))
            middle = face.eye_centres(true).mean(0)[:2] + np.array([0, 0.45 * reach])
            low = np.clip(np.round(middle - reach), 0, np.array(picture.shape[1::-1]) - 8).astype(int)
            high = np.round(middle + reach).astype(int)
            true[:, :2] -= low
            hits.append(hit(tracker.track(np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])), true))
    return _figures(hits)


def empty(all_of_them: list[Person], size: tuple[int, int], random: np.random.Generator) -> dict[str, Any]:
    """Nobody there: what is found all the same, and the time of a picture."""
    invented, pictures, seconds = 0, 0, []
    for person in all_of_them:
        picture = scene(person, size, random)
        with Tracker(4) as tracker:
            begin = process_time()
            for _ in range(VIDEO):
                invented += bool(tracker.track(picture))
            seconds.append((process_time() - begin) / VIDEO)
        pictures += VIDEO
    return {"pictures": pictures, "with faces": invented, "ms a picture": round(1e3 * float(np.median(seconds)), 1)}


def agreement(data: Path, split: str, every: int, most: int) -> dict[str, Any]:
    """This tracker and MediaPipe on the same pictures."""
    from engines.tracking.reference import MediaPipe

    with (data / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split][::every]
    apart: dict[str, list[float]] = {"all": [], "lips": []}
    counts, seconds = {"pictures": 0, "ours": 0, "theirs": 0, "both": 0}, [[], []]
    for row in rows:
        with Tracker() as ours, MediaPipe() as theirs:
            for frame in islice(read_pictures(data / row["file"]), most):
                picture, seen = to_rgb(frame), []
                for tracker, times in zip((ours, theirs), seconds, strict=True):
                    begin = process_time()
                    seen.append(tracker.track(picture))
                    times.append(process_time() - begin)
                counts["pictures"] += 1
                for name, value in (("ours", seen[0]), ("theirs", seen[1]), ("both", seen[0] and seen[1])):
                    counts[name] += bool(value)
                if seen[0] and seen[1]:
                    off = np.linalg.norm((seen[0][0] - seen[1][0])[:, :2], axis=1) / face.iod(seen[1][0]) * 100
                    apart["all"].append(float(off.mean()))
                    apart["lips"].append(float(off[list(face.LIPS)].mean()))
    figures = {name: {"mean": round(float(np.mean(v)), 3), "p99": round(float(np.percentile(v, 99)), 3)} for name, v in apart.items()}
    times = {name: round(1e3 * float(np.median(t)), 2) for name, t in zip(("ours", "theirs"), seconds, strict=True)}
    return {**counts, "% apart": figures, "ms a picture": times}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--split", default="val-unseen")
    parser.add_argument("--every", type=int, default=1, help="each n-th clip")
    parser.add_argument("--eyes", type=float, default=24, help="pixels between the eyes")
    parser.add_argument("--size", default="1920x1080", help="of the scenes")
    parser.add_argument("--tries", type=int, default=3, help="stills of each clip")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    width, height = (int(n) for n in options.size.split("x"))
    random = np.random.default_rng(options.seed)
    known = list(people(options.data, options.split, options.every, VIDEO)) if set(options.parts) != {"agreement"} else []
    made: dict[str, Any] = {"split": options.split, "clips": len(known), "eyes": options.eyes, "size": options.size}
    runs = {
        "found": lambda: found(known, (width, height), options.eyes, options.tries, random),
        "turned": lambda: turned(known, (width, height), options.eyes, random),
        "near": lambda: near(known),
        "empty": lambda: empty(known, (width, height), random),
        "agreement": lambda: agreement(options.data, options.split, options.every, 50),
    }
    for part in options.parts:
        made[part] = runs[part]()
        print(part, json.dumps(made[part], indent=1), flush=True)
    print(json.dumps(made))


if __name__ == "__main__":
    main()

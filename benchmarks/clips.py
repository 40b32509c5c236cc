"""Clips to judge by: read, tracked, their judged half masked, rendered, and the figures of what came out.

Made for `benchmarks.quality`, which says what is judged and how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import pictures
from engines import face
from engines.actor import Actor
from engines.appearance.config import WarpConfig
from engines.appearance.layout import at_rest, vertices
from engines.appearance.mesh import mesh, visible
from engines.appearance.references import costs
from engines.enrol import Follower, Tracks, make_actor
from engines.frames import Picture
from engines.pipeline import Pipeline
from engines.spec import APPEARANCE, RATE, TICK, load
from engines.tracker import Tracker
from engines.train import figures
from native.planes import planes, to_rgb
from native.warp.cpu import mesh_values
from realtime.media import read_pictures, read_speech, ticks

Float = NDArray[np.float32]
SHEET_ROWS = 6


@dataclass(frozen=True)
class Clip:
    """A clip with its landmarks."""

    name: str
    set: str
    person: str
    frames: list[Picture]
    tracks: Tracks
    speech: Float

    @property
    def first(self) -> int:
        """Frames before this one make the actor; the others are judged."""
        count = len(self.frames)
        return max(count // 2, min(50, count * 2 // 3))


def load_clip(root: Path, row: dict[str, str], cache: Path | None) -> Clip:
    """Read and track a clip; the tracks are kept in `cache` if there is one."""
    path = root / row["file"]
    frames = list(read_pictures(path))
    kept = cache / f"{row['file'].replace('/', '_')}.npz" if cache else None
    if kept is not None and kept.exists():
        with np.load(kept, allow_pickle=False) as found:
            tracks = Tracks(found["landmarks"], found["seen"], int(found["faces"]))
    else:
        tracks = track(frames)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, landmarks=tracks.landmarks, seen=tracks.seen, faces=tracks.faces)
    speech = list(read_speech(path, RATE))
    return Clip(row["file"], row["set"], row["person"], frames, tracks, np.concatenate(speech) if speech else np.zeros(0, np.float32))


def track(frames: Sequence[Picture]) -> Tracks:
    """Follow the face through pictures."""
    with Tracker() as tracker:
        follower = Follower(tracker)
        for picture in frames:
            follower.see(picture)
    return follower.tracks()


class Masked(Sequence[Picture]):
    """Frames of which the judged ones are blacked out where the mask for the motion to be shown is full."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self.hidden: dict[int, NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        return len(self._clip.frames)

    def __getitem__(self, index: Any) -> Any:
        frame = self._clip.frames[index]
        if isinstance(index, slice) or index < self._clip.first:
            return frame
        hidden = self.hidden[index]  # a KeyError here means that a judged frame would be seen whole
        dark = frame.copy()
        luma, u, v = planes(dark)
        luma[hidden] = 16
        blocks = hidden[::2, ::2] & hidden[1::2, ::2] & hidden[::2, 1::2] & hidden[1::2, 1::2]
        u[blocks] = v[blocks] = 128
        return dark


def make_masked(clip: Clip) -> tuple[Actor, Masked]:
    """The actor of a clip's first half, with the frames of its second half masked."""
    frames = Masked(clip)
    use = np.zeros(len(frames), np.bool_)
    use[: clip.first] = True
    return make_actor(clip.name, frames, clip.tracks.landmarks, clip.tracks.seen, use=use), frames


def alpha_of(actor: Actor, index: int, motion: Float) -> Float:
    """The mask (H, W) of a frame for a motion."""
    target, values = vertices(actor, mesh(), index, motion)
    seen = visible(mesh(), target[None], face.from_head(at_rest(actor, mesh()), actor.poses[index])[None])[0]
    return mesh_values(target[:, :2], seen, values, (actor.size[1], actor.size[0]))[:, :, 0]


def make_engine(appearance: str) -> Any:
    """An engine by its name; `nearest` copies the reference that is most like the motion."""
    return load(APPEARANCE, "warp" if appearance == "nearest" else appearance)


def render(clip: Clip, actor: Actor, frames: Masked, motion: Float, appearance: str) -> tuple[list[NDArray[np.uint8]], list[Float]]:
    """The judged frames (RGB) saying motion (N, L, 2), and their masks."""
    engine = make_engine(appearance)
    state, shown, masks = engine.start(actor), [], []
    for index in range(clip.first, len(frames)):
        said = motion[index]
        if appearance == "nearest":
            said = actor.references.motion[int(np.argmin(costs(actor, WarpConfig(), index, said)))]
        alpha = alpha_of(actor, index, said)
        frames.hidden[index] = alpha >= 0.999
        (state,), (picture,) = engine.step([state], [index], said[None])
        shown.append(to_rgb(picture))
        masks.append(alpha)
    return shown, masks


def judge_pictures(clip: Clip, shown: list[NDArray[np.uint8]], masks: list[Float], out: Path | None) -> dict[str, float]:
    """Mouth figures of the judged frames."""
    size = (shown[0].shape[1], shown[0].shape[0])
    rows: dict[str, list[float]] = {name: [] for name in ("psnr", "ssim", "sharpness", "temporal", "seam")}
    before: tuple[Any, Any] | None = None
    for at, (rendered, alpha) in enumerate(zip(shown, masks, strict=True)):
        index = clip.first + at
        box = pictures.mouth_box(clip.tracks.landmarks[index], size)
        if not clip.tracks.seen[index] or box[2] - box[0] < 12 or box[3] - box[1] < 12:
            before = None
            continue
        real = to_rgb(clip.frames[index])
        a, b = pictures.cut(rendered, box), pictures.cut(real, box)
        rows["psnr"].append(pictures.psnr(a, b))
        rows["ssim"].append(pictures.ssim(a, b))
        rows["sharpness"].append(pictures.sharpness(a) / max(pictures.sharpness(b), 1e-6))
        rows["seam"].append(pictures.seam(rendered, alpha) / max(pictures.seam(real, alpha), 1e-6))
        if before is not None:
            change = [
                np.abs(pictures.cut(now, box).astype(float) - pictures.cut(then, box)).mean()
                for now, then in zip((rendered, real), before, strict=True)
            ]
            rows["temporal"].append(float(change[0] / max(change[1], 1e-6)))
        before = (rendered, real)
    if out is not None:
        write_sheet(out, clip, shown)
    middle = {"sharpness": np.median, "temporal": np.median, "seam": np.median}
    return {name: float(middle.get(name, np.mean)(values)) if values else float("nan") for name, values in rows.items()}


def write_sheet(path: Path, clip: Clip, shown: list[NDArray[np.uint8]]) -> None:
    """Real, rendered, difference (x 3) of some judged frames, cut to the head."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for at in np.linspace(0, len(shown) - 1, SHEET_ROWS).astype(int):
        points = clip.tracks.landmarks[clip.first + at][:, :2]
        middle, reach = (points.min(0) + points.max(0)) / 2, float(np.ptp(points, 0).max()) * 0.65
        matrix = np.array([[1, 0, reach - middle[0]], [0, 1, reach - middle[1]]]) * (128 / reach)
        real, made_up = (
            cv2.warpAffine(p, matrix, (256, 256), flags=cv2.INTER_AREA) for p in (to_rgb(clip.frames[clip.first + at]), shown[at])
        )
        difference = np.clip(128 + 3 * (made_up.astype(int) - real), 0, 255).astype(np.uint8)
        lines.append(np.concatenate([real, made_up, difference], 1))
    half = (len(lines) + 1) // 2
    cv2.imwrite(str(path), np.concatenate([np.concatenate(lines[:half]), np.concatenate(lines[half:])], 1)[:, :, ::-1])


def judge_speech(clip: Clip, true: Float, shown: Float, first: int, prefix: str = "") -> dict[str, float]:
    """Figures of motion from frame `first` on against the true motion, both (N, L, 2)."""
    speaking = figures.speech_frames(clip.speech, len(true)) & clip.tracks.seen
    return {prefix + name: value for name, value in figures.all_figures(true[first:], shown[first:], speaking[first:]).items()}


def tracked_motion(pictures_: Sequence[NDArray[np.uint8]], actor: Actor, first: int, count: int) -> Float:
    """The motion (count, L, 2) that the tracker sees on rendered pictures, of frames from `first` on; the others are neutral."""
    motion = np.repeat(face.motion_of(actor.neutral)[None], count, 0)
    with Tracker() as tracker:
        for at, picture in enumerate(pictures_):
            faces = tracker.track(picture)
            if faces:
                motion[first + at] = face.motion_onto(faces[0][face.MOTION, :2], actor.poses[first + at], actor.neutral)
            elif at:
                motion[first + at] = motion[first + at - 1]
    return motion


def said(clip: Clip, actor: Actor) -> Float:
    """The motion (N, L, 2) that the engine as served makes of a clip's own speech for an actor."""
    engine = Pipeline().motion
    state, given, count = engine.start(actor, 0), [], len(clip.frames)
    blocks = [*ticks(iter([clip.speech]), TICK)][:count]
    blocks += [np.zeros(TICK, np.float32)] * (count - len(blocks) + engine.look_ahead)
    for block in blocks:
        (state,), motion = engine.step([state], block[None])
        given.append(motion[0])
    return np.stack(given[engine.look_ahead :])


def true_motion(clip: Clip, actor: Actor) -> Float:
    """The motion (N, L, 2) that the clip's frames show, in the head's frame of an actor of theirs."""
    return np.stack(
        [face.motion_onto(p[face.MOTION, :2], pose, actor.neutral) for p, pose in zip(clip.tracks.landmarks, actor.poses, strict=True)]
    )

"""Quality: every figure of a manifest's clips, renderer alone, end to end, and dubbed with foreign speech.

    python -m benchmarks.quality --data ../shared/data --split val-unseen --out out/quality

Self-reenactment: a clip's first half (at least 2 s) makes the actor, its second half is judged. In a judged frame the
pixels where the mask is full are blacked out before the renderer sees it, and of its landmarks only those above the nose
are read (head pose). `renderer` is given the true lip and jaw landmarks of the judged frame, `leak` those of another frame,
`end` the clip's own speech.
Speech figures of `end` are over the whole clip, from the motion that is shown; those called `rendered` are over the judged
half, from landmarks tracked again on the rendered pictures, where it holds at least 15 ticks of speech.
`cross` dubs the clip with foreign speech by the product's own path, encodes it, and reads it back.
Writes a markdown table, one row of figures per clip (csv), and contact sheets: real, rendered, difference.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
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
from engines.appearance.mesh import mesh, seen_values, visible
from engines.appearance.references import costs
from engines.enrol import Follower, Tracks, check, make_actor
from engines.frames import Frames, Picture, write_frames
from engines.pipeline import Pipeline
from engines.spec import APPEARANCE, RATE, TICK, load
from engines.tracker import Tracker
from engines.train import figures
from native.planes import planes, to_rgb
from native.warp.cpu import mesh_values
from realtime.dub import dub
from realtime.media import read_pictures, read_speech, ticks

Float = NDArray[np.float32]
PROTOCOLS = ("renderer", "leak", "end", "cross")
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
    target, values = vertices(actor, mesh(), index, motion), seen_values(mesh(), actor.poses[index])
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


def leak(clip: Clip, actor: Actor, frames: Masked, true: Float, appearance: str) -> dict[str, float]:
    """Wrong landmarks are given: the judged half's own, moved in time to where they have least to do with the true ones.

    Correlations of the opening that the tracker sees on the rendered pictures, with what was given and with the truth.
    """
    own = true[clip.first :]
    openings = face.opening(own)
    apart = range(len(own) // 4, len(own) * 3 // 4)
    by = min(apart, key=lambda n: abs(np.corrcoef(openings, np.roll(openings, n))[0, 1]))
    given = true.copy()
    given[clip.first :] = np.roll(own, by, 0)
    shown, _ = render(clip, actor, frames, given, appearance)
    seen = face.opening(tracked_motion(shown, actor, clip.first, len(true))[clip.first :])
    return {
        "r with given": float(np.corrcoef(seen, np.roll(openings, by))[0, 1]), "r with true": float(np.corrcoef(seen, openings)[0, 1]),
        "r of given with true": float(np.corrcoef(np.roll(openings, by), openings)[0, 1]),
    }  # fmt: skip


def run_clip(
    root: Path, row: dict[str, str], protocols: Sequence[str], speech: Path, out: Path, cache: Path | None, appearance: str
) -> dict[str, dict[str, float]]:
    """All figures of a clip by protocol; an error's sentence in place of a protocol's figures is a failure."""
    cv2.setNumThreads(1)
    clip = load_clip(root, row, cache)
    check(clip.tracks, lambda sentence: None)
    actor, frames = make_masked(clip)
    true = np.stack(
        [face.motion_onto(p[face.MOTION, :2], pose, actor.neutral) for p, pose in zip(clip.tracks.landmarks, actor.poses, strict=True)]
    )
    sheet = out / "sheets" / row["file"].replace("/", "_").replace(".mp4", "")
    found: dict[str, dict[str, float]] = {}
    if "renderer" in protocols:
        shown, masks = render(clip, actor, frames, true, appearance)
        found["renderer"] = judge_pictures(clip, shown, masks, sheet.with_suffix(".renderer.jpg"))
        again = tracked_motion(shown, actor, clip.first, len(true))
        found["renderer"]["lip error"] = figures.lip_error(true[clip.first :], again[clip.first :])
    if "leak" in protocols:
        found["leak"] = leak(clip, actor, frames, true, appearance)
    if "end" in protocols:
        engine = Pipeline().motion
        state, given = engine.start(actor, 0), []
        blocks = [*ticks(iter([clip.speech]), TICK)][: len(true)]
        blocks += [np.zeros(TICK, np.float32)] * (len(true) - len(blocks) + engine.look_ahead)
        for block in blocks:
            (state,), motion = engine.step([state], block[None])
            given.append(motion[0])
        spoken = np.stack(given[engine.look_ahead :])
        shown, masks = render(clip, actor, frames, spoken, appearance)
        again = tracked_motion(shown, actor, clip.first, len(true))
        found["end"] = judge_pictures(clip, shown, masks, sheet.with_suffix(".end.jpg")) | judge_speech(
            clip, true, again, clip.first, "rendered "
        )
        found["end"] |= judge_speech(clip, true, spoken, 0)
    if "cross" in protocols:
        found["cross"] = cross(clip, speech, out, row, appearance)
    return found


def cross(clip: Clip, speech: Path, out: Path, row: dict[str, str], appearance: str) -> dict[str, float]:
    """Dub a clip with foreign speech, encode, read back: length, what is outside the face, movement in silence."""
    with tempfile.TemporaryDirectory() as folder:  # as enrolment keeps it: what the file loses counts
        kept = Frames(Path(folder) / "frames.mp4", write_frames(Path(folder) / "frames.mp4", clip.frames))
        return _cross(clip, make_actor(clip.name, kept, clip.tracks.landmarks, clip.tracks.seen), speech, out, row, appearance)


def _cross(clip: Clip, whole: Actor, speech: Path, out: Path, row: dict[str, str], appearance: str) -> dict[str, float]:
    path = out / "dubbed" / (row["file"].replace("/", "_"))
    path.parent.mkdir(parents=True, exist_ok=True)
    pipeline = Pipeline()
    pipeline.appearance = make_engine(appearance)
    report = dub(whole, speech, path, pipeline=pipeline, overwrite=True)
    samples = sum(len(block) for block in read_speech(speech, RATE))
    engine, outside, count = pipeline.appearance, [], 0
    for count, picture in enumerate(read_pictures(path), 1):
        index = whole.frame_at(count - 1)
        if count % 5 == 0:
            alpha = alpha_of(whole, index, face.motion_of(whole.neutral))
            around = np.ones([int(0.5 * face.unit(whole.poses[index])) | 1] * 2, np.uint8)  # an open jaw carries the mask down
            face_mask = cv2.dilate((alpha > 0).astype(np.uint8), around) > 0
            outside.append(pictures.psnr(to_rgb(picture), to_rgb(clip.frames[index]), ~face_mask))
    motion, seen, silent = pipeline.motion.start(whole), engine.start(whole), []
    for _ in range(30):
        (motion,), moved = pipeline.motion.step([motion], np.zeros((1, TICK), np.float32))
        (seen,), (picture,) = engine.step([seen], [0], moved)
        silent.append(to_rgb(picture))
    still = float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in zip(silent[6:], silent[5:-1], strict=True)]))
    return {
        "right length": float(count == -(-samples * 25 // RATE) == report.ticks), "outside": float(np.mean(outside)), "still": still,
    }  # fmt: skip


def table(results: dict[str, dict[str, dict[str, float]]], rows: dict[str, dict[str, str]]) -> str:
    """Markdown: for each protocol and set, a figure's clips, mean, median, least, most."""
    lines = ["| protocol | figure | set | clips | mean | median | least | most |", "|---|---|---|---|---|---|---|---|"]
    for protocol in PROTOCOLS:
        names = list(dict.fromkeys(name for found in results.values() for name in found.get(protocol, {})))
        for name in names:
            for group in ("all", "grid", "varied"):
                values = np.array([
                    found[protocol][name] for clip, found in results.items()
                    if name in found.get(protocol, {}) and group in ("all", rows[clip]["set"])
                ])  # fmt: skip
                values = values[np.isfinite(values)]
                if len(values):
                    cells = [f"{f(values):.3f}" for f in (np.mean, np.median, np.min, np.max)]
                    lines.append(f"| {protocol} | {name} | {group} | {len(values)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--split", default="val-unseen")
    parser.add_argument("--only", default="", help="clips whose file contains this")
    parser.add_argument("--every", type=int, default=1, help="each n-th clip")
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS), choices=PROTOCOLS)
    parser.add_argument(
        "--appearance", default="refined", choices=[*APPEARANCE, "nearest"], help="an engine; `nearest`: a reference, copied"
    )
    parser.add_argument("--speech", type=Path, help="foreign speech for `cross`; the shipped one if not given")
    parser.add_argument("--out", type=Path, default=Path("out/quality"))
    parser.add_argument("--cache", type=Path, help="folder to keep tracks in")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with (options.data / "manifest.csv").open(newline="") as file:
        chosen = [r for r in csv.DictReader(file) if r["split"] == options.split and options.only in r["file"]][:: options.every]
    speech = options.speech or Path(__file__).parents[1] / "realtime" / "speech" / "hello.flac"
    results: dict[str, dict[str, dict[str, float]]] = {}
    failed: dict[str, str] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        given = (options.protocols, speech, options.out, options.cache, options.appearance)
        waiting = {r["file"]: pool.submit(run_clip, options.data, r, *given) for r in chosen}
        for name, future in waiting.items():
            try:
                results[name] = future.result()
                print(name, json.dumps({p: {k: round(v, 3) for k, v in f.items()} for p, f in results[name].items()}), flush=True)
            except Exception as error:  # noqa: BLE001 the benchmark goes on; the clip counts as failed
                failed[name] = f"{type(error).__name__}: {error}"
                print(name, failed[name], flush=True)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False).stdout.strip()
    head = f"{options.split}: {len(results)} clips, {len(failed)} failed, commit {commit}\n"
    text = head + "\n" + table(results, {r["file"]: r for r in chosen}) + "".join(f"\n\nfailed: {k}: {v}" for k, v in failed.items())
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(text + "\n")
    (options.out / "clips.json").write_text(json.dumps(results, indent=1))
    print("\n" + text)


if __name__ == "__main__":
    main()

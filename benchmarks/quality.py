"""Quality: every figure of a manifest's clips, renderer alone, end to end, and dubbed with foreign speech.

    python -m benchmarks.quality --data ../shared/data --split val-unseen --out out/quality

Self-reenactment: a clip's first half (at least 2 s) makes the actor, its second half is judged. In a judged frame the
pixels where the mask is full are blacked out before the renderer sees it, and of its landmarks only those above the nose
are read (head pose). `renderer` is given the true lip and jaw landmarks of the judged frame, `leak` those of another frame,
`end` the clip's own speech.
Speech figures of `end` are over the whole clip, from the motion that is shown; those called `rendered` are over the judged
half, from landmarks tracked again on the rendered pictures, where it holds at least 15 ticks of speech.
`cross` dubs the clip with foreign speech by the product's own path, encodes it, and reads it back.
`photo`, `silent` and `turned` judge what little or awkward material makes of an actor: see `benchmarks.enrolment`; `cuts`, `covered`
and `small` what films make of one: see `benchmarks.shots`.
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
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import enrolment, pictures, shots
from benchmarks.clips import (
    Clip,
    Masked,
    alpha_of,
    judge_pictures,
    judge_speech,
    load_clip,
    make_engine,
    make_masked,
    render,
    said,
    tracked_motion,
    true_motion,
)
from engines import face
from engines.actor import Actor
from engines.enrol import check, make_actor
from engines.frames import Frames, write_frames
from engines.pipeline import Pipeline
from engines.spec import APPEARANCE, RATE, TICK
from engines.train import figures
from native.planes import to_rgb
from realtime.dub import dub
from realtime.media import read_pictures, read_speech

Float = NDArray[np.float32]
PROTOCOLS = ("renderer", "leak", "end", "cross", "photo", "silent", "turned", "cuts", "covered", "small")


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
    true = true_motion(clip, actor)
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
        spoken = said(clip, actor)
        shown, masks = render(clip, actor, frames, spoken, appearance)
        again = tracked_motion(shown, actor, clip.first, len(true))
        found["end"] = judge_pictures(clip, shown, masks, sheet.with_suffix(".end.jpg")) | judge_speech(
            clip, true, again, clip.first, "rendered "
        )
        found["end"] |= judge_speech(clip, true, spoken, 0)
    for name, judge in (("photo", enrolment.photo), ("silent", enrolment.silent), ("turned", enrolment.turned)):
        if name in protocols and (row_ := judge(clip, appearance, sheet.with_suffix(f".{name}.jpg"))):
            found[name] = row_
    if "cuts" in protocols:
        found["cuts"] = shots.cuts(clip, stranger(root, row, cache), appearance, sheet.with_suffix(".cuts.jpg"))
    if "covered" in protocols:
        found["covered"] = shots.covered(clip, appearance, sheet.with_suffix(".covered.jpg"))
    if "small" in protocols:
        found["small"] = shots.small(clip, stranger(root, row, cache), appearance, sheet.with_suffix(".small.jpg"))
    if "cross" in protocols:
        found["cross"] = cross(clip, speech, out, row, appearance)
    return found


def stranger(root: Path, row: dict[str, str], cache: Path | None) -> Clip:
    """The next clip of the same split of somebody else."""
    with (root / "manifest.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == row["split"]]
    at = next(n for n, r in enumerate(rows) if r["file"] == row["file"])
    return load_clip(root, next(r for r in rows[at:] + rows[:at] if r["person"] != row["person"]), cache)


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

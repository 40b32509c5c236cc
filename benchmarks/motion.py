"""Speech to lips: our engine beside a still mouth, other systems and other people's tools, on the same clips.

    python -m benchmarks.motion --data ../shared/data --cache cache/motion --out out/motion
    ... --more "teacher, 32 steps=cache/motion/said/teacher-32"   # folders of motion that others have made, FILE.npy

Self-reenactment as the engine serves it, tick by tick: rest, range and habit from a clip's first half and its sound, figures over the whole
clip (`engines.train.figures`), and the lip error of its second half alone. Timing is the manifest's, but for "finer timing":
there the sound is moved below a frame, by what a map that never saw the person found (`engines.train.timing`). Prints tables:
systems side by side, the engine on spoilt speech and on kinds of speech, phones of synthetic voices that nobody was trained on,
silence, speed. Writes strips of curves for unseen speakers, and the drawn presenter in four languages.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import as_motion, openings
from engines import face
from engines.actor import BUILT_IN, Store
from engines.motion.engine import DiffusionMotion
from engines.pipeline import Pipeline
from engines.spec import FPS, TICK
from engines.train import report, timing
from engines.train.data import Clip, prepare
from engines.train.figures import all_figures, speech_frames
from engines.train.voices import SENTENCES, say
from native.planes import to_rgb

Float = NDArray[np.float32]
STRIPS = 5
TIMING = Path(str(files("engines.weights"))) / "timing.csv"
_COLOURS = [(30, 30, 30), (200, 90, 20), (30, 130, 30), (20, 60, 210), (170, 40, 170), (0, 160, 200)]


def still(clips: Sequence[Clip]) -> dict[str, Float]:
    """A mouth that keeps each clip's median."""
    return {clip.file: np.repeat(np.median(clip.motion, 0)[None], len(clip.motion), 0) for clip in clips}


def peers(clips: Sequence[Clip], cache: Path) -> tuple[dict[str, dict[str, NDArray[np.float64]]], dict[str, dict[str, Float]]]:
    """Figures of other people's tools that opening and width alone can have, and their openings by clip."""
    found, curves = {}, {}
    for name, made in openings({clip.file: clip.speech for clip in clips}, cache).items():
        rows = []
        for clip in clips:
            speaking = speech_frames(clip.speech, len(clip.motion)) & clip.seen
            rows += [row] if (row := all_figures(clip.motion, as_motion(*made[clip.file]), speaking)) else []
        found[name] = {figure: np.array([row[figure] for row in rows]) for figure in ("opening r", "width r", "lag, ms, absolute")}
        curves[name] = {file: opening for file, (opening, _) in made.items()}
    return found, curves


def strip(path: Path, clip: Clip, curves: Mapping[str, Float]) -> None:
    """Draw openings of a clip, each from 0 to its own 95th percentile, under each other."""
    wide, high = 1400, 110
    sheet = np.full((high * len(curves) + 30, wide, 3), 255, np.uint8)
    cv2.putText(sheet, clip.file, (10, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    truth = next(iter(curves.values()))
    for row, (name, curve) in enumerate(curves.items()):
        base = 30 + high * (row + 1) - 8
        for values, colour, thick in ((truth, (205, 205, 205), 3), (curve, _COLOURS[row % len(_COLOURS)], 2)):
            scaled = np.clip(values / max(float(np.percentile(values, 95)), 1e-3), 0, 1.3)
            points = np.stack([np.linspace(0, wide - 1, len(scaled)), base - scaled * (high - 30) / 1.3], 1).astype(np.int32)
            cv2.polylines(sheet, [points], False, colour, thick, cv2.LINE_AA)
        cv2.putText(sheet, name, (10, base - high + 30), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _COLOURS[row % len(_COLOURS)], 1, cv2.LINE_AA)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), sheet)


def presenter(path: Path) -> None:
    """The drawn presenter says a sentence in four languages: eight pictures of each, evenly spaced."""
    pipeline, actor = Pipeline(), Store(path.parent / "actors").load(BUILT_IN)
    lines = []
    for language in report.LANGUAGES:
        said = say(SENTENCES[language][0], f"{language}+f3")
        conversation, shown = pipeline.start(actor), []
        for block in np.pad(said.speech, (0, -len(said.speech) % TICK)).reshape(-1, 1, TICK):
            (conversation,), (picture,) = pipeline.step([conversation], block)
            if picture is not None:
                shown.append(picture)
        chosen = [to_rgb(shown[at]) for at in np.linspace(5, len(shown) - 12, 8).astype(int)]
        side = chosen[0].shape[0]
        cut = [
            cv2.resize(p[side // 4 : side * 7 // 8, side // 5 : side * 4 // 5], (200, 208), interpolation=cv2.INTER_AREA) for p in chosen
        ]
        lines.append(np.concatenate(cut, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(lines)[:, :, ::-1])


def speed(clip: Clip) -> dict[str, float]:
    """Median ms of a tick on this machine: one conversation with one step and with two, and each of eight in a batch."""
    found = {}
    for steps, count in ((1, 1), (2, 1), (1, 8)):
        engine = DiffusionMotion(steps=steps)
        states, times = [engine.begin(*report.first_half(clip), seed=b) for b in range(count)], []
        for block in np.resize(clip.speech, 100 * TICK).reshape(-1, TICK):
            begun = time.perf_counter()
            states, _ = engine.step(states, np.repeat(block[None], count, 0))
            times.append((time.perf_counter() - begun) * 1000 / count)
        found[f"ms a tick, {count} at once, steps: {steps}"] = float(np.median(times[20:]))
    return found


def read(folder: Path, clips: Sequence[Clip]) -> dict[str, Float]:
    """Motion that somebody has made, by clip."""
    return {clip.file: np.load(folder / (clip.file.replace("/", "_") + ".npy"), allow_pickle=False) for clip in clips}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--cache", type=Path, default=Path("cache/motion"), help="where clips are packed")
    parser.add_argument("--split", default="val-unseen")
    parser.add_argument("--more", action="append", default=[], metavar="NAME=FOLDER", help="motion of another system, FILE.npy")
    parser.add_argument("--without-peers", action="store_true", help="do not run Rhubarb and headaudio")
    parser.add_argument("--out", type=Path, default=Path("out/motion"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    everything = prepare(options.data, options.cache)
    clips = [clip for clip in everything if clip.split == options.split]
    engine, known = DiffusionMotion(), timing.read(TIMING)
    systems = {name: read(Path(folder), clips) for name, _, folder in (more.partition("=") for more in options.more)}
    for steps in (4, 2, 1):
        systems[f"ours, {steps} steps" if steps > 1 else "ours, 1 step"] = report.said_by(DiffusionMotion(steps=steps), clips)
    systems["still mouth"] = still(clips)
    others, curves = ({}, {}) if options.without_peers else peers(clips, options.cache)
    text = []
    for title, wanted in (("all", None), ("grid", "grid"), ("varied", "varied")):
        chosen = [clip for clip in clips if wanted in (None, clip.set)]
        if chosen:
            found = {name: report.judged(chosen, shown) for name, shown in systems.items()}
            later = [timing.moved(clip, known[clip.file]) for clip in chosen]
            found["as served, finer timing"] = report.judged(later, report.said_by(engine, later))
            text.append(f"\n{options.split}, {title}, {len(chosen)} clips\n\n" + report.table(found | (others if wanted is None else {})))
            best = found[f"ours, {engine.steps} steps"] if engine.steps > 1 else found["ours, 1 step"]
            rows = [f"| {name} | {np.nanmedian(v):.3f} | {np.nanmin(v):.3f} | {np.nanmax(v):.3f} |" for name, v in best.items()]
            text.append("\n| as served | median | least | most |\n|---|---|---|---|\n" + "\n".join(rows))
    served = systems[f"ours, {engine.steps} steps" if engine.steps > 1 else "ours, 1 step"]
    later_half = report.second_half(clips, {
        "as served": served, "calibrated by frames alone": report.said_by(engine, clips, calibrated=False),
        "without habit": report.said_by(engine, clips, habits=False),
    })  # fmt: skip
    text.append("\n| second half alone | lip error |\n|---|---|\n" + "\n".join(f"| {k} | {v:.3f} |" for k, v in later_half.items()))
    text.append("\n" + report.of_kinds(engine, clips, [clip for clip in everything if clip.split == "val-seen"]))
    seen = [clip for clip in everything if clip.split == "val-seen" and clip.set == "grid"]
    if seen:
        text.append(
            f"\nval-seen, grid, {len(seen)} clips\n\n" + report.table({"as served": report.judged(seen, report.said_by(engine, seen))})
        )
    actor = Store(options.out / "actors").load(BUILT_IN)
    said = report.sentences()
    wait, rest = report.silence(engine, engine.start(actor), said)
    numbers = {f"opening r, {name}": value for name, value in report.spoilt(engine, clips).items()}
    numbers |= report.phones(said, report.spoken(engine, engine.start(actor), said))
    numbers |= {"ms from the end of speech to a closed mouth, 95 %": wait, "movement in silence against speech": rest}
    numbers |= speed(clips[0])
    text.append("\n| as served | |\n|---|---|\n" + "\n".join(f"| {name} | {value:.3f} |" for name, value in numbers.items()))
    (options.out / "table.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))
    chosen = [clip for clip in clips if len(clip.motion) >= FPS * 2]
    for clip in chosen[:: max(1, len(chosen) // STRIPS)][:STRIPS]:
        own = {"truth": face.opening(clip.motion)} | {
            name: face.opening(shown[clip.file]) for name, shown in systems.items() if "still" not in name
        }
        strip(
            options.out / "strips" / (clip.file.replace("/", "_") + ".png"),
            clip,
            own | {name: made[clip.file] for name, made in curves.items()},
        )
    presenter(options.out / "presenter.png")


if __name__ == "__main__":
    main()

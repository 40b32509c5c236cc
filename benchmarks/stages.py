"""Milliseconds of each stage of a tick on a backend, for batches of several sizes.

    python -m benchmarks.stages [--backend cpu|cuda|tensorrt] [--batches 1,4,16] [--actor presenter] [--ticks 50]

A stage is timed from its call to its result in the host's memory, copies and waiting included, inside real conversations that
say the shipped speech. "geometry" is what is decided on the host before pixels are touched. Ends with a line of JSON. What the
backend lacks is said in one sentence, with exit code 2.

On a card it needs a checkout, a CUDA build of torch and numpy: where more is missing, `benchmarks.bare` stands in for it, and says so.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from benchmarks import bare
from benchmarks.speed import timed

WARM = 10


def conversations(pipeline: Any, actors: list[Any], count: int) -> list[Any]:
    """So many, of the actors in turn, each elsewhere in its loop."""
    return [pipeline.start(actors[at % len(actors)], seed=at, first=7 * at) for at in range(count)]


def opened(backend: str, actor: str, count: int = 1) -> tuple[Any, list[Any]]:
    """The engines, and an actor so many times; or one sentence on what is missing, and exit code 2."""
    missing = [] if backend == "cpu" else bare.stand_in(backend)
    try:
        from engines.actor import Store
        from engines.errors import Fault
    except ImportError as error:
        _leave(f"{error.name} is not installed. In the source: make install")
    try:
        from engines.pipeline import Pipeline

        pipeline = Pipeline(backend=backend)
        actors = [replace(Store(Path("none")).load(actor), name=f"{actor} {at}") for at in range(count)]
    except (Fault, ImportError) as fault:
        _leave(str(fault))
    if missing:
        print(f"without {', '.join(missing)}: stand-ins, which are not timed{'; noise for pictures and speech' if 'av' in missing else ''}")
    if "av" in missing:
        actors = [replace(one, frames=bare.frames(one.size, len(one.poses))) for one in actors]
    return pipeline, actors


def _leave(why: str) -> NoReturn:
    print(f"This cannot be measured: {why}", file=sys.stderr)
    sys.exit(2)


def heard(count: int, ticks: int) -> Any:
    """(ticks, count, 640) the shipped speech, each conversation elsewhere in it."""
    try:
        from realtime.media import read_speech

        file = Path(__file__).parent.parent / "realtime" / "speech" / "hello.flac"
        said = np.concatenate(list(read_speech(file, 16_000))).astype(np.float32)
    except ImportError:
        said = bare.speech()
    rows = [np.resize(np.roll(said, -4_000 * at), ticks * 640).reshape(ticks, 640) for at in range(count)]
    return np.ascontiguousarray(np.stack(rows, 1))


def measure(pipeline: Any, actors: list[Any], count: int, ticks: int) -> dict[str, list[float]]:
    """Milliseconds of each stage, a list of so many ticks."""
    spent: dict[str, list[float]] = {}
    motion, appearance, painter = pipeline.motion, pipeline.appearance, pipeline.appearance.painter
    talks, speech = conversations(pipeline, actors, count), heard(count, WARM + ticks)
    plain = motion.step, appearance.step, painter.paint
    try:
        for at, block in enumerate(speech):
            if at == WARM:
                motion.step = timed("motion, features included", plain[0], spent)
                appearance.step = timed("appearance", plain[1], spent)
                painter.paint = timed("pixels", plain[2], spent)
            step = pipeline.step if at < WARM else timed("everything", pipeline.step, spent)
            talks, _ = step(talks, block)
    finally:
        motion.step, appearance.step, painter.paint = plain
    spent["geometry"] = [whole - pixels for whole, pixels in zip(spent.pop("appearance"), spent["pixels"], strict=True)]
    return spent


def processor(pipeline: Any) -> str:
    """What the engines run on, with driver and clocks."""
    if pipeline.backend == "cpu":
        return platform.processor() or platform.machine()
    from benchmarks.kernels import smi

    return f"{pipeline.appearance.painter.device.name} (driver, clocks: {smi()})"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--backend", choices=("cpu", "cuda", "tensorrt"), default="cpu")
    parser.add_argument("--batches", default="1,4,16", help="sessions at once, with commas")
    parser.add_argument("--actor", default="presenter")
    parser.add_argument("--ticks", type=int, default=50, help="that are timed")
    options = parser.parse_args()
    pipeline, (actor,) = opened(options.backend, options.actor)
    print(f"{options.backend} on {processor(pipeline)}; {actor.name}, {actor.size[0]}x{actor.size[1]}, {options.ticks} ticks\n")
    print("| sessions | stage | mean, ms | median, ms | p99, ms |\n|---|---|---|---|---|")
    found = {}
    for count in (int(part) for part in options.batches.split(",")):
        spent = measure(pipeline, [actor], count, options.ticks)
        for name, ms in spent.items():
            print(f"| {count} | {name} | {np.mean(ms):.2f} | {np.median(ms):.2f} | {np.percentile(ms, 99):.2f} |")
        found[count] = {name: round(float(np.median(ms)), 3) for name, ms in spent.items()}
    print(json.dumps({"backend": options.backend, "median_ms": found}))


if __name__ == "__main__":
    main()

"""Milliseconds of each stage of a tick on a backend, for batches of several sizes.

    python -m benchmarks.stages [--backend cpu|cuda] [--batches 1,4,16] [--actor presenter] [--ticks 50]

A stage is timed from its call to its result in the host's memory, copies and waiting included, inside real conversations that
say the shipped speech. "geometry" is what is decided on the host before pixels are touched. Ends with a line of JSON. What the
backend lacks is said in one sentence, with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import timed

WARM = 10


def conversations(pipeline: Any, actors: list[Any], count: int) -> list[Any]:
    """So many, of the actors in turn, each elsewhere in its loop."""
    return [pipeline.start(actors[at % len(actors)], seed=at, first=7 * at) for at in range(count)]


def heard(count: int, ticks: int) -> Any:
    """(ticks, count, 640) the shipped speech, each conversation elsewhere in it."""
    from realtime import dub
    from realtime.media import read_speech

    said = np.concatenate(list(read_speech(Path(dub.__file__).parent / "speech" / "hello.flac", 16_000))).astype(np.float32)
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


def processor(backend: str) -> str:
    """What the backend runs on, with driver and clocks."""
    if backend == "cpu":
        return platform.processor() or platform.machine()
    import torch

    from benchmarks.kernels import smi

    return f"{torch.cuda.get_device_name()} (driver, clocks: {smi()})"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--backend", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batches", default="1,4,16", help="sessions at once, with commas")
    parser.add_argument("--actor", default="presenter")
    parser.add_argument("--ticks", type=int, default=50, help="that are timed")
    options = parser.parse_args()
    from engines.actor import Store
    from engines.errors import Fault
    from engines.pipeline import Pipeline

    try:
        pipeline = Pipeline(backend=options.backend)
        actor = Store(Path("none")).load(options.actor)
    except (Fault, ImportError) as fault:
        print(f"The stages cannot be measured: {fault}", file=sys.stderr)
        sys.exit(2)
    print(f"{options.backend} on {processor(options.backend)}; {actor.name}, {actor.size[0]}x{actor.size[1]}, {options.ticks} ticks\n")
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

"""Speed: milliseconds of each stage of a tick, and pictures per second with everything included, on one core.

    python -m benchmarks.speed [--actor NAME|VIDEO] [--seconds 20]

The stages are timed inside a real dub; "everything" is the whole of `realtime.dub.dub` in a process that may use one core
only: decoding the actor's frames and the speech, motion, picture, H.264 and AAC, writing. Ends with a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 3


def timed(name: str, call: Callable[..., Any], spent: dict[str, list[float]]) -> Callable[..., Any]:
    """The call, with its milliseconds put down under a name."""

    def around(*arguments: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        try:
            return call(*arguments, **named)
        finally:
            spent.setdefault(name, []).append((time.perf_counter() - begin) * 1e3)

    return around


def run(target: str, seconds: int) -> dict[str, Any]:
    """Dub on one core; called in a process of its own, before anything started threads."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import cv2

    from engines import features
    from engines.actor import Store
    from engines.appearance import engine as appearance
    from engines.enrol import enrol
    from engines.frames import Frames
    from engines.pipeline import Pipeline
    from realtime import dub as dubbing
    from realtime.media import read_pictures, read_speech
    from realtime.writer import Writer

    cv2.setNumThreads(1)
    spent: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if Path(target).exists():
            actor = enrol(read_pictures(Path(target)), Path(folder), "speed")
        else:
            actor = Store(Path(folder) / "none").load(target)
        speech = Path(folder) / "speech.wav"
        hello = np.concatenate(list(read_speech(Path(dubbing.__file__).parent / "speech" / "hello.flac", 16_000)))
        write_wav(speech, np.resize(hello, seconds * 16_000))
        pipeline = Pipeline()
        rounds = []
        for at in range(ROUNDS + 1):  # the first warms up
            begin = time.perf_counter()
            report = dubbing.dub(actor, speech, Path(folder) / "out.mp4", pipeline=pipeline, overwrite=True)
            rounds.append(report.pictures / (time.perf_counter() - begin))
            if at == 0:
                rounds.clear()
        features.step = timed("features", features.step, spent)
        pipeline.motion.step = timed("motion, features included", pipeline.motion.step, spent)  # type: ignore[method-assign]
        appearance.warp = timed("warp", appearance.warp, spent)
        appearance.composite = timed("composite", appearance.composite, spent)
        Frames.__getitem__ = timed("actor's frame", Frames.__getitem__, spent)  # type: ignore[assignment]
        pipeline.appearance.step = timed("picture: frame, warp, composite", pipeline.appearance.step, spent)  # type: ignore[method-assign]
        Writer.picture = timed("H.264", Writer.picture, spent)  # type: ignore[method-assign]
        Writer.sound = timed("AAC", Writer.sound, spent)  # type: ignore[method-assign]
        dubbing.dub(actor, speech, Path(folder) / "out.mp4", pipeline=pipeline, overwrite=True)
    stages = {name: (float(np.mean(ms)), float(np.median(ms)), float(np.percentile(ms, 99))) for name, ms in spent.items()}
    return {"size": actor.size, "stages": stages, "fps": rounds}


def write_wav(path: Path, sound: np.ndarray) -> None:
    """Mono 16 kHz, 16 bits."""
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--actor", default="presenter", help="an actor, or a video to enrol")
    parser.add_argument("--seconds", type=int, default=20, help="of speech in a round")
    options = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(run, (options.actor, options.seconds))
    print(f"{options.actor}, {found['size'][0]}x{found['size'][1]}, one core of {platform.processor() or platform.machine()}\n")
    print("| stage | mean, ms | median, ms | p99, ms |\n|---|---|---|---|")
    for name, values in found["stages"].items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    fps = sorted(found["fps"])
    print(f"\neverything included: {fps[len(fps) // 2]:.1f} pictures a second (of {len(fps)} rounds: {fps[0]:.1f} to {fps[-1]:.1f})")
    print(json.dumps({"fps": round(fps[len(fps) // 2], 1), "stages_ms": {k: round(v[0], 2) for k, v in found["stages"].items()}}))


if __name__ == "__main__":
    main()

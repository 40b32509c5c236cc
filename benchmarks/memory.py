"""Memory of a long dub: resident MiB after the first minute of speech, at the most, and at the end.

python -m benchmarks.memory [--minutes 10] [--actor NAME]
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.speed import write_wav
from engines.actor import BUILT_IN, Store
from engines.pipeline import Pipeline
from engines.spec import FPS
from realtime import dub as dubbing
from realtime.media import read_speech


def resident() -> float:
    """Resident memory of this process now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--actor", default=BUILT_IN)
    options = parser.parse_args()
    seen: list[tuple[int, float]] = []

    def look(pictures: int, total: int | None) -> None:
        if pictures % FPS == 0:
            seen.append((pictures // FPS, resident()))

    with tempfile.TemporaryDirectory() as folder:
        hello = np.concatenate(list(read_speech(Path(dubbing.__file__).parent / "speech" / "hello.flac", 16_000)))
        write_wav(Path(folder) / "all.wav", np.resize(hello, options.minutes * 60 * 16_000))
        del hello
        actor = Store(Path(folder)).load(options.actor)
        dubbing.dub(actor, Path(folder) / "all.wav", Path(folder) / "out.mp4", pipeline=Pipeline(), progress=look)
    first = next(size for second, size in seen if second >= 60)
    most, last = max(size for _, size in seen), seen[-1][1]
    print(f"after one minute {first:.0f} MiB, at the most {most:.0f} MiB, after {seen[-1][0] / 60:.0f} minutes {last:.0f} MiB")
    print(json.dumps({"first_minute_mib": round(first, 1), "most_mib": round(most, 1), "last_mib": round(last, 1)}))


if __name__ == "__main__":
    main()

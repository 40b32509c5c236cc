"""How many sessions a backend carries: time of a tick of all of them, pictures a second, memory, and what the admission rule says.

    python -m benchmarks.capacity [--backend cpu|cuda|tensorrt] [--sessions 1,8,64] [--actors 16] [--ticks 100]

Sessions are spread over actors (copies of the presenter, each with frames of its own) and say the shipped speech. Nothing is sent anywhere:
encoding is measured by `mytalk bench latency`. Memory of a card is counted by who takes it: an actor's frames and references, a session's
part of what ticks work in. Allocations are what the driver is asked for after the warm-up, by torch and by us. Ends with a line of JSON.
What the backend lacks is said in one sentence, with exit code 2. What it needs on a card: see `benchmarks.stages`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import numpy as np

from benchmarks.stages import WARM, conversations, heard, opened, processor


def measure(pipeline: Any, actors: list[Any], count: int, ticks: int, backend: str) -> dict[str, float]:
    """Of a number of sessions."""
    talks, speech, took = conversations(pipeline, actors, count), heard(count, WARM + ticks), []
    before = 0
    for at, block in enumerate(speech):
        if at == WARM:
            before = allocations(pipeline, backend)
        begin = time.perf_counter()
        talks, _ = pipeline.step(talks, block)
        took.append((time.perf_counter() - begin) * 1e3)
    took = took[WARM:]
    found = {
        "median_ms": float(np.median(took)), "p99_ms": float(np.percentile(took, 99)), "pictures_s": count * len(took) / sum(took) * 1e3,
    }  # fmt: skip
    if backend != "cpu":
        painter, mib = pipeline.appearance.painter, 1 << 20
        found |= {
            "mib_per_actor": painter.shelf.used / max(painter.shelf.actors, 1) / mib, "mib_per_session": painter.working / count / mib,
            "allocations_per_tick": (allocations(pipeline, backend) - before) / len(took),
        }  # fmt: skip
    return found


def allocations(pipeline: Any, backend: str) -> int:
    """Of memory of the card, from its driver, so far."""
    if backend == "cpu":
        return 0
    ours = int(pipeline.appearance.painter.device.taken)
    if backend == "tensorrt":
        return ours  # its nets are given memory by the same device
    import torch

    return ours + int(torch.cuda.memory_stats().get("segment.all.allocated", 0))


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--backend", choices=("cpu", "cuda", "tensorrt"), default="cpu")
    parser.add_argument("--sessions", default="1,8,64", help="numbers of sessions, with commas")
    parser.add_argument("--actors", type=int, default=16)
    parser.add_argument("--ticks", type=int, default=100, help="that are timed")
    options = parser.parse_args()
    pipeline, actors = opened(options.backend, "presenter", options.actors)
    from realtime.load import SHARE, Costs

    print(f"{options.backend} on {processor(pipeline)}; {len(actors)} actors of {actors[0].size[0]}x{actors[0].size[1]}\n")
    print("| sessions | tick, median, ms | p99, ms | pictures a second | MiB an actor | MiB a session | allocations a tick |")
    print("|---|---|---|---|---|---|---|")
    found = {}
    for count in (int(part) for part in options.sessions.split(",")):
        row = found[count] = measure(pipeline, actors, count, options.ticks, options.backend)
        memory = " | ".join(
            f"{row[name]:.1f}" if name in row else "-" for name in ("mib_per_actor", "mib_per_session", "allocations_per_tick")
        )
        print(f"| {count} | {row['median_ms']:.2f} | {row['p99_ms']:.2f} | {row['pictures_s']:.0f} | {memory} |")
    costs = Costs({count: row["median_ms"] / 1e3 for count, row in found.items()}, 0.0, os.cpu_count() or 1)
    print(f"\nadmission, without sending: {costs.carried()} sessions take {SHARE:.0%} of a tick or less")
    print(json.dumps({"backend": options.backend, "carried": costs.carried(), "sessions": found}))


if __name__ == "__main__":
    main()

"""The host's part of a tick of pictures on a card: geometry and descriptors, of so many conversations of as many actors, on one core.

    python -m benchmarks.host [--sessions 64] [--ticks 60]

The host takes the card's place, and its copies and kernels do nothing: what is left is what a machine's processor does for a card.
Actors are copies of the presenter, whose frames have been copied before. Nets are not in it. Ends with a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.actor import Store
from engines.appearance.card import CardPainter
from engines.appearance.engine import WarpAppearance
from engines.motion.engine import DiffusionMotion
from native.cuda.device import Host
from native.cuda.launch import check

WARM = 10


class Idle(Host):
    """A device whose copies and kernels do nothing, as if in no time; what kernels are given is checked, as for a card."""

    def put(self, data: Any, address: int) -> None:
        """See `Device.put`."""

    def get(self, address: int, data: Any) -> None:
        """See `Device.get`."""

    def run(self, operator: str, sessions: Any, address: int) -> None:
        """See `Device.run`."""
        check(operator, sessions, tuple(self._rooms))


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--ticks", type=int, default=60, help="that are timed")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    presenter = replace(Store(Path("none")).load("presenter"), resting=None)  # every picture is made
    from benchmarks.stages import heard

    actors = [replace(presenter, name=str(at)) for at in range(options.sessions)]
    motion = DiffusionMotion()
    states = [motion.start(presenter, seed) for seed in range(options.sessions)]
    with tempfile.TemporaryDirectory() as folder:
        painter = CardPainter(Idle(Path(folder)), limit=1 << 40)
        engine = WarpAppearance(painter=painter)
        looks, paint, spent, inside = [engine.start(actor) for actor in actors], painter.paint, [], []

        def timed(*given: Any, **named: Any) -> Any:
            begin = time.perf_counter()
            made = paint(*given, **named)
            inside.append(time.perf_counter() - begin)
            return made

        painter.paint = timed  # type: ignore[method-assign]
        for tick, block in enumerate(heard(options.sessions, WARM + options.ticks)):
            states, said = motion.step(states, block)
            begin = time.perf_counter()
            looks, _ = engine.step(looks, [tick % 32] * options.sessions, said)
            spent.append(time.perf_counter() - begin)
    each = np.array([spent[WARM:], inside[WARM:]]) * 1e3 / options.sessions
    whole, painted = np.median(each, 1)
    least = float(each[0].min())
    print(f"{options.sessions} conversations of as many actors, ms a conversation: {whole:.3f} (least {least:.3f})")
    print(f"of that geometry {whole - painted:.3f}, descriptors and copies {painted:.3f}")
    found = {"sessions": options.sessions, "ms": float(whole), "least_ms": least, "painted_ms": float(painted)}
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()

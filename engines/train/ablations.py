"""What each part of the training brings: shorter trainings, each without one of them, judged on people held out of `train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.train import report
from engines.train.diffusion import train_denoiser
from engines.train.motion import Plan, Taught, lay, learn, said_by_teacher, scaled

_ONCE = replace(
    Plan(held=True, ears=120, firsts=1, variants=2, faceless=600, minutes=15),
    first=replace(Plan().first, steps=150), teacher=replace(Plan().teacher, steps=250),
)  # fmt: skip


def _teacher(**changes: object) -> Plan:
    return replace(_ONCE, teacher=replace(_ONCE.teacher, **changes))  # type: ignore[arg-type]


VARIANTS = {
    "all": _ONCE,
    "regression": _teacher(diffusion=False, own=0.0, deaf=0.0),
    "no identity loss": _teacher(identity=0.0),
    "no sync loss": _teacher(sync=0.0),
    "no synthetic mouths": replace(_ONCE, minutes=0),
    "no lips for faceless speech": replace(_ONCE, firsts=0),
    "no synthetic voices for the encoder": replace(_ONCE, voices=False),
    "encoder not distilled": replace(_ONCE, ears=0),
    "look-ahead 0": replace(_ONCE, look_ahead=(0, 0)),
    "look-ahead 1": replace(_ONCE, look_ahead=(1, 0)),
    "look-ahead 3": replace(_ONCE, look_ahead=(3, 0)),
    "freely licensed clips only": replace(_ONCE, free=True),
}


def ablate(data: Path, cache: Path, length: float, wanted: list[str]) -> None:
    """Train and judge variants (all, if none is named) one after the other; prints a row of each."""
    ground = lay(data, cache)
    print("| variant | opening r | width r | lip error | closure recall | amplitude | jitter |\n|---|---|---|---|---|---|---|", flush=True)
    before: Plan | None = None
    for name in wanted or VARIANTS:
        plan = scaled(VARIANTS[name], length)
        if before is None or replace(plan, teacher=before.teacher) != before:
            taught, before = learn(ground, plan), plan
        found = judged(taught, plan)
        cells = [
            f"{np.nanmean(found[figure]):.3f}"
            for figure in ("opening r", "width r", "lip error", "closure recall", "amplitude ratio", "jitter ratio")
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def judged(taught: Taught, plan: Plan) -> dict[str, np.ndarray]:
    """Figures of a plan's teacher of motion, two steps, on the people that it does not know."""
    net = train_denoiser(taught.lessons, taught.space, plan.teacher, plan.seed)
    shown = said_by_teacher(taught.held, taught.ears, net, taught.space, plan, 2)
    return report.judged(taught.held, shown)

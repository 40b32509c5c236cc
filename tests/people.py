"""Drawn people for tests: quick to make, known in every point."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

from engines.actor import Actor
from engines.drawn import draw
from engines.frames import Picture
from engines.person import PRESENTER, Head, Look, Mouth, idle
from engines.presenter import make_presenter
from native.planes import from_rgb

SHAPES = [Mouth(), Mouth(6), Mouth(14), Mouth(26), Mouth(7, width=-0.8), Mouth(7, width=0.8), Mouth(2, bite=1.0), Mouth(press=1.0)]


@cache
def small_actor() -> Actor:
    """A drawn actor of 160 x 160 with 37 frames."""
    return make_presenter(size=160, ticks=37, name="small")


def filmed(mouths: Iterable[Mouth], look: Look = PRESENTER, size: tuple[int, int] = (320, 240), head: Head | None = None) -> list[Picture]:
    """Pictures (I420) of a drawn person who says the mouths, a picture each."""
    return [_picture(look, mouth, head or idle(at), size).copy() for at, mouth in enumerate(mouths)]


@cache  # the same people talk in many tests
def _picture(look: Look, mouth: Mouth, head: Head, size: tuple[int, int]) -> Picture:
    return from_rgb(draw(look, mouth, head, size)[0])


def talking(count: int, seed: int = 0) -> list[Mouth]:
    """Mouths of somebody who talks."""
    random = np.random.default_rng(seed)
    steps = np.convolve(random.uniform(0, 30, count + 4), np.ones(5) / 5, "valid")
    return [Mouth(float(max(0.0, 2 * (step - 10)))) for step in steps]

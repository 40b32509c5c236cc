"""Drawn people as actors: an idle loop with the mouth at rest, and references in every mouth shape.

They are shipped, as `mytalk actor` would have saved them, in `engines/actors`: `python -m engines.train people`.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from engines import face
from engines.actor import BUILT_IN, Actor
from engines.drawn import draw
from engines.enrol import make_references
from engines.person import IDLE_TICKS, PRESENTER, Look, Mouth, idle, pose_of, shape
from native.planes import from_rgb

REST = Mouth()
SHAPES = (
    *(Mouth(opening, width) for opening, width in product((3.0, 7.0, 12.0, 18.0), (-0.9, -0.4, 0.1, 0.7))),
    *(Mouth(opening, width) for opening, width in product((25.0, 33.0), (-0.4, 0.1, 0.7))),
    Mouth(), Mouth(smile=0.0), Mouth(width=-0.6), Mouth(width=0.7), Mouth(press=1.0), Mouth(2.0, bite=1.0), Mouth(8.0, tongue=1.0),
)  # fmt: skip
OPENING_RANGE, WIDTH_RANGE = 0.2, 0.04


def make_presenter(look: Look = PRESENTER, size: int = 512, ticks: int = IDLE_TICKS, name: str = BUILT_IN) -> Actor:
    """Draw an actor: `ticks` pictures of size x size, a whole idle loop if there are `IDLE_TICKS` of them."""
    heads = [idle(tick) for tick in range(ticks)]
    poses = np.stack([pose_of(head, (size, size)) for head in heads])
    frames = [from_rgb(draw(look, REST, head, size)[0]) for head in heads]
    # references are drawn under heads of the loop, so that their poses are there already
    at = np.linspace(0, ticks - 1, len(SHAPES)).astype(np.int64)
    shown, motion = list(frames), np.zeros((ticks, face.L, 2), np.float32)
    for frame, mouth in zip(at, SHAPES, strict=True):
        shown[frame] = from_rgb(draw(look, mouth, heads[frame], size)[0])
        motion[frame] = face.motion_of(shape(look, mouth))
    return Actor(
        name=name, size=(size, size), loop="round" if ticks == IDLE_TICKS else "to-and-fro", poses=poses, neutral=shape(look, REST),
        opening_range=OPENING_RANGE, width_range=WIDTH_RANGE, references=make_references(shown, at, poses, motion), frames=frames,
        source="drawn by engines.drawn", resting=np.zeros(ticks, np.float32),
    )  # fmt: skip

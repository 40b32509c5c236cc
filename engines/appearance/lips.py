"""Lips by reference: an actor whose mouth's pixels come from somebody else's pictures, or from better ones of the same person.

Each reference of the giver is laid onto the actor: its mouth moves as far from the actor's rest as it was from its own, in proportion to
the mouth's width; in the frame in which the actor's head is turned most like it; lips and what is between them alone, in the light of
the skin around them. What comes out are references as if the actor had been filmed so.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from engines import face
from engines.actor import Actor
from engines.appearance.engine import CpuPainter, WarpAppearance
from engines.appearance.mesh import mesh
from engines.enrol import make_references
from engines.frames import Picture
from engines.spec import Float

_RING = 0.2  # IOD around the lips: skin by which their light is told
_TOUCHES = 0.005  # IOD: so near to the lips' outline is inside of it
_FINE = 1e5
_SCALE = 0.7, 1.4
"""Between these the mouth's width of one may be that of the other; beyond, movement would look wrong."""


def with_lips(actor: Actor, giver: Actor) -> Actor:
    """The actor, with mouth pixels of the giver."""
    giver = _as_coarse(giver, float(np.median(actor.units)))
    engine = WarpAppearance()
    painter = CpuPainter(engine.config)
    awake = replace(actor, resting=None, shown=None)  # every frame is made
    own, other = engine.start(awake), engine.start(giver)
    motion = registered(actor, giver)
    frames = [_alike(actor, turn) for turn in giver.turns[giver.references.frame]]
    values = _around_lips()
    pictures: list[Picture] = []
    for k, frame in enumerate(frames):
        (asked,) = engine.ask([own], np.array([frame]), motion[k : k + 1])
        picture, _ = painter.paint([asked])[0]
        if any(asked.size):
            lent = replace(awake, references=giver.references, frames=_One(picture))
            wanted = replace(
                asked, actor=lent, sources=other.known.sources, chosen=np.array([k]), weights=np.ones(1, np.float32), values=values,
                sharpness=float(other.known.sharpness[k]), crisp=-1.0, missing=0.0, meets=0.0, shown=1.0,
            )  # fmt: skip
            picture, _ = painter.paint([wanted])[0]
        pictures.append(picture)
    made = make_references(pictures, np.arange(len(pictures)), actor.poses[frames], motion)
    return replace(actor, references=replace(made, frame=np.array(frames, np.int32)))


def registered(actor: Actor, giver: Actor) -> Float:
    """(K, L, 2) the motion of the giver's references, on the actor's mouth."""
    rest, theirs = face.motion_of(actor.neutral), face.motion_of(giver.neutral)
    scale = np.clip(face.width(rest) / face.width(theirs), *_SCALE)
    return np.asarray(rest + (giver.references.motion - theirs) * scale, np.float32)


def _as_coarse(giver: Actor, unit: float) -> Actor:
    """The giver, with references of at most so many pixels in an IOD: what is finer would sparkle."""
    references = giver.references
    side = references.pictures.shape[1]
    own = float(np.median(giver.units[references.frame] * references.crops[:, 2]))
    smaller = max(round(side * unit / own), 16)
    if smaller >= side:
        return giver
    pictures = np.stack([cv2.resize(picture, (smaller, smaller), interpolation=cv2.INTER_AREA) for picture in references.pictures])
    crops = references.crops * np.array([1, 1, smaller / side], np.float32)
    return replace(giver, references=replace(references, pictures=pictures.astype(np.uint8), crops=crops))


def _alike(actor: Actor, turn: Float) -> int:
    """The frame in which the actor's head is turned most like (3,), of those in which the face is seen whole."""
    away = np.linalg.norm(actor.turns - turn, axis=1)
    return int(np.argmin(away if actor.shown is None else away + 10 * (actor.shown < 1)))


def _around_lips() -> Float:
    """(V, 2) of the mesh: the mask, the lips alone; and the ring around them."""
    known = mesh()
    lips = len(face.LIPS)
    vertices = face.canonical()[known.points, :2]
    outline = (vertices[: len(face.OUTER_LIPS)] * _FINE).round().astype(np.int32)
    away = -np.array([cv2.pointPolygonTest(outline, (vertex * _FINE).tolist(), measureDist=True) for vertex in vertices]) / _FINE
    within = away < _TOUCHES
    within[:lips] = True
    values = np.zeros((len(known.values), 2), np.float32)
    values[: len(vertices), 0] = within
    values[: len(vertices), 1] = ~within & (away < _RING)
    return values


class _One(list[Picture]):
    """Frames of which only one is asked for."""

    def __init__(self, picture: Picture) -> None:
        super().__init__([picture])

    def __getitem__(self, index: object) -> Picture:  # type: ignore[override]
        return super().__getitem__(0)

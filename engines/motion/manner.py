"""Manner: how somebody says something, apart from what is said and from whose mouth says it.

A manner is where the mouth is in speech against its rest (corners up or down, spread or pursed, pressed or slack), and how far it opens
and widens. It is taken from a person's own frames, or is one of those that ship under a name, learned from clips of acted
feelings (`python -m engines.train manners`). Lips that meet still meet: it moves both together and never parts them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor
from engines.backends.weights import read_weights
from engines.errors import MannerFault
from engines.motion.rest import USUAL_WIDTH
from engines.motion.space import Habit, lean, unit

Float = NDArray[np.float32]

WEIGHTS = "manners.npz"
NUMBERS = face.L * 2 + 3
"""Of `Manner.numbers`."""
_GAINS = (np.log(0.5), np.log(2.0))
_LEAST = 25  # frames of speech of which a manner can be told
_FARTHEST = 0.12  # IOD: no mouth that was filmed leans farther


@dataclass(frozen=True)
class Manner:
    """How something is said. See the module."""

    place: Float
    """(L, 2) IOD: by how much the mouth in speech is elsewhere than a usual person's; of somebody's own, than at rest."""
    opening: float = 1.0
    """How far it opens: against the actor; of somebody's own what the motion net's 1 is for it (`engines.motion.space.unit`), IOD."""
    width: float = 1.0
    """How far it widens and purses: against the actor; of somebody's own the width's standard deviation, IOD."""
    frames: int = 0
    """From so many it was seen, where it is somebody's own: it takes the place of the actor's habit and range. 0: one that ships."""

    def numbers(self, strength: float, own_unit: float, own_width: float, usual: Float) -> Float:
        """(NUMBERS,) what the motion engine follows, for an actor whose unit and width's range, IOD, are known.

        The place (L, 2), the logarithms of what the motion's height and width are multiplied by, and how much of the actor's own habit
        it replaces. `usual` (L, 2): as for `engines.motion.space.lean`.
        """
        gains, place = np.array([self.opening, self.width]), self.place
        if self.frames:
            gains /= [own_unit, own_width]
            place = lean(Habit(self.place, self.frames), np.zeros_like(self.place), self.opening, usual)
        place = np.clip(place, -_FARTHEST, _FARTHEST)
        return np.concatenate([strength * place.ravel(), strength * np.clip(np.log(gains), *_GAINS), [strength]]).astype(np.float32)

    def to_words(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"place": self.place.ravel().round(5).tolist()}


def from_words(words: dict[str, Any]) -> Manner:
    """What `Manner.to_words` made."""
    return Manner(**words | {"place": np.array(words["place"], np.float32).reshape(face.L, 2)})


def manner_of(actor: Actor) -> Manner:
    """The manner of an actor in its own video. Raises MannerFault where nobody speaks in it."""
    habit = actor.habit
    if habit is None or habit.frames < _LEAST:
        raise MannerFault(
            f"Nobody is seen to speak in {actor.source or actor.name}: no manner can be taken from it.",
            "Give a video of somebody who talks, or a name: " + ", ".join(manner_names()) + ".",
        )
    neutral, believed = face.motion_of(actor.neutral), habit.frames / (habit.frames + _LEAST)
    width = float(np.exp(believed * np.log(actor.width_range) + (1 - believed) * np.log(USUAL_WIDTH)))
    return Manner(habit.mean - neutral, unit(actor.opening_range), width, habit.frames)


@cache
def _shipped() -> dict[str, Manner]:
    with np.load(BytesIO(read_weights(WEIGHTS)), allow_pickle=False) as found:
        rows = zip(found["names"], found["places"].astype(np.float32), found["openings"], found["widths"], strict=True)
        return {str(name): Manner(place, float(opening), float(width)) for name, place, opening, width in rows}


def manner_names() -> list[str]:
    """The manners that ship."""
    return list(_shipped())


def named_manner(name: str) -> Manner | None:
    """A manner that ships, or None."""
    return _shipped().get(name)

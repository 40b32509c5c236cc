"""Manners of speaking by what people call them: one that ships, an actor's, or a video's."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Protocol

from engines.actor import Actor
from engines.errors import MannerFault, UnknownActor
from engines.motion.manner import Manner, manner_names, manner_of, named_manner

OWN = "own"
"""The name of the actor's own manner: none is laid on it."""


class Loads(Protocol):
    """What is needed of `engines.actor.Store`."""

    def find(self, name: str) -> Path:
        """Its folder. Raises UnknownActor."""
        ...

    def load(self, name: str) -> Actor:
        """Load an actor."""
        ...


def manner_called(name: str, store: Loads) -> Manner | None:
    """A manner that ships, or that of an enrolled actor; None for `OWN`. Blocks. Raises MannerFault."""
    if name == OWN:
        return None
    found = named_manner(name)
    if found is not None:
        return found
    try:
        store.find(name)
    except UnknownActor as unknown:
        known = [OWN, *manner_names()]
        near = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}; or name an actor that is enrolled."
        raise MannerFault(f"There is no manner called {name!r}.", hint) from unknown
    return manner_of(store.load(name))


def check_strength(strength: object) -> float:
    """A strength from 0 to 1. Raises MannerFault."""
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 1:
        raise MannerFault(f"A manner's strength is a number from 0 to 1, not {str(strength)[:40]}.", "Leave it out for 1.")
    return float(strength)

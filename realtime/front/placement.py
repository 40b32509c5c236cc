"""Where a session is placed. Pure: told of machines as they were last heard of, it decides."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from random import Random

LAST = 2
"""So many machines that are thought to be full, or that are silent, are asked in the end: what is known of them is old."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as it was last heard of."""

    name: str
    capacity: int
    """Sessions that it carries."""
    free: int
    """How many more it takes, those that were placed there since it was heard of taken off."""
    actors: Collection[str] = ()
    """Whose files it has."""
    draining: bool = False
    """Whether it takes nobody any more."""
    silent: bool = False
    """Whether it does not answer."""


def order(machines: Sequence[Machine], actor: str, random: Random) -> Iterator[Machine]:
    """Machines in the order in which they are asked to take a session of an actor; the first that does has it.

    Those with room that have the actor come before those that would have to fetch it. Among equals two are drawn, and the one with the
    larger part of its room left is taken: several fronts that know the same thereby do not all go to one machine, as they would if each
    took the best.
    """
    there = [machine for machine in machines if not machine.draining]
    roomy = [machine for machine in there if machine.free > 0 and not machine.silent]
    yield from _drawn([machine for machine in roomy if actor in machine.actors], random)
    yield from _drawn([machine for machine in roomy if actor not in machine.actors], random)
    full = [machine for machine in there if machine.free <= 0 and not machine.silent]
    yield from random.sample(full, min(LAST, len(full)))
    silent = [machine for machine in there if machine.silent]
    yield from random.sample(silent, min(LAST, len(silent)))


def _drawn(machines: list[Machine], random: Random) -> Iterator[Machine]:
    """All of them, each the better of two that were drawn. `machines` is used up."""
    while machines:
        best = int(random.random() * len(machines))  # several times as fast as randrange
        other = int(random.random() * (len(machines) - 1))
        other += other >= best
        if len(machines) > 1 and _share(machines[other]) > _share(machines[best]):
            best = other
        machines[best], machines[-1] = machines[-1], machines[best]
        yield machines.pop()


def _share(machine: Machine) -> float:
    return machine.free / max(1, machine.capacity)

"""What the server needs of a session, whichever process it is in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from engines.errors import Fault

ASKED_BY = "X-Mytalk-Who"
"""The header in which the server says to another process of its own who asks. It believes none that comes from outside."""


MARK = "~"
"""Stands between the name of a machine and that of what it has: a session, a recording, an enrolment."""


def machine_of(name: str) -> str:
    """The name of the machine that has something of this name; empty where none is said."""
    machine, mark, _ = name.partition(MARK)
    return machine if mark else ""


class Placed(Protocol):
    """A session, of this process or of another."""

    name: str
    actor: str
    owner: str

    @property
    def tag(self) -> str:
        """The strong entity tag of its ICE session (RFC 9725)."""
        ...

    @property
    def connected(self) -> bool:
        """Whether whoever began it is connected."""
        ...

    @property
    def watching(self) -> int:
        """Viewers."""
        ...

    @property
    def refusal(self) -> Fault | None:
        """Why the engine does not go on with it, if so."""
        ...

    async def answer(self, offer: str) -> str:
        """Answer the offer (SDP) of the peer that begins it. Raises OfferFault."""
        ...

    async def watch(self, offer: str) -> tuple[Viewer, str]:
        """Answer the offer of a peer that only watches and listens. Raises OfferFault and Busy."""
        ...

    async def speak_as(self, name: str, strength: float = 1.0) -> None:
        """Go on in another manner (`realtime.manners`). Raises MannerFault."""
        ...

    async def close(self) -> None:
        """End it. Twice is once."""
        ...

    def report(self) -> dict[str, Any]:
        """Its state and figures, for JSON."""
        ...


class Viewer(Protocol):
    """Who watches."""

    @property
    def name(self) -> str:
        """What it is called in its session."""
        ...

    @property
    def tag(self) -> str:
        """See `Placed.tag`."""
        ...


Make = Callable[[str, str, Callable[["Placed"], None]], "Placed"]
"""Makes a session of an actor and an owner, in this process or another; told when it has ended."""

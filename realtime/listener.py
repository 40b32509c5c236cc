"""Who gets what the engine makes of a conversation."""

from __future__ import annotations

from typing import Protocol

from engines.errors import Fault
from engines.spec import Picture
from realtime.worker import Ring


class EngineFault(Fault):
    """The engine cannot do it now."""

    code = "engine"
    again = True


class CrashFault(Fault):
    """The conversation ends the engine's process, again and again."""

    code = "engine-crash"
    again = True


class Listener(Protocol):
    """Who gets what the engine makes of a conversation. Called on the event loop."""

    def opened(self, look_ahead: int) -> None:
        """The conversation begins, the first time or afresh after the engine was restarted: what it had is gone."""
        ...

    def answered(self, sequence: int, picture: Picture | None) -> None:
        """One tick was heard; the picture (a copy) is of the tick `look_ahead` before it."""
        ...

    def lost(self) -> None:
        """The process ended; `opened` follows when there is a new one."""
        ...

    def refused(self, fault: Fault) -> None:
        """The conversation cannot be opened."""
        ...


class Receiver(Protocol):
    """Who gets the same as it comes from the process: pictures lie in a ring."""

    def opened(self, look_ahead: int, ring: Ring) -> None:
        """See `Listener.opened`. Who has opened the ring lets it `forget` its name."""
        ...

    def answered(self, sequence: int, shown: bool) -> None:
        """See `Listener.answered`; `shown` says whether there is a picture in the ring."""
        ...

    def lost(self) -> None:
        """See `Listener.lost`."""
        ...

    def refused(self, fault: Fault) -> None:
        """See `Listener.refused`."""
        ...


class Reading:
    """A `Receiver` that reads pictures for a listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._ring: Ring | None = None

    def opened(self, look_ahead: int, ring: Ring) -> None:
        """See `Receiver.opened`."""
        ring.forget()
        self._ring = ring
        self._listener.opened(look_ahead)

    def answered(self, sequence: int, shown: bool) -> None:
        """See `Receiver.answered`."""
        self._listener.answered(sequence, self._ring.read(sequence) if self._ring and shown else None)

    def lost(self) -> None:
        """See `Receiver.lost`."""
        self._ring = None
        self._listener.lost()

    def refused(self, fault: Fault) -> None:
        """See `Receiver.refused`."""
        self._listener.refused(fault)

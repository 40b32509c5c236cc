"""Errors that a person caused or can mend. `realtime.errors` gives them their faces (exit code, problem+json, log line)."""

from __future__ import annotations


class Fault(Exception):
    """One plain sentence, what to do about it, and a stable code.

    `code` is kebab-case and never changes once released; `again` says whether the same call may succeed later.
    """

    code = "fault"
    again = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class FaceFault(Fault):
    """A picture or video in which no usable face was found."""

    code = "no-usable-face"


class ActorFault(Fault):
    """An actor that is unknown, damaged, of another version, or wrongly named."""

    code = "actor"


class UnknownActor(ActorFault):
    """No actor of this name."""

    code = "unknown-actor"


class SpeechFault(Fault):
    """Speech of the wrong shape, type or rate, or with values that are not numbers."""

    code = "bad-speech"


class MannerFault(Fault):
    """A manner of speaking that is unknown, or that cannot be told from what was given."""

    code = "manner"


class CardFull(Fault):
    """The card's memory cannot hold what was asked for."""

    code = "card-full"
    again = True


class WeightsFault(Fault):
    """A weights file that is missing, damaged, or of another version."""

    code = "weights"


class BackendFault(Fault):
    """A backend, or what it is built by, that this machine or this version has not."""

    code = "backend"

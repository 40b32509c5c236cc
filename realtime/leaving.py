"""What a conversation's engine was given, on its way out: sound leaves first, its picture follows. Knows no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engines.frames import Picture
from realtime import timeline
from realtime.intake import Speech
from realtime.surroundings import Outlet
from realtime.timeline import Float

LATE = 4
"""Ticks whose sound has left and whose picture is awaited; what is later is not shown any more."""


@dataclass(frozen=True)
class _Heard:
    """A tick whose sound has left, and whose picture has not. One of silence, that was held, has no speech, and shows the last picture."""

    tick: int
    sound: Float
    speech: Speech | None = None


class Leaving:
    """Ticks of speech in their order: asked for, heard, shown. `shown` is told of each whose own picture left."""

    def __init__(self, outlets: list[Outlet], shown: Callable[[Speech], None]) -> None:
        self._outlets, self._shown = outlets, shown
        self.asked: deque[Speech] = deque()
        """Given to the engine, not heard yet."""
        self.last: Picture | None = None
        """What was shown last."""
        self._heard: deque[_Heard] = deque()
        self._pictures: deque[Picture | None] = deque()  # that are back, of the oldest of these
        self._stale = 0  # pictures that will come too late: the last was shown in their place
        self._sound: float | None = 0.0  # where the last sound ended; None after a hold

    def __len__(self) -> int:
        """Ticks that have not been shown."""
        return len(self.asked) + len(self._heard)

    def ask(self, speech: Speech) -> None:
        """The engine was given a tick of speech."""
        self.asked.append(speech)

    def came(self, picture: Picture | None) -> None:
        """The engine's next picture; None where it left one out."""
        if self._stale:
            self._stale -= 1
        elif self:
            self._pictures.append(picture)

    def say(self, tick: int) -> Speech:
        """The sound of the oldest tick leaves now, at this media time; returns its speech."""
        speech = self.asked.popleft()
        sound = speech.sound if self._sound is not None else timeline.fade_in(speech.sound)
        self._leave(_Heard(tick, sound, speech))
        self._sound = float(sound[-1])
        return speech

    def hold(self, tick: int) -> None:
        """Silence leaves now, at this media time."""
        self._leave(_Heard(tick, timeline.fade_from(self._sound or 0.0)))
        self._sound = None

    def _leave(self, heard: _Heard) -> None:
        for outlet in list(self._outlets):
            outlet.say(heard.tick, heard.sound)
        self._heard.append(heard)

    def show(self) -> None:
        """Pictures that are here leave, in the order of their ticks; the last makes up for those that are far too late."""
        while self._heard:
            if self._heard[0].speech is None:
                self._show(self.last)
            elif self._pictures:
                picture, speech = self._pictures.popleft(), self._heard[0].speech
                self._show(self.last if picture is None else picture)
                self._shown(speech)
            elif len(self._heard) > LATE:
                self._stale += 1
                self._show(self.last)
            else:
                return

    def _show(self, picture: Picture | None) -> None:
        heard = self._heard.popleft()
        self.last = picture
        for outlet in list(self._outlets):
            outlet.show(heard.tick, heard.sound, picture)

    def hush(self) -> None:
        """Speech was broken off: what has not been heard is silence."""
        self.asked = deque(speech.hushed() for speech in self.asked)
        self._sound = 0.0
        for outlet in self._outlets:
            outlet.hush()

    def renew(self) -> list[Speech]:
        """The engine begins afresh, no more pictures come; returns the speech that was not heard, and forgets it."""
        while self._heard:
            self._show(self.last)
        unheard, self._stale = list(self.asked), 0
        self.asked.clear()
        self._pictures.clear()
        return unheard

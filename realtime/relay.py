"""One engine for several event loops: conversations of other processes, over a pipe. Pictures stay in the shared memory where they are."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.errors import Fault
from engines.motion.manner import Manner, from_words
from engines.spec import TICK, Float
from realtime.engine import Engine
from realtime.listener import CrashFault, EngineFault, Listener
from realtime.processes import Line, order
from realtime.worker import PICTURE, SPEECH, Ring


class Relay:
    """The side of the engine: conversations that a process at the other end of a line begins."""

    def __init__(self, engine: Engine, line: Line) -> None:
        self._engine, self._line = engine, line
        self._talks: dict[int, int] = {}  # the other side's number -> the engine's
        self._rings: dict[int, Ring] = {}  # that the other side has not opened yet

    def close(self) -> None:
        """End all of them."""
        for session in list(self._talks):
            self._shut(session)

    def tell_state(self) -> None:
        """Let the other side know how the engine does."""
        engine = self._engine
        self._say("engine", 0, restarts=engine.restarts, backend=engine.backend, every=engine.every, ready=engine.answers)

    def take(self, message: bytes) -> None:
        """Speech of the other side."""
        _, session, sequence = SPEECH.unpack_from(message)
        if (talk := self._talks.get(session)) is not None:
            self._engine.hear(talk, sequence, np.frombuffer(message, np.float32, TICK, SPEECH.size))

    def obey(self, wish: dict[str, Any]) -> None:
        """What the other side wants of a conversation."""
        session = wish["session"]
        if wish["what"] == "open":
            try:
                self._talks[session] = self._engine.relay(wish["actor"], _Relayed(self, session), wish["owner"])
            except Fault as fault:
                self.refuse(session, fault)
        elif wish["what"] == "attached":
            self._forget(session)
        elif wish["what"] == "shut":
            self._shut(session)
        elif wish["what"] == "interrupt" and session in self._talks:
            self._engine.interrupt(self._talks[session])
        elif wish["what"] == "manner" and session in self._talks:
            manner = None if wish["manner"] is None else from_words(wish["manner"])
            self._engine.speak_as(self._talks[session], manner, wish["strength"])

    def refuse(self, session: int, fault: Fault) -> None:
        """The engine does not go on with it."""
        self._forget(session)
        self._say("refused", session, code=fault.code, message=fault.message, hint=fault.hint)

    def _shut(self, session: int) -> None:
        if (talk := self._talks.pop(session, None)) is not None:
            self._engine.shut(talk)
        self._forget(session)

    def _forget(self, session: int) -> None:
        if ring := self._rings.pop(session, None):
            with contextlib.suppress(FileNotFoundError):
                ring.forget()

    def _say(self, what: str, session: int, **rest: Any) -> None:
        self._line.outbox.put(order(what, session, **rest))


@dataclass(frozen=True)
class _Relayed:
    """A `Receiver`: all of it goes over the line."""

    relay: Relay
    session: int

    def opened(self, look_ahead: int, ring: Ring) -> None:
        self.relay._rings[self.session] = ring
        height, width = ring.shape[0] * 2 // 3, ring.shape[1]
        self.relay.tell_state()
        self.relay._say("opened", self.session, look_ahead=look_ahead, ring=ring.name, width=width, height=height)

    def answered(self, sequence: int, shown: bool) -> None:
        self.relay._line.outbox.put(PICTURE.pack(b"P", self.session, sequence, shown))

    def lost(self) -> None:
        self.relay._forget(self.session)
        self.relay.tell_state()
        self.relay._say("lost", self.session)

    def refused(self, fault: Fault) -> None:
        self.relay.refuse(self.session, fault)


class RemoteEngine:
    """The other side: in place of `realtime.engine.Engine`, for the conversations of this process."""

    def __init__(self) -> None:
        self._line: Line | None = None
        self._listeners: dict[int, Listener] = {}
        self._rings: dict[int, Ring] = {}
        self._names = itertools.count(1)
        self.restarts, self.backend, self.every, self.answers = 0, "", 1, False
        self.worked: Callable[[int, float], None] = lambda conversations, seconds: None

    @property
    def ready(self) -> bool:
        """See `Engine.ready`."""
        return self.answers

    def join(self, line: Line) -> None:
        """Whom to ask."""
        self._line = line

    def open(self, actor: str, listener: Listener, owner: str = "") -> int:
        """See `Engine.open`. Whoever is not let in is refused later."""
        session = next(self._names)
        self._listeners[session] = listener
        self._say("open", session, actor=actor, owner=owner)
        return session

    def hear(self, session: int, sequence: int, speech: Float) -> None:
        """See `Engine.hear`."""
        self._put(SPEECH.pack(b"S", session, sequence) + speech.tobytes())

    def interrupt(self, session: int) -> None:
        """See `Engine.interrupt`."""
        self._say("interrupt", session)

    def speak_as(self, session: int, manner: Manner | None, strength: float) -> None:
        """See `Engine.speak_as`."""
        self._say("manner", session, manner=None if manner is None else manner.to_words(), strength=strength)

    def shut(self, session: int) -> None:
        """See `Engine.shut`."""
        self._listeners.pop(session, None)
        self._close(session)
        self._say("shut", session)

    def take(self, message: bytes) -> None:
        """A tick was answered."""
        _, session, sequence, shown = PICTURE.unpack(message)
        ring, listener = self._rings.get(session), self._listeners.get(session)
        if ring and listener:
            listener.answered(sequence, ring.read(sequence) if shown else None)

    def obey(self, news: dict[str, Any]) -> None:
        """What became of a conversation, or of the engine."""
        if news["what"] == "engine":
            self.restarts, self.backend, self.every, self.answers = (news[one] for one in ("restarts", "backend", "every", "ready"))
            return
        session = news["session"]
        if (listener := self._listeners.get(session)) is None:
            return
        if news["what"] == "opened":
            try:
                ring = Ring(news["width"], news["height"], news["ring"])
            except FileNotFoundError:  # it was lost meanwhile
                return
            self._close(session)
            self._rings[session] = ring
            self._say("attached", session)
            listener.opened(news["look_ahead"])
        elif news["what"] == "lost":
            self._close(session)
            listener.lost()
        elif news["what"] == "refused":
            kind = CrashFault if news["code"] == CrashFault.code else EngineFault
            fault = kind(news["message"], news["hint"])
            fault.code = news["code"]
            listener.refused(fault)

    def _close(self, session: int) -> None:
        if ring := self._rings.pop(session, None):
            ring.close()

    def _say(self, what: str, session: int, **rest: Any) -> None:
        self._put(order(what, session, **rest))

    def _put(self, message: bytes) -> None:
        if self._line:
            self._line.outbox.put(message)


def said(message: bytes) -> dict[str, Any]:
    """A message that asks for something, or tells it."""
    told: dict[str, Any] = json.loads(message[1:])
    return told

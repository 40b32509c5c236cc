"""The sessions of a server."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

from realtime.clock import Clock
from realtime.engine import Engine
from realtime.server.faults import Full, UnknownSession
from realtime.server.session import Session


class Sessions:
    """All sessions by name. Those that end, by themselves or not, are gone from here."""

    def __init__(self, engine: Engine, clock: Clock, most: int) -> None:
        self._engine, self._clock, self._most = engine, clock, most
        self._all: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._all.values()))

    def find(self, name: str) -> Session:
        """A session by its name. Raises UnknownSession."""
        if (session := self._all.get(name)) is None:
            raise UnknownSession("There is no such session, or it has ended.", "Begin one with POST /v1/sessions.")
        return session

    async def open(self, actor: str, offer: str) -> tuple[Session, str]:
        """A new session and the answer to its peer's offer. Raises Full and OfferFault."""
        if len(self._all) >= self._most:
            raise Full(f"All {self._most} sessions of this server are taken.", "Try again in a moment.")
        session = Session(secrets.token_urlsafe(12), actor, self._engine, self._clock, self._gone)
        self._all[session.name] = session
        try:
            return session, await session.answer(offer)
        except BaseException:
            await session.close()
            raise

    async def close(self) -> None:
        """End them all."""
        await asyncio.gather(*(session.close() for session in self), return_exceptions=True)

    def _gone(self, session: Session) -> None:
        self._all.pop(session.name, None)

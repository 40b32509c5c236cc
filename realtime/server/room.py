"""A session in a room of LiveKit: the server joins it as a participant, and says there what an agent says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from livekit import rtc
from livekit.agents.voice.avatar import AvatarRunner

from engines.errors import Fault
from realtime.conversation import Conversation
from realtime.plug.face import Face
from realtime.plug.livekit import AudioReceiver, LipSync, runner_of
from realtime.server.session import Session
from realtime.surroundings import Surroundings

log = logging.getLogger(__name__)

CONNECT_S = 15.0
"""A room that is not joined after so long is given up."""


class RoomFault(Fault):
    """A room that cannot be joined."""

    code = "room"
    status = 502


@dataclass(frozen=True)
class Door:
    """How a room is joined, and whose speech is said there: the first agent's, where nobody is named."""

    url: str
    token: str
    agent: str


class RoomSession(Session):
    """See `Session`: no peer begins it. It ends with the room, or when the agent leaves. `size` is width and height of its pictures."""

    def __init__(
        self,
        door: Door,
        size: tuple[int, int],
        name: str,
        actor: str,
        owner: str,
        around: Surroundings,
        ended: Callable[[Conversation], None],
    ) -> None:
        super().__init__(name, actor, owner, around, ended)
        self.detach(self.peer)
        self._door, self._size = door, size
        self._room: rtc.Room | None = None
        self._runner: AvatarRunner | None = None

    async def answer(self, offer: str) -> str:
        """Join the room. Raises RoomFault."""
        room = self._room = rtc.Room()
        room.on("disconnected", self._over)
        try:
            async with asyncio.timeout(CONNECT_S):
                await room.connect(self._door.url, self._door.token, rtc.RoomOptions(auto_subscribe=False))
        except (rtc.ConnectError, TimeoutError) as error:
            log.info("room not joined: %s", error)
            raise RoomFault("The room cannot be joined.", "Look at its url, and at what its token says.") from error
        receiver = AudioReceiver(LipSync(Face(self, self._clock)), room, sender_identity=self._door.agent or None)
        self._runner = runner_of(room, receiver, self._size)
        room.on("participant_disconnected", self._left_room)
        self.begin()
        self._tasks.append(asyncio.create_task(self._begin(self._runner), name=f"room {self.name}"))
        return ""

    async def _begin(self, runner: AvatarRunner) -> None:
        await runner.start()  # waits for the agent
        log.info("room of %s: the agent is there", self.name)

    def _left_room(self, participant: Any) -> None:
        if participant.identity == self._door.agent:
            self._over()

    def _over(self, *_: object) -> None:
        if not self._ended:
            self.leave()

    @property
    def connected(self) -> bool:
        """Whether it is in its room."""
        return self._room is not None and self._room.isconnected()

    async def close(self) -> None:
        """See `Session.close`."""
        if self._ended:
            return
        await super().close()
        if self._runner is not None:
            await self._runner.aclose()
        if self._room is not None:
            await self._room.disconnect()

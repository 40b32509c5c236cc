"""One session: a conversation with its wires. Who began it, its viewers, its microphone, and files that it is to speak."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aiortc import MediaStreamTrack, RTCIceServer
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from engines.errors import Fault
from realtime.conversation import Conversation
from realtime.intake import Microphone
from realtime.server.faults import Busy, UnknownSession
from realtime.server.files import Files
from realtime.server.peer import Peer
from realtime.surroundings import Interrupted, State, Surroundings
from realtime.webrtc.tracks import mono

VIEWERS = 4
"""Peers that may watch a session beside the one that began it."""
DEAF_S = 1.0
"""A microphone from which nothing came for so long is off."""


class Session(Conversation):
    """Make it, `answer` an offer, and `close` it. `ice` gives the ICE servers as they are to be used now."""

    def __init__(
        self,
        name: str,
        actor: str,
        owner: str,
        around: Surroundings,
        ended: Callable[[Conversation], None],
        ice: Callable[[], Sequence[RTCIceServer]] = tuple,
    ) -> None:
        super().__init__(name, actor, owner, around, ended)
        self._ice = ice
        self.peer = Peer(around.clock, ice(), self._left, self._hear)
        """Who began it."""
        self.viewers: dict[str, Peer] = {}
        self._heard_at = 0.0
        self._files = Files(self._streams, around.clock)
        self.attach(self.peer)
        self._complaint: Fault | None = None

    async def answer(self, offer: str) -> str:
        """Answer the offer (SDP) of the peer that begins it. Raises OfferFault."""
        answer = await self.peer.answer(offer)
        self.begin()
        return answer

    def begin(self) -> None:
        """See `Conversation.begin`."""
        super().begin()
        self._tasks.append(asyncio.create_task(self._files.run(), name=f"files {self.name}"))

    async def watch(self, offer: str) -> tuple[Peer, str]:
        """Answer the offer of a peer that only watches and listens. Raises OfferFault and Busy."""
        if len(self.viewers) >= VIEWERS:
            raise Busy(f"{VIEWERS} viewers watch this session already.", "Wait until one has left.")
        viewer = Peer(self._clock, self._ice(), self._left)
        self.viewers[viewer.name] = viewer
        try:
            answer = await viewer.answer(offer)
        except BaseException:
            self.viewers.pop(viewer.name, None)
            await viewer.close()
            raise
        self.attach(viewer)
        return viewer, answer

    def viewer(self, name: str) -> Peer:
        """A viewer by its name. Raises UnknownSession."""
        if (viewer := self.viewers.get(name)) is None:
            raise UnknownSession("There is no such viewer, or it has left.", "Begin one with POST to the session's viewers.")
        return viewer

    async def dismiss(self, viewer: Peer) -> None:
        """A viewer leaves."""
        self.viewers.pop(viewer.name, None)
        self.detach(viewer)
        await viewer.close()

    async def close(self) -> None:
        """See `Conversation.close`."""
        if self._ended:
            return
        await super().close()
        await self._files.end()
        await asyncio.gather(self.peer.close(), *(viewer.close() for viewer in self.viewers.values()))

    @property
    def tag(self) -> str:
        """See `Peer.tag`."""
        return self.peer.tag

    @property
    def connected(self) -> bool:
        """Whether media flow to whoever began it."""
        return self.peer.connected

    @property
    def watching(self) -> int:
        """Viewers."""
        return len(self.viewers)

    async def speak(self, file: Path) -> None:
        """Speak a sound file after those that wait already; it is deleted afterwards. Raises Busy, UnknownSession and MediaFault."""
        await self._files.put(file)

    def interrupt(self) -> Interrupted:
        """See `Conversation.interrupt`: files are broken off, too."""
        self._files.clear()
        return super().interrupt()

    @property
    def trouble(self) -> Fault | None:
        """What was wrong: with its actor, with the text that was said last, or with the file that was read last."""
        return super().trouble or self._complaint or self._files.trouble

    def complain(self, fault: Fault | None) -> None:
        """Something was wrong with the text that was said last; None: nothing."""
        self._complaint = fault

    @property
    def state(self) -> State:
        """What it does."""
        state = super().state
        return State.CONNECTING if state is not State.ENDED and not self.connected else state

    @property
    def hears(self) -> bool:
        """Whether the peer's microphone is on: packets come."""
        return super().hears and self._clock.now() - self._heard_at < DEAF_S

    def report(self) -> dict[str, Any]:
        """See `Conversation.report`."""
        return super().report() | {"viewers": len(self.viewers)}

    def _hear(self, track: MediaStreamTrack) -> None:
        if self._microphone is None:
            self._tasks.append(asyncio.create_task(self._take_in(track), name=f"microphone {self.name}"))

    async def _take_in(self, track: MediaStreamTrack) -> None:
        microphone: Microphone | None = None
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if not isinstance(frame, AudioFrame):
                    continue
                if microphone is None:
                    microphone = Microphone()
                    self.listen(microphone)
                self._heard_at = self._clock.now()
                microphone.put(mono(frame), self._heard_at)
        self.listen(None)

    def _left(self, peer: Peer) -> None:
        """A peer has gone: with who began it the session ends."""
        self._later(self.close() if peer is self.peer else self.dismiss(peer))

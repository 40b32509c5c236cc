"""One peer: a connection with the two tracks that we send. A session has one that began it, and may have viewers."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from functools import partial

from aiortc import MediaStreamTrack, RTCIceServer, RTCSessionDescription
from aiortc.clock import current_ntp_time

from engines.frames import Picture
from realtime.clock import Clock
from realtime.server.candidates import Candidates, own_networks
from realtime.server.faults import NoRestart, UnfitOffer, WrongTag
from realtime.server.sdp import fragment_of, offer_of, open_ended
from realtime.timeline import TICK_S, Float
from realtime.webrtc.connection import connection_of
from realtime.webrtc.encoders import prefer
from realtime.webrtc.internals import bound, group, hear_at_once, tell
from realtime.webrtc.tracks import PictureTrack, SoundTrack

log = logging.getLogger(__name__)

CONNECT_S = 8.0
"""A peer that has not connected after so long is let go."""
CLOSE_S = 5.0
"""A connection whose closing takes longer is left to itself."""
SHOWN_S = 0.015
"""By so much a picture is told to be older than it is. A browser holds a picture to be shown when its compositor takes it, which is
one or two refreshes early, and only sets right what is more than 30 ms apart: pictures that it once held back would stay late."""


class Peer:
    """Make it, `answer` an offer, `show` it ticks, and `close` it. `gone` is called once when the peer has left."""

    def __init__(
        self,
        clock: Clock,
        ice: Sequence[RTCIceServer],
        gone: Callable[[Peer], None],
        hear: Callable[[MediaStreamTrack], None] | None = None,
    ) -> None:
        self.name = secrets.token_urlsafe(12)
        self.tag = f'"{secrets.token_hex(6)}"'
        """The strong entity tag of its ICE session (RFC 9725)."""
        self._clock, self._gone, self._hear = clock, gone, hear
        self._connection = connection_of(ice)
        self._pictures, self._sounds = PictureTrack(clock), SoundTrack(clock)
        self._zero: int | None = None  # NTP time at which media time was 0
        self._username = ""
        self._ice = ice
        self._candidates = Candidates(())
        self._expecting: asyncio.Task[None] | None = None
        self._ended = False

    async def answer(self, offer: str) -> str:
        """Answer an offer (SDP): pictures go out, sound both ways. Raises OfferFault and UnfitOffer."""
        connection = self._connection
        known = offer_of(offer)
        self._username, self._candidates = known.username, Candidates(own_networks(self._ice))
        connection.on("track", self._track)
        connection.on("connectionstatechange", self._changed)
        try:
            await connection.setRemoteDescription(RTCSessionDescription(open_ended(offer, self._candidates), "offer"))
            bound(connection, self._clock)
            connection.addTrack(self._pictures)
            if known.sound:
                connection.addTrack(self._sounds)
            for transceiver in connection.getTransceivers():
                group(transceiver.sender, self.name)
                if transceiver.kind == "video" or self._hear is None:
                    transceiver.direction = "sendonly"  # what nobody looks at or hears is not sent
                track = self._pictures if transceiver.kind == "video" else self._sounds
                tell(transceiver.sender, partial(self._media_ntp, track), self._clock)
            prefer(connection)
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:  # the peer's border: aiortc raises anything at an odd offer
            log.info("offer refused: %s: %s", type(error).__name__, error)
            raise UnfitOffer("The offer cannot be answered.", "Offer VP8 or H.264 and Opus, as browsers do.") from error
        self._expecting = asyncio.create_task(self._expect(), name=f"expect {self.name}")
        return str(connection.localDescription.sdp)

    @property
    def connected(self) -> bool:
        """Whether media flow."""
        return self._connection.connectionState == "connected"

    def say(self, tick: int, sound: Float) -> None:
        """See `surroundings.Outlet.say`."""
        if self._zero is None:
            self._zero = current_ntp_time() - _ntp(tick * TICK_S)
        self._sounds.put(tick, sound)

    def show(self, tick: int, sound: Float, picture: Picture | None) -> None:
        """See `surroundings.Outlet.show`."""
        if picture is not None:
            self._pictures.put(tick, picture)

    def _media_ntp(self, track: PictureTrack | SoundTrack) -> int:
        return (self._zero or 0) + _ntp(track.taken_s - (SHOWN_S if track is self._pictures else 0.0))

    def hush(self) -> None:
        """Sound that has not left yet does not leave any more."""
        self._sounds.hush()

    def ended(self) -> None:
        """See `surroundings.Outlet.ended`: who closes the session closes its peers."""

    async def trickle(self, text: str, match: str) -> None:
        """More of the peer's ICE candidates; `match` (If-Match) names their ICE session. Raises FragmentFault, WrongTag, NoRestart."""
        if match not in (self.tag, "*"):
            raise WrongTag("If-Match does not name this session's ICE session.", f"It is {self.tag}.")
        fragment = fragment_of(text)
        if (match == "*" and fragment.username != self._username) or (fragment.username and fragment.username != self._username):
            raise NoRestart("ICE cannot be restarted here.", "Begin a new session: it is there in a moment.")
        for candidate in filter(self._candidates.take, fragment.candidates):
            await self._connection.addIceCandidate(candidate)

    async def close(self) -> None:
        """End it. Twice is once."""
        if self._ended:
            return
        self._ended = True
        if self._expecting:
            self._expecting.cancel()
            await asyncio.gather(self._expecting, return_exceptions=True)
        self._pictures.stop()
        self._sounds.stop()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._connection.close()
        except TimeoutError:
            log.warning("peer %s did not close in %.0f s: it is left", self.name, CLOSE_S)

    async def _expect(self) -> None:
        await self._clock.sleep_until(self._clock.now() + CONNECT_S)
        if not self.connected:
            log.info("peer %s never connected", self.name)
            self._leave()

    def _changed(self) -> None:
        log.info("peer %s: %s", self.name, self._connection.connectionState)
        if self._connection.connectionState in ("failed", "closed"):
            self._leave()

    def _leave(self) -> None:
        if not self._ended:
            self._gone(self)

    def _track(self, track: MediaStreamTrack) -> None:
        if track.kind != "audio" or self._hear is None:
            return
        for transceiver in self._connection.getTransceivers():
            if transceiver.receiver.track is track:
                hear_at_once(transceiver.receiver)
        self._hear(track)


def _ntp(seconds: float) -> int:
    return int(seconds * (1 << 32))

"""Pictures and sound to a WHIP address (RFC 9725), as streaming services take them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from urllib.parse import urljoin, urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout
from aiortc import RTCPeerConnection, RTCSessionDescription

from engines.frames import Picture
from realtime.camera.sinks import AGAIN_S, MOST_AGAIN_S
from realtime.clock import Clock
from realtime.errors import OutputFault
from realtime.loopback import is_loopback
from realtime.timeline import Float
from realtime.webrtc.connection import SDP, connection_of
from realtime.webrtc.encoders import prefer, set_encoders
from realtime.webrtc.internals import group
from realtime.webrtc.tracks import PictureTrack, SoundTrack

ANSWER_S = 10.0


class Whip:
    """An `Away`. `begin` it; from then on it comes back by itself whenever it was lost."""

    def __init__(self, url: str, secret: str, clock: Clock) -> None:
        parts = urlsplit(url)
        if not parts.hostname or (secret and parts.scheme == "http" and not is_loopback(parts.hostname)):
            raise OutputFault(f"{url} is no address that a secret may be sent to.", "Write https://HOST/PATH.")
        self.fault = ""
        self._url, self._host, self._clock = url, parts.netloc.rpartition("@")[2], clock
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._client: ClientSession | None = None
        self._connection: RTCPeerConnection | None = None
        self._pictures, self._sounds = PictureTrack(clock), SoundTrack(clock)
        self._place = ""  # where the session can be ended
        self._lost = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Connect. Raises OutputFault where the address does not take it."""
        set_encoders()
        self._client = ClientSession(timeout=ClientTimeout(total=ANSWER_S))
        try:
            await self._call()
        except BaseException:
            await self.close()
            raise
        self._keeping = asyncio.create_task(self._keep(), name="whip")

    def show(self, tick: int, sound: Float, picture: Picture | None) -> None:
        """See `Away.show`."""
        self._sounds.put(tick, sound)
        if picture is not None:
            self._pictures.put(tick, picture)

    async def close(self) -> None:
        """See `Away.close`."""
        if self._keeping:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._hang_up()
        if self._client:
            await self._client.close()

    async def _call(self) -> None:
        self._lost.clear()
        connection = self._connection = connection_of(())
        connection.on("connectionstatechange", self._changed)
        self._pictures, self._sounds = PictureTrack(self._clock), SoundTrack(self._clock)
        stream = secrets.token_urlsafe(12)  # one for both: receivers keep its sound and pictures in step
        for track in (self._pictures, self._sounds):
            group(connection.addTransceiver(track, direction="sendonly").sender, stream)
        prefer(connection)
        await connection.setLocalDescription(await connection.createOffer())
        answer = await self._answer(connection.localDescription.sdp)
        try:
            await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        except Exception as error:  # aiortc raises anything at an odd answer
            raise OutputFault(f"{self._host} does not answer as WHIP does.", "Check the address.") from error

    async def _answer(self, offer: str) -> str:
        assert self._client is not None
        try:
            async with self._client.post(self._url, data=offer, headers={"Content-Type": SDP, **self._headers}) as response:
                answer = await response.text()
                if response.status in (401, 403):
                    raise OutputFault(f"{self._host} wants another secret ({response.status}).", "Set MYTALK_TO_SECRET.")
                if response.status != 201:
                    raise OutputFault(
                        f"{self._host} does not take the stream: {response.status}.", "Check the address, and whether it is free."
                    )
                self._place = urljoin(str(response.url), response.headers.get("Location", ""))
                return answer
        except (ClientError, TimeoutError, UnicodeDecodeError, ValueError) as error:
            raise OutputFault(f"{self._host} cannot be reached: {error or 'no answer'}.", "Check the address.") from error

    def _changed(self) -> None:
        if self._connection and self._connection.connectionState in ("failed", "closed"):
            self._lost.set()

    async def _keep(self) -> None:
        """Connect again whenever the connection was lost."""
        pause = AGAIN_S
        while True:
            await self._lost.wait()
            self.fault = f"{self._host} is lost; it is tried again"
            await self._hang_up()
            await self._clock.sleep_until(self._clock.now() + pause)
            try:
                await self._call()
                self.fault, pause = "", AGAIN_S
            except OutputFault:
                self._lost.set()
                pause = min(MOST_AGAIN_S, 2 * pause)

    async def _hang_up(self) -> None:
        place, self._place = self._place, ""
        if place and self._client:
            with contextlib.suppress(ClientError, TimeoutError):
                (await self._client.delete(place, headers=self._headers)).close()
        connection, self._connection = self._connection, None
        for track in (self._pictures, self._sounds):
            track.stop()
        if connection:
            await connection.close()

"""A client of a server (`mytalk serve`), for asyncio: join a session, push speech, hear how it goes on, see and record it.

async with mytalk.client.join("http://127.0.0.1:8008", actor="presenter") as session:
    await session.push(samples, rate=24_000)         # as fast as they are made
    await session.flush()
    async for shown in session.pictures():
        ...
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import numpy as np
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, ClientWebSocketResponse, WSMsgType
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame
from numpy.typing import ArrayLike, NDArray

from mytalk.own import own
from mytalk.samples import floats

if TYPE_CHECKING:
    from engines.errors import Fault
else:
    Fault = own("engines.errors").Fault

ANSWER_S, CONNECT_S = 15.0, 15.0
PIECE = 9600
"""Bytes of samples in one message."""
KEPT = 50
"""Pictures, and packets of sound, that wait for whoever takes them; then the oldest go."""
Item = TypeVar("Item")


class ServerFault(Fault):
    """What a server refuses, in its words: `status` and `code` say which it is, `again` whether the same may succeed later."""

    def __init__(self, message: str, hint: str = "", *, code: str = "server", status: int = 0, again: bool = False) -> None:
        super().__init__(message, hint)
        self.code, self.status, self.again = code, status, again


@dataclass(frozen=True)
class Seen:
    """A picture as it was received."""

    seconds: float
    """Its media time; that of its sound is the same."""
    picture: NDArray[np.uint8]
    """RGB (height, width, 3), or I420 (height * 3 / 2, width)."""


@dataclass(frozen=True)
class Heard:
    """A packet of sound as it was received."""

    seconds: float
    sound: NDArray[np.float32]
    """(n,) float32, mono, 48,000 Hz."""


class _Newest(Generic[Item]):
    """A queue that keeps the newest."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Item | None] = asyncio.Queue(KEPT)

    def put(self, item: Item | None) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(item)

    async def all(self) -> AsyncIterator[Item]:
        while (item := await self._queue.get()) is not None:
            yield item
        self.put(None)  # others wait, too


class Session:
    """A conversation with an actor on a server. Made by `join`; all of it on one event loop."""

    def __init__(self, client: ClientSession, url: str, kind: Literal["rgb", "i420"]) -> None:
        self.url = url
        """Its address."""
        self._client, self._kind = client, kind
        self._pictures: _Newest[Seen] = _Newest()
        self._sounds: _Newest[Heard] = _Newest()
        self._events: _Newest[dict[str, Any]] = _Newest()
        self._socket: ClientWebSocketResponse | None = None
        self._rate = 0
        self._tasks: list[asyncio.Task[None]] = []

    # speech in

    async def push(self, samples: ArrayLike | bytes, rate: int) -> None:
        """Speech, mono: (n,) float between -1 and 1, or int16, or the bytes of int16 samples; `rate` in Hz, 8,000 to 96,000.

        It is said after what waits. Where a minute of it is ahead, this waits. Raises Fault.
        """
        data = (np.clip(floats(samples), -1, 1) * 32767).astype("<i2").tobytes()
        socket = await self._talk()
        if rate != self._rate:
            await socket.send_json({"type": "start", "rate": rate})
            self._rate = rate
        for at in range(0, len(data), PIECE):
            await self._send(socket.send_bytes(data[at : at + PIECE]))

    async def flush(self) -> None:
        """No more speech for now: what was pushed is said to its end at once."""
        await self._send((await self._talk()).send_json({"type": "flush"}))

    async def say(self, text: str, voice: str = "", speed: float = 1.0) -> None:
        """Say a text with a voice of the server's. Raises ServerFault where it has none of this name."""
        await self._ask("POST", "/say", json={"text": text, "speed": speed} | ({"voice": voice} if voice else {}))

    async def play(self, file: str | os.PathLike[str]) -> None:
        """Say a sound file. Raises ServerFault for one that cannot be read."""
        data = await asyncio.to_thread(Path(file).read_bytes)
        await self._ask("POST", "/speech", data=data, headers={"Content-Type": "application/octet-stream"})

    async def interrupt(self) -> dict[str, int]:
        """Break off all speech at once: `heard_ms` of it was heard, `dropped_ms` will not be."""
        self._rate = 0  # what is pushed from now on is new, and says so
        broken: dict[str, int] = await self._ask("POST", "/interrupt")
        return broken

    # what comes of it

    async def pictures(self) -> AsyncIterator[Seen]:
        """Pictures as they come, until the session ends. Who takes them slowly gets the newest."""
        async for seen in self._pictures.all():
            yield seen

    async def sounds(self) -> AsyncIterator[Heard]:
        """Sound as it comes, in packets of 20 ms, until the session ends."""
        async for heard in self._sounds.all():
            yield heard

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """How the speech that was pushed goes on: `speaking`, `played`, `idle`, `interrupted`, `error`, `ended` (see docs/serving.md)."""
        await self._talk()
        async for event in self._events.all():
            yield event

    async def until(self, kind: str) -> dict[str, Any]:
        """The next event of a kind, such as "idle". Raises ServerFault where the session ends before."""
        async for event in self.events():
            if event["type"] == kind:
                return event
        raise ServerFault("The session has ended.", "Join another.", code="unknown-session")

    async def finished(self) -> None:
        """Wait until nothing more is to be said."""
        clock = own("realtime.clock").WallClock()
        while (await self.report())["state"] == "speaking":
            await clock.sleep_until(clock.now() + 0.1)

    async def report(self) -> dict[str, Any]:
        """Its state and figures."""
        told: dict[str, Any] = await self._ask("GET", "")
        return told

    async def record(self) -> None:
        """Begin a recording: ten minutes at most."""
        await self._ask("POST", "/recording")

    async def stop_recording(self, output: str | os.PathLike[str]) -> Path:
        """End the recording and write it to a file, .mp4; on the server it is removed then."""
        made = await self._ask("DELETE", "/recording")
        where = urljoin(self.url, str(made["url"]))
        path, building = Path(output), Path(f"{os.fspath(output)}.part")
        try:
            async with self._client.get(where, timeout=ClientTimeout(total=None, sock_read=ANSWER_S)) as response:
                await _check(response)
                file = await asyncio.to_thread(building.open, "wb")
                with file:
                    async for chunk in response.content.iter_chunked(1 << 18):
                        await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(building.replace, path)
        finally:
            await asyncio.to_thread(building.unlink, missing_ok=True)
        async with self._client.delete(where) as response:
            await _check(response)
        return path

    # wires

    async def _ask(self, method: str, path: str, **rest: Any) -> Any:
        try:
            async with self._client.request(method, f"{self.url}{path}", **rest) as response:
                await _check(response)
                text = await response.text()
        except (ClientError, TimeoutError) as error:
            raise _unreached(self.url, error) from error
        return json.loads(text) if text else {}

    async def _talk(self) -> ClientWebSocketResponse:
        if self._socket is None or self._socket.closed:
            self._rate = 0
            try:
                self._socket = await self._client.ws_connect(f"{self.url}/speech", heartbeat=20)
            except (ClientError, TimeoutError) as error:
                raise _unreached(self.url, error) from error
            self._tasks.append(asyncio.create_task(self._listen(self._socket)))
        return self._socket

    async def _send(self, sending: Any) -> None:
        try:
            await sending
        except (ClientError, ConnectionError) as error:
            raise ServerFault("The session has ended.", "Join another.", code="unknown-session") from error

    async def _listen(self, socket: ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                event = json.loads(message.data)
                self._events.put(event)
                if event["type"] == "ended":
                    self._events.put(None)

    def receive(self, track: Any) -> None:
        """A track of the server's: its frames are kept for whoever takes them."""
        self._tasks.append(asyncio.create_task(self._receive(track)))

    async def _receive(self, track: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                seconds = float(frame.pts * frame.time_base)
                if isinstance(frame, VideoFrame):
                    self._pictures.put(
                        Seen(seconds, np.asarray(frame.to_ndarray(format="rgb24" if self._kind == "rgb" else "yuv420p"), np.uint8))
                    )
                elif isinstance(frame, AudioFrame):
                    self._sounds.put(Heard(seconds, _mono(frame)))
        (self._pictures if track.kind == "video" else self._sounds).put(None)

    async def close(self) -> None:
        """End it. Twice is once."""
        for queue in (self._pictures, self._sounds, self._events):
            queue.put(None)
        with contextlib.suppress(ClientError, TimeoutError):
            (await self._client.delete(self.url)).close()
        if self._socket:
            await self._socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def join(
    server: str = "http://127.0.0.1:8008",
    actor: str = "",
    token: str = "",
    *,
    pictures: Literal["rgb", "i420"] = "rgb",
) -> AsyncGenerator[Session, None]:
    """A session with an actor (the server's own where nobody is named) of a server at this address; it ends with the block.

    `token` is the server's secret, or a join token. Raises ServerFault where the server refuses, in its words: its `again` says whether
    that may pass.
    """
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ServerFault(f"{server!r} is no address of a server.", "Write http://HOST:PORT or https://HOST.")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with ClientSession(headers=headers, timeout=ClientTimeout(total=ANSWER_S)) as client:
        door = f"{server.rstrip('/')}/v1/sessions"
        connection = RTCPeerConnection(RTCConfiguration(iceServers=await _ice(client, door)))
        connected = asyncio.Event()
        connection.on("connectionstatechange", lambda: connected.set() if connection.connectionState != "connecting" else None)
        session: Session | None = None
        try:
            connection.addTransceiver("video", direction="recvonly")
            connection.addTransceiver("audio", direction="recvonly")
            await connection.setLocalDescription(await connection.createOffer())
            url, answer = await _begun(client, f"{door}?actor={quote(actor)}" if actor else door, connection.localDescription.sdp)
            session = Session(client, url, pictures)
            await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connected.wait(), CONNECT_S)
            if connection.connectionState != "connected":
                raise ServerFault(
                    "The server cannot be reached over UDP.", "Name a TURN server to it: docs/serving.md.", code="ice", again=True
                )
            for transceiver in connection.getTransceivers():
                session.receive(transceiver.receiver.track)
            yield session
        finally:
            if session:
                await session.close()
            await connection.close()


async def _ice(client: ClientSession, door: str) -> list[RTCIceServer]:
    """The ICE servers that a server tells of."""
    try:
        async with client.options(door) as response:
            await _check(response)
            links = response.headers.getall("Link", [])
    except (ClientError, TimeoutError) as error:
        raise _unreached(door, error) from error
    found = []
    for link in links:
        target, *rest = (part.strip() for part in link.split(";"))
        named = {name: value.strip('"') for name, _, value in (part.partition("=") for part in rest)}
        if named.get("rel") == "ice-server":
            found.append(RTCIceServer(target.strip("<>"), named.get("username"), named.get("credential")))
    return found


async def _begun(client: ClientSession, door: str, offer: str) -> tuple[str, str]:
    """The address of the session that an offer begins, and the answer."""
    try:
        async with client.post(door, data=offer, headers={"Content-Type": "application/sdp"}) as response:
            await _check(response)
            return urljoin(str(response.url), response.headers["Location"]), await response.text()
    except (ClientError, TimeoutError) as error:
        raise _unreached(door, error) from error


async def _check(response: ClientResponse) -> None:
    """Raise ServerFault for an answer that refuses."""
    if response.status < 400:
        return
    try:
        told = json.loads(await response.text())
        raise ServerFault(told["detail"], told["hint"], code=told["code"], status=response.status, again=told["again"])
    except (ValueError, KeyError, TypeError) as error:
        raise ServerFault(f"The server answers {response.status}.", "Check its address.", status=response.status) from error


def _unreached(url: str, error: Exception) -> ServerFault:
    return ServerFault(
        f"{urlsplit(url).netloc} does not answer: {error or 'no answer in time'}.", "Check the address.", code="unreached", again=True
    )


def _mono(frame: AudioFrame) -> NDArray[np.float32]:
    sound = frame.to_ndarray()
    if frame.format.is_packed:
        sound = sound.reshape(-1, len(frame.layout.channels)).T
    scaled = sound / 32768 if sound.dtype == np.int16 else sound
    return np.asarray(scaled.mean(0), np.float32)

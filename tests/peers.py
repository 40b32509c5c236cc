"""Peers for tests of the server: a browser's stand-in, a scripted microphone, sounds whose times are known."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from realtime.clock import WallClock
from realtime.server.app import make_app
from realtime.server.options import Options
from realtime.testing import FakePipeline, FakeStore
from realtime.timeline import WIRE_RATE

WAV = {"Content-Type": "audio/wav"}
SDP = {"Content-Type": "application/sdp"}
Client = TestClient[web.Request, web.Application]
clock = WallClock()


def bursts(seconds: float, period: float = 1.0, length: float = 0.4, rate: int = WIRE_RATE) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A tone that is on for `length` in the middle of each period."""
    time = np.arange(int(seconds * rate)) / rate
    on = np.abs(time % period - period / 2) < length / 2
    return np.asarray(0.5 * np.sin(2 * np.pi * 300 * time) * on, np.float32)


def wav(sound: np.ndarray[Any, np.dtype[np.float32]], rate: int = WIRE_RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        out.writeframes((sound * 32767).astype("<i2").tobytes())
    return file.getvalue()


class Voice(MediaStreamTrack):
    """A scripted microphone."""

    kind = "audio"

    def __init__(self, sound: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        super().__init__()
        self._sound, self._at, self._start = sound, 0, clock.now()

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await clock.sleep_until(self._start + self._at / WIRE_RATE)
        block = np.take(self._sound, np.arange(self._at, self._at + 960), mode="wrap")
        frame = AudioFrame.from_ndarray((block[None] * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = WIRE_RATE, self._at, Fraction(1, WIRE_RATE)
        self._at += 960
        return frame


async def until(what: Callable[[], bool], seconds: float = 60.0, words: Callable[[], str] = lambda: "") -> None:
    """Wait for what happens; how soon is for benchmarks to say."""
    end = clock.now() + seconds
    while not what():
        assert clock.now() < end, words()
        await clock.sleep_until(clock.now() + 0.02)


@dataclass
class Peer:
    """A browser's stand-in."""

    client: Client
    actor: str = "presenter"
    voice: Voice | None = None
    sound: bool = True
    door: str = ""
    """Where the offer goes, if not to a new session with `actor`."""
    headers: dict[str, str] = field(default_factory=dict)
    codec: str = ""
    """The only one that is offered for pictures, if any."""
    taken: Callable[[str], str] = str
    """What it takes of the answer."""
    connection: RTCPeerConnection = field(default_factory=lambda: RTCPeerConnection(RTCConfiguration(iceServers=[])))
    url: str = ""
    tag: str = ""
    pictures: list[tuple[int, float, float, float]] = field(default_factory=list)  # pts, box, background, when
    sounds: list[tuple[int, float]] = field(default_factory=list)  # pts, loudness
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Peer:
        pictures = self.connection.addTransceiver("video", direction="recvonly")
        if self.codec:
            known = RTCRtpReceiver.getCapabilities("video").codecs
            pictures.setCodecPreferences([one for one in known if one.mimeType == self.codec])
        if self.voice:
            self.connection.addTrack(self.voice)
        elif self.sound:
            self.connection.addTransceiver("audio", direction="recvonly")
        await self.connection.setLocalDescription(await self.connection.createOffer())
        door = self.door or f"/v1/sessions?actor={self.actor}"
        response = await self.client.post(door, data=self.connection.localDescription.sdp, headers=SDP | self.headers)
        assert response.status == 201, await response.text()
        assert response.content_type == "application/sdp"
        self.url, self.tag = response.headers["Location"], response.headers["ETag"]
        await self.connection.setRemoteDescription(RTCSessionDescription(self.taken(await response.text()), "answer"))
        tracks = [transceiver.receiver.track for transceiver in self.connection.getTransceivers()]
        self.tasks = [asyncio.create_task(self._receive(track)) for track in tracks]
        return self

    async def _receive(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame) and frame.pts is not None:
                    y, by = frame.to_ndarray(), frame.width // 256
                    box, above = y[100 * by : 156 * by, 110 * by : 146 * by], y[: 40 * by]
                    self.pictures.append((frame.pts, float(box.mean()), float(above.mean()), clock.now()))
                elif isinstance(frame, AudioFrame) and frame.pts is not None:
                    self.sounds.append((frame.pts, float(np.abs(frame.to_ndarray()).mean())))
        except MediaStreamError:
            pass

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.connection.close()

    async def until(self, what: Callable[[], bool], seconds: float = 60.0) -> None:
        await until(what, seconds, lambda: f"{len(self.pictures)} pictures, {len(self.sounds)} sounds")

    async def until_state(self, state: str) -> None:
        """Wait until the session says that it does so."""
        while (now := (await self.report())["state"]) != state:
            assert now != "ended"
            await clock.sleep_until(clock.now() + 0.02)

    async def report(self) -> dict[str, Any]:
        result: dict[str, Any] = await (await self.client.get(self.url, headers=self.headers)).json()
        return result


def onsets(marks: list[tuple[float, bool]]) -> list[float]:
    return [time for (_, before), (time, now) in pairwise(marks) if now and not before]


def apart(peer: Peer) -> float:
    """Seconds between the picture's onsets and the sound's, in media time: the median, as a busy machine loses packets."""
    seen = onsets([(pts / 90_000, box > 120) for pts, box, *_ in peer.pictures])
    heard = onsets([(pts / WIRE_RATE, loud > 1500) for pts, loud in peer.sounds])
    last = peer.sounds[-1][0] / WIRE_RATE - 0.1
    seen = [at for at in seen if at < last]  # a picture is here before its sound: aiortc keeps sound back for 80 ms
    assert len(heard) >= 2
    assert len(seen) >= 2
    return median(min(abs(at - other) for other in heard) for at in seen)


async def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = await response.json()
    assert body["code"] == code
    assert body["detail"].endswith((".", "?"))
    assert "Traceback" not in str(body)
    return body


def without_video() -> str:
    return (
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
        "c=IN IP4 0.0.0.0\r\n"
        "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 " + ":".join(["AA"] * 32) + "\r\n"
        "a=setup:actpass\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
    )


async def offer(*, sound: bool = False) -> str:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", direction="recvonly")
    if sound:
        connection.addTransceiver("audio", direction="sendrecv")
    await connection.setLocalDescription(await connection.createOffer())
    sdp = connection.localDescription.sdp
    await connection.close()
    return sdp


@asynccontextmanager
async def serving(store: Any = None, **options: Any) -> AsyncIterator[Client]:
    """A server with the fake engine, and a client of it."""
    store = store or FakeStore(("presenter", "second", "broken"), size=(256, 256))
    app = make_app(store=store, pipeline=FakePipeline, options=Options(**({"max_sessions": 3} | options)))
    async with TestClient(TestServer(app)) as client:
        yield client

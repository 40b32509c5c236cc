"""What a guest can do to somebody else's conversation: attacks on a server of our own, while another session talks.

    mytalk bench attack [--engine fake|real] [flood offers ...]

The server, whoever talks, and whoever attacks are processes of their own; all that is sent stays on this machine. Each attack is
bounded in count and time, and ends by itself. Whoever talks has a microphone with bursts of a tone. Of each attack: pictures a second
that it gets, the longest gap between two, and by how much the 95th percentile of their delay is above that without any attack. "crash"
and "hang" need the fake engine, which has actors for that. Ends with a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWSTimeout, TCPConnector
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from tests.test_strangers import ODD
from tests.test_uploads import bomb

SERVE = """
import sys
from pathlib import Path
from engines.actor import Store
from engines.pipeline import Pipeline
from realtime.server.app import serve
from realtime.server.options import Options
from realtime.testing import FakePipeline, FakeStore
if __name__ == "__main__":
    fake = sys.argv[1] == "fake"
    store = FakeStore(("presenter", "fatal", "stuck")) if fake else Store(Path(sys.argv[2]))
    serve(store=store, port=0, options=Options(max_sessions=6), pipeline=FakePipeline if fake else Pipeline)
"""
ROOT = Path(__file__).resolve().parent.parent
SECONDS = 6.0
"""Each attack is over by then, or is broken off."""
SETTLE_S = 2.0
SDP = {"Content-Type": "application/sdp"}
HASTY = ClientWSTimeout(ws_close=0.2)


class Voice(MediaStreamTrack):
    """A microphone: a tone, every other half a second."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._at, self._start = 0, time.monotonic()

    async def recv(self) -> AudioFrame:
        """The next 20 ms, at their moment."""
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0.0, self._start + self._at / 48_000 - time.monotonic()))
        at = np.arange(self._at, self._at + 960)
        sound = 0.4 * np.sin(2 * np.pi * 300 * at / 48_000) * (at // 24_000 % 2)
        frame = AudioFrame.from_ndarray((sound[None] * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._at, Fraction(1, 48_000)
        self._at += 960
        return frame


async def talk(url: str) -> None:
    """Talk until standard input ends, then say when each picture came, and what its media time was, both in seconds."""
    came: list[tuple[float, float]] = []
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver(Voice(), direction="sendrecv")
    async with ClientSession() as client:
        answer, session = await offered(client, url, connection)
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        tasks = [asyncio.create_task(watch(one.receiver.track, came)) for one in connection.getTransceivers()]
        while len(came) < 25:
            await asyncio.sleep(0.05)
        print("talks", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        (await client.delete(session)).release()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await connection.close()
    print(json.dumps(came))


async def watch(track: MediaStreamTrack, came: list[tuple[float, float]]) -> None:
    """Note a track's pictures until it ends."""
    with contextlib.suppress(MediaStreamError):
        while True:
            frame = await track.recv()
            if isinstance(frame, VideoFrame):
                came.append((time.monotonic(), (frame.pts or 0) / 90_000))


async def offered(client: ClientSession, url: str, connection: RTCPeerConnection, actor: str = "presenter") -> tuple[str, str]:
    """The answer to an offer, and the session's address."""
    await connection.setLocalDescription(await connection.createOffer())
    async with client.post(f"{url}/v1/sessions?actor={actor}", data=connection.localDescription.sdp, headers=SDP) as answer:
        if answer.status != 201:
            raise SystemExit(f"refused: {await answer.text()}")
        return await answer.text(), url + answer.headers["Location"]


@dataclass
class Attacker:
    """A guest, with a session of its own that is connected to nobody, and what the server answered it."""

    client: ClientSession
    url: str
    answers: Counter[str] = field(default_factory=Counter)

    async def ask(self, method: str, path: str, **how: Any) -> tuple[str, str, str]:
        """One request; its status is counted. Returns status, Location and ETag."""
        try:
            async with self.client.request(method, self.url + path, **how) as answer:
                await answer.read()
                self.answers[str(answer.status)] += 1
                return str(answer.status), answer.headers.get("Location", ""), answer.headers.get("ETag", "")
        except (ClientError, ConnectionError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
            return "", "", ""

    async def sdp(self) -> str:
        """An offer without candidates: nothing is ever sent because of it."""
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.addTransceiver("video", direction="recvonly")
        await connection.setLocalDescription(await connection.createOffer())
        sdp = connection.localDescription.sdp
        await connection.close()
        return "".join(line for line in sdp.splitlines(keepends=True) if "candidate" not in line)

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[tuple[str, str]]:
        """A session of its own: its path, and its tag."""
        _, path, tag = await self.ask("POST", "/v1/sessions", data=await self.sdp(), headers=SDP)
        try:
            yield path, tag
        finally:
            await self.ask("DELETE", path)

    async def raw(self, data: bytes, seconds: float = 0.0) -> None:
        """Bytes on a connection that then stays open for a while."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        with contextlib.suppress(TimeoutError, ConnectionError):
            line = await asyncio.wait_for(reader.readline(), seconds or 10)
            self.answers[line[9:12].decode(errors="replace") or "closed"] += 1
        writer.close()


async def offers(one: Attacker) -> None:
    """Offers that were once matched in quadratic time, and others as large as may be."""
    whole = await one.sdp()
    codecs = "a=rtpmap:96 VP8/90000\r\n"
    matched = codecs * 60 + "a=rtcp-fb:96 nack\r\n" * 160
    for more in ("a=candidate:" + ".local" * 9300, codecs * 2000, matched, "a=ssrc:1 cname:x\r\n" * 2000):
        for _ in range(4):
            await one.ask("POST", "/v1/sessions", data=whole + more, headers=SDP)


async def candidates(one: Attacker) -> None:
    """Thousands of candidates: all of this machine's loopback."""
    lines = "".join(f"a=candidate:{n} 1 udp {2**31 - 1 - n} 127.0.0.1 {20_000 + n} typ host\r\n" for n in range(700))
    async with one.session() as (path, tag):
        headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": tag}
        for _ in range(6):
            await one.ask("PATCH", path, data=lines, headers=headers)


async def connections(one: Attacker) -> None:
    """Many offers at once, none of which is connected."""
    sdp = await one.sdp()
    made = await asyncio.gather(*(one.ask("POST", "/v1/sessions", data=sdp, headers=SDP) for _ in range(60)))
    await asyncio.gather(*(one.ask("DELETE", path) for _, path, _ in made if path))


async def flood(one: Attacker) -> None:
    """Four sockets with 20,000 messages each: interruptions, pings, tiny samples, nothing."""
    async with one.session() as (path, _):

        async def pour(kind: int) -> None:
            async with one.client.ws_connect(f"{one.url}{path}/speech?rate=24000", autoping=False, timeout=HASTY) as socket:
                word, samples = partial(socket.send_str, "interrupt"), partial(socket.send_bytes, b"\0\0")
                send = (word, socket.ping, samples, partial(socket.send_bytes, b""))
                for _ in range(20_000):
                    await send[kind]()
                one.answers["sent"] += 1

        await asyncio.gather(*(pour(kind) for kind in range(4)))


async def requests(one: Attacker) -> None:
    """3000 requests on 300 connections."""
    await asyncio.gather(*(one.ask("GET", "/v1/actors") for _ in range(3000)))


async def bodies(one: Attacker) -> None:
    """400 bodies of which half comes."""
    async with one.session() as (path, _):
        head = f"POST {path}/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: audio/wav\r\nContent-Length: 200000\r\n\r\n".encode()
        await asyncio.gather(*(one.raw(head + b"x" * 100_000, 4.0) for _ in range(400)))


async def odd(one: Attacker) -> None:
    """What is no request, many times."""
    for _ in range(4):
        for method, path, header, body in ODD:
            headers = {b"Host": b"127.0.0.1", b"Connection": b"close", b"Content-Length": b"%d" % len(body)} | dict([header])
            lines = b"".join(b"%s: %s\r\n" % one for one in headers.items())
            await one.raw(b"%s %s HTTP/1.1\r\n" % (method, path) + lines + b"\r\n" + body)


async def files(one: Attacker) -> None:
    """Sounds that are none, and a picture of 3600 megapixels."""
    async with one.session() as (path, _):
        await one.ask("POST", "/v1/actors?name=eve", data=bomb(), headers={"Content-Type": "image/png"})
        for _ in range(20):
            await one.ask("POST", f"{path}/speech", data=b"RIFF" + b"\xff" * 200_000, headers={"Content-Type": "audio/wav"})


async def crash(one: Attacker, actor: str = "fatal") -> None:
    """A conversation that ends the engine's process."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver("audio", direction="recvonly")
    answer, session = await offered(one.client, one.url, connection, actor)
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    while (await one.ask("GET", session.removeprefix(one.url)))[0] == "200":
        await asyncio.sleep(0.1)
    await connection.close()


async def hang(one: Attacker) -> None:
    """A conversation in which the engine hangs."""
    await crash(one, "stuck")


ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {
    one.__name__: one for one in (offers, candidates, connections, flood, requests, bodies, odd, files, crash, hang)
}


async def quiet(_: Attacker) -> None:
    """Nothing."""
    await asyncio.sleep(4)


async def attack(url: str, names: list[str], fake: bool) -> dict[str, Any]:
    """All of them, one after the other: when each began and ended, and what was answered."""
    found: dict[str, Any] = {}
    for name in ["quiet", *names]:
        seconds = SECONDS if name not in ("crash", "hang") else 40.0
        if name in ("crash", "hang") and not fake:
            continue
        if name in ("crash", "hang"):
            await asyncio.sleep(8)  # as long as a spare engine needs to be there
        async with ClientSession(connector=TCPConnector(limit=300), timeout=ClientTimeout(total=seconds + 5)) as client:
            one, began = Attacker(client, url), time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await (quiet if name == "quiet" else ATTACKS[name])(one)
            found[name] = {"window": (began, max(time.monotonic(), began + 2)), "answers": dict(one.answers)}
        await asyncio.sleep(SETTLE_S)
    return found


def judged(came: list[tuple[float, float]], window: tuple[float, float], still: float | None) -> dict[str, float]:
    """Of the pictures that came in a window. `still`: the delay's 95th percentile without any attack, seconds, in the same zero."""
    times = np.array([when for when, _ in came if window[0] <= when <= window[1]])
    edges = np.concatenate([[window[0]], times, [window[1]]])
    late = np.array([when - media for when, media in came if window[0] <= when <= window[1]])
    p95 = float(np.percentile(late, 95)) if len(late) else np.inf
    return {
        "pictures_s": round(len(times) / (window[1] - window[0]), 2),
        "gap_ms": round(float(np.diff(edges).max()) * 1e3),
        "delay_p95_ms": round((p95 - (p95 if still is None else still)) * 1e3),
        "p95": p95,
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("attacks", nargs="*", default=list(ATTACKS), metavar=" | ".join(ATTACKS))
    parser.add_argument("--engine", choices=("fake", "real"), default="fake")
    parser.add_argument("--talk", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.talk:
        asyncio.run(talk(options.talk))
        return
    if unknown := set(options.attacks) - set(ATTACKS):
        parser.error(f"There is no attack {min(unknown)}. There are: {', '.join(ATTACKS)}.")
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-c", SERVE, options.engine, home]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
        assert server.stdout is not None
        other: subprocess.Popen[str] | None = None
        try:
            url = server.stdout.readline().split()[-1]
            command = [sys.executable, "-m", "benchmarks.attack", "--talk", url]
            other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            assert other.stdout is not None
            other.stdout.readline()
            found = asyncio.run(attack(url, options.attacks, options.engine == "fake"))
            came = json.loads(other.communicate(timeout=30)[0].splitlines()[-1])
        finally:
            for process in (other, server):
                if process is not None:
                    process.terminate()
                    process.wait(20)
    still = judged(came, found["quiet"]["window"], None)["p95"]
    print("| attack | pictures a second | longest gap, ms | delay p95, ms more | answers |")
    print("|---|---|---|---|---|")
    for name, said in found.items():
        found[name] = one = {"answers": said["answers"]} | judged(came, said["window"], still)
        one.pop("p95")
        answers = ", ".join(f"{count} x {what}" for what, count in sorted(one["answers"].items()))
        print(f"| {name} | {one['pictures_s']} | {one['gap_ms']} | {one['delay_p95_ms']} | {answers} |")
    print(json.dumps(found))


if __name__ == "__main__":
    main()

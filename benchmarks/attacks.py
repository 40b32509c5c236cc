"""Attacks of a guest, each bounded in count and time: see `benchmarks.attack`. All that is sent stays on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import ClientError, ClientSession, ClientWSTimeout
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RTCP_PSFB_PLI, RTCP_RTPFB_NACK, RtcpPsfbPacket, RtcpRtpfbPacket

from tests.test_strangers import ODD
from tests.test_uploads import bomb

SDP = {"Content-Type": "application/sdp"}
HASTY = ClientWSTimeout(ws_close=0.2)


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


async def connected(one: Attacker, actor: str = "presenter") -> tuple[RTCPeerConnection, str, str]:
    """A peer that is connected; its session's address, and the answer."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver("audio", direction="recvonly")
    answer, session = await offered(one.client, one.url, connection, actor)
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    while connection.connectionState != "connected":
        await asyncio.sleep(0.02)
    return connection, session, answer


async def reports(one: Attacker) -> None:
    """20,000 encrypted requests for key frames, and for all packets again, of a peer that is connected."""
    connection, session, _ = await connected(one)
    video = connection.getTransceivers()[0].receiver
    await asyncio.sleep(0.5)
    for n in range(10_000):
        for source in video._RTCRtpReceiver__remote_streams:  # type: ignore[attr-defined]
            again = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=source, lost=list(range(n % 60_000, n % 60_000 + 100)))
            for packet in (RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=source), again):
                await video.transport._send_rtp(bytes(packet))
                one.answers["sent"] += 1
        if n % 10 == 0:
            await asyncio.sleep(0)
    await one.ask("DELETE", session.removeprefix(one.url))
    await connection.close()


async def garbage(one: Attacker) -> None:
    """40,000 datagrams of noise to the port of a session of one's own: as STUN, DTLS, RTP, RTCP, and as nothing."""
    connection, session, answer = await connected(one)
    found = re.search(r"a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host", answer)
    assert found is not None
    cookie = b"\x00\x01\x00\x08\x21\x12\xa4\x42" + secrets.token_bytes(12) + b"\x00\x06\x00\x04abcd"
    kinds = (cookie, b"\x16\xfe\xfd" + secrets.token_bytes(200), b"\x80\x60" + secrets.token_bytes(900),
             b"\x80\xc9" + secrets.token_bytes(100), secrets.token_bytes(1200), b"")  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        source.setblocking(False)
        for n in range(40_000):
            with contextlib.suppress(BlockingIOError):
                source.sendto(kinds[n % len(kinds)], (found[1], int(found[2])))
                one.answers["sent"] += 1
            if n % 20 == 0:
                await asyncio.sleep(0)
    await one.ask("DELETE", session.removeprefix(one.url))
    await connection.close()


async def channels(one: Attacker) -> None:
    """Offers of data channels, of twenty sections, of a thousand lines, of codecs that nobody has, and in odd letters."""
    whole = await one.sdp()
    channel = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:9\r\na=sctp-port:5000\r\n"
    credentials = "".join(line + "\r\n" for line in whole.splitlines() if line.startswith(("a=ice-", "a=fingerprint", "a=setup")))
    for more in (
        channel + credentials,
        channel * 20,
        "a=x\r\n" * 990,
        "a=rtpmap:1 \U0001f600/90000\r\n" * 100,
        "a=\u202e\ud7ff\r\n" * 500,
        "a=extmap:1 " + "x" * 2000 + "\r\n",
        "a=ssrc-group:FID " + " ".join(map(str, range(300))) + "\r\n",
        "a=fmtp:96 " + "a=b;" * 500 + "\r\n",
    ):
        for _ in range(8):
            _, path, _ = await one.ask("POST", "/v1/sessions", data=(whole + more).encode(), headers=SDP)
            if path:
                await one.ask("DELETE", path)


async def restarts(one: Attacker) -> None:
    """A thousand requests to begin ICE anew."""
    async with one.session() as (path, tag):
        headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": tag}
        body = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"
        await asyncio.gather(*(one.ask("PATCH", path, data=body, headers=headers) for _ in range(1000)))


async def begun(one: Attacker) -> None:
    """Sessions that are begun and ended, 40 of them."""
    for _ in range(40):
        async with one.session():
            pass


async def open_ends(one: Attacker) -> None:
    """400 connections on which the head of a request comes letter by letter, or nothing does."""
    host, _, port = one.url.removeprefix("http://").partition(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(400)]
    head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "
    for at in range(60):
        for _, writer in opened[::2]:
            writer.write(head[at : at + 1] or b"x")
        await asyncio.sleep(0.05)
    for _, writer in opened:
        writer.close()
    one.answers["opened"] += len(opened)


async def headers(one: Attacker) -> None:
    """Requests with as many and as large headers as may be, and JSON of 60 KB."""
    many = {f"X-{n}": "x" * 50 for n in range(100)}
    for _ in range(100):
        await one.ask("GET", "/v1/actors", headers=many)
        await one.ask("GET", "/v1/actors", headers={"X": "x" * 8000})
        await one.ask("GET", "/v1/actors?" + "a=b&" * 1500)
        await one.ask("POST", "/v1/guests", data=b'{"join": "' + b"\\u00e9" * 10_000 + b'"}')


async def sockets(one: Attacker) -> None:
    """Websockets that are opened and closed, 300 times; and JSON that is none on them."""
    async with one.session() as (path, _):
        for _ in range(300):
            try:
                async with one.client.ws_connect(f"{one.url}{path}/speech", timeout=HASTY) as talk:
                    await talk.send_str("[" * 20_000)
                    await talk.send_str('{"type": "start", "rate": 1e999}')
                    one.answers["opened"] += 1
            except ClientError as error:
                one.answers[type(error).__name__] += 1


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
    one.__name__: one
    for one in (
        offers, candidates, connections, flood, requests, bodies, odd, files, reports, garbage, channels, restarts, begun, open_ends,
        headers, sockets, crash, hang,
    )
}  # fmt: skip

"""What a guest may send to hurt others, through the doors that a guest has: each is refused, bounded, or nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientWSTimeout, WSMsgType
from aioice import stun
from aioice.ice import StunProtocol, get_host_addresses
from aiortc import RTCRtpSender
from aiortc.rtp import RTCP_PSFB_PLI, RTCP_RTPFB_NACK, RtcpPsfbPacket, RtcpRtpfbPacket

from realtime import engine as supervision
from realtime.server import app as application
from realtime.server import connections, guard
from realtime.server.candidates import MOST_CANDIDATES, Network, may_be_sent_to
from realtime.server.keys import ENGINE, SESSIONS
from realtime.server.speech_socket import WORDS, WORDS_AT_ONCE
from realtime.testing import FakeStore
from realtime.webrtc.internals import AGAIN, CHECKS, KEY_FRAMES, MOST_FOUND, PACKETS, REPORTS
from tests.peers import SDP, Client, Peer, bursts, clock, offer, problem, serving, until
from tests.pipelines import Sizes

HASTY = ClientWSTimeout(ws_close=0.1)
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving() as client:
        yield client


async def test_an_offer_beyond_all_need_is_refused_before_it_is_parsed(client: Client) -> None:
    whole = await offer()
    codecs = "a=rtpmap:96 VP8/90000\r\n"
    for more in (
        "a=candidate:" + ".local" * 9300,  # once matched in quadratic time
        codecs * 2000,
        codecs * 120 + "a=rtcp-fb:* nack\r\n" * 100,  # each with each
        codecs * 120 + "a=rtcp-fb:96 nack\r\n" * 200,
        "a=ssrc:1 cname:x\r\n" * 900,
        "a=x\r\n" * 9000,
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" * 20,
        "a=ice-pwd:" + "x" * 300 + "\r\n",
    ):
        await problem(await client.post("/v1/sessions", data=whole + more, headers=SDP), 400, "offer")
    async with Peer(client) as peer:
        for more in ("a=candidate:" + " .local" * 9000, "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n" * 1200):
            response = await client.patch(peer.url, data=more, headers=FRAGMENT | {"If-Match": peer.tag})
            await problem(response, 400, "fragment")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """Checks that would be sent, by where to; none is."""
    found: Counter[tuple[str, int]] = Counter()

    def note(protocol: StunProtocol, message: stun.Message, address: tuple[str, int]) -> None:
        found[address] += message.message_class is stun.Class.REQUEST

    monkeypatch.setattr(StunProtocol, "send_stun", note)
    return found


def candidate(address: str, port: int, number: int = 1) -> str:
    return f"a=candidate:{number} 1 udp {2122260223 - number} {address} {port} typ host\r\n"


def without_candidates(sdp: str) -> str:
    return "".join(line for line in sdp.splitlines(keepends=True) if "candidate" not in line)


async def test_a_guest_has_us_send_to_few_addresses_and_to_none_within(client: Client, sent: Counter[tuple[str, int]]) -> None:
    forbidden = (
        "127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "224.0.0.251", "ff02::fb", "0.0.0.0", "::", "255.255.255.255",
        "10.77.0.1", "172.29.0.1", "192.168.77.1", "100.64.7.7", "fd77::1", "2002:7f00:1::1", "64:ff9b::7f00:1", "240.0.0.1",
    )  # fmt: skip
    own = {address.rpartition(".")[0] for address in get_host_addresses(use_ipv4=True, use_ipv6=False)}
    forbidden = tuple(address for address in forbidden if address.rpartition(".")[0] not in own)
    lines = "".join(candidate(address, 5000, n) for n, address in enumerate(forbidden))
    lines += "".join(candidate("198.51.100.7", port) for port in (0, 65_536, 99_999_999, -1))
    lines += "".join(candidate("198.51.100.7", 6000 + n, n) for n in range(600))
    before, first, after = without_candidates(await offer()).partition("a=ice-ufrag")
    response = await client.post("/v1/sessions", data=before + lines + first + after, headers=SDP)
    assert response.status == 201, await response.text()
    for part in range(3):
        more = "".join(candidate("198.51.100.8", 6000 + part * 700 + n, n) for n in range(700))
        headers = FRAGMENT | {"If-Match": response.headers["ETag"]}
        assert (await client.patch(response.headers["Location"], data=more, headers=headers)).status == 204
    await until(lambda: len(sent) == MOST_CANDIDATES)
    last, quiet = sent.total(), 0
    while quiet < 20:  # as long as new addresses may come: the checks are 20 ms apart
        await asyncio.sleep(0.02)
        quiet, last = (quiet + 1 if len(sent) == MOST_CANDIDATES else 0), sent.total()
    assert {address for address, _ in sent} == {"198.51.100.7"}
    assert len(sent) == MOST_CANDIDATES
    assert last <= MOST_CANDIDATES * 7  # a check and its repetitions
    assert (await client.delete(response.headers["Location"])).status == 200


def test_private_networks_are_sent_to_from_within_only() -> None:
    import ipaddress

    home: list[Network] = [ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("fd12::/64")]
    assert may_be_sent_to("192.168.1.20", home)
    assert may_be_sent_to("fd12::5", home)
    assert not any(may_be_sent_to(address, home) for address in ("192.168.2.20", "10.0.0.1", "fd13::5", "192.168.1.255", "ab-cd.local"))
    assert may_be_sent_to("203.0.113.5", [])


async def test_checks_from_a_thousand_addresses_are_not_all_checked_back(client: Client, sent: Counter[tuple[str, int]]) -> None:
    sdp = without_candidates(await offer())
    response = await client.post("/v1/sessions", data=sdp, headers=SDP)
    said = dict(line[2:].split(":", 1) for text in (sdp, await response.text()) for line in text.splitlines() if line.startswith("a=ice-"))
    theirs = dict(line[2:].split(":", 1) for line in sdp.splitlines() if line.startswith("a=ice-"))
    (session,) = client.server.app[SESSIONS]  # type: ignore[attr-defined]
    transport = session.peer._connection.getTransceivers()[0].receiver.transport.transport
    await until(lambda: transport.state == "checking")
    (ice, protocol) = transport._connection, transport._connection._protocols[0]
    for n in range(1000):
        check = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        check.attributes.update({"USERNAME": f"{said['ice-ufrag']}:{theirs['ice-ufrag']}", "PRIORITY": 1, "ICE-CONTROLLING": 1})
        check.add_message_integrity(said["ice-pwd"].encode())
        ice.request_received(stun.parse_message(bytes(check)), ("198.51.100.9", 1000 + n), protocol)
    await until(lambda: sum(count > 0 for count in sent.values()) >= MOST_FOUND)
    for kind, most in ((b"\x80\x60", PACKETS), (b"\x81\xcd", REPORTS)):  # media, and requests to send all of it again
        before = ice._queue.qsize()
        for _ in range(5000):
            ice.data_received(kind + bytes(100), 1)
        assert 2 * most <= ice._queue.qsize() - before <= 3 * most
    assert (await client.delete(response.headers["Location"])).status == 200
    assert 2 * CHECKS <= len(sent) <= 3 * CHECKS  # each that is taken is answered
    assert sum(count > 0 for count in sent.values()) == MOST_FOUND


async def test_a_peer_that_asks_for_all_of_it_again_gets_some(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        (session,) = client.server.app[SESSIONS]  # type: ignore[attr-defined]
        (sender,) = (one.sender for one in session.peer._connection.getTransceivers() if one.kind == "video")
        again = Counter[str]()

        async def count_packet(self: Any, number: int) -> None:
            again["packet"] += 1

        monkeypatch.setattr(RTCRtpSender, "_retransmit", count_packet)
        monkeypatch.setattr(RTCRtpSender, "_send_keyframe", lambda self: again.update(["key"]))
        ssrc = sender._ssrc
        for _ in range(200):
            await sender._handle_rtcp_packet(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=ssrc, lost=list(range(100))))
            await sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=ssrc))
        assert AGAIN <= again["packet"] <= 3 * AGAIN
        assert KEY_FRAMES <= again["key"] <= 3 * KEY_FRAMES


async def test_a_flood_of_messages_is_read_no_faster_than_it_is_obeyed(client: Client) -> None:
    async with Peer(client) as peer, Peer(client, "second") as other:
        await other.until(lambda: len(other.pictures) > 5 and len(peer.pictures) > 5)
        (session,) = (one for one in client.server.app[SESSIONS] if peer.url.endswith(one.name))  # type: ignore[attr-defined]

        async def flood(what: str) -> None:
            async with client.ws_connect(f"{peer.url}/speech?rate=24000", autoping=False, timeout=HASTY) as socket:
                for _ in range(3000):
                    await (socket.ping() if what == "ping" else socket.send_str(what) if what else socket.send_bytes(b""))
                while not over:
                    pongs[what] += (await socket.receive()).type is WSMsgType.PONG

        over, pongs, began = False, Counter[str](), clock.now()
        flooding = [asyncio.create_task(flood(what)) for what in ("interrupt", "ping", "")]
        await until(lambda: session.generation > 0 and pongs["ping"] > 0)
        count = len(other.pictures)
        await other.until(lambda: len(other.pictures) > count + 25)  # who talks beside it goes on
        over, most = True, WORDS_AT_ONCE + WORDS * (clock.now() - began) + 1
        assert session.generation <= most
        assert pongs["ping"] <= most
        for task in flooding:
            task.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)


@pytest.mark.slow
async def test_who_ends_the_engine_twice_is_refused_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "SWITCH_S", 1.0)
    async with serving(FakeStore(("presenter", "fatal", "stuck"), size=(256, 256))) as client, Peer(client) as other:
        engine = client.server.app[ENGINE]  # type: ignore[attr-defined]
        for restarts, actor in ((2, "fatal"), (4, "stuck")):
            await until(lambda: engine.spare_ready or actor == "fatal")  # noqa: B023
            async with Peer(client, actor) as guilty, client.ws_connect(f"{guilty.url}/speech", timeout=HASTY) as socket:
                told = [(await socket.receive()).json() for _ in range(2)]
                assert [(one["type"], one.get("code")) for one in told] == [("error", "engine-crash"), ("ended", None)]
                await problem(await client.get(guilty.url), 503, "engine-crash")
                await problem(await client.post(f"/v1/sessions?actor={actor}", data=await offer(), headers=SDP), 503, "engine-crash")
            count = len(other.pictures)
            await other.until(lambda: len(other.pictures) > count + 25)  # noqa: B023
            assert engine.restarts == restarts
            assert (await other.report())["state"] == "idle"


async def test_a_large_actor_is_let_in_only_where_it_makes_nobody_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_cores", lambda: 2)
    async with serving(Sizes(size=(256, 256)), max_sessions=None) as client:
        app = client.server.app  # type: ignore[attr-defined]
        await until(lambda: bool(app[ENGINE].costs and app[application.WIRE_COST]))
        app[ENGINE].costs, app[application.WIRE_COST][:] = {1: 0.002}, [(0.001, 256 * 256, 0.0)]
        async with Peer(client), Peer(client):
            capacity = (await (await client.get("/healthz")).json())["capacity"]
            assert capacity > 4
            await problem(await client.post("/v1/sessions?actor=second", data=await offer(), headers=SDP), 503, "full")
            async with Peer(client) as peer:
                await peer.until(lambda: len(peer.pictures) > 3)


async def test_five_minutes_that_were_sent_ahead_are_silent_after_a_post(client: Client) -> None:
    def loud(peer: Peer) -> int:
        return sum(level > 1500 for _, level in peer.sounds)

    minutes = (bursts(300, 1, 0.9, 16_000) * 32767).astype("<i2").tobytes()
    async with Peer(client) as peer, client.ws_connect(f"{peer.url}/speech", timeout=HASTY) as socket:
        for start in ({"type": "start", "rate": 16_000}, {"type": "start"}):

            async def pour() -> None:
                await socket.send_json(start)  # noqa: B023
                for at in range(0, len(minutes), 3200):
                    await socket.send_bytes(minutes[at : at + 3200])

            before, pouring = loud(peer), asyncio.create_task(pour())
            await peer.until(lambda: loud(peer) > before + 30)  # noqa: B023  the first of it, or the new after the old
            while (await peer.report())["waiting_ms"] < 59_000:  # noqa: ASYNC110  it is asked over HTTP
                await asyncio.sleep(0.02)
            assert (await (await client.post(f"{peer.url}/interrupt")).json())["dropped_ms"] > 50_000
            at = len(peer.sounds)
            await pouring  # all of it is taken, and nothing is said
            await peer.until(lambda: len(peer.sounds) > at + 100)  # noqa: B023
            assert max(level for _, level in peer.sounds[at + 30 :]) < 100
        await socket.send_json({"type": "start", "rate": 24_000})
        await socket.send_bytes((bursts(2, 1, 0.9, 24_000) * 32767).astype("<i2").tobytes())
        await socket.send_str("flush")
        events = []
        while not events or events[-1]["type"] != "idle":
            events.append((await socket.receive()).json())
        assert events[-1] == {"type": "idle", "samples": 48_000, "ms": 2000}


async def test_who_asks_too_often_waits_and_then_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "REQUESTS", 4)
    monkeypatch.setattr(guard, "REQUESTS_AT_ONCE", 4)
    async with serving() as client:
        began = clock.now()
        statuses = Counter(await asyncio.gather(*(status_of(client) for _ in range(40))))
        assert 4 <= statuses[200] <= 4 + 4 * (clock.now() - began + guard.PATIENCE_S)
        assert statuses[200] + statuses[429] == 40
        assert statuses[429] > 0


async def status_of(client: Client) -> int:
    async with client.get("/healthz") as response:
        return response.status


async def test_of_one_address_only_so_many_connections_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "OF_ONE", 3)
    lost, made = asyncio.Event(), list[asyncio.BaseTransport]()

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

        def data_received(self, data: bytes) -> None:
            made[-1].write(data)  # type: ignore[attr-defined]

        def connection_lost(self, error: Exception | None) -> None:
            lost.set()

    server = await asyncio.get_running_loop().create_server(connections.Connections(Echo), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def answered() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opened.append(writer)
        try:
            writer.write(b"x")
            return await reader.read(1)
        except ConnectionError:
            return b""

    opened: list[asyncio.StreamWriter] = []
    assert [await answered() for _ in range(5)] == [b"x"] * 5  # proxies are on loopback
    monkeypatch.setattr(connections, "is_loopback", lambda host: False)
    assert await answered() == b""
    for writer in opened[:3]:
        writer.close()
    await lost.wait()
    await until(lambda: sum(transport.is_closing() for transport in made) == 3)
    assert await answered() == b"x"
    server.close()
    for writer in opened:
        writer.close()

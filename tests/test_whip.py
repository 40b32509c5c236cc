"""Signalling as RFC 9725 has it, as a table; viewers; candidates that come later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket

from realtime.server.options import ice_servers
from realtime.server.sdp import fragment_of
from realtime.timeline import VIDEO_RATE, WIRE_RATE
from tests.peers import SDP, WAV, Client, Peer, apart, bursts, offer, onsets, problem, serving, wav

FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
CANDIDATE = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving() as client:
        yield client


async def test_an_answer_has_what_the_standard_asks_for() -> None:
    servers = ice_servers("stun:127.0.0.1:9, turn:me:secret@127.0.0.1:9?transport=udp")
    async with serving(ice=servers) as client:
        response = await client.post("/v1/sessions", data=await offer(sound=True), headers=SDP | {"Accept": "application/sdp, */*;q=0.1"})
        assert response.status == 201
        assert response.content_type == "application/sdp"
        answer = await response.text()
        assert answer.startswith("v=0")
        assert response.headers["Location"].startswith("/v1/sessions/")
        assert response.headers["ETag"].startswith('"')
        assert response.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
        assert response.headers.getall("Link") == [
            '<stun:127.0.0.1:9>; rel="ice-server"',
            '<turn:127.0.0.1:9?transport=udp>; rel="ice-server"; username="me"; credential="secret"; credential-type="password"',
        ]
        assert (await client.delete(response.headers["Location"])).status == 200


async def test_a_peer_is_told_media_time_not_when_packets_left(client: Client) -> None:
    async with Peer(client) as peer:
        told: dict[str, list[RtcpSenderInfo]] = {}
        for transceiver in peer.connection.getTransceivers():
            receiver = transceiver.receiver
            told[transceiver.kind] = []
            receiver._handle_rtcp_packet = partial(_note, receiver._handle_rtcp_packet, told[transceiver.kind])
        await peer.until(lambda: all(len(of) >= 3 for of in told.values()))
    for kind, rate in (("video", VIDEO_RATE), ("audio", WIRE_RATE)):
        starts = [info.ntp_timestamp / (1 << 32) - info.rtp_timestamp / rate for info in told[kind]]
        assert max(starts) - min(starts) < 1e-4  # seconds; when packets left varies by milliseconds


async def _note(handle: Callable[[Any], Awaitable[None]], into: list[RtcpSenderInfo], packet: Any) -> None:
    if isinstance(packet, RtcpSrPacket) and packet.sender_info.ntp_timestamp:  # something has left
        into.append(packet.sender_info)
    await handle(packet)


PATCHES = [
    (FRAGMENT, "the tag", "a=mid:0\r\n" + CANDIDATE, 204, ""),
    (FRAGMENT, "the tag", "a=mid:0\r\na=candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active\r\na=end-of-candidates", 204, ""),
    (FRAGMENT, "the tag", "a=candidate:1 1 udp 1 ab-cd.local 5000 typ host", 204, ""),
    (FRAGMENT, None, CANDIDATE, 428, "tag-missing"),
    (FRAGMENT, '"another"', CANDIDATE, 412, "tag-wrong"),
    (FRAGMENT, "*", "a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k", 422, "ice-restart"),
    (FRAGMENT, "the tag", "a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k", 422, "ice-restart"),
    (FRAGMENT, "the tag", "hello", 400, "fragment"),
    (FRAGMENT, "the tag", "", 400, "fragment"),
    (FRAGMENT, "the tag", "a=candidate:nonsense", 400, "fragment"),
    (SDP, "the tag", CANDIDATE, 415, "content-type"),
]


async def test_candidates_come_later_and_what_is_wrong_with_them_is_said(client: Client) -> None:
    async with Peer(client) as peer, Peer(client, door=f"{peer.url}/viewers") as viewer:
        for url, tag in ((peer.url, peer.tag), (viewer.url, viewer.tag)):
            for kind, match, body, status, code in PATCHES:
                headers = kind | ({} if match is None else {"If-Match": tag if match == "the tag" else match})
                response = await client.patch(url, data=body, headers=headers)
                if status == 204:
                    assert response.status == 204, await response.text()
                    assert not await response.read()
                else:
                    await problem(response, status, code)
        await peer.until(lambda: len(peer.pictures) > 5 and len(viewer.pictures) > 5)


async def test_what_begins_no_session(client: Client) -> None:
    whole = await offer()
    await problem(await client.post("/v1/sessions", data=whole, headers=SDP | {"Accept": "application/json"}), 406, "accept")
    await problem(await client.post("/v1/sessions", data=whole, headers={"Content-Type": "text/plain"}), 415, "content-type")
    twice = whole + whole[whole.index("m=video") :].replace("a=mid:0", "a=mid:7")
    await problem(await client.post("/v1/sessions", data=twice, headers=SDP), 406, "offer-not-acceptable")
    for method in ("PUT", "DELETE", "PATCH"):
        response = await client.request(method, "/v1/sessions")
        await problem(response, 405, "method")
        assert "POST" in response.headers["Allow"]
    await problem(await client.patch("/v1/sessions/none", data=CANDIDATE, headers=FRAGMENT), 404, "unknown-session")
    await problem(await client.delete("/v1/sessions/none"), 404, "unknown-session")
    await problem(await client.post("/v1/sessions/none/viewers", data=whole, headers=SDP), 404, "unknown-session")
    assert (await (await client.get("/v1/sessions")).json())["sessions"] == []


async def test_other_sites_pages_are_let_in_by_name_only() -> None:
    async with serving(origins=("https://example.org",)) as client:
        asked: dict[str, Any] = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
        response = await client.options("/v1/sessions", headers=asked)
        assert response.status == 200
        assert response.headers["Accept-Post"] == "application/sdp"
        assert response.headers["Access-Control-Allow-Origin"] == "https://example.org"
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        response = await client.post("/v1/sessions", data=await offer(), headers=SDP | {"Origin": "https://example.org"})
        assert response.status == 201
        assert {"Location", "ETag", "Link"} <= set(response.headers["Access-Control-Expose-Headers"].split(", "))
        for origin in ("https://example.org.evil.example", "http://example.org", "null", "https://sub.example.org"):
            response = await client.post("/v1/sessions", data=await offer(), headers=SDP | {"Origin": origin})
            await problem(response, 403, "origin")
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_viewer_sees_and_hears_what_the_session_does(client: Client) -> None:
    async with Peer(client) as peer, Peer(client, door=f"{peer.url}/viewers") as viewer:
        await viewer.until(lambda: len(viewer.pictures) > 5 and len(peer.pictures) > 5)
        assert (await peer.report())["viewers"] == 1
        await client.post(f"{peer.url}/speech", data=wav(bursts(20, rate=16_000), 16_000), headers=WAV)
        await viewer.until(lambda: len(onsets([(pts, loud > 1500) for pts, loud in viewer.sounds])) >= 3)
        await viewer.until(lambda: len(onsets([(pts, box > 120) for pts, box, *_ in viewer.pictures])) >= 3)
        assert apart(viewer) <= 0.06
        assert (await client.delete(viewer.url)).status == 200
        await problem(await client.delete(viewer.url), 404, "unknown-session")
        count = len(peer.pictures)
        await peer.until(lambda: len(peer.pictures) > count + 10)


def test_a_fragment_says_for_which_section_a_candidate_is() -> None:
    found = fragment_of("a=ice-ufrag:EsAw\r\nm=audio 9 RTP/AVP 0\r\na=mid:audio\r\n" + CANDIDATE + "\r\na=end-of-candidates\r\n")
    assert found.username == "EsAw"
    assert [(one.sdpMid, one.ip, one.port) for one in found.candidates] == [("audio", "192.0.2.1", 61764)]
    assert fragment_of(CANDIDATE).candidates[0].sdpMLineIndex == 0

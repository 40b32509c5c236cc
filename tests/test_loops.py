"""A server whose peers live in several processes: nobody who asks can tell, and who ends one ends no other."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientWSTimeout

from realtime.load import Costs, loops_for
from realtime.server.keys import ENGINE, LOOPS, SESSIONS
from realtime.server.placed import ASKED_BY
from realtime.testing import FakeStore
from tests.peers import SDP, WAV, Client, Peer, bursts, problem, serving, until, wav

HASTY = ClientWSTimeout(ws_close=0.1)
TOKEN = "a-secret-of-sixteen-or-more"
OWNER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving(FakeStore(("presenter", "second", "fatal"), size=(256, 256)), loops=2, max_sessions=6, token=TOKEN) as client:
        await until(lambda: all(loop.ready for loop in client.server.app[LOOPS].all))  # type: ignore[attr-defined]
        yield client


@pytest.mark.slow
async def test_sessions_in_two_processes_are_talked_with_as_in_one(client: Client) -> None:
    loops = client.server.app[LOOPS]  # type: ignore[attr-defined]
    async with Peer(client, headers=OWNER) as one, Peer(client, "second", headers=OWNER) as other:
        await one.until(lambda: len(one.pictures) > 3 and len(other.pictures) > 3)
        assert {peer.url.rpartition("~")[2][:2] for peer in (one, other)} == {"1.", "2."}
        assert one.pictures[-1][2] < other.pictures[-1][2]  # each its own actor
        async with Peer(client, door=f"{one.url}/viewers", headers=OWNER) as viewer:
            assert viewer.url.startswith(f"{one.url}/viewers/")
            assert (await client.post(f"{one.url}/speech", data=wav(bursts(3)), headers=WAV | OWNER)).status == 202
            await viewer.until(lambda: sum(box > 120 for _, box, *_ in viewer.pictures) > 5)
            assert (await client.delete(viewer.url, headers=OWNER)).status == 200
        async with client.ws_connect(f"{other.url}/speech?rate=16000", headers=OWNER, timeout=HASTY) as socket:
            await socket.send_bytes((bursts(20, rate=16_000) * 32767).astype("<i2").tobytes())
            assert (await socket.receive_json())["type"] == "speaking"
            broken = await (await client.post(f"{other.url}/interrupt", headers=OWNER)).json()
            assert broken["dropped_ms"] > 2000
            while (await socket.receive_json())["type"] != "interrupted":
                pass
        assert (await client.post(f"{other.url}/manner", json={"name": "happy"}, headers=OWNER)).status == 200
        await other.until(lambda: other.pictures[-1][2] > 150)
        await problem(await client.post(f"{other.url}/manner", json={"name": "hapy"}, headers=OWNER), 422, "manner")
        recording = await (await client.post(f"{one.url}/recording", headers=OWNER)).json()
        pictures = len(one.pictures)
        await one.until(lambda: len(one.pictures) > pictures + 25)
        assert (await client.delete(f"{one.url}/recording", headers=OWNER)).status == 200
        film = await (await client.get(recording["url"], headers=OWNER)).read()
        assert film[4:8] == b"ftyp"

        # what is refused by the other process is refused in the same words
        await problem(await client.get(f"{other.url}/speech?rate=5", headers=OWNER), 422, "bad-speech")
        await problem(await client.post(f"{other.url}/speech", data=b"RIFFx", headers=WAV | OWNER), 422, "media")
        headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": '"wrong"'}
        await problem(await client.patch(other.url, data="a=x\r\n", headers=headers | OWNER), 412, "tag-wrong")
        await problem(await client.post("/v1/sessions", data="v=0", headers=SDP | OWNER), 400, "offer")
        forged = {ASKED_BY: "", "Cookie": "mytalk=guess"}
        await problem(await client.get(other.url, headers=forged), 401, "secret")
        guest = (await (await client.post("/v1/joins", headers=OWNER)).json())["join"]
        assert (await client.post("/v1/guests", json={"join": guest})).status == 204
        await problem(await client.get(other.url), 403, "origin")
        listed = (await (await client.get("/v1/sessions", headers=OWNER)).json())["sessions"]
        assert {one["id"] for one in listed} == {peer.url.rpartition("/")[2] for peer in (one, other)}
        assert b"mytalk_sessions 2.0" in await (await client.get("/metrics", headers=OWNER)).read()

        # the engine ends: both go on. One of the processes ends: only its own sessions do
        restarts = client.server.app[ENGINE].restarts  # type: ignore[attr-defined]
        os.kill(client.server.app[ENGINE].pid, signal.SIGKILL)  # type: ignore[attr-defined]
        await until(lambda: client.server.app[ENGINE].restarts > restarts and client.server.app[ENGINE].answers)  # type: ignore[attr-defined]
        seen = len(one.pictures), len(other.pictures)
        await one.until(lambda: len(one.pictures) > seen[0] + 10 and len(other.pictures) > seen[1] + 10)
        (loop,) = (loop for loop in loops.all if other.url.rpartition("/")[2] in loop.sessions)
        os.kill(loop.pid, signal.SIGKILL)
        await until(lambda: len(client.server.app[SESSIONS]) == 1)  # type: ignore[attr-defined]
        await problem(await client.get(other.url, headers=OWNER), 404, "unknown-session")
        seen_one = len(one.pictures)
        await one.until(lambda: len(one.pictures) > seen_one + 10)
        await until(lambda: loop.ready)  # it is there again
        assert (await client.delete(one.url, headers=OWNER)).status == 200
        await until(lambda: not len(client.server.app[SESSIONS]))  # type: ignore[attr-defined]
        assert loops.of("a~1.x") is loops.all[0]


def test_there_are_as_many_loops_as_carry_what_the_engine_carries() -> None:
    engine = {1: 0.004, 64: 0.008, 512: 0.03}
    assert loops_for(Costs(engine, 0.004, 2, loop=0.0025)) == 1  # two cores have no second to spare
    assert loops_for(Costs(engine, 0.004, 16, loop=0.0025)) == 8  # the wires want more than there is
    assert loops_for(Costs({1: 0.006, 2: 0.012, 4: 0.024}, 0.004, 16, loop=0.0025)) == 1  # the engine carries no more than one
    assert Costs(engine, 0.001, 16, loop=0.0025).carried() == 12
    assert Costs(engine, 0.001, 16, loop=0.0025, loops=4).carried() == 51

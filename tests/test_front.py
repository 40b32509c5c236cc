"""Many machines behind fronts: nobody who asks can tell which has what, what one refuses another takes, and what is gone is said to be."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWSTimeout, CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from realtime.errors import SettingsFault
from realtime.front.app import make_front
from realtime.front.placement import Machine, order
from realtime.front.proxy import REGISTRY
from realtime.front.sources import Dns, Static, source_of
from realtime.server.guard import FRONT
from realtime.server.keys import ENGINE
from realtime.server.options import Options
from tests.peers import SDP, WAV, Client, Peer, bursts, offer, problem, serving, until, wav

TOKEN = "a-secret-of-sixteen-or-more"
OWNER = {"Authorization": f"Bearer {TOKEN}"}
HASTY = ClientWSTimeout(ws_close=0.1)


async def front(stack: AsyncExitStack, *urls: str, token: str = TOKEN) -> Client:
    app = make_front(Static([url.rstrip("/") for url in urls]), Options(token=token))
    return await stack.enter_async_context(TestClient(TestServer(app)))


def registry(client: Client) -> Any:
    return client.server.app[REGISTRY]  # type: ignore[attr-defined]


@pytest.fixture
async def fleet() -> AsyncIterator[SimpleNamespace]:
    """Two machines of two sessions each, and two fronts."""
    async with AsyncExitStack() as stack:
        machines = [await stack.enter_async_context(serving(token=TOKEN, name=name, max_sessions=2)) for name in ("a", "b")]
        await until(lambda: all(machine.server.app[ENGINE].answers for machine in machines))  # type: ignore[attr-defined]
        urls = [str(machine.make_url("/")) for machine in machines]
        yield SimpleNamespace(machines=machines, fronts=[await front(stack, *urls) for _ in range(2)], urls=urls)


def machine_of(peer: Peer) -> str:
    return peer.url.rpartition("/")[2].partition("~")[0]


@pytest.mark.slow
async def test_sessions_of_two_machines_are_talked_with_as_of_one(fleet: SimpleNamespace) -> None:
    near, far = fleet.fronts
    assert (await near.post("/v1/rooms", json={})).status == 401
    await problem(
        await near.post("/v1/rooms", json={"url": "http://x", "actor": "second"}, headers=OWNER), 400, "request"
    )  # a machine's word
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(Peer(near, headers=OWNER))
        other = await stack.enter_async_context(Peer(far, "second", headers=OWNER))
        await until(lambda: sum(row.said["sessions"] for row in registry(near).rows()) == 2)
        third = await stack.enter_async_context(Peer(near, headers=OWNER))
        await until(lambda: sum(row.said["sessions"] for row in registry(far).rows()) == 3)
        fourth = await stack.enter_async_context(Peer(far, headers=OWNER))
        peers = (one, other, third, fourth)
        assert sorted(map(machine_of, peers)) == ["a", "a", "b", "b"]
        answer = await near.post("/v1/sessions", data=await offer(), headers=SDP | OWNER)
        assert (await problem(answer, 503, "full"))["again"]
        assert answer.headers["Retry-After"]

        # whatever comes later reaches its machine, by either front
        for peer in peers:
            for client in fleet.fronts:
                told = await (await client.get(peer.url, headers=OWNER)).json()
                assert told["id"] == peer.url.rpartition("/")[2]
        await one.until(lambda: len(one.pictures) > 3 and len(other.pictures) > 3)
        headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": '"wrong"'}
        await problem(await far.patch(one.url, data="a=x\r\n", headers=headers | OWNER), 412, "tag-wrong")
        async with Peer(far, door=f"{one.url}/viewers", headers=OWNER) as viewer:
            assert (await far.post(f"{one.url}/speech", data=wav(bursts(3)), headers=WAV | OWNER)).status == 202
            await viewer.until(lambda: sum(box > 120 for _, box, *_ in viewer.pictures) > 5)
            assert (await near.delete(viewer.url, headers=OWNER)).status == 200
        async with near.ws_connect(f"{other.url}/speech?rate=16000", headers=OWNER, timeout=HASTY) as socket:
            await socket.send_bytes((bursts(20, rate=16_000) * 32767).astype("<i2").tobytes())
            assert (await socket.receive_json())["type"] == "speaking"
            broken = await (await far.post(f"{other.url}/interrupt", headers=OWNER)).json()
            assert broken["dropped_ms"] > 2000
            while (await socket.receive_json())["type"] != "interrupted":
                pass
        await problem(await near.get(f"{other.url}/speech?rate=5", headers=OWNER), 422, "bad-speech")
        assert (await near.post(f"{other.url}/manner", json={"name": "happy"}, headers=OWNER)).status == 200
        await problem(await near.post(f"{other.url}/say", json={"text": 5}, headers=OWNER), 400, "request")
        recording = await (await far.post(f"{one.url}/recording", headers=OWNER)).json()
        pictures = len(one.pictures)
        await one.until(lambda: len(one.pictures) > pictures + 10)
        assert (await near.delete(f"{one.url}/recording", headers=OWNER)).status == 200
        film = await (await far.get(recording["url"], headers=OWNER)).read()
        assert film[4:8] == b"ftyp"
        listed = (await (await far.get("/v1/sessions", headers=OWNER)).json())["sessions"]
        assert {session["id"] for session in listed} == {peer.url.rpartition("/")[2] for peer in peers}
        assert [made["name"] for made in (await (await far.get("/v1/recordings", headers=OWNER)).json())["recordings"]] == [
            recording["name"]
        ]
        assert (await (await near.get("/v1/actors", headers=OWNER)).json())["default"] == "presenter"
        await problem(await near.delete("/v1/actors/second", headers=OWNER), 409, "in-use")
        text = await (await near.get("/metrics", headers=OWNER)).text()
        assert "mytalk_fleet_machines 2.0" in text
        health = await (await near.get("/healthz")).json()
        assert (health["machines"], health["sessions"], health["capacity"], health["free"]) == (2, 4, 4, 0)

        # what nobody has
        await problem(await near.get("/v1/sessions/c~abc", headers=OWNER), 410, "gone")
        await problem(await near.get("/v1/sessions/127.0.0.1:1~abc", headers=OWNER), 410, "gone")
        await problem(await near.get("/v1/sessions/abc", headers=OWNER), 404, "unknown-session")
        await problem(await near.get("/v1/sessions/a~abc", headers=OWNER), 404, "unknown-session")
        await problem(await near.get("/v1/sessions/a~abc"), 401, "secret")
        await problem(await near.get(one.url, headers={FRONT: "forged.forged"}), 401, "secret")

        # one takes nobody any more: the other does
        (lost,) = (m for m, name in zip(fleet.machines, "ab", strict=True) if name == machine_of(one))
        kept = [peer for peer in peers if machine_of(peer) != machine_of(one)]
        gone = [peer for peer in peers if machine_of(peer) == machine_of(one)]
        assert (await near.delete(kept[0].url, headers=OWNER)).status == 200
        assert (await lost.post("/v1/drain", headers=OWNER)).status == 200
        for peer in gone[1:]:
            assert (await near.delete(peer.url, headers=OWNER)).status == 200
        fifth = await stack.enter_async_context(Peer(near, headers=OWNER))
        assert machine_of(fifth) == machine_of(kept[0])

        # one is gone, and all that it had; the other goes on
        await lost.server.close()
        for client in fleet.fronts:
            for what in (gone[0].url, f"{gone[0].url}/speech", recording["url"]):
                await problem(await client.get(what, headers=OWNER), 410, "gone")
        seen = len(kept[1].pictures)
        await kept[1].until(lambda: len(kept[1].pictures) > seen + 10)
        assert (await far.delete(fifth.url, headers=OWNER)).status == 200
        sixth = await stack.enter_async_context(Peer(far, headers=OWNER))
        assert machine_of(sixth) == machine_of(kept[1])


@pytest.mark.slow
async def test_joins_are_good_at_any_front_and_on_any_machine_and_used_once(fleet: SimpleNamespace) -> None:
    near, far = fleet.fronts

    async def joined(**said: Any) -> str:
        return str((await (await near.post("/v1/joins", headers=OWNER, json=said)).json())["join"])

    # a browser: once, whichever front it asks, and a machine itself knows as well
    token = await joined(sessions=3, actors=["second"])
    assert (await far.post("/v1/guests", json={"join": token})).status == 204
    for client in (near, far, *fleet.machines):
        await problem(await client.post("/v1/guests", json={"join": token}), 401, "secret")
    await problem(await far.post("/v1/sessions?actor=presenter", data=await offer(), headers=SDP), 403, "origin")
    await problem(await far.post("/v1/joins"), 403, "origin")
    listed = await (await far.get("/v1/actors")).json()
    assert ([actor["name"] for actor in listed["actors"]], listed["may_add"]) == (["second"], False)
    async with AsyncExitStack() as stack:
        mine = [await stack.enter_async_context(Peer(far, "second")) for _ in range(2)]
        assert (await far.post(f"{mine[0].url}/interrupt")).status == 200
        await problem(await far.post("/v1/sessions", data=await offer(), headers=SDP), 429, "busy")  # half of all room
        await problem(await near.get(mine[0].url), 401, "secret")  # another browser

        # a client that bears the token itself: one session, of all machines and fronts; a refusal does not use it up
        bearer = {"Authorization": f"Bearer {await joined()}"}
        await problem(await near.post("/v1/sessions?actor=nobody", data=await offer(), headers=SDP | bearer), 404, "unknown-actor")
        async with Peer(near, headers=bearer) as third:
            await problem(await far.post("/v1/sessions", data=await offer(), headers=SDP | bearer), 403, "origin")
            assert (await far.post(f"{third.url}/interrupt", headers=bearer)).status == 200
            await problem(await far.post(f"{mine[0].url}/interrupt", headers=bearer), 403, "origin")
            assert (await far.delete(third.url, headers=bearer)).status == 200
        watcher = await joined(watch=mine[0].url.rpartition("/")[2])
        async with ClientSession(str(near.make_url("/")), cookie_jar=CookieJar(unsafe=True)) as viewer:
            assert (await viewer.post("/v1/guests", json={"join": watcher})).status == 204
            assert (await viewer.get(mine[0].url)).status == 200
            await problem(await viewer.get(mine[1].url), 403, "origin")
            await problem(await viewer.post("/v1/sessions", data=await offer(), headers=SDP), 403, "origin")
        assert (await far.post("/v1/owners", json={"secret": TOKEN})).status == 204
        assert (await (await far.get("/v1/me")).json())["owner"]


# of machines that only say how they are


class Scripted:
    """A machine without an engine: says what it is told to."""

    def __init__(self, name: str, capacity: int = 2, actors: tuple[str, ...] = ("presenter",), answer: str = "takes") -> None:
        self.name, self.capacity, self.actors, self.answer = name, capacity, actors, answer
        self.sessions: list[str] = []
        self.asked = 0
        self.claims: dict[str, str] = {}
        self.server: TestServer | None = None

    async def __aenter__(self) -> Scripted:
        app = web.Application()
        app.router.add_get("/v1/machine", self._about)
        app.router.add_post("/v1/sessions", self._begin)
        app.router.add_post("/v1/claims", self._claim)
        app.router.add_get("/v1/sessions/{session}", self._report)
        self.server = TestServer(app)
        await self.server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.server
        await self.server.close()

    @property
    def url(self) -> str:
        assert self.server
        return str(self.server.make_url("/"))

    async def _about(self, request: web.Request) -> web.Response:
        if self.answer == "silent":
            await asyncio.Event().wait()
        free = max(0, self.capacity - len(self.sessions))
        draining = self.answer == "drains"
        said = {"name": self.name, "ready": True, "draining": draining, "capacity": self.capacity, "sessions": len(self.sessions)}
        return web.json_response(said | {"free": 0 if draining else free, "loops": 1, "actors": self.actors, "busy": [], "guests": {}})

    async def _begin(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.answer == "silent":
            await asyncio.Event().wait()
        if self.answer == "crashes":
            return web.json_response({"code": "engine-crash"}, status=503)
        if len(self.sessions) >= self.capacity or self.answer == "drains":
            return web.json_response({"code": "full"}, status=503)
        self.sessions.append(f"{self.name}~{len(self.sessions)}")
        return web.Response(status=201, text="v=0", headers={"Location": f"/v1/sessions/{self.sessions[-1]}", "Link": "<stun:x>"})

    async def _claim(self, request: web.Request) -> web.Response:
        said = await request.json()
        return web.json_response({"before": self.claims.setdefault(said["join"], said["use"])})

    async def _report(self, request: web.Request) -> web.Response:
        return web.json_response({"id": request.match_info["session"]})


async def begin(client: Client, actor: str = "presenter") -> Any:
    return await client.post(f"/v1/sessions?actor={actor}", data="v=0", headers=SDP)


async def test_the_next_machine_takes_whom_one_refuses_or_does_not_hear() -> None:
    async with AsyncExitStack() as stack:
        full, silent, third = [await stack.enter_async_context(Scripted(name)) for name in ("full", "silent", "third")]
        client = await front(stack, full.url, silent.url, third.url, token="")
        full.capacity = 0  # and the front does not know yet
        silent.answer = "silent"
        answers = [await begin(client) for _ in range(2)]
        assert [answer.headers["Location"] for answer in answers] == ["/v1/sessions/third~0", "/v1/sessions/third~1"]
        assert answers[0].headers["Link"] == "<stun:x>"
        answer = await begin(client)
        await problem(answer, 503, "full")
        assert answer.headers["Retry-After"]

        # another front that has not heard of a machine looks for it before it says that it is gone
        fourth = await stack.enter_async_context(Scripted("fourth"))
        registry(client)._source = Static([third.url.rstrip("/"), fourth.url.rstrip("/")])
        assert (await client.get("/v1/sessions/fourth~0")).status == 200
        fourth.answer = "crashes"  # whoever ended an engine does not go from machine to machine
        assert (await begin(client)).status == 503
        assert fourth.asked == 1
        fourth.answer = "drains"
        await until(lambda: registry(client)._named("fourth").said["draining"])
        await problem(await begin(client), 503, "full")
        assert fourth.asked == 1


async def test_joins_at_capacity_are_all_refused_and_none_waits() -> None:
    async with AsyncExitStack() as stack:
        machines = [await stack.enter_async_context(Scripted(name, 4)) for name in "ab"]
        fronts = [await front(stack, *(machine.url for machine in machines), token="") for _ in range(2)]
        answers = [await begin(fronts[at % 2]) for at in range(8)]
        assert [answer.status for answer in answers] == [201] * 8
        assert [len(machine.sessions) for machine in machines] == [4, 4]
        answers = await asyncio.gather(*(begin(fronts[at % 2]) for at in range(20)))
        assert {answer.status for answer in answers} == {503}
        assert all(answer.headers["Retry-After"] for answer in answers)
        machines[0].sessions.pop()  # room is found before it was heard of
        assert (await begin(fronts[0])).status == 201


async def test_two_machines_of_one_name_and_one_with_another_secret_are_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncExitStack() as stack:
        machines = [await stack.enter_async_context(Scripted("same")) for _ in range(2)]
        refusing = await stack.enter_async_context(TestServer(web.Application()))
        client = await front(stack, *(machine.url for machine in machines), str(refusing.make_url("/")), token="")
        assert (await (await client.get("/healthz")).json())["machines"] == 1
        assert "give each machine its own --name" in caplog.text
        assert "has it the same MYTALK_TOKEN?" in caplog.text


def test_a_session_is_placed_where_there_is_room_and_its_actor() -> None:
    empty = Machine("empty", 4, 4)
    has = Machine("has", 4, 1, {"anna"})
    machines = [
        empty,
        has,
        Machine("full", 4, 0, {"anna"}),
        replace(has, name="ends", draining=True),
        replace(has, name="mute", silent=True),
    ]
    for seed in range(20):
        names = [machine.name for machine in order(machines, "anna", Random(seed))]
        assert names == ["has", "empty", "full", "mute"]
        assert next(order([empty, replace(empty, name="fuller", free=3)], "anna", Random(seed))).name == "empty"
    many = [Machine(str(at), 4, 4) for at in range(100)]
    drawn = {next(order(many, "anna", Random(seed))).name for seed in range(100)}
    assert len(drawn) > 40  # fronts that know the same do not all go to one
    assert {machine.name for machine in order(many, "anna", Random(0))} == {machine.name for machine in many}
    assert list(order([], "anna", Random(0))) == []


async def test_machines_are_found_by_a_name_of_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    found = source_of("dns:fleet.example:8008")
    assert isinstance(found, Dns)

    async def known(*_: Any, **__: Any) -> Any:
        return [(2, 1, 6, "", ("10.0.0.6", 8008)), (10, 1, 6, "", ("fd00::5", 8008, 0, 0)), (2, 1, 6, "", ("10.0.0.6", 8008))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", known)
    assert await found.addresses() == ["http://10.0.0.6:8008", "http://[fd00::5]:8008"]


@pytest.mark.parametrize(
    "wrong", ["", "10.0.0.5:8008", "ftp://host", "http://host/path", "dns:name", "dns::80", "http://me@host", "http://[x"]
)
def test_what_is_no_machine_is_said(mytalk: Any, wrong: str) -> None:
    with pytest.raises(SettingsFault):
        source_of(wrong)
    done = mytalk("front", "--machines", wrong)
    assert done.code == 2
    assert "hint: " in done.err


SERVE = """
from realtime.server.app import serve
from realtime.server.options import Options
from realtime.testing import FakePipeline, FakeStore
if __name__ == "__main__":
    serve(store=FakeStore(size=(256, 256)), port=0, pipeline=FakePipeline, options=Options(max_sessions=3, drain_s=60.0, name="a"))
"""


async def test_who_is_to_end_waits_for_its_last_session() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVE, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().split()[-1]
        async with ClientSession(url) as client, Peer(client, actor="presenter") as peer:  # type: ignore[arg-type]
            await peer.until(lambda: len(peer.pictures) > 3)
            told = "from realtime.cli import main; main(['drain', '--wait', '0.1', %r])"
            command = await asyncio.create_subprocess_exec(sys.executable, "-c", told % url, stdout=asyncio.subprocess.PIPE)
            assert b"sessions that go on: 1" in (await command.communicate())[0]
            await problem(await client.post("/v1/sessions", data=await offer(), headers=SDP), 503, "full")
            assert (await (await client.delete("/v1/drain")).json()) == {"draining": False, "sessions": 1}
            process.send_signal(signal.SIGTERM)
            while (answer := await client.post("/v1/sessions", data=await offer(), headers=SDP)).status == 201:
                await client.delete(answer.headers["Location"])
            assert (await problem(answer, 503, "full"))["again"]
            assert json.loads(await (await client.get("/healthz")).read())["draining"]
            assert (await client.get("/readyz")).status == 503
            seen = len(peer.pictures)
            await peer.until(lambda: len(peer.pictures) > seen + 10)
            assert (await client.delete(peer.url)).status == 200
            assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

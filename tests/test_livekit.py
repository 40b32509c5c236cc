"""LiveKit Agents: its own session, runner, synchronizer and tracks, in this process; only the room is a stand-in of a few lines."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from engines.errors import Fault
from realtime.testing import FakePipeline, FakeStore
from tests.peers import serving, until

pytestmark = [
    pytest.mark.xdist_group("livekit"),  # it takes seconds to be imported
    pytest.mark.skipif(find_spec("livekit") is None, reason="LiveKit Agents is not installed: make install EXTRAS=test"),
]


@pytest.fixture
def lk() -> Any:
    """The stand-in, imported by those who need it."""
    from tests import livekit_room

    return livekit_room


async def test_an_agent_speaks_is_interrupted_and_knows_what_was_heard(lk: Any) -> None:
    with pytest.raises(Fault, match="nobody"):
        lk.AvatarSession("nobody", store=FakeStore())
    avatar = lk.AvatarSession("second", store=FakeStore(size=(256, 256)), pipeline=FakePipeline)
    session, room = lk.AgentSession[None](), lk.Room()
    await avatar.start(session, cast(Any, room))
    assert (avatar.provider, avatar.avatar_identity) == ("mytalk", "agent")
    output: Any = session.output.audio
    events = lk.listen(output)
    await session.start(lk.Agent(instructions="Say what is asked for."))
    await until(lambda: len(room.tracks) == 2)
    ear = lk.Ear(room)
    try:
        await until(lambda: ear.pictures > 5)
        assert events == []  # pictures are no playback
        for seconds, rate, stereo in ((0.5, 24_000, False), (0.3035, 44_100, True), (0.02, 16_000, False), (0.7, 48_000, False)):
            ear.samples = 0
            await session.say("x", audio=lk.frames(seconds, rate, stereo), add_to_chat_ctx=False)
            assert events[0] == "started"
            assert events[1] == (pytest.approx(seconds, abs=2e-4), False)
            assert len(events) == 2
            await until(lambda: ear.samples >= (seconds - 0.004) * 48_000)  # noqa: B023  all of it arrives
            events.clear()
        await asyncio.sleep(0.1)
        ear.samples = 0
        handle = session.say("x", audio=lk.frames(20), add_to_chat_ctx=False)
        await until(lambda: ear.samples > 16_000)
        handle.interrupt()
        await handle
        (position, interrupted) = events[1]
        assert interrupted
        assert 0.3 < position < 19
        await session.say("x", audio=lk.frames(0.2), add_to_chat_ctx=False)
        assert events[2:] == ["started", (0.2, False)]
        assert ear.samples < (position + 0.2 + 0.5) * 48_000
    finally:
        await ear.close()
        await avatar.aclose()
        await avatar.aclose()
        await session.aclose()


async def test_every_segment_is_told_once_whatever_interrupts_it(lk: Any) -> None:
    moments = np.random.default_rng(3)
    async with lk.running(FakeStore()) as (output, _, _):
        events = lk.listen(output)
        for number in range(8):
            seconds, at = float(moments.uniform(0.02, 0.2)), float(moments.uniform(0, 0.25))
            events.clear()
            await lk.capture(output, seconds)
            if number % 2:
                await asyncio.sleep(at)
                output.clear_buffer()
                if number % 4 == 3:
                    output.clear_buffer()  # twice
            await asyncio.wait_for(output.wait_for_playout(), 30)
            told = [event for event in events if event != "started"]
            assert len(told) == 1, events
            position, interrupted = told[0]
            if interrupted:
                assert 0 <= position <= round(seconds, 4) + 0.001
            else:
                assert position == pytest.approx(seconds, abs=1e-3)
                assert events[0] == "started"

        for count in (1, 2, 3):  # broken off before anything of it was seen, and some at once
            events.clear()
            for _ in range(count):
                await lk.capture(output, 0.1)
            if count == 3:
                await until(lambda: events == ["started"])
            output.clear_buffer()
            await asyncio.wait_for(output.wait_for_playout(), 30)
            assert [event[1] for event in events if event != "started"] == [True] * count
        await asyncio.sleep(0.3)
        assert len(events) == 4  # nothing more is told of them

        events.clear()  # segments that are pushed at once, and the shortest
        for seconds in (0.2, 0.02, 0.02, 0.1):
            await lk.capture(output, seconds)
        await asyncio.wait_for(output.wait_for_playout(), 30)
        assert events == ["started", (0.2, False), "started", (0.02, False), "started", (0.02, False), "started", (0.1, False)]


async def test_where_the_engine_gives_up_nobody_waits(lk: Any) -> None:
    async with lk.running(FakeStore()) as (output, room, conversation):
        events = lk.listen(output)
        await until(lambda: len(room.tracks) == 2)
        await lk.capture(output, 5)
        await until(lambda: events == ["started"])
        conversation.refused(Fault("This actor's pictures cannot be made."))
        await asyncio.wait_for(output.wait_for_playout(), 30)
        await lk.capture(output, 1)
        await asyncio.wait_for(output.wait_for_playout(), 30)
        assert [event for event in events if event != "started"][1:] == [(0.0, True)]


async def test_a_server_is_told_who_joins_and_its_refusal_is_said(lk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    async def begin(request: web.Request) -> web.Response:
        asked.append((request.headers["Authorization"], await request.json()))
        if len(asked) > 1:
            return web.json_response({"detail": "This machine carries no more.", "hint": "Later."}, status=503)
        return web.json_response({}, status=201, headers={"Location": "/v1/sessions/one"})

    async def end(request: web.Request) -> web.Response:
        asked.append("ended")
        return web.Response()

    app, room = web.Application(), lk.Room()
    app.add_routes([web.post("/v1/rooms", begin), web.delete("/v1/sessions/one", end)])
    async with TestServer(app) as server:
        avatar = lk.AvatarSession("anna", server=str(server.make_url("/")), token="secret")
        with pytest.raises(Fault, match="LIVEKIT_URL and LIVEKIT_API_KEY"):
            await avatar.start(lk.AgentSession[None](), cast(Any, room))
        for name in ("URL", "API_KEY", "API_SECRET"):
            monkeypatch.setenv(f"LIVEKIT_{name}", "wss://livekit.example" if name == "URL" else "k" * 40)
        session = lk.AgentSession[None]()
        await avatar.start(session, cast(Any, room))
        assert isinstance(session.output.audio, lk.DataStreamAudioOutput)
        (bearer, told), *_ = asked
        assert bearer == "Bearer secret"
        assert (told["url"], told["actor"], told["agent"]) == ("wss://livekit.example", "anna", "agent")
        claims = json.loads(base64.urlsafe_b64decode(told["token"].split(".")[1] + "=="))
        assert claims["attributes"] == {"lk.publish_on_behalf": "agent"}
        assert (claims["sub"], claims["kind"], claims["video"]["room"]) == ("mytalk-avatar", "agent", "room")
        await avatar.aclose()
        assert asked.pop() == "ended"
        with pytest.raises(Fault, match="carries no more"):
            await avatar.start(lk.AgentSession[None](), cast(Any, room))
    for wrong in ("livekit.example", "ftp://x"):
        with pytest.raises(Fault, match="address"):
            lk.AvatarSession("anna", server=wrong)


async def test_a_server_joins_a_room_and_says_there_what_the_agent_says(lk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = lk.Room("agent"), lk.Room("mytalk-avatar")
    near.other, far.other = far, near
    far.remote_participants["agent"], near.remote_participants["mytalk-avatar"] = near, far
    monkeypatch.setattr(lk.rtc, "Room", lambda: far)
    for name in ("URL", "API_KEY", "API_SECRET"):
        monkeypatch.setenv(f"LIVEKIT_{name}", "wss://livekit.example" if name == "URL" else "k" * 40)
    async with serving() as client:
        for wrong, status in (
            ({}, 400),
            ({"url": "http://x", "token": "t"}, 400),
            ({"url": "wss://x", "token": 5}, 400),
            ({"url": "wss://livekit.example", "token": "t", "actor": "nobody"}, 404),
            ({"url": "wss://livekit.example", "token": "t", "manner": "nobody's"}, 422),
            ({"url": "wss://elsewhere.example", "token": "t"}, 502),
        ):
            answer = await client.post("/v1/rooms", json=wrong)
            assert (answer.status, answer.content_type) == (status, "application/problem+json"), await answer.text()
        far.here = True
        avatar, session = lk.AvatarSession("second", server=str(client.make_url("/"))), lk.AgentSession[None]()
        await avatar.start(session, cast(Any, near))
        output: Any = session.output.audio
        events = lk.listen(output)
        await until(lambda: len(far.tracks) == 2)
        for seconds in (0.5, 0.1):
            await lk.capture(output, seconds)
            await asyncio.wait_for(output.wait_for_playout(), 30)
        assert events == ["started", (0.5, False), "started", (0.1, False)]
        (listed,) = (await (await client.get("/v1/sessions")).json())["sessions"]
        assert (listed["actor"], listed["manner"]) == ("second", "own")
        await lk.capture(output, 10)
        await until(lambda: len(events) == 5)
        output.clear_buffer()
        await asyncio.wait_for(output.wait_for_playout(), 30)
        position, interrupted = events[-1]
        assert interrupted
        assert 0 <= position < 9
        await lk.capture(output, 0.1)
        await asyncio.wait_for(output.wait_for_playout(), 30)
        assert events[6:] == ["started", (0.1, False)]
        await avatar.aclose()
        assert (await (await client.get("/v1/sessions")).json())["sessions"] == []
        assert not far.here


def test_importing_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("livekit", "mytalk.livekit", "realtime.plug"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "livekit", None)
    with pytest.raises(ImportError, match=r"pip install 'mytalk-live\[livekit\]'"):
        import mytalk.livekit  # noqa: F401

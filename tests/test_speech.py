"""Speech in by websocket, and its interruption, through a peer that hears what comes out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import SpeechFault
from realtime.pcm import Pcm
from realtime.server import peer as peer_module
from realtime.server.keys import SESSIONS
from tests.peers import WAV, Client, Peer, apart, bursts, problem, serving, wav


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving() as client:
        yield client


def raw(sound: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    return (sound * 32767).astype("<i2").tobytes()


async def event(socket: ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next event of a kind."""
    while True:
        message = await asyncio.wait_for(socket.receive(), 30)
        assert message.type is WSMsgType.TEXT, message
        found: dict[str, Any] = json.loads(message.data)
        if found["type"] == kind:
            return found
        assert found["type"] != "error", found


async def test_samples_of_any_rate_in_any_pieces_are_spoken_in_step(client: Client) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        sound = raw(bursts(3, rate=22_050))
        async with client.ws_connect(f"{peer.url}/speech") as socket:
            await socket.send_json({"type": "start", "rate": 22_050})
            rng = np.random.default_rng(3)
            at = 0
            while at < len(sound):  # pieces of odd sizes too: a sample may be split
                size = int(rng.integers(1, 9001))
                await socket.send_bytes(sound[at : at + size])
                at += size
            await socket.send_str("flush")
            assert (await event(socket, "speaking"))["type"] == "speaking"
            assert 0 < (await event(socket, "played"))["samples"] < len(sound) // 2
            done = await event(socket, "idle")
            assert done["samples"] == len(sound) // 2
            assert abs(done["ms"] - 3000) <= 1
        await peer.until(lambda: peer.sounds[-1][1] < 100)
        assert 30 <= sum(loud > 1500 for _, loud in peer.sounds) <= 66  # of 60 packets; a machine that is busy loses some on the way
        assert apart(peer) <= 0.06


async def test_an_interruption_silences_at_once_and_says_how_much_was_heard(client: Client) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        async with client.ws_connect(f"{peer.url}/speech?rate=16000") as socket:
            for by in ("socket", "post"):
                begun = sum(loud > 1500 for _, loud in peer.sounds)
                await socket.send_bytes(raw(bursts(30, 1, 0.98, 16_000)))
                await peer.until(lambda: sum(loud > 1500 for _, loud in peer.sounds) > begun + 40)  # noqa: B023
                count = len(peer.sounds)
                if by == "socket":
                    await socket.send_str('{"type": "interrupt"}')
                else:
                    answer = await (await client.post(f"{peer.url}/interrupt")).json()
                    assert answer["heard_ms"] > 500
                    assert 1_000 < answer["heard_ms"] + answer["dropped_ms"] <= 30_002  # of this speech, not of what was before
                told = await event(socket, "interrupted")
                assert told["dropped_ms"] > (20_000 if by == "socket" else 0)  # a message is behind all that was sent; a POST may overtake
                assert told["samples"] % 480_000 > 8_000
                await peer.until(lambda: len(peer.sounds) > count + 50)  # noqa: B023
                late = [n for n, (_, loud) in enumerate(peer.sounds[count:]) if loud > 1500]
                assert len(late) < 25  # what was on its way; the rest of 30 s never comes
                box = [seen for _, seen, _, _ in peer.pictures[-10:]]
                assert max(box) < 60  # and the picture is at rest
            # what comes afterwards is new, and is heard
            count = sum(loud > 1500 for _, loud in peer.sounds)
            await socket.send_bytes(raw(bursts(2, 1, 0.9, 16_000)))
            await peer.until(lambda: sum(loud > 1500 for _, loud in peer.sounds) > count + 15)


async def test_a_socket_that_is_far_ahead_is_not_read_until_there_is_room(client: Client) -> None:
    async with Peer(client) as peer, client.ws_connect(f"{peer.url}/speech?rate=8000") as socket:
        second = raw(bursts(1, rate=8000))
        sending = asyncio.create_task(_pour(socket, second, 3600))
        await event(socket, "played")
        waiting = [0]
        while len(waiting) < 30 or waiting[-1] > waiting[-30] + 500:  # until it does not grow any more
            waiting.append((await peer.report())["waiting_ms"])
        assert 50_000 < waiting[-1] < 62_000
        assert not sending.done()
        assert (await (await client.post(f"{peer.url}/interrupt")).json())["dropped_ms"] > 50_000
        assert (await client.delete(peer.url)).status == 200  # which ends the socket too, however much waits in it
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(sending, 30)


async def _pour(socket: ClientWebSocketResponse, data: bytes, times: int) -> None:
    for _ in range(times):
        await socket.send_bytes(data)


async def test_what_is_no_speech_is_refused_in_words(client: Client) -> None:
    async with Peer(client) as peer:
        speech = f"{peer.url}/speech"
        for rate in ("7", "1000000", "many", ""):
            await problem(await client.get(f"{speech}?rate={rate}"), 422, "bad-speech")
        await problem(await client.get(speech), 415, "content-type")
        await problem(await client.get("/v1/sessions/none/speech"), 404, "unknown-session")
        for headers, body in (
            ({"Content-Type": "audio/pcm;rate=16000"}, b"odd"),
            ({"Content-Type": "audio/pcm;rate=16000"}, b""),
            ({"Content-Type": "audio/pcm"}, b"even"),
            ({"Content-Type": "audio/pcm;rate=12"}, b"even"),
        ):
            await problem(await client.post(speech, data=body, headers=headers), 422, "bad-speech")
        for first in (b"\x00\x00", '{"rate": 5}', '{"type": "sing"}', "{", "[]", '{"type": "start"}'):
            async with client.ws_connect(speech) as socket:
                await (socket.send_bytes(first) if isinstance(first, bytes) else socket.send_str(first))
                told = json.loads((await asyncio.wait_for(socket.receive(), 30)).data)
                assert (told["type"], told["code"]) == ("error", "bad-speech"), told
                assert (await asyncio.wait_for(socket.receive(), 30)).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
        count = len(peer.pictures)
        await peer.until(lambda: len(peer.pictures) > count + 10)
        assert (await peer.report())["state"] == "idle"


async def test_raw_samples_may_come_as_a_file(client: Client) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        headers = {"Content-Type": "audio/pcm;rate=16000"}
        assert (await client.post(f"{peer.url}/speech", data=raw(bursts(2, rate=16_000)), headers=headers)).status == 202
        await peer.until(lambda: sum(loud > 1500 for _, loud in peer.sounds) > 10)


async def test_files_and_a_socket_take_turns(client: Client) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        await client.post(f"{peer.url}/speech", data=wav(bursts(2)), headers=WAV)
        async with client.ws_connect(f"{peer.url}/speech?rate=48000") as socket:
            await peer.until(lambda: sum(loud > 1500 for _, loud in peer.sounds) > 5)
            await socket.send_bytes(raw(bursts(2)))
            await socket.send_str("flush")
            await event(socket, "idle")
        await peer.until(lambda: peer.sounds[-1][1] < 100)
        assert 40 <= sum(loud > 1500 for _, loud in peer.sounds) <= 90  # four bursts of 0.4 s, none over another


def limited(process: int) -> set[str]:
    """What a process may use of only so much, of the things that the server limits."""
    text = Path(f"/proc/{process}/limits").read_text()
    return {
        what for what in ("cpu time", "file size", "core file size", "address space", "data size") if re.search(rf"Max {what} +\d+ ", text)
    }


def adjusted(process: int) -> str:
    return Path(f"/proc/{process}/oom_score_adj").read_text().strip()


async def test_a_file_is_opened_by_a_process_with_limits_that_may_die_alone(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def readers() -> list[int]:
        """Processes that have a posted file open."""
        found = []
        for handle in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if handle.readlink().parent == tmp_path:
                    found.append(int(handle.parts[2]))
        return found

    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        await client.post(f"{peer.url}/speech", data=wav(bursts(60, rate=8000), 8000), headers=WAV)
        await peer.until(lambda: len(readers()) == 1)
        (reader,) = readers()
        assert reader != os.getpid()
        assert limited(reader) == {"cpu time", "file size", "core file size", "address space", "data size"}
        assert adjusted(reader) == "1000"  # the first to be ended where memory is short
        os.kill(reader, signal.SIGKILL)
        await peer.until(lambda: not readers())
        await client.post(f"{peer.url}/interrupt")
        whole = wav(bursts(2, rate=8000), 8000)
        await client.post(f"{peer.url}/speech", data=whole[: len(whole) // 2], headers=WAV)
        while "The file is truncated" not in str((await peer.report())["trouble"]):  # noqa: ASYNC110  it is asked over HTTP
            await asyncio.sleep(0.02)
        count = len(peer.sounds)
        await client.post(f"{peer.url}/speech", data=whole, headers=WAV)
        await peer.until(lambda: any(loud > 1500 for _, loud in peer.sounds[count:]))
        assert (await peer.report())["trouble"] is None
        await peer.until(lambda: not any(tmp_path.iterdir()))


@settings(deadline=None, max_examples=40)
@given(rate=st.sampled_from([8000, 11_025, 22_050, 24_000, 44_100, 48_000, 96_000]), cuts=st.lists(st.integers(1, 5000), max_size=12))
def test_pieces_and_the_whole_give_the_same_sound(rate: int, cuts: list[int]) -> None:
    data = raw(bursts(0.3, 0.1, 0.05, rate))
    whole, parts = Pcm(rate), Pcm(rate)
    expected = np.concatenate([*whole.put(data), whole.flush()])
    got, at = [], 0
    for cut in cuts:
        got += list(parts.put(data[at : at + cut]))
        at += cut
    got += [*parts.put(data[at:]), parts.flush()]
    assert len(expected) == -(-len(data) // 2 * 48_000 // rate)
    assert np.allclose(np.concatenate(got), expected, atol=2e-3)
    assert whole.came == parts.came == len(data) // 2
    assert not list(parts.put(b"\x01"))  # half a sample
    with pytest.raises(SpeechFault):
        parts.flush()


async def test_a_session_that_ends_closes_its_sockets_as_is_right_and_a_peer_that_does_not_close_is_left(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_module, "CLOSE_S", 0.1)
    async with Peer(client) as peer, client.ws_connect(f"{peer.url}/speech?rate=16000") as socket:
        (session,) = client.server.app[SESSIONS]  # type: ignore[attr-defined]
        closing = session.peer._connection.close
        monkeypatch.setattr(session.peer._connection, "close", asyncio.Event().wait)
        assert (await client.delete(peer.url)).status == 200
        assert (await event(socket, "ended"))["type"] == "ended"
        last = await socket.receive()
        assert (last.type, last.data) == (WSMsgType.CLOSE, 1000)
        await closing()

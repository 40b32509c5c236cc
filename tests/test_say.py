"""Text that a live session says: in order, with its voice, broken off by an interruption, within the limits of whoever asks."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engines.voice import kokoro
from realtime.server.keys import SAYINGS
from realtime.server.sayings import TEXTS
from realtime.voices import LONGEST
from tests.made import noise, write_wav
from tests.peers import WAV, Client, Peer, bursts, problem, serving, wav

TOKEN = "a-secret-of-the-owner-0123"
OWNER = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def speaking(folder: Path, seconds: float = 0.3, slow: str = "", **options: Any) -> AsyncIterator[Client]:
    """A server whose voice says noise of so many seconds for each piece, after what `slow` does."""
    sound = write_wav(folder / "voice.wav", noise(int(seconds * 16000)))
    command = f"cat {shlex.quote(str(sound))}"
    if slow:
        command = f"sh -c {shlex.quote(f'{slow}; {command}')}"
    async with serving(voice_command=command, **options) as client:
        yield client


async def trouble(peer: Peer) -> str:
    """What the session says was wrong, once it does."""
    for _ in range(3000):
        if told := (await peer.report())["trouble"]:
            return str(told)
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was wrong")


async def say(client: Client, session: str, text: str, **more: Any) -> Any:
    return await client.post(f"{session}/say", json={"text": text, **more})


async def test_a_text_is_said_piece_by_piece_and_in_its_turn(tmp_path: Path) -> None:
    async with speaking(tmp_path) as client, Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        first = await say(client, peer.url, "One. Two. Three.")
        assert first.status == 202
        assert await first.json() == {"voice": "command", "pieces": 3, "waiting": 1}
        await client.post(
            f"{peer.url}/speech", data=wav(bursts(1, 1, 1.0)), headers=WAV
        )  # a tone: behind the text, though it is there sooner
        await peer.until_state("speaking")
        await peer.until_state("idle")
        loud = [level for _, level in peer.sounds if level > 500]
        assert 60 < len(loud) < 130  # 3 x 0.3 s of noise and a second of tone, in packets of 20 ms
        assert (await peer.report())["waiting_ms"] == 0
        assert (await peer.report())["trouble"] is None


async def test_an_interruption_reaches_what_is_not_made_yet(tmp_path: Path) -> None:
    async with speaking(tmp_path, slow="sleep 0.3") as client, Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        for _ in range(3):
            await say(client, peer.url, "One. Two. Three. Four. Five.")
        assert (await peer.report())["state"] == "speaking"  # its turn is kept while it is made
        await client.post(f"{peer.url}/interrupt")
        await say(client, peer.url, "Six.")
        await peer.until_state("idle")
        loud = sum(level > 500 for _, level in peer.sounds)
        assert 8 < loud < 30  # the last text alone


async def test_what_cannot_be_said_is_refused_in_words(tmp_path: Path) -> None:
    async with speaking(tmp_path, slow="sleep 0.2") as client, Peer(client) as peer:
        url = f"{peer.url}/say"
        await problem(await client.post(url, data="hello"), 415, "content-type")
        for body in (
            "{",
            "[]",
            '{"words": "a"}',
            '{"text": 5}',
            '{"text": "a", "voice": 1}',
            '{"text": "a", "speed": true}',
            '{"text": "a", "x": 1}',
        ):
            await problem(await client.post(url, data=body, headers={"Content-Type": "application/json"}), 400, "request")
        for refused in ({"text": " ?! "}, {"text": "a " * LONGEST}, {"text": "a", "voice": "nobody"}, {"text": "a", "speed": 9}):
            await problem(await client.post(url, json=refused), 422, "voice")
        await problem(await say(client, "/v1/sessions/nothing", "Hello."), 404, "unknown-session")
        for _ in range(TEXTS):
            assert (await say(client, peer.url, "Hello.")).status == 202
        await problem(await say(client, peer.url, "Hello."), 429, "busy")
        await client.post(f"{peer.url}/interrupt")
        assert (await say(client, peer.url, "Hello.")).status == 202  # what was broken off does not wait


async def test_a_voice_that_fails_is_told_and_the_session_goes_on(tmp_path: Path) -> None:
    async with serving(voice_command="sh -c 'echo it is hoarse >&2; exit 3'") as client, Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        assert (await say(client, peer.url, "Hello.")).status == 202
        assert "it is hoarse" in await trouble(peer)
        await client.post(f"{peer.url}/speech", data=wav(bursts(1, 1, 1.0)), headers=WAV)
        await peer.until(lambda: sum(level > 500 for _, level in peer.sounds) > 30)


async def test_a_server_without_a_voice_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    async with serving() as client, Peer(client) as peer:
        assert await (await client.get("/v1/voices")).json() == {"voices": [], "longest": LONGEST}
        await problem(await say(client, peer.url, "Hello."), 501, "no-voice")


async def test_a_guest_has_its_own_sessions_say_things_and_no_others(tmp_path: Path) -> None:
    async with speaking(tmp_path, token=TOKEN) as client, Peer(client, headers=OWNER) as other:
        join = (await (await client.post("/v1/joins", headers=OWNER)).json())["join"]
        assert (await client.get("/v1/voices")).status == 401
        await client.post("/v1/guests", json={"join": join})  # from now on the client bears the guest's cookie
        assert (await (await client.get("/v1/voices")).json())["voices"][0]["name"] == "command"
        async with Peer(client) as mine:
            assert (await say(client, mine.url, "Hello.")).status == 202
            await problem(await say(client, other.url, "Hello."), 403, "origin")


async def test_the_process_that_speaks_ends_with_the_server_and_is_replaced_where_it_died(tmp_path: Path) -> None:
    async with speaking(tmp_path) as client, Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        speaks = client.server.app[SAYINGS].speaking  # type: ignore[attr-defined]
        await say(client, peer.url, "Hello.")
        await peer.until(lambda: sum(level > 500 for _, level in peer.sounds) >= 13)  # all of it
        speaks._process.kill()
        speaks._process.join()
        await say(client, peer.url, "Hello.")
        assert "process ended" in await trouble(peer)
        heard = sum(level > 500 for _, level in peer.sounds)
        await say(client, peer.url, "Hello.")
        await peer.until(lambda: speaks._process is not None and sum(level > 500 for _, level in peer.sounds) > heard + 5)
        process = speaks._process
    assert not process.is_alive()
    assert speaks._process is None

"""The programs in examples/ are run, as they are; the pieces of docs/python.md, too."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from playwright.async_api import async_playwright

from mytalk import client
from realtime.media import probe
from realtime.server.app import make_app
from realtime.server.keys import SESSIONS
from realtime.server.options import Options
from realtime.testing import FakePipeline, FakeStore
from tests.made import noise, write_wav
from tests.peers import until
from tests.test_live_browser import CHROMIUM, FLAGS

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


async def run(name: str, *arguments: object, stdin: bytes = b"") -> tuple[bytes, str]:
    """Run an example; what it writes to stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / name), *map(str, arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate(stdin)
    assert process.returncode == 0, err.decode()
    return out, err.decode()


@asynccontextmanager
async def server(folder: Path, origins: tuple[str, ...] = (), token: str = "") -> AsyncIterator[TestServer]:
    """A server with the fake engine, whose voice says a third of a second of noise for each piece."""
    voice = f"cat {shlex.quote(str(write_wav(folder / 'voice.wav', noise(5333))))}"
    options = Options(max_sessions=3, origins=origins, token=token, voice_command=voice)
    async with TestServer(make_app(store=FakeStore(size=(256, 256)), pipeline=FakePipeline, options=options)) as running:
        yield running


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".html"):
            assert f'"{path.name}"' in text, path.name
            assert path.name in (EXAMPLES / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
async def test_examples_of_files_and_streams(tmp_path: Path) -> None:
    """Three programs at a time: most of it is loading."""
    speech = (noise(1600) * 20000).astype("<i2")
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    write_wav(recordings / "one.wav", noise(1600))
    (recordings / "notes.txt").write_text("no sound " * 100)
    (tmp_path / "speech.s16").write_bytes(speech.tobytes())
    (_, notes), (video, _), _ = await asyncio.gather(
        run("dub_folder.py", "presenter", recordings, tmp_path / "videos"),
        run("stream_pcm.py", "presenter", 16_000, stdin=speech.tobytes()),
        run("webcam.py", "presenter", tmp_path / "speech.s16", tmp_path / "face.y4m"),
    )
    assert probe(tmp_path / "videos" / "one.mp4").size == (512, 512)
    assert "notes.txt" in notes
    assert len(list((tmp_path / "videos").iterdir())) == 1
    head, rest = video.split(b"\n", 1)
    assert head.startswith(b"YUV4MPEG2 W512 H512 F25:1")
    frame = len(b"FRAME\n") + 512 * 512 * 3 // 2
    assert len(rest) == 3 * frame
    written = (tmp_path / "face.y4m").read_bytes()
    assert np.std(np.frombuffer(written[-512 * 512 * 3 // 2 :], np.uint8)[: 512 * 512]) > 20


async def test_examples_of_sessions(tmp_path: Path) -> None:
    async with server(tmp_path) as running:
        url = str(running.make_url("/"))
        (said, _), (written, _) = await asyncio.gather(
            run("voice_agent.py", url, stdin=b"How are you?\n"), run("record.py", url, "Hello. You.", tmp_path / "out.mp4")
        )
        assert said.decode().splitlines() == [
            "Talking with presenter: type something.", "< You said: How are you?.", "< That is all I know!", "< Ask me something else."
        ]  # fmt: skip
        assert written.decode().strip() == str(tmp_path / "out.mp4")
        made = probe(tmp_path / "out.mp4")
        assert made.size == (256, 256)
        assert made.sound
        assert 0.6 < (made.seconds or 0) < 30
        assert len(running.app[SESSIONS]) == 0  # all have left


async def test_a_client_pushes_hears_sees_and_interrupts(tmp_path: Path) -> None:
    async with server(tmp_path, token="a-secret-of-the-owner-0123") as running:
        url = str(running.make_url("/"))
        with pytest.raises(client.ServerFault, match="needs a secret") as refused:
            async with client.join(url):
                raise AssertionError("let in")
        assert (refused.value.code, refused.value.status) == ("secret", 401)
        async with client.join(url, actor="second", token="a-secret-of-the-owner-0123", pictures="i420") as session:
            seen = await anext(session.pictures())
            assert seen.picture.shape == (384, 256)
            tone = np.sin(np.arange(8000) * 0.1) * 0.5
            await session.push(tone, 8_000)
            await session.push((tone * 32767).astype(np.int16).tobytes()[:6400], 16_000)
            await session.flush()
            assert (await session.until("idle"))["type"] == "idle"
            async for heard in session.sounds():
                if np.abs(heard.sound).max() > 0.2:
                    break
            await session.push(np.tile(tone, 20), 8_000)
            await session.until("speaking")
            broken = await session.interrupt()
            assert broken["dropped_ms"] > 100
            assert (await session.until("interrupted"))["dropped_ms"] == broken["dropped_ms"]
            await session.push(tone[:2000], 8_000)  # heard: it is new
            await session.flush()
            assert (await session.until("idle"))["samples"] == 2000
            with pytest.raises(client.ServerFault, match="no voice 'nobody'"):
                await session.say("Hello.", voice="nobody")
            with pytest.raises(client.ServerFault, match="sound"):
                await session.play(__file__)
            report = await session.report()
            assert report["actor"] == "second"
        with pytest.raises(client.ServerFault, match="no actor called"):
            async with client.join(url, actor="nobody", token="a-secret-of-the-owner-0123"):
                raise AssertionError("let in")
    for bad in ("ftp://x", url):
        with pytest.raises(client.ServerFault, match="address"):
            async with client.join(bad):
                raise AssertionError("let in")


async def test_an_agent_of_realtime_events_has_a_face_and_learns_what_was_heard(tmp_path: Path) -> None:
    """The agent is scripted: it says four seconds, and after one of them its user begins to talk."""
    told: list[Any] = []
    delta = base64.b64encode((noise(9600) * 20000).astype("<i2").tobytes()).decode()

    async def agent(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        told.append((await socket.receive_json())["type"])
        for _ in range(10):
            await socket.send_json({"type": "response.output_audio.delta", "item_id": "one", "delta": delta})
        await socket.send_json({"type": "response.output_audio.done", "item_id": "one"})
        sessions = running.app[SESSIONS]
        await until(lambda: any(session.report()["state"] == "speaking" and session.report()["ticks"] > 20 for session in sessions))
        await socket.send_json({"type": "input_audio_buffer.speech_started"})
        told.append(await socket.receive_json())
        await socket.send_json({"type": "response.output_audio.delta", "item_id": "two", "delta": delta})
        await socket.close()
        return socket

    app = web.Application()
    app.add_routes([web.get("/realtime", agent)])
    async with server(tmp_path) as running, TestServer(app) as agents:
        await run("realtime_agent.py", agents.make_url("/realtime"), str(running.make_url("/")))
        assert len(running.app[SESSIONS]) == 0
    assert told[0] == "response.create"
    assert (told[1]["type"], told[1]["item_id"]) == ("conversation.item.truncate", "one")
    assert 0 < told[1]["audio_end_ms"] < 4000


def program(name: str) -> SimpleNamespace:
    """An example's names."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / name)))


def says_noise(text: str) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    """In place of `mytalk.speak`: half a second for each text."""
    yield from np.split(noise(12_000).astype(np.float32), 4)


@pytest.mark.xdist_group("livekit")
async def test_a_worker_of_livekit_greets_and_answers_what_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("livekit.agents", reason="LiveKit Agents is not installed: make install EXTRAS=test")
    from livekit.agents import Agent, AgentSession

    from tests.livekit_room import Room, listen

    monkeypatch.setattr("mytalk.speak", says_noise)
    worker = program("livekit_worker.py")
    face = partial(worker.AvatarSession, store=FakeStore(size=(256, 256)), pipeline=FakePipeline)
    worker.talk.__globals__["AvatarSession"] = face
    session, room = AgentSession[None](tts=worker.LocalVoice()), cast(Any, Room())
    avatar = await worker.talk(session, room)
    events = listen(session.output.audio)
    await session.start(Agent(instructions="Answer."))
    try:
        await session.say("Hello.")
        assert events == ["started", (pytest.approx(0.5, abs=0.1), False)]  # LiveKit adds a little silence to a voice's
        session.say("This is said for a while, and then it is not.")
        await until(lambda: len(events) == 3)
        await worker.answer(session, SimpleNamespace(text="What?"))
        await until(lambda: len(events) == 6)
        assert events[3][1]
        assert events[4:] == ["started", (pytest.approx(0.5, abs=0.1), False)]
    finally:
        await avatar.aclose()
        await session.aclose()


@pytest.mark.xdist_group("pipecat")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Pipecat's own modules use what it deprecates
async def test_a_bot_of_pipecat_says_what_is_typed_on_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pipecat", reason="Pipecat is not installed: make install EXTRAS=test")
    monkeypatch.setattr("mytalk.speak", says_noise)
    bot = program("pipecat_bot.py")
    app = bot.make_app(store=FakeStore(size=(256, 256)), pipeline=FakePipeline)
    loud, sizes = [0], set[int]()

    async def take(track: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if track.kind == "audio":
                    loud[0] += int((np.abs(frame.to_ndarray().astype(int)) > 1000).sum())
                else:
                    sizes.add(frame.width)

    async with TestServer(app) as page, ClientSession() as web_client:
        connection, tasks = RTCPeerConnection(), []
        connection.on("track", lambda track: tasks.append(asyncio.create_task(take(track))))
        words = connection.createDataChannel("words")
        for kind in ("audio", "video"):
            connection.addTransceiver(kind, direction="recvonly")
        assert "<video" in await (await web_client.get(page.make_url("/"))).text()
        await connection.setLocalDescription(await connection.createOffer())
        asked = {"sdp": connection.localDescription.sdp, "type": "offer"}
        answer = await (await web_client.post(page.make_url("/offer"), json=asked)).json()
        await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await until(lambda: loud[0] > 3000)  # it greets
        before = loud[0]
        words.send('{"text": "Hello."}')
        await until(lambda: loud[0] > before + 3000)
        await until(lambda: 512 in sizes)
        await connection.close()
        await asyncio.gather(*tasks)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_the_page_of_ones_own_shows_a_face_that_says_what_is_typed(tmp_path: Path) -> None:
    name, pages = "whip_client.html", web.Application()
    pages.add_routes([web.static("/", EXAMPLES)])
    async with TestServer(pages) as elsewhere:
        origin = str(elsewhere.make_url("/")).rstrip("/")
        async with server(tmp_path, origins=(origin,)) as running, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page()
            await page.goto(f"{origin}/{name}?server={running.make_url('/')}")
            await page.wait_for_function("document.querySelector('video').videoWidth === 256")
            await page.fill("[name=text]", "Hello there.")
            async with page.expect_response(lambda response: response.url.endswith("/say")) as answer:
                await page.click("text=Say")
            assert (await answer.value).status == 202
            await browser.close()


def test_the_pieces_about_plugins_are_python() -> None:
    pieces = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(pieces) == 3
    for piece in pieces:
        compile(piece, "docs/plugins.md", "exec")


def test_the_pieces_of_the_documentation_are_python_with_names_that_there_are() -> None:
    import mytalk

    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    pieces = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(pieces) >= 4
    for piece in pieces:
        compile(piece, "docs/python.md", "exec", flags=0x2000)  # await stands outside of functions, too
        for module, name in re.findall(r"\b(mytalk|client)\.(\w+)", piece):
            assert hasattr(mytalk if module == "mytalk" else client, name), name

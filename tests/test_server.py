"""The server through its public ways in: an aiortc peer that talks to it, and everything that it must refuse."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest
from aiohttp import ClientSession

from realtime.server.keys import ENGINE, SESSIONS
from realtime.server.sdp import open_ended
from tests.peers import SDP, WAV, Client, Peer, Voice, apart, bursts, offer, onsets, problem, serving, until, wav, without_video


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving() as client:
        yield client


async def test_a_peer_gets_pictures_and_sound_at_once_and_steadily(client: Client) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 60 and len(peer.sounds) > 100)
        steps = [b[0] - a[0] for a, b in pairwise(peer.pictures)]
        assert steps.count(3600) > 0.5 * len(steps)
        assert not any(step % 3600 for step in steps)
        steps = [b[0] - a[0] for a, b in pairwise(peer.sounds)]
        assert steps.count(960) > 0.5 * len(steps)
        assert not any(step % 960 for step in steps)
        report = await peer.report()
        assert report["state"] == "idle"
        health = await (await client.get("/healthz")).json()
        assert health["backend"] == "cpu"
        assert (health["ready"], health["sessions"], health["capacity"], health["engine_restarts"]) == (True, 1, 3, 0)
        assert (await client.delete(peer.url)).status == 200
        await problem(await client.delete(peer.url), 404, "unknown-session")
        await problem(await client.get(peer.url), 404, "unknown-session")


async def test_a_sound_file_is_spoken_in_step(client: Client) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        response = await client.post(f"{peer.url}/speech", data=wav(bursts(3, rate=22_050), 22_050), headers=WAV)
        assert response.status == 202
        await peer.until_state("speaking")
        await peer.until_state("idle")
        await peer.until(lambda: peer.sounds[-1][1] < 100)
        # three bursts of 0.4 s, in packets of 20 ms; a machine that is busy loses some on the way
        assert 30 <= sum(loud > 1500 for _, loud in peer.sounds) <= 66
        assert apart(peer) <= 0.06


async def test_a_microphone_drives_the_lips(client: Client) -> None:
    async with Peer(client, voice=Voice(bursts(1))) as peer:
        await peer.until(lambda: len(peer.pictures) > 110)
        report = await peer.report()
        assert report["state"] == "listening"
        assert report["microphone"]
        assert apart(peer) <= 0.06


async def test_an_interrupted_file_is_silent(client: Client) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        await client.post(f"{peer.url}/speech", data=wav(bursts(20, 1, 0.9, 16_000), 16_000), headers=WAV)
        await peer.until(lambda: sum(loud > 1500 for _, loud in peer.sounds) > 10)
        assert (await client.post(f"{peer.url}/interrupt")).status == 200
        count = len(peer.sounds)
        await peer.until(lambda: len(peer.sounds) > count + 60)
        assert max(loud for _, loud in peer.sounds[-30:]) < 100


async def test_two_sessions_do_not_disturb_each_other_and_a_third_that_breaks_neither(client: Client) -> None:
    async with Peer(client, voice=Voice(bursts(1))) as one, Peer(client, "second") as two:
        await two.until(lambda: len(two.pictures) > 40 and len(one.pictures) > 40)
        await problem(await client.post("/v1/sessions", data=without_video(), headers=SDP), 406, "offer-not-acceptable")
        async with Peer(client, sound=False) as three:
            await three.until(lambda: len(three.pictures) > 5)
            full = await client.post("/v1/sessions", data=one.connection.localDescription.sdp, headers=SDP)
            await problem(full, 503, "full")
            assert full.headers["Retry-After"]
        count = len(two.pictures)
        await two.until(lambda: len(two.pictures) > count + 40)
        assert all(abs(back - 60) < 12 for *_, back, _ in one.pictures)
        assert all(abs(back - 100) < 12 for *_, back, _ in two.pictures)
        assert all(box < 60 for _, box, _, _ in two.pictures)  # silent all the while
        assert len(onsets([(pts, box > 120) for pts, box, *_ in one.pictures])) >= 2


async def test_pictures_come_as_h264_where_a_peer_wants_it(client: Client) -> None:
    async with Peer(client, codec="video/H264") as peer:
        assert "VP8" not in peer.connection.remoteDescription.sdp
        await client.post(f"{peer.url}/speech", data=wav(bursts(2)), headers=WAV)
        await peer.until(lambda: len(onsets([(pts, box > 120) for pts, box, *_ in peer.pictures])) >= 2)
        assert all(abs(back - 60) < 12 for *_, back, _ in peer.pictures)


async def test_peers_that_come_and_go_leave_nothing_behind(client: Client) -> None:
    def left() -> tuple[int, int]:
        return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a listing, not a path

    async def visit() -> None:
        async with Peer(client) as peer:
            await peer.until(lambda: len(peer.pictures) > 2)
            await client.delete(peer.url)

    await visit()
    await visit()
    await until(lambda: client.server.app[ENGINE].spare_pid is not None)  # type: ignore[attr-defined]  it has a pipe
    tasks, descriptors = left()
    for _ in range(6):
        await visit()
    await until(lambda: left()[0] <= tasks and left()[1] <= descriptors, words=lambda: f"{tasks, descriptors} became {left()}")


async def test_a_machine_that_was_not_measured_yet_lets_the_second_session_wait() -> None:
    async with serving(max_sessions=None) as client, Peer(client) as one, Peer(client) as two:  # at once, both
        await two.until(lambda: len(one.pictures) > 3 and len(two.pictures) > 3)
        assert (await (await client.get("/healthz")).json())["capacity"] >= 2


async def test_calls_outlive_the_engine(client: Client) -> None:
    app = client.server.app  # type: ignore[attr-defined]
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 10)
        await client.post(f"{peer.url}/speech", data=wav(bursts(6)), headers=WAV)
        os.kill(app[ENGINE].pid, signal.SIGKILL)
        await peer.until(lambda: app[ENGINE].restarts == 1 and app[ENGINE].ready)
        await peer.until(lambda: len(onsets([(pts, box > 120) for pts, box, *_ in peer.pictures])) >= 4)
        report = await peer.report()
        assert report["engine_restarts"] == 1
        times = [pts for pts, *_ in peer.pictures]
        assert times == sorted(set(times))
        times = [pts for pts, _ in peer.sounds]
        assert times == sorted(set(times))


async def test_a_session_whose_actor_breaks_ends_alone(client: Client) -> None:
    async with Peer(client) as peer, Peer(client, "broken") as broken:
        await peer.until(lambda: len(client.server.app[SESSIONS]) == 1)  # type: ignore[attr-defined]
        await problem(await client.get(broken.url), 404, "unknown-session")
        count = len(peer.pictures)
        await peer.until(lambda: len(peer.pictures) > count + 25)
        assert (await peer.report())["engine_restarts"] == 0


async def test_a_peer_that_leaves_is_forgotten(client: Client) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
    await peer.until(lambda: not len(client.server.app[SESSIONS]))  # type: ignore[attr-defined]


async def test_what_is_no_offer_is_refused_in_words(client: Client) -> None:
    whole = await offer()
    post = partial(client.post, "/v1/sessions", headers=SDP)
    for body in (
        "",
        "hello",
        "\x00\xff" * 100,
        "v=0\r\nm=",
        whole[: len(whole) // 2],
        whole[:200],
    ):
        await problem(await post(data=body), 400, "offer")
    for body in (without_video(), whole.replace("VP8", "XX").replace("H264", "YY")):
        await problem(await post(data=body), 406, "offer-not-acceptable")
    for cut in range(0, len(whole), 97):
        response = await post(data=whole[:cut])
        assert response.status in (201, 400, 406), cut
        if response.status == 201:
            assert (await client.delete(response.headers["Location"])).status == 200
    await problem(await post(data="v" * (1 << 20)), 413, "too-large")
    await problem(await client.post("/v1/sessions", json={"sdp": whole}), 415, "content-type")
    await problem(await client.post("/v1/sessions?actor=nobody", data=whole, headers=SDP), 404, "unknown-actor")
    assert not len(client.server.app[SESSIONS])  # type: ignore[attr-defined]


def hours() -> bytes:
    """A sound file of which two parts lie ten hours apart."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        for start in (0, 36_000 * 16_000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


async def test_what_is_no_speech_is_refused_in_words(client: Client) -> None:
    async with Peer(client) as peer:
        speech = f"{peer.url}/speech"
        await problem(await client.post(speech, data=b"not a sound", headers=WAV), 422, "media")
        await problem(await client.post(speech, data=b"", headers=WAV), 422, "media")
        playlist = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
        await problem(await client.post(speech, data=playlist, headers={"Content-Type": "audio/mpegurl"}), 422, "media")
        concat = b"ffconcat version 1.0\nfile /etc/hostname\n"
        await problem(await client.post(speech, data=concat, headers=WAV), 422, "media")
        await problem(await client.post(speech, data=hours(), headers={"Content-Type": "audio/mp4"}), 422, "media")
        await problem(await client.post(speech, json={}), 415, "content-type")
        await problem(
            await client.post("/v1/sessions/none/speech", data=b"", headers=WAV),
            404,
            "unknown-session",
        )
        await peer.until(lambda: len(peer.pictures) > 5)


async def test_other_refusals(client: Client) -> None:
    await problem(await client.get("/v1/sessions/none"), 404, "unknown-session")
    await problem(await client.post("/v1/sessions/none/interrupt"), 404, "unknown-session")
    await problem(await client.get("/nowhere"), 404, "unknown-route")
    await problem(await client.get("/v1/actors/../../etc/preview.jpg"), 404, "unknown-route")
    await problem(await client.put("/v1/sessions"), 405, "method")
    await problem(await client.get("/v1/actors/nobody/preview.jpg"), 404, "unknown-actor")
    await problem(await client.get("/v1/actors", headers={"Origin": "https://elsewhere.example"}), 403, "origin")
    await problem(await client.get("/v1/actors", headers={"Host": "elsewhere.example"}), 403, "origin")


async def test_the_page_and_the_actors(client: Client) -> None:
    page = await client.get("/")
    assert page.status == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    for name in ("/app.js", "/style.css"):
        assert (await client.get(name)).status == 200
    listed = await (await client.get("/v1/actors")).json()
    assert listed["default"] == "presenter"
    assert [actor["name"] for actor in listed["actors"]] == ["presenter", "second", "broken"]


def test_candidates_that_hide_are_left_out() -> None:
    kept = "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n"
    assert (
        open_ended("a=mid:0\r\n" + kept + "a=candidate:2 1 udp 1 ab-cd.local 5000 typ host\r\na=x\r\n") == "a=mid:0\r\n" + kept + "a=x\r\n"
    )


@asynccontextmanager
async def started(code: str, **pipes: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server of its own, from its code; it ends with the test, however that ends."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE, **pipes)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_serve_says_where_it_is_and_ends_cleanly() -> None:
    code = (
        "from realtime.server.app import serve\nfrom realtime.testing import FakePipeline, FakeStore\n"
        "if __name__ == '__main__':\n    serve(store=FakeStore(), port=0, pipeline=FakePipeline)\n"
    )
    async with started(code, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert line.startswith("Serving on http://127.0.0.1:")
        async with ClientSession() as session, session.get(line.split()[-1] + "/healthz") as response:
            assert response.status == 200
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
        assert b"Traceback" not in out + err


async def test_serve_ends_at_once_when_it_is_asked_twice() -> None:
    code = (
        "import asyncio\nfrom realtime.server.app import serve\nfrom realtime.server.sessions import Sessions\n"
        "from realtime.testing import FakePipeline, FakeStore\n"
        "async def never(self):\n    print('ending', flush=True)\n    await asyncio.Event().wait()\n"
        "if __name__ == '__main__':\n    Sessions.close = never\n    serve(store=FakeStore(), port=0, pipeline=FakePipeline)\n"
    )
    async with started(code) as process:
        assert process.stdout is not None
        assert (await asyncio.wait_for(process.stdout.readline(), 60)).startswith(b"Serving on")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ending\n"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 128 + signal.SIGTERM

"""What can be seen of a server, and what can be kept of a session: health, metrics, logs, recordings."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
import tempfile
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from realtime.logs import JsonLines
from realtime.media import probe, read_pictures, read_speech
from realtime.server.keys import RECORDINGS, SESSIONS
from realtime.server.metrics import mark_of
from realtime.writer import Writer
from tests.peers import WAV, Client, Peer, bursts, onsets, problem, serving, until, wav


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving() as client:
        yield client


async def test_metrics_tell_of_sessions_pictures_and_delays(client: Client) -> None:
    async with Peer(client) as peer:
        await client.post(f"{peer.url}/speech", data=wav(bursts(4)), headers=WAV)
        await peer.until_state("speaking")
        await peer.until_state("idle")
        await problem(await client.get("/nowhere"), 404, "unknown-route")
        response = await client.get("/metrics")
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        found = {sample.name: sample for family in text_string_to_metric_families(await response.text()) for sample in family.samples}
        assert found["mytalk_sessions"].value == 1
        assert found["mytalk_backend"].labels == {"backend": "cpu"}
        assert found["mytalk_pictures_total"].value > 25
        assert found["mytalk_engine_step_seconds_count"].value >= 25
        assert 0 < found["mytalk_added_delay_seconds_sum"].value / found["mytalk_added_delay_seconds_count"].value < 2
        assert found["mytalk_refusals_total"].labels == {"status": "404"}
        assert found["mytalk_session_fps"].labels["session"] == mark_of((await peer.report())["id"])
        assert peer.url.rpartition("/")[2] not in await response.text()
        assert found["mytalk_loop_lag_seconds_count"].value > 10
        assert (await client.get("/readyz")).status == 200


async def test_a_full_server_is_not_ready() -> None:
    async with serving(max_sessions=1) as client, Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 3)
        response = await client.get("/readyz")
        assert (response.status, await response.json()) == (503, {"ready": False, "free": 0})


async def test_a_recording_has_sound_and_picture_in_step(client: Client, tmp_path: Path) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        await problem(await client.get(f"{peer.url}/recording"), 404, "unknown")
        response = await client.post(f"{peer.url}/recording")
        assert response.status == 201
        url = response.headers["Location"]
        await problem(await client.post(f"{peer.url}/recording"), 409, "in-use")
        await problem(await client.get(url), 409, "in-use")
        await client.post(f"{peer.url}/speech", data=wav(bursts(3)), headers=WAV)
        await peer.until_state("speaking")
        await peer.until_state("idle")
        assert (await (await client.get(f"{peer.url}/recording")).json())["state"] == "recording"
        done = await (await client.delete(f"{peer.url}/recording")).json()
        assert done["state"] == "ready"
        assert done["seconds"] >= 2.9
        response = await client.get(url)
        assert "attachment" in response.headers["Content-Disposition"]
        file = tmp_path / "recording.mp4"
        file.write_bytes(await response.read())
    info = probe(file)
    assert (info.kind, info.size, info.sound) == ("video", (256, 256), True)
    box = [float(picture[100:156, 110:146].mean()) for picture in read_pictures(file)]
    sound = np.concatenate(list(read_speech(file, 48_000)))
    heard = onsets([(n / 100, bool(np.abs(sound[n * 480 : n * 480 + 480]).max() > 0.1)) for n in range(len(sound) // 480)])
    seen = onsets([(n / 25, value > 120) for n, value in enumerate(box)])
    assert len(seen) == 3
    assert max(abs(min((at - other for other in heard), key=abs)) for at in seen) <= 0.06
    assert (await client.delete(url)).status == 204
    await problem(await client.get(url), 404, "unknown")


async def test_a_recording_ends_with_its_session(client: Client) -> None:
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        url = (await client.post(f"{peer.url}/recording")).headers["Location"]
        await peer.until(lambda: len(peer.pictures) > 20)
        assert (await client.delete(peer.url)).status == 200
    for _ in range(1000):
        response = await client.get(url)
        if response.status != 409:
            break
        await asyncio.sleep(0.05)
    assert (await response.read())[4:8] == b"ftyp"


def test_log_lines_are_json_with_the_sessions_id() -> None:
    record = logging.LogRecord("mytalk", logging.WARNING, "x.py", 1, "late by %d", (3,), None)
    record.session = "abc"
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["message"], line["session"]) == ("warning", "late by 3", "abc")


def found(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


async def test_recordings_are_nobody_else_s_and_what_a_killed_server_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "from realtime.server.scratch import Scratch\nimport os\none = Scratch()\none.open()\n(one.folder / 'a.mp4').touch()\nos._exit(1)\n"
    )
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert await killed.wait() == 1
    (left,) = found(tmp_path, "*/*.mp4")
    async with serving() as client, serving(), Peer(client) as peer:  # each leaves the other's alone
        assert not left.exists()
        await peer.until(lambda: len(peer.pictures) > 5)
        url = (await client.post(f"{peer.url}/recording")).headers["Location"]
        await until(lambda: bool(found(tmp_path, "*/.*.part")))
        (made,) = found(tmp_path, "*/.*.part")
        assert made.parent.stat().st_mode & 0o077 == 0
        await client.delete(f"{peer.url}/recording")
        assert (await client.get(url)).status == 200
    assert not found(tmp_path, "*")


async def test_a_recording_that_fails_keeps_what_it_had_and_nobody_waits_for_it(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    writing = Writer.picture

    def fails(writer: Writer, picture: Any) -> None:
        if writer.pictures == 40:
            raise OSError(28, "No space left on device", "/somewhere/else")
        writing(writer, picture)

    monkeypatch.setattr(Writer, "picture", fails)
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        url = (await client.post(f"{peer.url}/recording")).headers["Location"]
        made = client.server.app[RECORDINGS].find(url.rpartition("/")[2].removesuffix(".mp4"))  # type: ignore[attr-defined]
        await until(lambda: not made.going)
        assert "No space" not in made.report()["trouble"]
        assert "/" not in made.report()["trouble"]
        assert made.report()["state"] == "failed"
        count = len(peer.pictures)
        await peer.until(lambda: len(peer.pictures) > count + 60)  # more than its queue holds
        assert not [thread for thread in threading.enumerate() if "recording" in thread.name]
        await problem(await client.delete(f"{peer.url}/recording"), 404, "unknown")  # it has left by itself
        file = tmp_path / "kept.mp4"
        file.write_bytes(await (await client.get(url)).read())
        assert len(list(read_pictures(file))) == 40


async def test_a_recording_does_not_keep_its_session(client: Client) -> None:
    left: list[weakref.ref[Any]] = []

    async def visit() -> None:
        async with Peer(client) as peer:
            await peer.until(lambda: len(peer.pictures) > 5)
            left.extend(weakref.ref(session) for session in client.server.app[SESSIONS])  # type: ignore[attr-defined]
            await client.post(f"{peer.url}/recording")
            await client.delete(peer.url)

    await visit()
    assert len(left) == 1
    await until(lambda: gc.collect() < 0 or left[0]() is None)

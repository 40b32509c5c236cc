"""Actors over HTTP: a stranger's file becomes an actor in a process of its own, or is refused in words."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import tempfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.actor import Store
from realtime.server import uploads
from realtime.server.pictures import pixels_of
from tests.kinds import RATE, STILLS, VIDEOS, face, speech, write_sound
from tests.kinds import frames as pictures
from tests.made import write_clip, write_wav
from tests.peers import SDP, WAV, Client, Peer, bursts, offer, problem, serving, wav

VIDEO = {"Content-Type": "video/mp4"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with serving(Store(tmp_path / "actors")) as client:
        yield client


async def enrolled(client: Client, body: bytes, name: str = "anna", headers: dict[str, str] = VIDEO) -> dict[str, Any]:
    """What became of an upload."""
    response = await client.post(f"/v1/actors?name={name}", data=body, headers=headers)
    assert response.status == 202, await response.text()
    while True:
        report: dict[str, Any] = await (await client.get(response.headers["Location"])).json()
        if report["state"] in ("done", "failed"):
            return report
        await asyncio.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(300)  # an enrolment gives way to all else
async def test_an_upload_becomes_an_actor_that_talks_and_goes(client: Client) -> None:
    shipped = Store(Path()).find("presenter")
    report = await enrolled(client, (shipped / "preview.jpg").read_bytes(), headers={"Content-Type": "image/jpeg"})
    assert report["state"] == "done", report
    listed = await (await client.get("/v1/actors")).json()
    (anna,) = [actor for actor in listed["actors"] if actor["name"] == "anna"]
    assert anna["source"] == "an uploaded file"
    assert (await client.get(anna["preview"])).content_type == "image/jpeg"
    await problem(await client.post("/v1/actors?name=anna", data=b"x", headers=VIDEO), 409, "in-use")
    async with Peer(client, "anna") as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        await problem(await client.delete("/v1/actors/anna"), 409, "in-use")
        assert (await client.delete(peer.url)).status == 200
    assert (await client.delete("/v1/actors/anna")).status == 204
    await problem(await client.delete("/v1/actors/anna"), 404, "unknown-actor")
    await problem(await client.post("/v1/sessions?actor=anna", data=await offer(), headers=SDP), 404, "unknown-actor")


def hours_long(path: Path) -> bytes:
    """A clip whose second picture comes ten hours after its first."""
    return write_clip(path, [0.0, 36_000.0]).read_bytes()


def bomb() -> bytes:
    """A small PNG that says it is 60,000 pixels a side."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000)) + chunk(b"IEND", b"")


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("frame.png", b"\0" * 10_000_000)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.timeout(300)  # an enrolment gives way to all else
async def test_hostile_files_are_refused_and_nobody_else_notices(client: Client, tmp_path: Path) -> None:
    hostile = {
        "playlist": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        "ffconcat": b"ffconcat version 1.0\nfile /etc/hostname\n",
        "ten hours": hours_long(tmp_path / "long.mp4"),
        "sound": wav(bursts(1)),
        "text": b"hello",
        "empty": b"",
        "bomb": bomb(),
        "zip": zipped(),
    }
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        for what, body in hostile.items():
            report = await enrolled(client, body, "eve")
            assert report["state"] == "failed", what
            assert 400 <= report["problem"]["status"] < 500, what
            assert report["problem"]["detail"].endswith("."), what
            assert "/" not in report["problem"]["detail"], report["problem"]["detail"]
            assert ("megapixels" in report["problem"]["detail"]) == (what == "bomb"), report["problem"]["detail"]
            assert "eve" not in [actor["name"] for actor in (await (await client.get("/v1/actors")).json())["actors"]]
        count = len(peer.pictures)
        await peer.until(lambda: len(peer.pictures) > count + 10)


@pytest.mark.slow
@pytest.mark.timeout(300)  # an enrolment gives way to all else
@pytest.mark.parametrize(("kind", "frames", "words"), [("tiles.heic", 250, ""), ("hdr_hlg.mov", 6, "HDR")])
async def test_what_phones_make_is_taken(client: Client, tmp_path: Path, kind: str, frames: int, words: str) -> None:
    """All kinds go through `tests/test_kinds.py`: here are those that a process of its own, with less of everything, must read too."""
    file = tmp_path / kind
    if kind in STILLS:
        STILLS[kind](file, face())
    else:
        VIDEOS[kind](file, pictures(6))
    report = await enrolled(client, file.read_bytes(), "phone", {"Content-Type": "application/octet-stream"})
    assert report["state"] == "done", report
    assert all(note.startswith("The file ") for note in report["notes"])
    assert [words in note for note in report["notes"]] == ([True] if words else [])
    actor = Store(tmp_path / "actors").load("phone")
    assert len(actor.frames) == frames


async def test_what_a_listener_hears_is_spoken(client: Client, tmp_path: Path) -> None:
    """A call with a gap, in a WebM; an inverted channel; and a file in which nothing is heard, which is said."""
    said = speech(0.5)
    call = write_sound(tmp_path / "call.webm", [said[None]], "libopus", gap=(0.24, 0.6)).read_bytes()
    inverted = write_wav(tmp_path / "inverted.wav", np.stack([said, -said], 1), RATE).read_bytes()
    async with Peer(client) as peer:
        await peer.until(lambda: len(peer.pictures) > 5)
        for body, packets, trouble in ((call, (15, 30), False), (inverted, (15, 30), False), (wav(bursts(1) * 0), (0, 0), True)):
            before = len(peer.sounds)
            response = await client.post(f"{peer.url}/speech", data=body, headers={"Content-Type": "application/octet-stream"})
            assert response.status == 202, await response.text()
            await peer.until_state("speaking")
            await peer.until_state("idle")
            at = len(peer.sounds)  # the last of it is still on its way
            await peer.until(lambda at=at: len(peer.sounds) > at + 30 and peer.sounds[-1][1] < 100)  # type: ignore[misc]
            loud = np.flatnonzero([loudness > 300 for _, loudness in peer.sounds[before:]])
            assert packets[0] <= len(loud) <= packets[1]
            if body is call:  # 20 ms each; what Opus makes of the edges is loud, too
                assert 22 <= np.diff(loud).max() <= 34
            report = await peer.report()
            assert bool(report["trouble"]) == trouble
        assert "No speech is heard in the file" in report["trouble"]


async def test_what_is_no_upload_is_refused_at_the_door(client: Client) -> None:
    await problem(await client.post("/v1/actors", data=b"x", headers=VIDEO), 400, "request")
    for name in ("..", "a/b", ".hidden", "x" * 70, "%00"):
        await problem(await client.post("/v1/actors", params={"name": name}, data=b"x", headers=VIDEO), 422, "actor")
    await problem(await client.post("/v1/actors?name=presenter", data=b"x", headers=VIDEO), 409, "in-use")
    await problem(await client.post("/v1/actors?name=anna", json={}), 415, "content-type")
    await problem(await client.get("/v1/enrolments/none"), 404, "unknown")
    await problem(await client.delete("/v1/actors/presenter"), 422, "actor")
    await problem(await client.delete("/v1/actors/nobody"), 404, "unknown-actor")
    lies = VIDEO | {"Content-Length": str(1 << 40), "Connection": "close"}
    await problem(await client.post("/v1/actors?name=anna", data=b"x", headers=lies), 413, "too-large")


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_the_size_of_a_picture_stands_in_its_header(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"picture{kind}"
    assert cv2.imwrite(str(file), np.zeros((30, 70, 3), np.uint8))
    assert pixels_of(file) == 2100
    whole = file.read_bytes()
    for size in (0, 1, 3, 10, 20):
        file.write_bytes(whole[:size])
        assert pixels_of(file) is None


async def half_sent(
    client: Client, path: str, size: int = 100_000, kind: str = "audio/wav"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * (size // 2)
    )
    await writer.drain()
    return reader, writer


async def answer(reader: asyncio.StreamReader) -> bytes:
    return (await asyncio.wait_for(reader.readline(), 30)).split()[1]


async def test_half_sent_bodies_are_few_and_end(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(uploads, "IDLE_S", 1.0)
    monkeypatch.setattr(uploads, "TEXT_S", 0.5)
    async with Peer(client) as peer:
        sent = [await half_sent(client, f"{peer.url}/speech") for _ in range(20)]
        answers = sorted([await answer(reader) for reader, _ in sent])
        assert answers == [b"408"] * uploads.OF_ONE + [b"429"] * (20 - uploads.OF_ONE)
        assert not os.listdir(tmp_path)  # noqa: PTH208  a listing, not a path
        offer = await half_sent(client, "/v1/sessions", 1000, "application/sdp")
        assert await answer(offer[0]) == b"408"
        sound = wav(bursts(1))
        assert (await client.post(f"{peer.url}/speech", data=sound, headers=WAV)).status == 202
        for name, value in (("RESERVE", 1 << 62), ("MOST_BYTES", 10)):
            with monkeypatch.context() as patch:
                patch.setattr(uploads, name, value)
                await problem(await client.post(f"{peer.url}/speech", data=sound, headers=WAV), 507, "storage")
        for _, writer in (*sent, offer):
            writer.close()
        await peer.until(lambda: len(peer.pictures) > 5)

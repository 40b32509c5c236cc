"""Requests that are none, and what stands in the log of them: never an error of the server's, never a line of a stranger's own."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
import subprocess
import sys
import zlib
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from realtime.errors import without_folders
from realtime.logs import JsonLines, PlainLines
from realtime.processes import forks
from realtime.server import child
from tests.peers import Client, problem, serving
from tests.pipelines import Broken, Forbidden

TOKEN = "a-secret-of-sixteen-or-more"
GUESTS = (b"POST", b"/v1/guests")
SESSIONS = (b"POST", b"/v1/sessions?actor=presenter")
SDP = (b"Content-Type", b"application/sdp")
ODD = [
    (b"GET", b"/v1/actors", (b"Host", b"["), b""),
    (b"GET", b"/v1/actors", (b"Host", b"]:x"), b""),
    (b"GET", b"/v1/actors", (b"Host", b"127.0.0.1:x"), b""),
    (b"GET", b"/v1/actors", (b"Host", b"\xff\xfe"), b""),
    (b"GET", b"/v1/actors", (b"Origin", b"http://["), b""),
    (b"OPTIONS", b"/v1/sessions", (b"Origin", b"http://["), b""),
    (b"GET", b"/v1/actors", (b"Origin", b"http://\xff"), b""),
    (b"GET", b"/v1/actors", (b"Authorization", b"Bearer \xff\xfe"), b""),
    (b"GET", b"/v1/actors", (b"Authorization", "Bearer é".encode()), b""),
    (*SESSIONS, (b"Authorization", b"Bearer \xff"), b"x"),
    (b"GET", b"/v1/actors", (b"Cookie", b"mytalk=\xff"), b""),
    (*GUESTS, (b"X", b""), b'{"join": "\\ud800"}'),
    (*GUESTS, (b"X", b""), b"[" * 60_000),
    (*GUESTS, (b"X", b""), b'{"a":' * 12_000),
    (*GUESTS, (b"X", b""), b'{"join": ' + b"9" * 60_000 + b"}"),
    (*GUESTS, (b"X", b""), b"\xff\xfe{"),
    (*GUESTS, (b"Content-Encoding", b"gzip"), b"broken"),
    (*GUESTS, (b"Content-Encoding", b"deflate"), b"broken"),
    (*GUESTS, (b"Content-Encoding", b"br"), b"broken"),
    (*GUESTS, (b"Content-Encoding", b"deflate"), zlib.compress(b" " * 50_000_000)),
    (*SESSIONS, (b"Content-Encoding", b"gzip"), b"broken"),
    (*SESSIONS, SDP, b"\xff" * 1000),
    (b"POST", b"/v1/sessions?actor=%00", SDP, b"x"),
    (b"GET", b"/v1/actors/%00/preview.jpg", (b"X", b""), b""),
    (b"GET", b"/v1/sessions/%ff%00/speech?rate=%ff", (b"Upgrade", b"websocket"), b""),
    (b"GET", b"http://[::1/", (b"X", b""), b""),
    (b"POST", b"/v1/guests", (b"Content-Length", b"-1"), b""),
    (b"POST", b"/v1/guests", (b"Transfer-Encoding", b"nothing"), b""),
]


async def asked(client: Client, method: bytes, path: bytes, header: tuple[bytes, bytes], body: bytes) -> bytes:
    """The first line of the answer to a request, byte by byte as it stands here."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    headers = {b"Host": b"127.0.0.1", b"Connection": b"close", b"Content-Length": b"%d" % len(body)} | dict([header])
    writer.write(b"%s %s HTTP/1.1\r\n" % (method, path) + b"".join(b"%s: %s\r\n" % one for one in headers.items()) + b"\r\n" + body)
    try:
        return await asyncio.wait_for(reader.readline(), 30)
    finally:
        writer.close()


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_what_is_no_request_is_answered_as_such(token: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(token=token) as client:
        for odd in ODD:
            line = await asked(client, *odd)
            assert line.split()[1:2] != [b"500"], odd
            assert line.split()[1][:1] == b"4" or (not token and odd[2][0] == b"Cookie"), (odd, line)
        for headers in ({"Host": "["}, {"Origin": "http://["}, {"Authorization": "Bearer é"}):
            await problem(await client.get("/v1/actors", headers=headers), 400, "request")
        for body in (b'{"join": "\\ud800"}', b"[" * 60_000):
            await problem(await client.post("/v1/guests", data=body), 400, "request")
        await problem(await client.post("/v1/guests", data=b"x", headers={"Content-Encoding": "gzip"}), 400, "request")
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)  # who leaves in the middle is no error
        writer.write(b"POST /v1/guests HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.abort()
        del reader
    ours = [record for record in caplog.records if record.name != "aiohttp.server"]  # that is left out where we serve for good
    assert not [record for record in ours if record.levelno >= logging.ERROR]


async def test_a_path_makes_no_line_of_its_own_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Broken()) as client:
        await problem(await client.get("/v1/actors/x%0A2026-01-01 ERROR forged%1B[31m/preview.jpg"), 500, "internal")
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert record.getMessage().isprintable()
    lines = PlainLines().format(record).split("\n")
    assert all(line.startswith("  ") for line in lines[1:])
    forged = logging.LogRecord("mytalk", logging.WARNING, "x.py", 1, "no %s", ("x\nERROR \x1b[31m\udcff\x9b\u2028",), None)
    for formatter in (PlainLines(), JsonLines()):
        text = formatter.format(forged)
        assert text.isprintable()
        assert text.isascii()
    assert json.loads(JsonLines().format(forged))["message"].startswith("no x\nERROR")


async def test_errors_name_no_folders() -> None:
    async with serving(Forbidden()) as client:
        told = await problem(await client.get("/v1/actors/anna/preview.jpg"), 507, "storage")
        assert told["detail"] == "Permission is denied: actor.json."
    assert without_folders("Begin one with POST /v1/sessions, or see: application/sdp, a/b/c.") == (
        "Begin one with POST /v1/sessions, or see: application/sdp, a/b/c."
    )


def looks(say: Any, file: Path) -> None:
    """In a child: what it may not."""
    for look in (socket.socket, lambda: Path(f"/proc/{os.getppid()}/mem").read_bytes()):
        try:
            look()
        except OSError as error:
            say(str(error.errno).encode())


async def test_who_opens_files_of_strangers_has_no_network(tmp_path: Path) -> None:
    await asyncio.to_thread(forks)
    async with aclosing(await child.start(looks, tmp_path, limits=child.Limits(1 << 32, 1 << 30, 10, 0))) as opened:
        assert await opened.message(20) == str(errno.EACCES).encode()


@pytest.mark.slow
async def test_no_process_that_a_server_starts_knows_its_secret(tmp_path: Path) -> None:
    code = "import sys\nfrom realtime.cli import main\nif __name__ == '__main__':\n    main(['serve', '--port', '0'])\n"
    environment = os.environ | {"MYTALK_TOKEN": TOKEN, "MYTALK_HOME": str(tmp_path)}
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=environment, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert (await server.stdout.readline()).startswith(b"Serving on")
        started = children(server.pid)
        assert len(started) >= 2  # the engine, and what files are opened by
        for process in started:
            assert TOKEN not in told(process)
        if os.getuid():
            assert told(server.pid) == ""  # nor can they look
    finally:
        server.terminate()
        await server.wait()


def children(process: int) -> list[int]:
    found = [int(one) for task in Path(f"/proc/{process}/task").iterdir() for one in (task / "children").read_text().split()]
    return found + [one for each in found for one in children(each)]


def told(process: int) -> str:
    try:
        return Path(f"/proc/{process}/environ").read_text()
    except OSError:
        return ""

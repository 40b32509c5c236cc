"""Requests that are none, and what stands in the log of them: never an error of the server's, never a line of a stranger's own."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from pathlib import Path

import pytest

from realtime.logs import JsonLines, PlainLines
from realtime.testing import FakeStore
from tests.peers import Client, problem, serving

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


class Broken(FakeStore):
    """Its disk has a bug."""

    def find(self, name: str) -> Path:
        raise RuntimeError(f"no {name}")


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

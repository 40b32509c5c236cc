"""Requests for what other processes have, to them and back: bodies and answers as they come, websockets message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import ClientError, ClientResponse, ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError, web
from multidict import CIMultiDict
from yarl import URL

from engines.errors import Fault
from realtime.clock import Clock
from realtime.rate import Rate
from realtime.server.faults import UnknownSession
from realtime.server.guard import WHO, Handler, must_may_record, must_own, must_see
from realtime.server.keys import CLOCK, LOOPS, SESSIONS
from realtime.server.loops import Loop, TheirSession
from realtime.server.placed import ASKED_BY
from realtime.server.speech_socket import AT_ONCE, MESSAGES, MOST_MESSAGE, WORDS, WORDS_AT_ONCE, read_little

_ASKED = ("Accept", "Content-Length", "Content-Type", "ETag", "If-Match", "Range", "If-Range")
_ANSWERED = (
    "Accept-Patch", "Accept-Ranges", "Allow", "Content-Disposition", "Content-Length", "Content-Range", "Content-Type", "ETag",
    "Last-Modified", "Link", "Location", "Retry-After", "WWW-Authenticate",
)  # fmt: skip
_PIECE = 1 << 16


@web.middleware
async def to_owner(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Requests for what lies in another process are answered there. Who asks was looked at before."""
    name = request.match_info.get("session")
    session = request.app[SESSIONS].get(name) if name else None
    if isinstance(session, TheirSession):
        if request.method == "POST" and request.path.endswith("/viewers"):
            return await handler(request)  # there has to be room for it
        if "viewer" in request.match_info or (request.method == "GET" and request.path.endswith(f"/{session.name}")):
            must_see(request, session.name, session.owner)
            return await _forward(request, session.loop, session.owner)
        must_own(request, session.owner)
        if request.method == "POST" and request.path.endswith("/recording"):
            must_may_record(request)
        return await _forward(request, session.loop, request[WHO])
    recording = request.match_info.get("recording")
    if recording and (loop := request.app[LOOPS].of(recording)):
        return await _forward(request, loop, request[WHO])
    return await handler(request)


async def _forward(request: web.Request, loop: Loop, who: str) -> web.StreamResponse:
    assert loop.client is not None
    url = URL(f"http://loop{request.rel_url.raw_path_qs}", encoded=True)
    gone = UnknownSession("The session has just ended.", "Begin one with POST /v1/sessions.")
    return await pass_on(request, loop.client, url, {ASKED_BY: who}, lambda error: gone)


async def pass_on(
    request: web.Request, client: ClientSession, url: URL, headers: dict[str, str], gone: Callable[[ClientError], Fault]
) -> web.StreamResponse:
    """What another process answers there, asked the same with `headers` of ours too. `gone` gives the Fault where it does not answer."""
    if request.headers.get("Upgrade", "").lower() == "websocket" and web.WebSocketResponse().can_prepare(request).ok:
        try:
            theirs = await client.ws_connect(url, headers=headers, autoping=False, max_msg_size=MOST_MESSAGE)
        except WSServerHandshakeError:  # asked without a socket it says why
            pass
        except ClientError as error:
            raise gone(error) from error
        else:
            return await _join(request, theirs)
    headers = {name: request.headers[name] for name in _ASKED if name in request.headers} | headers
    body = request.content if request.can_read_body else None
    response: web.StreamResponse | None = None
    try:
        async with client.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer:
            response = web.StreamResponse(status=answer.status, headers=answered(answer))
            if answer.status == 408:
                response.force_close()
            await response.prepare(request)
            async for piece in answer.content.iter_chunked(_PIECE):
                await response.write(piece)
            await response.write_eof()
            return response
    except ClientError as error:
        if response is not None or request.content.exception() is not None:  # it has begun, or whoever asked has gone
            raise ConnectionResetError from error
        raise gone(error) from error


def answered(answer: ClientResponse) -> CIMultiDict[str]:
    """Of what another process answered, the headers that are passed on."""
    return CIMultiDict((name, value) for name in _ANSWERED for value in answer.headers.getall(name, ()))


async def _join(request: web.Request, theirs: ClientWebSocketResponse) -> web.StreamResponse:
    """Two websockets as one, read no faster than it is obeyed."""
    ours = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=MOST_MESSAGE)
    try:
        await ours.prepare(request)
        read_little(request.transport)
        pumps = [asyncio.create_task(_pump(ours, theirs, request.app[CLOCK])), asyncio.create_task(_pump(theirs, ours, None))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await ours.close(code=theirs.close_code or 1000)
    finally:
        await theirs.close()
    return ours


async def _pump(source: Any, sink: Any, clock: Clock | None) -> None:
    """Messages of one socket to another, until either is closed. With a clock: so many a second."""
    samples, words = (Rate(clock, MESSAGES, AT_ONCE), Rate(clock, WORDS, WORDS_AT_ONCE)) if clock else (None, None)
    while True:
        message = await source.receive()
        rate = samples if message.type is WSMsgType.BINARY else words
        if rate is not None:
            await rate.pace()
        try:
            if message.type is WSMsgType.BINARY:
                await sink.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                await sink.send_str(message.data)
            elif message.type is WSMsgType.PING:
                await sink.ping(message.data)
            elif message.type is WSMsgType.PONG:
                await sink.pong(message.data)
            else:
                return
        except ConnectionError:
            return

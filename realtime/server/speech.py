"""Speech in over HTTP: a sound file, a websocket of raw samples (`speech_socket`), and the interruption of both."""

from __future__ import annotations

import wave
from pathlib import Path

from aiohttp import web

from engines.errors import SpeechFault
from realtime.pcm import rate_of
from realtime.server.faults import WrongType
from realtime.server.keys import CLOCK, UPLOADS
from realtime.server.speech_socket import converse, speak_as, words_of
from realtime.server.uploads import read
from realtime.server.whip import find, manners_of

MOST_FILE = 64 << 20


async def interrupt(request: web.Request) -> web.StreamResponse:
    """POST: break off all speech; answers how much of it was heard."""
    session = find(request)
    broken = session.interrupt()
    body = {"generation": session.generation, "heard_ms": round(broken.heard * 1000), "dropped_ms": round(broken.dropped * 1000)}
    return web.json_response(body)


async def speak(request: web.Request) -> web.StreamResponse:
    """POST a sound file, or raw samples as audio/pcm;rate=N: it is spoken after what waits already."""
    session = find(request)
    kind = request.content_type
    if not (kind.startswith(("audio/", "video/")) or kind in ("application/octet-stream", "application/ogg")):
        raise WrongType(f"Speech is a sound file (audio/*), not {kind}.", "Set the Content-Type to the file's, e.g. audio/wav.")
    rate = rate_of(_parameters(request).get("rate", "no rate")) if kind == "audio/pcm" else None
    uploads = request.app[UPLOADS]
    file = await uploads.received(request, MOST_FILE, session.name)
    try:
        if rate is not None:
            await uploads.run(_add_header, file, rate)
        await session.speak(file)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return web.json_response(session.report(), status=202)


def _parameters(request: web.Request) -> dict[str, str]:
    parts = (part.partition("=") for part in request.headers.get("Content-Type", "").split(";")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in parts}


def _add_header(file: Path, rate: int) -> None:
    """Make a sound file of raw samples. Raises SpeechFault for an odd number of bytes."""
    data = file.read_bytes()
    if len(data) % 2 or not data:
        raise SpeechFault("The sound has no samples, or an odd number of bytes.", "Send 16-bit samples: two bytes each.")
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        out.writeframes(data)


async def manner(request: web.Request) -> web.StreamResponse:
    """POST {"name": "happy", "strength": 0.7}: the session goes on so."""
    session = find(request)
    await speak_as(session, words_of((await read(request)).decode("utf-8", errors="replace")), manners_of(request))
    return web.json_response(session.report())


async def talk(request: web.Request) -> web.StreamResponse:
    """GET as a websocket: raw samples in, events out."""
    return await converse(request, find(request), request.app[CLOCK], manners_of(request))

"""Text in over HTTP: what a session is to say, and with which voice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

from realtime.server.faults import RequestFault, WrongType
from realtime.server.keys import SAYINGS
from realtime.server.uploads import read
from realtime.server.whip import find
from realtime.voices import LONGEST, checked, choose


async def say(request: web.Request) -> web.StreamResponse:
    """POST a text as JSON: it is said after what waits already."""
    session = find(request)
    if request.content_type != "application/json":
        raise WrongType(f"A text comes as JSON, not {request.content_type}.", 'Send {"text": "Hello."} as application/json.')
    asked = _asked(await read(request))
    sayings = request.app[SAYINGS]
    voice = choose(asked.voice, await sayings.speaking.voices())
    cut = checked(asked.text, asked.speed)
    waiting = sayings.put(session, cut, voice, asked.speed)
    return web.json_response({"voice": voice.name, "pieces": len(cut), "waiting": waiting}, status=202)


async def list_voices(request: web.Request) -> web.StreamResponse:
    """GET the voices of this machine, the default first."""
    voices = await request.app[SAYINGS].speaking.voices()
    return web.json_response({"voices": [asdict(voice) for voice in voices], "longest": LONGEST})


@dataclass(frozen=True)
class _Asked:
    text: str
    voice: str = ""
    speed: float = 1.0


def _asked(body: bytes) -> _Asked:
    """What a request asks for. Raises RequestFault."""
    try:
        words = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestFault("The text is no JSON.", 'Send {"text": "Hello."}.') from error
    kinds: dict[str, Any] = {"text": str, "voice": str, "speed": int | float}
    if not isinstance(words, dict) or "text" not in words:
        raise RequestFault("There is no text.", 'Send {"text": "Hello."}.')
    for name, value in words.items():
        if name not in kinds or not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise RequestFault(f"{name[:40]!r} is not understood.", "There are text and voice (strings), and speed (a number).")
    return _Asked(**words)

"""A face for any agent that speaks OpenAI's Realtime events: its sound goes on to a session of `mytalk serve`, and so does an interruption.

    python examples/realtime_agent.py wss://api.openai.com/v1/realtime?model=gpt-realtime http://127.0.0.1:8008

The agent's own connection stays yours: what you send it (the microphone, tools, a text) is as before. Watch the session by WHEP.
"""

import asyncio
import base64
import os
import sys

import aiohttp

from mytalk import client

RATE = 24_000


async def relay(agent: aiohttp.ClientWebSocketResponse, session: client.Session) -> None:
    """What the agent says, until it hangs up."""
    item = ""
    async for message in agent:
        event = message.json()
        if event["type"] in ("response.output_audio.delta", "response.audio.delta"):
            item = event["item_id"]
            await session.push(base64.b64decode(event["delta"]), RATE)
        elif event["type"] in ("response.output_audio.done", "response.audio.done"):
            await session.flush()
        elif event["type"] == "input_audio_buffer.speech_started" and item:  # the user talks: the face is silent at once
            heard = (await session.interrupt())["heard_ms"]
            await agent.send_json({"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": heard})
            item = ""
    await session.finished()


async def main(agent: str, server: str) -> None:
    """Connect both."""
    headers = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"}
    async with aiohttp.ClientSession(headers=headers) as web, web.ws_connect(agent) as socket, client.join(server) as session:
        await socket.send_json({"type": "response.create", "response": {"instructions": "Greet the user."}})
        await relay(socket, session)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""An agent of LiveKit with a face and a local voice: no key but that of your LiveKit server. It answers what is typed in the room.

    pip install 'mytalk-live[livekit,voice]'
    export LIVEKIT_URL=ws://127.0.0.1:7880 LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=secret
    python examples/livekit_worker.py dev

With MYTALK_SERVER=http://127.0.0.1:8008 the pictures are made there (`mytalk serve`), for any number of rooms, and not here.
Put your own text-to-speech, LLM and ears into AgentSession(...) as ever: the face takes what comes out of it.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from livekit.agents import Agent, AgentServer, AgentSession, APIConnectOptions, JobContext, cli, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice.room_io import RoomOptions, TextInputEvent, TextInputOptions

import mytalk
from mytalk.livekit import AvatarSession

RATE = 24_000
server = AgentServer()


class LocalVoice(tts.TTS):
    """A voice of this machine."""

    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1)

    def synthesize(self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> tts.ChunkedStream:
        """A sentence, as sound."""
        return Spoken(tts=self, input_text=text, conn_options=conn_options)


class Spoken(tts.ChunkedStream):
    """Its sound, piece by piece."""

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(request_id="local", sample_rate=RATE, num_channels=1, mime_type="audio/pcm")
        async for samples in spoken(self.input_text):
            output_emitter.push(samples)
        output_emitter.flush()


async def spoken(text: str) -> AsyncIterator[bytes]:
    """A text as 16-bit samples, made beside the event loop."""
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def speak() -> None:
        try:
            for block in mytalk.speak(text):
                loop.call_soon_threadsafe(pieces.put_nowait, (block * 32767).astype(np.int16).tobytes())
        finally:
            loop.call_soon_threadsafe(pieces.put_nowait, None)

    threading.Thread(target=speak, daemon=True).start()
    while piece := await pieces.get():
        yield piece


async def answer(session: AgentSession[Any], event: TextInputEvent) -> None:
    """Somebody typed something. Put your LLM here, or give one to the session and leave this out."""
    session.interrupt()
    session.say(f"You said: {event.text}")


async def talk(session: AgentSession[Any], room: Any, actor: str = "presenter") -> AvatarSession:
    """Give a session a face, and let it greet."""
    avatar = AvatarSession(actor, server=os.environ.get("MYTALK_SERVER", ""), token=os.environ.get("MYTALK_TOKEN", ""))
    await avatar.start(session, room=room)
    return avatar


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """One room."""
    await ctx.connect()
    session: AgentSession[Any] = AgentSession(tts=LocalVoice())
    await talk(session, ctx.room)
    await session.start(
        Agent(instructions="Answer."),
        room=ctx.room,
        room_options=RoomOptions(text_input=TextInputOptions(text_input_cb=answer), audio_input=False, audio_output=False),
    )
    session.say("Hello. Type something, and I will say it.")


if __name__ == "__main__":
    cli.run_app(server)

"""A voice agent with a face: type to it, it answers. Start `mytalk serve`, then:

    python examples/voice_agent.py http://127.0.0.1:8008

A new line interrupts what it says. `answer` is where your LLM goes: it gives its words as they come, and each sentence is said as soon as
it is whole. Here the voice is one of this machine; with text-to-speech of your own, push its samples: `session.push(samples, rate)`.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator

import mytalk
from mytalk import client


async def answer(question: str) -> AsyncIterator[str]:
    """An LLM's answer, word by word. Put yours here."""
    for word in f"You said: {question.strip()}. That is all I know! Ask me something else.".split():
        yield word + " "
        await asyncio.sleep(0.02)


async def sentences(words: AsyncIterator[str]) -> AsyncIterator[str]:
    """The same words in whole sentences."""
    text = ""
    async for word in words:
        text += word
        while found := re.match(r"(.+?[.!?])\s+", text):
            yield found[1]
            text = text[found.end() :]
    if text.strip():
        yield text


async def reply(session: client.Session, question: str) -> None:
    """Say the answer to a question."""
    async for sentence in sentences(answer(question)):
        print(f"< {sentence}", flush=True)
        await session.say(sentence)


async def main(server: str) -> None:
    """Answer each line of stdin, until that ends."""
    async with client.join(server) as session:
        print(f"Talking with {(await session.report())['actor']}: type something.", flush=True)
        speaking: asyncio.Task[None] | None = None
        while line := await asyncio.to_thread(sys.stdin.readline):
            if speaking and not speaking.done():
                speaking.cancel()
            await session.interrupt()
            speaking = asyncio.create_task(reply(session, line))
        if speaking:
            await speaking
        await session.finished()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8008"))
    except mytalk.Fault as fault:
        sys.exit(str(fault))

"""A session on a server says a text and is recorded. Start `mytalk serve`, then:

python examples/record.py http://127.0.0.1:8008 "Hello there." hello.mp4
"""

import asyncio
import sys

import mytalk
from mytalk import client


async def main(server: str, text: str, output: str) -> None:
    """Record from before the first word until after the last."""
    async with client.join(server) as session:
        await anext(session.pictures())  # it is there
        await session.record()
        await session.say(text)
        await session.finished()
        print(await session.stop_recording(output))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except mytalk.Fault as fault:
        sys.exit(str(fault))

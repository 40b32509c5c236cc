"""A server over time: its engine killed, peers that come and go, full load, actors that must not be mixed up.

    mytalk bench endurance --kills 20 --joins 200 --minutes 10 --actors 1000

The server runs in a process of its own; peers are aiortc's, in this one, and decode nothing but what a part looks at.
- killed: from SIGKILL of the engine to the next picture in which something moves, `--pause` seconds apart; calls lost.
- joins: memory (resident), descriptors and threads of the server after a tenth of the joins and at the end.
- load: as many sessions as fit, each said a sound file; memory of server and engine after a minute and at the end.
- actors: two actors in turn, at random; pictures whose background is the other's. With the fake engine, whose actors are known by
  their brightness.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import ClientSession
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

SERVE = """
import sys
from pathlib import Path
from realtime.server.app import serve
from realtime.server.options import Options
if __name__ == "__main__":
    if sys.argv[1] == "fake":
        from realtime.testing import FakePipeline, FakeStore
        serve(store=FakeStore(size=(256, 256)), port=0, pipeline=FakePipeline, options=Options(max_sessions=8))
    else:
        from engines.actor import Store
        serve(store=Store(Path(sys.argv[2])), port=0)
"""
ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT / "realtime" / "speech" / "hello.flac"


class Server:
    """The server's process, and what the system says of it."""

    def __init__(self, engine: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        command = [sys.executable, "-c", SERVE, engine, self._folder.name]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)
        self._folder.cleanup()

    def engine(self) -> int:
        """The engine's process: the child that has worked most in a fifth of a second. The spare one only waits."""
        before = {child: worked(child) for child in children(self.process.pid)}
        time.sleep(0.2)
        return max(before, key=lambda child: worked(child) - before[child])

    def state(self) -> dict[str, float]:
        """Memory, MiB; open descriptors; threads."""
        folder = Path(f"/proc/{self.process.pid}")
        return {
            "memory_mib": round(memory(self.process.pid), 1),
            "descriptors": len(list((folder / "fd").iterdir())),
            "threads": len(list((folder / "task").iterdir())),
        }


def children(pid: int) -> list[int]:
    """A process's children: each belongs to the thread that started it."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def memory(pid: int) -> float:
    """Resident memory, MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def worked(pid: int, ended: bool = False) -> float:
    """Seconds of processor time so far, with those of a process's threads, and of children that have `ended`; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if ended else 13])) / os.sysconf("SC_CLK_TCK")


class Seen:
    """What a peer saw."""

    def __init__(self) -> None:
        self.pictures = 0
        self.last = 0.0
        self.moved = 0.0
        self.brightness: list[float] = []
        self._before: Any = None

    async def watch(self, track: MediaStreamTrack, look: bool) -> None:
        """Until the track ends."""
        try:
            while True:
                frame = await track.recv()
                if not isinstance(frame, VideoFrame):
                    continue
                self.pictures, self.last = self.pictures + 1, time.monotonic()
                if look:
                    y = frame.to_ndarray()[: frame.height, :]
                    self.brightness.append(float(y[:20].mean()))
                    if self._before is not None and np.abs(y.astype(np.int16) - self._before).max() > 40:
                        self.moved = self.last
                    self._before = y.astype(np.int16)
        except MediaStreamError:
            pass


@asynccontextmanager
async def peer(client: ClientSession, url: str, actor: str = "presenter", look: bool = False) -> AsyncIterator[tuple[str, Seen]]:
    """A connected peer: its session's address, and what it sees."""
    connection, seen = RTCPeerConnection(RTCConfiguration(iceServers=[])), Seen()
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver("audio", direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp
    async with client.post(f"{url}/v1/sessions?actor={actor}", data=offer, headers={"Content-Type": "application/sdp"}) as answer:
        if answer.status != 201:
            await connection.close()
            raise SystemExit(f"refused: {await answer.text()}")
        session = url + answer.headers["Location"]
        await connection.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
    tasks = [asyncio.create_task(seen.watch(one.receiver.track, look)) for one in connection.getTransceivers()]
    try:
        yield session, seen
    finally:
        (await client.delete(session)).close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await connection.close()


async def until(seen: Seen, pictures: int) -> None:
    """Wait for so many pictures."""
    while seen.pictures < pictures:
        await asyncio.sleep(0.01)


async def killed(server: Server, client: ClientSession, times: int, pause: float) -> dict[str, Any]:
    """Kill the engine again and again under one call."""
    took: list[float] = []
    async with peer(client, server.url, look=True) as (session, seen):
        await until(seen, 20)
        for _ in range(times):
            while seen.moved < seen.last - 1 or not seen.moved:
                await asyncio.sleep(0.05)
            await asyncio.sleep(pause)
            os.kill(await asyncio.to_thread(server.engine), signal.SIGKILL)
            began, seen.moved = time.monotonic() + 0.15, 0.0  # what was on its way moves still
            await asyncio.sleep(0.15)
            while seen.moved < began:
                await asyncio.sleep(0.01)
            took.append(seen.moved - began + 0.15)
        async with client.get(session) as report:
            lost = int(report.status != 200)
    return {"kills": times, "moving_again_p95_s": round(float(np.percentile(took, 95)), 2), "calls_lost": lost}


async def joins(server: Server, client: ClientSession, times: int) -> dict[str, Any]:
    """Connect and disconnect."""
    states = []
    for n in range(times):
        async with peer(client, server.url) as (_, seen):
            await until(seen, 2)
        if n == times // 10:
            await asyncio.sleep(1)
            states.append(server.state())
    await asyncio.sleep(2)
    states.append(server.state())
    return {"joins": times, "after_a_tenth": states[0], "at_the_end": states[-1]}


async def loaded(server: Server, client: ClientSession, minutes: float) -> dict[str, Any]:
    """Full load: as many sessions as fit, all of them saying something."""
    async with client.get(f"{server.url}/healthz") as answer:
        sessions = (await answer.json())["capacity"]
    speech, first, fps = SPEECH.read_bytes(), {}, []

    async def talk(stop: float) -> None:
        async with peer(client, server.url) as (session, seen):
            await until(seen, 5)
            began, count = time.monotonic(), seen.pictures
            while time.monotonic() < stop:
                await client.post(f"{session}/speech", data=speech, headers={"Content-Type": "audio/flac"})
                await asyncio.sleep(5)
            fps.append((seen.pictures - count) / (time.monotonic() - began))

    stop = time.monotonic() + minutes * 60
    talks = [asyncio.create_task(talk(stop)) for _ in range(sessions)]
    await asyncio.sleep(min(60, minutes * 30))
    first = {"server": memory(server.process.pid), "engine": memory(await asyncio.to_thread(server.engine))}
    await asyncio.sleep(max(0, stop - time.monotonic() - 1))
    last = {"server": memory(server.process.pid), "engine": memory(await asyncio.to_thread(server.engine))}
    await asyncio.gather(*talks)
    grown = {f"{name}_grew_mib": round(last[name] - first[name], 1) for name in first}
    return {"sessions": sessions, "minutes": minutes, "fps": [round(one, 2) for one in fps], **grown}


async def mixed(times: int) -> dict[str, Any]:
    """Two actors in turn, at random, always one beside the other: whose pictures come?"""
    server, rng, wrong, pictures = Server("fake"), np.random.default_rng(0), 0, 0
    known = {"presenter": 60, "second": 100}

    async def look(client: ClientSession, actor: str) -> None:
        nonlocal wrong, pictures
        async with peer(client, server.url, actor, look=True) as (_, seen):
            await until(seen, 3)
        pictures += len(seen.brightness)
        wrong += sum(abs(value - known[actor]) > 15 for value in seen.brightness)

    try:
        async with ClientSession() as client:
            for _ in range(times // 2):
                await asyncio.gather(*(look(client, str(rng.choice(list(known)))) for _ in range(2)))
    finally:
        server.close()
    return {"connects": times, "pictures": pictures, "of_the_wrong_actor": wrong}


async def run(args: argparse.Namespace) -> dict[str, Any]:
    """All parts that are asked for."""
    figures: dict[str, Any] = {}
    server = Server("real")
    try:
        async with ClientSession() as client:
            while True:
                async with client.get(f"{server.url}/healthz") as answer:
                    if (await answer.json())["ready"]:
                        break
                await asyncio.sleep(0.1)
            parts: list[tuple[str, Callable[..., Awaitable[dict[str, Any]]], float]] = [
                ("joined", joins, args.joins),
                ("loaded", loaded, args.minutes),
                ("killed", partial(killed, pause=args.pause), args.kills),
            ]
            for name, part, size in parts:
                if size:
                    figures[name] = await part(server, client, size)
                    print(name, json.dumps(figures[name]), flush=True)
    finally:
        server.close()
    if args.actors:
        figures["mixed"] = await mixed(args.actors)
        print("mixed", json.dumps(figures["mixed"]), flush=True)
    return figures | {"machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=20, help="how often the engine is killed")
    parser.add_argument("--pause", type=float, default=8, help="seconds from one kill to the next, while a new spare engine warms up")
    parser.add_argument("--joins", type=int, default=200, help="how many peers come and go")
    parser.add_argument("--minutes", type=float, default=10, help="how long full load lasts")
    parser.add_argument("--actors", type=int, default=1000, help="how many peers ask for one of two actors")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()

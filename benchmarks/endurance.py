"""A server over time: peers that come and go, full load, an engine that is killed, silence, packets that are lost, actors side by side.

    mytalk bench endurance                                          # all of it: an hour and a quarter
    mytalk bench endurance joined mixed --joins 20 --actors 40      # some of it, and less

The server runs in a process of its own with the real engine; peers are aiortc's, in this one, and look at every picture.
- joined: memory (resident), descriptors, threads and tasks of the server, and memory of all its children, after a tenth of the joins,
  in the middle and at the end.
- loaded: as many sessions as fit, each said a sound file; memory of server and engine after a minute and at the end.
- killed: from SIGKILL of the engine to the next picture in which something moves, `--pause` seconds apart; calls lost.
- silent, and in a room: see `benchmarks.silence`.
- lossy: see `benchmarks.loss`.
- mixed: two actors, two peers at a time, each asks for one at random; pictures whose background or mouth is the other's. The
  second actor is the first at half the light.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import ClientSession
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from numpy.typing import NDArray

from benchmarks import loss, silence
from engines.actor import BUILT_IN, Store
from native.planes import planes

SERVE = """
import sys
from pathlib import Path
from benchmarks.silence import Idle
from engines.actor import Store
from engines.pipeline import Pipeline
from realtime.server.app import serve
from realtime.server.options import Options
if __name__ == "__main__":
    options = Options(actor=sys.argv[2], max_sessions=int(sys.argv[3]) or None)
    serve(store=Store(Path(sys.argv[1])), port=0, options=options, pipeline=Idle if sys.argv[4] == "idle" else Pipeline)
"""
ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT / "realtime" / "speech" / "hello.flac"
SAID_S = 9.5
"""By then it has been said: what is posted sooner waits, and takes memory."""
DARKER = "darker"
Look = Callable[[NDArray[np.uint8]], None]


class Server:
    """The server's process, and what the system says of it."""

    def __init__(self, home: Path, actor: str = BUILT_IN, sessions: int = 0, engine: str = "real") -> None:
        command = [sys.executable, "-c", SERVE, str(home), actor, str(sessions), engine]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)

    def children(self) -> list[int]:
        """All processes below it."""
        return below(self.process.pid)

    def engine(self) -> int:
        """The engine's process: the child that has worked most in a fifth of a second. The spare one only waits."""
        children = self.children()
        before = {child: worked(child) for child in children}
        time.sleep(0.2)
        return max(before, key=lambda child: worked(child) - before[child])

    async def state(self, client: ClientSession) -> dict[str, float]:
        """Memory, MiB, of its own and of all its children; open descriptors; threads; tasks of its event loop."""
        folder = Path(f"/proc/{self.process.pid}")
        async with client.get(f"{self.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        (tasks,) = [line.split()[1] for line in lines if line.startswith("mytalk_tasks ")]
        return {
            "memory_mib": round(memory(self.process.pid), 1),
            "children_mib": round(sum(memory(child) for child in self.children()), 1),
            "descriptors": len(list((folder / "fd").iterdir())),
            "threads": len(list((folder / "task").iterdir())),
            "tasks": round(float(tasks)),
        }


def offspring(pid: int) -> list[int]:
    """The children of a process: each belongs to the thread that started it."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def below(pid: int) -> list[int]:
    """All processes below a process."""
    found = offspring(pid)
    for child in found:
        found += offspring(child)
    return found


def memory(pid: int) -> float:
    """Resident memory, MiB; 0 for a process that has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


def worked(pid: int, ended: bool = False) -> float:
    """Seconds of processor time so far, with those of a process's threads, and of children that have `ended`; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if ended else 13])) / os.sysconf("SC_CLK_TCK")


class Seen:
    """What a peer saw. `look` is shown each picture (I420)."""

    def __init__(self, look: Look | None) -> None:
        self.pictures = 0
        self.last = 0.0
        self._look = look

    async def watch(self, track: MediaStreamTrack) -> None:
        """Until the track ends."""
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    self.pictures, self.last = self.pictures + 1, time.monotonic()
                    if self._look:
                        self._look(np.asarray(frame.to_ndarray(), np.uint8))
        except MediaStreamError:
            pass


class Movement:
    """When something last moved."""

    def __init__(self) -> None:
        self.at = 0.0
        self._before: NDArray[np.int16] | None = None

    def __call__(self, picture: NDArray[np.uint8]) -> None:
        """Look at a picture."""
        luma = planes(picture)[0].astype(np.int16)
        if self._before is not None and np.abs(luma - self._before).max() > 40:
            self.at = time.monotonic()
        self._before = luma


@asynccontextmanager
async def peer(
    client: ClientSession, url: str, actor: str = "", look: Look | None = None, voice: MediaStreamTrack | None = None
) -> AsyncIterator[tuple[str, Seen]]:
    """A connected peer: its session's address, and what it sees. `voice` is its microphone."""
    connection, seen = RTCPeerConnection(RTCConfiguration(iceServers=[])), Seen(look)
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver(voice or "audio", direction="sendrecv" if voice else "recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp
    async with client.post(f"{url}/v1/sessions?actor={actor}", data=offer, headers={"Content-Type": "application/sdp"}) as answer:
        if answer.status != 201:
            await connection.close()
            raise SystemExit(f"refused: {await answer.text()}")
        session = url + answer.headers["Location"]
        await connection.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
    tasks = [asyncio.create_task(seen.watch(one.receiver.track)) for one in connection.getTransceivers()]
    try:
        yield session, seen
    finally:
        (await client.delete(session)).release()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await connection.close()


async def until(seen: Seen, pictures: int) -> None:
    """Wait for so many pictures."""
    while seen.pictures < pictures:
        await asyncio.sleep(0.01)


async def joined(server: Server, client: ClientSession, times: int) -> dict[str, Any]:
    """Connect and disconnect."""
    states = {}
    names = {times - 1: "at_the_end", times // 2: "in_the_middle", times // 10: "after_a_tenth"}
    for n in range(times):
        async with peer(client, server.url) as (_, seen):
            await until(seen, 2)
        if n in names:
            await asyncio.sleep(2)
            states[names[n]] = await server.state(client)
    return {"joins": times, **states}


async def loaded(server: Server, client: ClientSession, minutes: float) -> dict[str, Any]:
    """Full load: as many sessions as fit, all of them saying something."""
    async with client.get(f"{server.url}/healthz") as answer:
        sessions = (await answer.json())["capacity"]
    speech, fps = SPEECH.read_bytes(), []

    async def talk(stop: float) -> None:
        async with peer(client, server.url) as (session, seen):
            await until(seen, 5)
            began, count = time.monotonic(), seen.pictures
            while time.monotonic() < stop:
                (await client.post(f"{session}/speech", data=speech, headers={"Content-Type": "audio/flac"})).release()
                await asyncio.sleep(SAID_S)
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


async def killed(server: Server, client: ClientSession, times: int, pause: float) -> dict[str, Any]:
    """Kill the engine again and again under one call."""
    took: list[float] = []
    moved = Movement()
    async with peer(client, server.url, look=moved) as (session, seen):
        await until(seen, 20)
        for _ in range(times):
            while moved.at < seen.last - 1 or not moved.at:
                await asyncio.sleep(0.05)
            await asyncio.sleep(pause)
            os.kill(await asyncio.to_thread(server.engine), signal.SIGKILL)
            began, moved.at = time.monotonic() + 0.15, 0.0  # what was on its way moves still
            await asyncio.sleep(0.15)
            while moved.at < began:
                await asyncio.sleep(0.01)
            took.append(moved.at - began + 0.15)
        async with client.get(session) as report:
            lost = int(report.status != 200)
    return {"kills": times, "moving_again_p95_s": round(float(np.percentile(took, 95)), 2), "calls_lost": lost}


async def silent(server: Server, client: ClientSession, minutes: float, actor: str, home: Path, level: float | None) -> dict[str, Any]:
    """Nothing is said for a while; with a `level`, dBFS, the microphone is on and hears a room of that noise."""

    async def seen_of(url: str, mouth: silence.Mouth, voice: MediaStreamTrack | None = None) -> None:
        async with peer(client, url, actor, mouth, voice) as (_, seen):
            await until(seen, 50)
            mouth.forget()
            await asyncio.sleep(minutes * 60)

    who = Store(home).load(actor)
    with silence.Mouth(who) as shown, silence.Mouth(who) as still:
        await seen_of(server.url, shown, silence.room(level) if level is not None else None)
        idle = Server(home, actor, engine="idle")
        try:
            await ready(idle, client)
            await seen_of(idle.url, still)
        finally:
            idle.close()
        return {"minutes": minutes, "room_dbfs": level, **shown.figures(still)}


def lights(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(2,): how light the background and the lower half of the middle are."""
    luma = planes(picture)[0]
    height, width = luma.shape
    return np.array([luma[: height // 25].mean(), luma[height // 2 : height * 3 // 4, width * 2 // 5 : width * 3 // 5].mean()])


def dim(home: Path) -> None:
    """Make the second actor: the first at half the light, frames and mouths."""
    actor = Store(home).load(BUILT_IN)
    frames = [np.concatenate([frame[: actor.size[1]] // 2, frame[actor.size[1] :] // 2 + 64]) for frame in actor.frames]
    references = replace(actor.references, pictures=actor.references.pictures // 2)
    Store(home).add(replace(actor, name=DARKER, frames=frames, references=references))


async def mixed(times: int) -> dict[str, Any]:
    """Two actors, at random, always one beside another: whose pictures come?"""
    rng, wrong, pictures, connects = np.random.default_rng(0), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        dim(Path(folder))
        known = {name: lights(Store(Path(folder)).load(name).frames[0]) for name in (BUILT_IN, DARKER)}
        limit = (known[BUILT_IN] + known[DARKER]) / 2

        async def look(client: ClientSession, actor: str) -> None:
            nonlocal wrong, pictures, connects
            found: list[NDArray[np.float64]] = []
            async with peer(client, server.url, actor, lambda picture: found.append(lights(picture))) as (_, seen):
                await until(seen, 5)
            pictures, connects = pictures + len(found), connects + 1
            wrong += sum(bool(((one < limit) != (actor == DARKER)).any()) for one in found)

        server = Server(Path(folder), sessions=4)  # one that leaves may overlap with one that comes
        try:
            async with ClientSession() as client:
                await ready(server, client)
                for _ in range(times // 2):
                    await asyncio.gather(*(look(client, str(rng.choice(list(known)))) for _ in range(2)))
        finally:
            server.close()
    return {"connects": connects, "pictures": pictures, "of_the_wrong_actor": wrong}


async def ready(server: Server, client: ClientSession) -> None:
    """Wait until a session can begin."""
    while True:
        async with client.get(f"{server.url}/readyz") as answer:
            if answer.status == 200:
                return
        await asyncio.sleep(0.1)


async def run(args: argparse.Namespace) -> dict[str, Any]:
    """All parts that are asked for."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = args.home or Path(folder)
        quiet = partial(silent, actor=args.actor, home=home)
        parts: dict[str, tuple[Callable[..., Awaitable[dict[str, Any]]], float]] = {
            "joined": (joined, args.joins),
            "loaded": (loaded, args.minutes),
            "killed": (partial(killed, pause=args.pause), args.kills),
            "silent": (partial(quiet, level=None), args.silence),
            "room": (partial(quiet, level=args.room), args.silence),
            "lossy": (partial(loss.lossy, share=args.loss, chromium=args.chromium), args.losses),
            "mixed": (lambda server, client, times: mixed(times), args.actors),
        }
        server = Server(home, args.actor)
        try:
            async with ClientSession() as client:
                await ready(server, client)
                for name, (part, size) in parts.items():
                    if size and name in (args.parts or parts):
                        figures[name] = await part(server, client, size)
                        print(name, json.dumps(figures[name]), flush=True)
        finally:
            server.close()
    return figures | {"machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("parts", nargs="*", help="joined, loaded, killed, silent, room, lossy, mixed; all of them if none is named")
    parser.add_argument("--joins", type=int, default=200, help="how many peers come and go")
    parser.add_argument("--minutes", type=float, default=10, help="how long full load lasts")
    parser.add_argument("--kills", type=int, default=20, help="how often the engine is killed")
    parser.add_argument("--pause", type=float, default=8, help="seconds from one kill to the next, while a new spare engine warms up")
    parser.add_argument("--silence", type=float, default=10, help="minutes of silence, without a microphone, and again with one")
    parser.add_argument("--room", type=float, default=-60, help="noise that a microphone hears in a silent room, dBFS")
    parser.add_argument("--losses", type=int, default=5, help="how many times to connect through the lossy relay, a minute each")
    parser.add_argument("--loss", type=float, default=0.05, help="share of packets that it loses, both ways")
    parser.add_argument("--actors", type=int, default=1000, help="how many peers ask for one of two actors")
    parser.add_argument("--actor", default=BUILT_IN, help="who is shown, except where actors are mixed")
    parser.add_argument("--home", type=Path, help="the folder of the actors")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome") or "chromium")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()

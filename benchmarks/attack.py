"""What a guest can do to somebody else's conversation: attacks on a server of our own, while another session talks.

    mytalk bench attack [--engine fake|real] [flood offers ...]

The server, whoever talks, and each attack are processes of their own; all that is sent stays on this machine. Each attack is bounded in
count and time, and ends by itself. It is niced: who attacks has a machine of its own, and takes no processor time of the server's. Whoever
talks has a microphone with bursts of a tone. Of each attack: pictures a second that it gets, the longest gap between two, and by how
much the 95th percentile of their delay is above that without any attack; and seconds of processor time that the server took, a second.
"crash" and "hang" need the fake engine, which has actors for that. "hung" stops the engine's process, "spare" the spare one before it ends
the engine's: the longest time without movement is how long pictures only held. Ends with a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from benchmarks.attacks import ATTACKS, Attacker, offered
from benchmarks.endurance import Movement, below
from realtime.worker import NAME

SERVE = """
import sys
from pathlib import Path
from engines.actor import Store
from engines.pipeline import Pipeline
from realtime.server.app import serve
from realtime.server.options import Options
from realtime.testing import FakePipeline, FakeStore
if __name__ == "__main__":
    fake = sys.argv[1] == "fake"
    store = FakeStore(("presenter", "fatal", "stuck")) if fake else Store(Path(sys.argv[2]))
    options = Options(max_sessions=6, loops=int(sys.argv[3]))
    serve(store=store, port=0, options=options, pipeline=FakePipeline if fake else Pipeline)
"""
ROOT = Path(__file__).resolve().parent.parent
SECONDS, LONG_S = 6.0, 40.0
"""Each attack is over by then, or is broken off; those that end the engine take longer."""
SETTLE_S, SPARE_S = 2.0, 8.0
"""Seconds between two attacks; those after which a spare engine is there."""
ENDING = ("crash", "hang")
KILLING = ("hung", "spare")


class Voice(MediaStreamTrack):
    """A microphone: a tone, every other half a second."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._at, self._start = 0, time.monotonic()

    async def recv(self) -> AudioFrame:
        """The next 20 ms, at their moment."""
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0.0, self._start + self._at / 48_000 - time.monotonic()))
        at = np.arange(self._at, self._at + 960)
        sound = 0.4 * np.sin(2 * np.pi * 300 * at / 48_000) * (at // 24_000 % 2)
        frame = AudioFrame.from_ndarray((sound[None] * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._at, Fraction(1, 48_000)
        self._at += 960
        return frame


async def talk(url: str) -> None:
    """Talk until standard input ends, then say what `watch` noted."""
    came: list[tuple[float, float, bool]] = []
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver(Voice(), direction="sendrecv")
    async with ClientSession() as client:
        answer, session = await offered(client, url, connection)
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        tasks = [asyncio.create_task(watch(one.receiver.track, came)) for one in connection.getTransceivers()]
        while len(came) < 25:
            await asyncio.sleep(0.05)
        print("talks", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        (await client.delete(session)).release()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await connection.close()
    print(json.dumps(came))


async def watch(track: MediaStreamTrack, came: list[tuple[float, float, bool]]) -> None:
    """Note a track's pictures until it ends: when each came, its media time, both in seconds, and whether something moved in it."""
    moved = Movement()
    with contextlib.suppress(MediaStreamError):
        while True:
            frame = await track.recv()
            if isinstance(frame, VideoFrame):
                at = time.monotonic()
                moved(np.asarray(frame.to_ndarray(), np.uint8))
                came.append((at, (frame.pts or 0) / 90_000, moved.at >= at))


async def attack(url: str, name: str) -> None:
    """One attack; says when it began and ended, and what was answered."""
    seconds = LONG_S if name in ENDING else SECONDS
    async with ClientSession(connector=TCPConnector(limit=300), timeout=ClientTimeout(total=seconds + 5)) as client:
        one, began = Attacker(client, url), time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ATTACKS[name](one)
        print(json.dumps({"window": (began, time.monotonic()), "answers": dict(one.answers)}), flush=True)
        os._exit(0)  # what it left open, it leaves


def engines(server: int) -> list[int]:
    """The server's engine, and its spare one: the oldest first."""
    found = [pid for pid in below(server) if Path(f"/proc/{pid}/comm").read_text().strip() == NAME]
    return sorted(found)


def killed(server: int, name: str) -> dict[str, Any]:
    """The engine hangs; or its spare one does, and then it ends."""
    engine, *spare = engines(server)
    began = time.monotonic()
    if name == "spare":
        os.kill(spare[0], signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(engine, signal.SIGKILL)
    else:
        os.kill(engine, signal.SIGSTOP)
    time.sleep(12)
    return {"window": (began, time.monotonic()), "answers": {}}


def took(server: int) -> float:
    """Seconds of processor time that the server, without its engine, took so far."""
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(url: str, server: int, name: str) -> dict[str, Any]:
    """One attack in a process of its own."""
    if name in (*ENDING, *KILLING):
        time.sleep(SPARE_S)
    before, began = took(server), time.monotonic()
    if name == "quiet":
        time.sleep(4)
        found: dict[str, Any] = {"window": (began, time.monotonic()), "answers": {}}
    elif name in KILLING:
        found = killed(server, name)
    else:
        command = ["nice", "-n", "19", sys.executable, "-m", "benchmarks.attack", "--attack", name, url]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=LONG_S + 60)
        if not done.stdout.strip():
            raise SystemExit(f"{name}: {done.stderr.strip()[-2000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
    found["cpu"] = round((took(server) - before) / (time.monotonic() - began), 2)
    first, last = found["window"]
    found["window"] = first, max(last, first + 2)
    time.sleep(max(0.0, first + 2 - time.monotonic()) + SETTLE_S)
    return found


def judged(came: list[tuple[float, float, bool]], window: tuple[float, float], still: float | None) -> dict[str, float]:
    """Of the pictures that came in a window. `still`: the delay's 95th percentile without any attack, seconds, in the same zero."""
    seen = [one for one in came if window[0] <= one[0] <= window[1]]
    times, moving = np.array([when for when, *_ in seen]), np.array([when for when, _, moved in seen if moved])
    late = np.array([when - media for when, media, _ in seen])

    def gap(times: Any) -> int:
        return round(float(np.diff(np.concatenate([[window[0]], times, [window[1]]])).max()) * 1e3)

    p95 = float(np.percentile(late, 95)) if len(late) else np.inf
    return {
        "pictures_s": round(len(times) / (window[1] - window[0]), 2),
        "gap_ms": gap(times),
        "still_ms": gap(moving),
        "delay_p95_ms": round((p95 - (p95 if still is None else still)) * 1e3),
        "p95": p95,
    }


def main() -> None:
    """Run the benchmark from the command line."""
    names = [*ATTACKS, *KILLING]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("attacks", nargs="*", default=names, metavar=" | ".join(names))
    parser.add_argument("--engine", choices=("fake", "real"), default="fake")
    parser.add_argument("--loops", type=int, default=1, help="event loops of the server")
    parser.add_argument("--talk", help=argparse.SUPPRESS)
    parser.add_argument("--attack", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.talk or options.attack:
        asyncio.run(talk(options.talk) if options.talk else attack(options.attack[1], options.attack[0]))
        return
    if unknown := set(options.attacks) - set(names):
        parser.error(f"There is no attack {min(unknown)}. There are: {', '.join(names)}.")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-c", SERVE, options.engine, home, str(options.loops)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
        assert server.stdout is not None
        other: subprocess.Popen[str] | None = None
        try:
            url = server.stdout.readline().split()[-1]
            time.sleep(SPARE_S)
            command = [sys.executable, "-m", "benchmarks.attack", "--talk", url]
            other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            assert other.stdout is not None
            other.stdout.readline()
            for name in ["quiet", *options.attacks]:
                if name not in ENDING or options.engine == "fake":
                    found[name] = run(url, server.pid, name)
            came = json.loads(other.communicate(timeout=30)[0].splitlines()[-1])
        finally:
            for process in (other, server):
                if process is not None:
                    process.terminate()
                    process.wait(20)
    still = judged(came, found["quiet"]["window"], None)["p95"]
    print("| attack | pictures a second | longest gap, ms | longest without movement, ms | delay p95, ms more | server, cores | answers |")
    print("|---|---|---|---|---|---|---|")
    for name, said in found.items():
        found[name] = one = {"answers": said["answers"], "cpu": said["cpu"]} | judged(came, said["window"], still)
        one.pop("p95")
        answers = ", ".join(f"{count} x {what}" for what, count in sorted(one["answers"].items()))
        print(f"| {name} | {one['pictures_s']} | {one['gap_ms']} | {one['still_ms']} | {one['delay_p95_ms']} | {one['cpu']} | {answers} |")
    print(json.dumps(found | {"load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()

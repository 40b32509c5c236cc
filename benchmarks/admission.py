"""Whether sessions that were let in are ever late: 20 actors of 256 to 2560 pixels a side ask for one each, in an order drawn by lot.

    mytalk bench admission [--seconds 40] [--seed 0] [--home FOLDER]

The server, with the real engine and what it measured of this machine, runs in a process of its own; peers are aiortc's, in another, which
is niced: those who watch have machines of their own. All that are let in are said the shipped speech, one time after the other. A tick is
late by what its picture leaves after its sound was taken, beyond the look-ahead: up to 40 ms is in time. The last of a minute count. The
actors are the drawn presenter, enlarged, made once in FOLDER. Ends with a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
from aiohttp import ClientSession
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from engines import presenter
from engines.actor import Store
from engines.drawn import draw

SERVE = """
import sys
from pathlib import Path
from engines.actor import Store
from engines.pipeline import Pipeline
from realtime.server.app import serve
from realtime.server.options import Options
if __name__ == "__main__":
    serve(store=Store(Path(sys.argv[1])), port=0, options=Options(actor=sys.argv[2]), pipeline=Pipeline)
"""
ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT / "realtime" / "speech" / "hello.flac"
SAID_S = 9.5
SIZES = (256, 384, 512, 768, 1024, 1280, 1600, 1920, 2304, 2560)
PICTURES = 32
"""Of each actor's loop."""
TICK_MS = 40


def enlarged(look: Any, mouth: Any, head: Any, size: int) -> tuple[Any, None]:
    """See `engines.drawn.draw`; drawn as 256 x 256, or it would take an hour."""
    return cv2.resize(draw(look, mouth, head, 256)[0], (size, size), interpolation=cv2.INTER_CUBIC), None


def actors(home: Path) -> list[str]:
    """Two of each size; those that are there already stay."""
    store, names = Store(home), []
    for size in SIZES:
        first, second = (f"drawn{size}{letter}" for letter in "ab")
        if first not in store.names():
            with mock.patch.object(presenter, "draw", enlarged):
                store.add(presenter.make_presenter(size=size, ticks=PICTURES, name=first))
        if second not in store.names():
            shutil.copytree(store.find(first), store.folder(second))
        names += [first, second]
    return names


async def ask(url: str, names: list[str], seconds: float) -> dict[str, Any]:
    """One session of each actor; who is let in talks. Returns who was refused, and what the server says of the others."""
    refused, begun, connections = [], {}, []
    async with ClientSession() as client:
        while True:
            async with client.get(f"{url}/healthz") as answer:
                health = await answer.json()
            if health["ready"] and health["capacity"] > 1:
                break
            await asyncio.sleep(0.2)
        for name in names:
            connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            connection.addTransceiver("video", direction="recvonly")
            connection.addTransceiver("audio", direction="recvonly")
            await connection.setLocalDescription(await connection.createOffer())
            offer = connection.localDescription.sdp
            async with client.post(f"{url}/v1/sessions?actor={name}", data=offer, headers={"Content-Type": "application/sdp"}) as answer:
                if answer.status != 201:
                    refused.append(name)
                    await connection.close()
                    continue
                begun[name] = url + answer.headers["Location"]
                await connection.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
                connections.append(connection)
            await asyncio.sleep(1)

        async def talk(session: str, stop: float) -> None:
            while time.monotonic() < stop:
                (await client.post(f"{session}/speech", data=SPEECH.read_bytes(), headers={"Content-Type": "audio/flac"})).release()
                await asyncio.sleep(SAID_S)

        stop = time.monotonic() + seconds
        await asyncio.gather(*(talk(session, stop) for session in begun.values()))
        reports = {name: await (await client.get(session)).json() for name, session in begun.items()}
        health = await (await client.get(f"{url}/healthz")).json()
        for session in begun.values():
            (await client.delete(session)).release()
    for connection in connections:
        await connection.close()
    return {"refused": refused, "reports": reports, "health": health}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, help="folder of the actors; a new one if left out")
    parser.add_argument("--ask", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        print(json.dumps(asyncio.run(ask(options.ask[0], options.ask[1].split(","), options.seconds))))
        return
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder)
        names = actors(home)
        random.Random(options.seed).shuffle(names)
        command = [sys.executable, "-c", SERVE, str(home), "drawn512a"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
            assert server.stdout is not None
            try:
                url = server.stdout.readline().split()[-1]
                asked = ["nice", "-n", "10", sys.executable, "-m", "benchmarks.admission", "--seconds", str(options.seconds)]
                done = subprocess.run([*asked, "--ask", url, ",".join(names)], capture_output=True, text=True, cwd=ROOT, check=True)
            finally:
                server.terminate()
    found = json.loads(done.stdout.splitlines()[-1])
    for name, report in found["reports"].items():
        if "added_p99_ms" not in report:
            raise SystemExit(f"{name} did not talk to the end: {report}")
    late = {name: round(report["added_p99_ms"] - report["look_ahead"] * TICK_MS, 1) for name, report in found["reports"].items()}
    print("| let in | late, ms, p99 | pictures a second | holds |\n|---|---|---|---|")
    for name, report in found["reports"].items():
        print(f"| {name} | {late[name]} | {report['fps']} | {report['holds']} |")
    every, capacity = found["health"]["pictures_every"], found["health"]["capacity"]
    print(f"\nrefused: {len(found['refused'])}; capacity {capacity}; one of {every} pictures is made; load {os.getloadavg()[0]:.1f}")
    print(json.dumps({"late_p99_ms": late, "refused": len(found["refused"]), "every": every, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()

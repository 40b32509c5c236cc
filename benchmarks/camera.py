"""The virtual camera with real parts: PulseAudio's null sinks for microphone and cable, a real Chromium whose webcam is the file.

    mytalk bench camera --seconds 300                     # the real engine and the drawn presenter
    mytalk bench camera --seconds 60 --engine clapper     # the wires alone

What is measured, all of it outside of `mytalk camera`:
- taken: pictures that Chromium composited, told apart by the number that each carries (`realtime.testing.stamp`); missed:
  numbers between the first and the last that it never showed.
- shown: from a burst of sound in the microphone to the picture that shows it. A recorder beside ours takes the
  microphone's sound; a burst is there when its first 2.5 ms could have been taken at the earliest.
- picture after sound: the same with a recorder at the cable's other end, which is what a meeting program takes for its
  microphone. Positive means that the picture is late.
- Both recorders' times are those of the system's monotonic clock; so are the page's, but for an offset, which is
  measured by asking the page.
- returned: microphone and cable are taken away in turn (`--returns` times each) and given back: until speech is shown,
  or heard, again.
- core: processor time of the command and all its processes, the spare engine included, as a share of one core.
- drift and glitches in an hour: the real resampler between simulated clocks 200 parts in a million apart, blocks up to
  3 ms late.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import wave
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import FLAGS, LOOK
from benchmarks.clapper import Floats, clapper_offsets, heard_at, ms, shown_after, voice
from benchmarks.endurance import offspring, worked
from realtime.camera.drift import Bridge

ROOT = Path(__file__).resolve().parent.parent
RATE = 48_000
BLOCK = RATE // 400
"""Samples of which a recorder's level is looked at."""
SETTLE_S = 8.0
"""Seconds before anything is measured: a spare engine starts two seconds after the first."""
CAMERA = """
import asyncio, json, sys
from pathlib import Path
from realtime.camera.choice import Wishes, plan_of
from realtime.camera.run import run

async def tell(live):
    while True:
        print(json.dumps(live.figures()), flush=True)
        await asyncio.sleep(0.5)

if __name__ == "__main__":
    engine, home, actor, file = sys.argv[1:]
    if engine == "clapper":
        from realtime.testing import FakePipeline as Pipeline, FakeStore
        store = FakeStore()
    else:
        from engines.actor import Store
        from realtime.testing import StampedPipeline as Pipeline
        store = Store(Path(home))
    wishes = Wishes("voice.monitor", "cable", file)
    plan = plan_of(wishes, Path(home), actor=actor)
    run(plan, store=store, pipeline=Pipeline, view=tell)
"""
WATCH = (
    """
async ([width, height]) => {
  const video = document.createElement("video");
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width, height } });
  video.muted = true;
  document.body.append(video);
  await video.play();
  const probe = window.probe = { frames: [] };
"""
    + LOOK
    + "}"
)
LOUD = """
async ([after, patience]) => {
  const loud = () => probe.frames.find(([at, , , seen]) => at > after && seen.some((part) => part > 120));
  while (!loud() && performance.now() < after + patience) await new Promise((done) => setTimeout(done, 10));
  return loud() ? loud()[0] - after : patience;
}
"""


def _sink(name: str) -> list[str]:
    """As docs/camera.md says: without `norewinds` PulseAudio computes two seconds of silence ahead while nobody listens."""
    return ["module-null-sink", f"sink_name={name}", "norewinds=1"]


class Pulse:
    """A PulseAudio of one's own, in a folder, with null sinks as devices: what goes into one comes out of its monitor."""

    def __init__(self, folder: Path, sinks: tuple[str, ...] = ("voice", "cable")) -> None:
        self.folder, socket = folder, folder / "pulse"
        own = {"PULSE_SERVER": f"unix:{socket}", "HOME": str(folder), "PULSE_RUNTIME_PATH": str(folder / "run")}
        self.environment = {**os.environ, **own}
        modules = [f"module-native-protocol-unix auth-anonymous=1 socket={socket}"]
        modules += [" ".join(_sink(name)) for name in sinks]
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"]
        command += [f"--load={module}" for module in modules]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, env=self.environment, **quiet)  # type: ignore[call-overload]
        end = time.monotonic() + 60
        while not socket.exists() or subprocess.run(["pactl", "info"], env=self.environment, capture_output=True).returncode:
            if time.monotonic() > end or self._process.poll() is not None:
                raise SystemExit("PulseAudio does not start.")
            time.sleep(0.02)

    def __enter__(self) -> Pulse:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def ask(self, *words: str) -> str:
        """What pactl says."""
        return subprocess.run(["pactl", *words], env=self.environment, capture_output=True, text=True, check=True, timeout=20).stdout

    def unplug(self, sink: str) -> None:
        """Take a device away."""
        module = next(line.split()[0] for line in self.ask("list", "short", "modules").splitlines() if f"sink_name={sink}" in line)
        self.ask("unload-module", module)

    def plug(self, sink: str) -> None:
        """Give it back."""
        self.ask("load-module", *_sink(sink))

    def pacat(self, *options: str, **pipes: Any) -> subprocess.Popen[bytes]:
        """A player, or a recorder, of 16-bit samples of one channel."""
        command = ["pacat", *options, "--raw", f"--rate={RATE}", "--channels=1", "--format=s16le", "--latency-msec=20"]
        return subprocess.Popen(command, env=self.environment, **pipes)


class Player:
    """Says a recording again and again into a device."""

    def __init__(self, pulse: Pulse, sink: str, sound: bytes) -> None:
        self._process = pulse.pacat("--playback", f"--device={sink}", stdin=subprocess.PIPE)
        self._sound = sound
        threading.Thread(target=self._say, args=(self._process.stdin,), daemon=True).start()

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def _say(self, pipe: IO[bytes]) -> None:
        try:
            while True:
                pipe.write(self._sound)
        except OSError:  # it was stopped
            pass


class Tap:
    """Records a device beside ours; knows when each piece came."""

    def __init__(self, pulse: Pulse, source: str) -> None:
        self._process = pulse.pacat("--record", f"--device={source}", stdout=subprocess.PIPE)
        self._pieces: list[tuple[float, bytes]] = []
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout.fileno(),), daemon=True).start()

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def _read(self, pipe: int) -> None:
        while data := os.read(pipe, 1 << 16):
            self._pieces.append((time.monotonic(), data))

    def blocks(self) -> Floats:
        """(N, 3): each block's place in seconds of sound, its level, and when it came, ms."""
        pieces = list(self._pieces)
        sound = np.frombuffer(b"".join(data for _, data in pieces), "<i2").astype(np.float64) / 32768
        count = len(sound) // BLOCK
        level = np.sqrt(np.mean(sound[: count * BLOCK].reshape(count, BLOCK) ** 2, axis=1))
        ends = np.cumsum([len(data) // 2 for _, data in pieces])
        piece = np.searchsorted(ends, (np.arange(count) + 1) * BLOCK)
        came = np.array([at for at, _ in pieces])[piece] * 1000
        return np.stack([np.arange(count) * BLOCK / RATE, level, came], axis=1)

    def loud_after(self, began: float, patience: float) -> float:
        """Seconds from `began` until something loud came."""
        while time.monotonic() < began + patience:
            late = [at for at, data in list(self._pieces) if at > began and np.abs(np.frombuffer(data, "<i2")).max(initial=0) > 2000]
            if late:
                return late[0] - began
            time.sleep(0.01)
        return patience


class Camera:
    """The command, running; what it says of itself twice a second."""

    def __init__(self, pulse: Pulse, file: Path, engine: str, home: Path, actor: str) -> None:
        command = [sys.executable, "-c", CAMERA, engine, str(home), actor, str(file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=pulse.environment, cwd=ROOT)
        self.figures: list[dict[str, Any]] = []
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def __enter__(self) -> Camera:
        end = time.monotonic() + 120
        while not self.figures or not self.figures[-1]["pictures"]:
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise SystemExit("The camera does not start.")
            time.sleep(0.05)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def _read(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self.figures.append(json.loads(line))

    def worked(self) -> float:
        """Seconds of processor time so far of the whole tree of processes."""
        found, waiting = [], [self._process.pid]
        while waiting:
            found.append(waiting.pop())
            waiting += offspring(found[-1])
        return sum(worked(pid, ended=True) for pid in found)


def page_clock(page: Page, tries: int = 40) -> float:
    """ms by which the page's clock is behind the system's: of the quickest answer."""
    took = []
    for _ in range(tries):
        before = time.monotonic()
        here = page.evaluate("performance.now()")
        after = time.monotonic()
        took.append((after - before, (before + after) * 500 - here))
    return min(took)[1]


def counted(numbers: NDArray[np.int64], seconds: float) -> dict[str, Any]:
    """Pictures a second, and the share of those between the first and the last that were missed."""
    steps = np.diff(numbers) % 256
    odd = steps > 128  # read while the file was written
    there = steps[~odd].sum()
    taken = np.count_nonzero(steps[~odd])
    return {"fps": round(taken / seconds, 2), "missed_percent": round(100 * (1 - taken / max(1, there)), 2), "torn": int(odd.sum())}


def returned(page: Page, pulse: Pulse, times: int, patience: float = 10.0) -> dict[str, Any]:
    """Take microphone and cable away in turn, and give them back."""
    tone = (12_000 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype("<i2").tobytes()
    took: dict[str, list[float]] = {"microphone": [], "cable": []}
    for _ in range(times):
        pulse.unplug("voice")
        time.sleep(1.5)
        offset = page_clock(page)
        page.evaluate("probe.frames.length = 0")
        pulse.plug("voice")
        began = time.monotonic()
        with Player(pulse, "voice", tone):
            took["microphone"].append(page.evaluate(LOUD, [began * 1000 - offset, patience * 1000]) / 1000)
            pulse.unplug("cable")
            time.sleep(1.5)
            pulse.plug("cable")
            began = time.monotonic()
            with Tap(pulse, "cable.monitor") as heard:
                took["cable"].append(heard.loud_after(began, patience))
        time.sleep(0.5)
    most = max([0.0, *took["microphone"], *took["cable"]])
    return {"returns": times, "returned_max_s": round(most, 2), **{f"{name}_s": np.round(all_, 2).tolist() for name, all_ in took.items()}}


def drifted(ppm: float, seconds: int, rate: int, put_s: float, take_s: float) -> dict[str, Any]:
    """A tone between a clock that puts and one that takes, `ppm` apart; the first five seconds do not count.

    A second difference that is none in a sine shows each step, up to the resampler's own error.
    """
    tone, block = 2 * np.pi * 440 / rate, round(put_s * rate)
    second = (0.5 * np.sin(tone * np.arange(rate))).astype(np.float32)
    bridge, jitter = Bridge(rate, rate, put_s, 0.01, 0.2), np.random.default_rng(1)
    put, before = 0, np.zeros(2, np.float32)
    delays, step, speeds = [], 0.0, []
    for tick in range(1, round(seconds / take_s) + 1):
        now = tick * take_s
        while (due := (put / rate + put_s) / (1 + ppm / 1e6)) <= now:
            bridge.put(second[put % rate : put % rate + block], due + jitter.uniform(0, 0.003))
            put += block
        heard = np.concatenate([before, bridge.take(round(take_s * rate), now)])
        before = heard[-2:]
        if now > 5:
            delays.append(now - (put / rate - bridge.depth) / (1 + ppm / 1e6))
            step = max(step, float(np.abs(heard[2:] - 2 * np.cos(tone) * heard[1:-1] + heard[:-2]).max()))
            speeds.append(bridge.ppm)
    return {
        "drift_ms": round((max(delays) - min(delays)) * 1000, 2),
        "step": step,
        "holes": bridge.holes,
        "cuts": bridge.cuts,
        "ppm": float(np.mean(speeds[-3000:])),
    }


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Drive the parts; returns all figures but the simulated ones."""
    wav, file, home = folder / "voice.wav", folder / "camera.y4m", args.home or folder
    made = voice(wav)
    with wave.open(str(wav)) as recording:
        sound = recording.readframes(recording.getnframes())
    with Pulse(folder) as pulse, Camera(pulse, file, args.engine, home, args.actor) as camera, sync_playwright() as playwright:
        began = time.monotonic()
        size = [int(word[1:]) for word in file.read_bytes()[:60].split()[1:3]]
        browser = playwright.chromium.launch(executable_path=args.chromium, args=[*FLAGS, f"--use-file-for-fake-video-capture={file}"])
        page = browser.new_page()
        page.route("**/*", lambda route: route.fulfill(body="<p>", content_type="text/html"))
        page.goto("http://localhost/")  # cameras are for secure places
        page.evaluate(WATCH, size)
        with Player(pulse, "voice", sound), Tap(pulse, "voice.monitor") as spoken, Tap(pulse, "cable.monitor") as heard:
            page.wait_for_timeout(max(0.0, SETTLE_S - (time.monotonic() - began)) * 1000)
            page.evaluate("probe.frames.length = 0")
            offset, start, work = page_clock(page), time.monotonic(), camera.worked()
            page.wait_for_timeout(args.seconds * 1000)
            core = (camera.worked() - work) / (time.monotonic() - start)
            frames = [frame for frame in page.evaluate("probe.frames") if frame[0]]
            figures = list(camera.figures)
            moved = page_clock(page) - offset
        taps = [tap.blocks() - np.array([0, 0, offset]) for tap in (spoken, heard)]
        back = returned(page, pulse, args.returns)
        version = browser.version
        browser.close()
    at = np.array([frame[0] for frame in frames])
    seconds = float(at[-1] - at[0]) / 1000
    shown = shown_after(frames, heard_at(taps[0]), taps[0][:, 1])
    shown = shown[shown > 0]
    offsets = clapper_offsets(frames, heard_at(taps[1]), taps[1][:, 1])
    quarter = max(1, len(offsets) // 4)
    last, early = figures[-1], [abs(one["drift_out_ppm"]) for one in figures[:40]]
    return {
        "engine": args.engine,
        "size": size,
        "seconds": round(seconds, 1),
        **counted(np.array([frame[2] for frame in frames]), seconds),
        "gap_max_ms": round(float(np.diff(at).max()), 1),
        "bursts": len(shown),
        "shown_p50_ms": ms(shown, 50),
        "shown_p95_ms": ms(shown, 95),
        "av_offsets": len(offsets),
        "av_offset_p50_ms": ms(offsets, 50),
        "av_offset_p95_ms": ms(np.abs(offsets), 95),
        "av_drift_ms": round(float(np.median(offsets[-quarter:]) - np.median(offsets[:quarter])), 1) if len(offsets) else None,
        "core_percent": round(100 * core),
        **back,
        "added_ms": last["added_ms"],
        **{name: last[name] for name in ("holes", "cuts", "holds", "skips", "restarts", "depth_in_ms", "depth_out_ms")},
        "drift_out_ppm_first_20_s": max(early, default=None),
        "page_clock_moved_ms": round(moved, 2),
        "voice": made,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}",
        "browser": f"Chromium {version}",
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--engine", choices=["real", "clapper"], default="real")
    parser.add_argument("--actor", default="presenter", help="who talks")
    parser.add_argument("--home", type=Path, default=None, help="the folder of the actors")
    parser.add_argument("--returns", type=int, default=5, help="how often microphone and cable are taken away and given back")
    parser.add_argument("--hours", type=float, default=1, help="how long the simulated clocks run")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome") or "chromium")
    args = parser.parse_args()
    for tool in ("pulseaudio", "pactl", "pacat", args.chromium):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not installed. hint: make system")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(args, Path(folder))
    hour = drifted(200, round(args.hours * 3600), RATE, 0.01, 0.04) if args.hours else {}
    figures |= {f"simulated_{name}": value for name, value in hour.items()} | {"took_s": round(time.monotonic() - start)}
    print_table(figures)
    print(json.dumps(figures))


def print_table(figures: dict[str, Any]) -> None:
    """The figures for people."""
    rows = [
        ("pictures a second taken by Chromium / missed, %", ("fps", "missed_percent"), ">= 24.5 / <= 0.5"),
        ("longest time between two, ms / torn", ("gap_max_ms", "torn"), ""),
        ("sound into the microphone to its picture shown, ms, p50 / p95", ("shown_p50_ms", "shown_p95_ms"), "p95 <= 280"),
        ("picture after voice, ms, p50 / p95 of |x|", ("av_offset_p50_ms", "av_offset_p95_ms"), "p95 <= 40"),
        ("the same, last quarter against first, ms", ("av_drift_ms",), ""),
        ("drift in a simulated hour, ms", ("simulated_drift_ms",), "<= 10"),
        ("holes / cuts in that hour", ("simulated_holes", "simulated_cuts"), "0 / 0"),
        ("device given back until it runs again, s, longest", ("returned_max_s",), "<= 2"),
        ("one core's share, %", ("core_percent",), "<= 70"),
        ("holes / cuts / held ticks / skipped ticks, from the start on", ("holes", "cuts", "holds", "skips"), ""),
        ("correction of the output in its first 20 s, ppm, largest", ("drift_out_ppm_first_20_s",), "< 500"),
    ]
    print("| what | measured | at least |\n|---|---|---|")
    for what, keys, wanted in rows:
        print(f"| {what} | {' / '.join(str(figures.get(key)) for key in keys)} | {wanted} |")


if __name__ == "__main__":
    main()

"""The server under a real browser: headless Chromium, a recorded voice as its microphone, the page as it is shipped.

    mytalk bench latency --seconds 300             # the real engine and the drawn presenter
    mytalk bench latency --seconds 60 --engine clapper    # the wires alone

What is measured, all at the listener's end unless said:
- fps, longest gap: pictures composited (`requestVideoFrameCallback`); a gap is between their expected display times.
  Freezes are the browser's own count.
- session_create: from the offer's POST to its answer; webrtc_first_frame: from there to the first picture's expected
  display time; over `--joins` new sessions.
- added delay: the server's own count, from the arrival of a tick's last sample (decoded) to its picture's leaving.
- shown: from a burst of sound in the browser's microphone to the picture that shows it, both on the page's clock. An
  AudioWorklet taps the microphone. Each picture carries a stamp (`realtime.testing.stamp`) that says which 5 ms
  of the speech that it shows were loud.
- sound against picture: an AudioWorklet taps the received sound where the browser takes it from its jitter buffer (the
  delay of the loudspeaker comes on top, not counted). The offset is (picture's display time + place of the first loud
  part) - (first loud block of sound), per burst; positive means that the picture is late. It is the wires' offset under
  the engine's true load; how well lips fit speech is `benchmarks/quality.py`'s to say. av_drift is what it moved from
  the first to the last quarter.
- interruption: while a long file is spoken the page posts an interrupt; until the last loud block of sound is taken from
  the jitter buffer, and until the last picture with a loud part is shown; over `--interrupts`.
- `--loss 0.05` puts a relay between the two that loses so many of the packets with media.
- first picture after speech: from the POST of a sound file to the first picture with a loud part.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import platform
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page, Route, sync_playwright

Floats = NDArray[np.float64]

SERVE = """
import sys
from pathlib import Path
from realtime.server.app import serve
from realtime.server.options import Options
if __name__ == "__main__":
    if sys.argv[1] == "clapper":
        from realtime.testing import FakePipeline, FakeStore
        serve(store=FakeStore(), port=0, pipeline=FakePipeline)
    else:
        from engines.actor import Store
        from realtime.testing import StampedPipeline
        serve(store=Store(Path(sys.argv[2])), port=0, options=Options(actor=sys.argv[3]), pipeline=StampedPipeline)
"""
FLAGS = [
    "--headless=new", "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-default-apps", "--metrics-recording-only",
]  # fmt: skip
LOOK = """
  const parts = 8, canvas = new OffscreenCanvas(parts, 2);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  const look = (now, frame) => {
    video.requestVideoFrameCallback(look);
    for (const row of [0, 1])
      pen.drawImage(video, video.videoWidth / 2 - 96, video.videoHeight - 24 - 24 * row, 192, 12, 0, row, parts, 1);
    const green = pen.getImageData(0, 0, parts, 2).data.filter((value, at) => at % 4 === 1);
    const number = green.slice(parts).reduce((sum, bit, at) => sum + (bit > 120) * 2 ** at, 0);
    probe.frames.push([frame.expectedDisplayTime, frame.presentedFrames, number, [...green.slice(0, parts)]]);
  };
  video.requestVideoFrameCallback(look);
"""
"""Reads each shown picture's stamp into `probe.frames`: when, how many so far, its number modulo 256, which parts are loud."""

PROBE = (
    """
async () => {
  const probe = window.probe = { frames: [], sound: [], spoken: [] };
  const context = new AudioContext();
  const worklet = `registerProcessor("tap", class extends AudioWorkletProcessor {
    blocks = [];
    process([[samples]]) {
      let sum = 0;
      if (samples) for (const x of samples) sum += x * x;
      this.blocks.push([currentTime, samples ? Math.sqrt(sum / samples.length) : 0]);
      if (this.blocks.length === 8) this.port.postMessage(this.blocks.splice(0));
      return true;
    }
  })`;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklet], { type: "text/javascript" })));
  const tapped = (stream, into) => {
    const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
    tap.port.onmessage = ({ data }) => {
      const now = performance.now();
      for (const [at, level] of data) into.push([at, level, now - (data.at(-1)[0] - at) * 1000]);
    };
    context.createMediaStreamSource(stream).connect(tap);
  };
  tapped(session.stream, probe.sound);
  if (voice) tapped(new MediaStream([voice]), probe.spoken);
  await context.resume();
"""
    + LOOK
    + "}"
)


FREEZES = """
async () => {
  const stats = [...(await session.connection.getStats()).values()];
  return stats.find((one) => one.type === "inbound-rtp" && one.kind === "video").freezeCount;
}
"""


def voice(path: Path, seconds: float = 12.0, rate: int = 48_000) -> str:
    """Write a recording of syllables with silence between them; returns what it was made with."""
    out = np.zeros(int(seconds * rate), np.float32)
    tool = shutil.which("espeak-ng") or shutil.which("flite")
    for n, start in enumerate(np.arange(0.5, seconds - 0.9, 1.1)):
        text = ("pa pa pa", "banana", "hello there", "mama")[n % 4]
        if tool is None:
            time_s = np.arange(int(0.4 * rate)) / rate
            sound = sum(0.5 / k * np.sin(2 * np.pi * 130 * k * time_s) for k in range(1, 12)) * np.hanning(len(time_s)) ** 0.2
        else:
            part = path.with_suffix(".part.wav")
            command = [tool, "-w", str(part), text] if "espeak" in tool else [tool, "-t", text, "-o", str(part)]
            subprocess.run(command, check=True, capture_output=True)
            with wave.open(str(part)) as file:
                own, raw = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
            sound = np.interp(np.arange(0, len(raw), own / rate), np.arange(len(raw)), raw / 32768)
            part.unlink()
        at = int((start + 0.013 * n) * rate)  # bursts fall anywhere in a tick
        sound = np.asarray(sound[: int(0.75 * rate)], np.float32)
        sound = np.trim_zeros(np.where(np.abs(sound) < 1e-3, 0, sound)).astype(np.float32)
        out[at : at + len(sound)] += (sound / (np.abs(sound).max() + 1e-9) * 0.7)[: len(out) - at]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((out * 32767).astype("<i2").tobytes())
    return Path(tool).name if tool else "tones"


def heard_at(blocks: Floats, around: int = 300) -> Floats:
    """When the browser took each block of sound, ms of its own clock: the audio clock's time plus the least that its
    messages took around then (the rest is the main thread's delay)."""
    late = blocks[:, 2] - blocks[:, 0] * 1000
    padded = np.pad(late, around, mode="edge")
    least = np.lib.stride_tricks.sliding_window_view(padded, 2 * around + 1).min(1)
    return np.asarray(blocks[:, 0] * 1000 + least)


def onsets(times: Floats, loud: NDArray[np.bool_], quiet: float) -> Floats:
    """When something becomes loud after at least `quiet` ms of silence."""
    found, last = [], -1e9
    for moment, on in zip(times, loud, strict=True):
        if on and moment - last > quiet:
            found.append(moment)
        if on:
            last = moment
    return np.array(found)


def shown_after(frames: list[Any], spoken: Floats, level: Floats) -> Floats:
    """ms from a burst in the microphone to the picture that shows its beginning."""
    said, pictures = onsets(spoken, level > 0.02, 250), picture_onsets(frames)
    after = [float(later[0] - at) for at in said if len(later := pictures[pictures > at])]
    return np.array([delay for delay in after if delay < 900])


def picture_onsets(frames: list[Any]) -> Floats:
    """When loud parts begin to be shown, ms."""
    seen_at, seen = [], []
    for shown, _, _, parts in frames:
        seen_at += [shown + 5 * k for k in range(len(parts))]
        seen += [part > 120 for part in parts]
    order = np.argsort(seen_at, kind="stable")
    return onsets(np.array(seen_at)[order], np.array(seen)[order], 250)


def clapper_offsets(frames: list[Any], sound: Floats, level: Floats) -> Floats:
    """ms by which the picture is late, per burst."""
    pictures = picture_onsets(frames)
    heard = onsets(sound, level > 0.02, 250)
    pairs = [(float(heard[np.abs(heard - at).argmin()]), at) for at in pictures if len(heard)]
    offsets = np.array([at - other for other, at in pairs])
    return offsets[np.abs(offsets) < 400]


BREAK = """
async (wav) => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const until = async (what) => { while (!what()) await wait(5); };
  const loudSound = (from) => probe.sound.filter(([, level, at]) => at > from && level > 0.02);
  const loudPictures = (from) => probe.frames.filter(([at, , , seen]) => at > from && seen.some((part) => part > 120));
  const body = new Blob([Uint8Array.from(atob(wav), (letter) => letter.charCodeAt(0))]);
  const posted = performance.now();
  await fetch(`${session.url}/speech`, { method: "POST", headers: { "Content-Type": "audio/wav" }, body });
  await until(() => loudPictures(posted).length);
  const first = loudPictures(posted)[0][0] - posted;
  await wait(1000 + 300 * Math.random());
  const asked = performance.now();
  const heard = await (await fetch(`${session.url}/interrupt`, { method: "POST" })).json();
  await wait(1200);
  const last = (all, at) => all.length ? Math.max(0, all[all.length - 1][at] - asked) : 0;
  return [first, last(loudSound(asked), 2), last(loudPictures(asked), 0), heard.heard_ms];
}
"""


class Lossy:
    """A relay on loopback that loses a share of all packets, both ways: the server's candidates are replaced by its own."""

    def __init__(self, loss: float) -> None:
        self._loss, self._rng = loss, random.Random(0)
        self._inner, self._outer = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._browser: Any = None
        self._server: Any = None
        self.lost = self.passed = 0
        for one in (self._inner, self._outer):
            one.bind(("0.0.0.0", 0))
        for one, other, outward in ((self._outer, self._inner, False), (self._inner, self._outer, True)):
            threading.Thread(target=self._pass, args=(one, other, outward), daemon=True).start()

    def answer(self, route: Route) -> None:
        """Let a page's offer through, and put the relay into its answer."""
        if route.request.method != "POST" or "/v1/sessions?" not in route.request.url:
            route.continue_()
            return
        offer = re.sub(r"a=candidate:.*\r\n", "", route.request.post_data or "")  # or the server goes round the relay
        response = route.fetch(post_data=offer)
        text = response.text()
        found = re.search(r"a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host", text)
        if found is None:
            route.fulfill(response=response)
            return
        self._server, self._browser = (found[1], int(found[2])), None
        text = re.sub(r"a=candidate:.*\r\n", "", text)
        own = f"a=candidate:1 1 udp 2130706431 {found[1]} {self._outer.getsockname()[1]} typ host\r\n"
        route.fulfill(response=response, body=re.sub(r"(a=mid:.*\r\n)", rf"\1{own}", text))

    def _pass(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        while True:
            data, sender = source.recvfrom(65536)
            if not outward:
                self._browser = sender
            to = self._browser if outward else self._server
            media = len(data) > 0 and 128 <= data[0] <= 191  # RTP and RTCP; a lost handshake is another matter
            if to is None or (media and self._rng.random() < self._loss):
                self.lost += 1
                continue
            self.passed += 1
            sink.sendto(data, to)


def _shown(page: Page, seconds: float = 20) -> tuple[float, float]:
    for _ in range(int(seconds / 0.05)):
        took = page.evaluate(
            "session && session.marks.shown ? [session.marks.answered, session.marks.shown].map(at => at - session.marks.posted) : 0"
        )
        if took:
            return float(took[0]), float(took[1])
        page.wait_for_timeout(50)
    raise SystemExit(f"No picture within {seconds:.0f} s; the page says: {page.inner_text('#words')} {page.inner_text('#trouble')}")


def joined(page: Page, joins: int) -> list[tuple[float, float]]:
    """ms from an offer to its answer and to the first picture, of new sessions one after the other."""
    took = []
    for _ in range(joins):
        page.click("#power")
        page.wait_for_timeout(300)
        page.click("#power")
        took.append(_shown(page))
    return took


def broken(page: Page, times: int) -> Floats:
    """(N, 4) ms: a file's POST to its first picture; interrupt to the last sound, to the last picture; how much was heard."""
    rate, file = 16_000, io.BytesIO()
    tone = 0.5 * np.sin(2 * np.pi * 220 * np.arange(rate * 10) / rate)
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        out.writeframes((tone * 32767).astype("<i2").tobytes())
    coded = base64.b64encode(file.getvalue()).decode()
    return np.array([page.evaluate(BREAK, coded) for _ in range(times)]).reshape(-1, 4)


def measure(url: str, args: argparse.Namespace, wav: Path) -> dict[str, Any]:
    """Drive the browser; returns all figures."""
    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={wav}"]
        browser = playwright.chromium.launch(executable_path=args.chromium, args=flags)
        page = browser.new_context(bypass_csp=True, permissions=["microphone"]).new_page()
        relay = Lossy(args.loss) if args.loss else None
        if relay:
            page.route("**/v1/sessions*", relay.answer)
        page.goto(url)
        joins = np.array([_shown(page), *joined(page, args.joins)])
        page.evaluate(PROBE)
        breaks = broken(page, args.interrupts)
        page.click("#microphone")
        page.wait_for_timeout(3000)
        page.evaluate(PROBE)
        page.wait_for_timeout(args.seconds * 1000)
        probe = page.evaluate("probe")
        report = page.evaluate("fetch(session.url).then(answer => answer.json())")
        health = page.evaluate("fetch('/healthz').then(answer => answer.json())")
        freezes = page.evaluate(FREEZES)
        size = page.evaluate("[video.videoWidth, video.videoHeight]")
        version = browser.version
        browser.close()
    frames = [frame for frame in probe["frames"][1:] if frame[0]]
    at = np.array([frame[0] for frame in frames])
    blocks, spoken = np.array(probe["sound"]), np.array(probe["spoken"])
    offsets = clapper_offsets(frames, heard_at(blocks), blocks[:, 1])
    shown = shown_after(frames, heard_at(spoken), spoken[:, 1])
    quarter = max(1, len(offsets) // 4)
    return {
        "engine": args.engine,
        "loss": round(relay.lost / max(1, relay.lost + relay.passed), 3) if relay else 0,
        "size": size,
        "seconds": round(float(at[-1] - at[0]) / 1000, 1),
        "fps": round((frames[-1][1] - frames[0][1]) / (at[-1] - at[0]) * 1000, 2),
        "gap_max_ms": ms(np.diff(at), 100),
        "freezes": freezes,
        "session_create_ms": ms(joins[:, 0], 50),
        "webrtc_first_frame_ms": ms(joins[:, 1], 50),
        "webrtc_first_frame_p95_ms": ms(joins[:, 1], 95),
        "joins": len(joins),
        "first_picture_after_speech_ms": ms(breaks[:, 0], 50),
        "added_p50_ms": report["added_p50_ms"],
        "added_p95_ms": report["added_p95_ms"],
        "shown_p50_ms": ms(shown, 50),
        "shown_p95_ms": ms(shown, 95),
        "av_offsets": len(offsets),
        "av_offset_p50_ms": ms(offsets, 50),
        "av_offset_p95_ms": ms(np.abs(offsets), 95),
        "av_drift_ms": round(float(np.median(offsets[-quarter:]) - np.median(offsets[:quarter])), 1) if len(offsets) else None,
        "interrupt_sound_p95_ms": ms(breaks[:, 1], 95),
        "interrupt_picture_p95_ms": ms(breaks[:, 2], 95),
        "interrupts": len(breaks),
        "queue_depth": report["queue_depth"],
        "holds": report["holds"],
        "dropped_ms": report["dropped_ms"],
        "look_ahead": report["look_ahead"],
        "loop_lag_p99_ms": health["loop_lag_p99_ms"],
        "capacity": health["capacity"],
        "pictures_every": health["pictures_every"],
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}",
        "browser": f"Chromium {version}",
    }


def ms(values: Floats, percentile: float) -> float | None:
    """A percentile of so many milliseconds, rounded; None of none."""
    return round(float(np.percentile(values, percentile)), 1) if len(values) else None


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--engine", choices=["real", "clapper"], default="real")
    parser.add_argument("--actor", default="presenter", help="who talks")
    parser.add_argument("--home", type=Path, default=None, help="the folder of the actors")
    parser.add_argument("--wav", type=Path, help="the voice; made with espeak-ng or flite if left out")
    parser.add_argument("--joins", type=int, default=30, help="how many times to connect anew for the first picture")
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets that a relay loses, both ways")
    parser.add_argument("--interrupts", type=int, default=20, help="how many times to interrupt")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome") or "chromium")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wav, made = args.wav, "a file"
        if wav is None:
            wav = Path(folder) / "voice.wav"
            made = voice(wav)
        home = args.home or Path(folder)
        command = [sys.executable, "-c", SERVE, args.engine, str(home), args.actor]
        root = Path(__file__).resolve().parent.parent
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as server:
            assert server.stdout is not None
            try:
                line = server.stdout.readline()
                if not line.startswith("Serving on "):
                    raise SystemExit("The server did not start.")
                start = time.monotonic()
                figures = measure(line.split()[-1], args, wav.resolve())
            finally:
                server.terminate()
    figures |= {"voice": made, "took_s": round(time.monotonic() - start)}
    print_table(figures)
    print(json.dumps(figures))


def print_table(figures: dict[str, Any]) -> None:
    """The figures for people."""
    rows = [
        ("frames shown per second / longest gap, ms / freezes", ("fps", "gap_max_ms", "freezes"), ">= 24.5 / < 190 / 0"),
        ("added by the server, ms, p50 / p95", ("added_p50_ms", "added_p95_ms"), "<= 150 / <= 200"),
        ("sound in to its picture shown, ms, p50 / p95", ("shown_p50_ms", "shown_p95_ms"), "p95 <= 300"),
        ("picture after sound, ms, p50 / p95 of |x| / drift", ("av_offset_p50_ms", "av_offset_p95_ms", "av_drift_ms"), "p95 <= 40"),
        ("interrupt to last old sound / last old picture, ms, p95", ("interrupt_sound_p95_ms", "interrupt_picture_p95_ms"), "<= 250 shown"),
        ("offer to answer / to first picture, ms, median", ("session_create_ms", "webrtc_first_frame_ms"), ""),
        ("offer to first picture, ms, p95 / of joins", ("webrtc_first_frame_p95_ms", "joins"), "<= 1000 / 30"),
        ("file posted to its first picture, ms, median", ("first_picture_after_speech_ms",), ""),
        ("event loop late, ms, p99 / sessions that fit", ("loop_lag_p99_ms", "capacity"), "<= 10 / >= 2"),
        ("holds / speech dropped, ms / queue", ("holds", "dropped_ms", "queue_depth"), ""),
    ]
    print("| what | measured | at least |\n|---|---|---|")
    for what, keys, wanted in rows:
        print(f"| {what} | {' / '.join(str(figures[key]) for key in keys)} | {wanted} |")


if __name__ == "__main__":
    main()

"""The browser that benchmarks drive: headless Chromium on the page as it is shipped, and what is read from it.

`LOOK` reads the stamp of each shown picture (`realtime.testing.stamp`); AudioWorklets tap the microphone, and the sound that was
received where the browser takes it from its jitter buffer.
"""

from __future__ import annotations

import base64
import io
import random
import re
import socket
import threading
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, Route, sync_playwright

from benchmarks.clapper import Floats

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


@dataclass(frozen=True)
class Seen:
    """What a browser saw and heard of a session."""

    frames: list[Any]
    """Of each shown picture: when (ms of the page), how many so far, its number modulo 256, which parts are loud."""
    sound: Floats
    """(N, 3) of each block of sound that was received: the audio clock's seconds, its loudness, when the page was told of it, ms."""
    spoken: Floats
    """The same of the microphone."""
    joins: Floats
    """(N, 2): ms from an offer to its answer, from there to the first picture."""
    breaks: Floats
    """(N, 4): see `broken`."""
    report: dict[str, Any]
    """What the server says of the session."""
    health: dict[str, Any]
    freezes: int
    size: list[int]
    version: str
    lost: float
    """Share of packets that were lost."""


def watch(url: str, wav: Path, *, chromium: str, seconds: float, joins: int, interrupts: int, loss: float) -> Seen:
    """Drive the browser: join, interrupt, then talk with the microphone for so long."""
    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={wav}"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_context(bypass_csp=True, permissions=["microphone"]).new_page()
        relay = Lossy(loss) if loss else None
        if relay:
            page.route("**/v1/sessions*", relay.answer)
        page.goto(url)
        page.click("#power")
        took = np.array([_shown(page), *joined(page, joins)])
        page.evaluate(PROBE)
        breaks = broken(page, interrupts)
        page.click("#microphone")
        page.wait_for_timeout(3000)
        page.evaluate(PROBE)
        page.wait_for_timeout(seconds * 1000)
        probe = page.evaluate("probe")
        seen = Seen(
            frames=[frame for frame in probe["frames"][1:] if frame[0]],
            sound=np.array(probe["sound"]),
            spoken=np.array(probe["spoken"]),
            joins=took,
            breaks=breaks,
            report=page.evaluate("fetch(session.url).then(answer => answer.json())"),
            health=page.evaluate("fetch('/healthz').then(answer => answer.json())"),
            freezes=page.evaluate(FREEZES),
            size=page.evaluate("[video.videoWidth, video.videoHeight]"),
            version=browser.version,
            lost=round(relay.lost / max(1, relay.lost + relay.passed), 3) if relay else 0,
        )
        browser.close()
    return seen

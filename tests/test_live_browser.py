"""The page in a real Chromium: it shows the actor alive, takes the microphone, speaks a file, and stops."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import axe_playwright_python
import numpy as np
import pytest
from playwright.sync_api import Page, sync_playwright

from realtime.media import probe

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless=new", "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required", "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
SERVE = """
from realtime.server.app import serve
from realtime.testing import FakePipeline, FakeStore
if __name__ == "__main__":
    serve(store=FakeStore(), port=0, pipeline=FakePipeline)
"""
WATCH = """
() => {
  window.seen = { shown: [], white: 0 };
  const canvas = new OffscreenCanvas(1, 1), pen = canvas.getContext("2d", { willReadFrequently: true });
  const look = (now, frame) => {
    video.requestVideoFrameCallback(look);
    pen.drawImage(video, 236, 236, 40, 40, 0, 0, 1, 1);
    seen.shown.push(frame.expectedDisplayTime);
    if (pen.getImageData(0, 0, 1, 1).data[1] > 120) seen.white += 1;
  };
  video.requestVideoFrameCallback(look);
}
"""
EARLIER = """
() => {
  const plain = window.fetch;
  window.fetch = async (url, ...rest) => {
    if (url.endsWith("/speech")) await refresh();
    return plain(url, ...rest);
  };
}
"""
"""Before a file is sent there comes a report that does not know of it."""


def speech(path: Path) -> Path:
    rate = 16_000
    at = np.arange(rate * 8) / rate
    sound = 0.4 * np.sin(2 * np.pi * 220 * at) * (at % 1 < 0.5)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture
def server() -> Iterator[str]:
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_latency_report_ends_in_a_line_for_programs() -> None:
    options = ("--seconds", "3", "--joins", "1", "--interrupts", "1", "--engine", "clapper", "--loss", "0.01")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("mytalk")), "bench", "latency", *options], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| what | measured | at least |")
    figures = json.loads(done.stdout.splitlines()[-1])
    assert {"fps", "gap_max_ms", "added_p95_ms", "shown_p95_ms", "av_offset_p95_ms"} <= set(figures)
    assert {"session_create_ms", "webrtc_first_frame_ms", "first_picture_after_speech_ms", "av_drift_ms", "queue_depth"} <= set(figures)
    assert figures["fps"] > 1


def until(page: Page, what: str, seconds: float = 30) -> Any:
    """Wait in the page (the page's policy forbids what Playwright's own waiting does)."""
    end = time.monotonic() + seconds
    while not (found := page.evaluate(what)):
        assert time.monotonic() < end, f"{what}: {page.inner_text('#words')} {page.inner_text('#trouble')}"
        page.wait_for_timeout(50)
    return found


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_page_is_alive_speaks_records_takes_the_microphone_changes_the_actor_and_stops(server: str, tmp_path: Path) -> None:
    file = speech(tmp_path / "hello.wav")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server)
        until(page, "!document.getElementById('sample').disabled")
        assert page.evaluate("fetch('/v1/sessions').then(a => a.json()).then(all => all.sessions.length)") == 0  # nobody asked for one
        page.click("#sample")
        took = until(page, "session && session.marks.shown && session.marks.shown - session.marks.posted")
        assert took > 0  # how soon is for benchmarks/latency.py to say: machines that test are noisy
        until(page, "document.getElementById('words').textContent === 'Speaking the sample'")
        until(page, "!document.getElementById('waiting').hidden && document.getElementById('left').textContent.endsWith('left to say')")
        page.keyboard.press("Escape")
        until(page, "document.getElementById('waiting').hidden")
        until(page, "document.getElementById('words').textContent === 'Ready'")
        page.evaluate(WATCH)
        page.evaluate(EARLIER)
        page.wait_for_timeout(2000)
        shown = page.evaluate("seen.shown")
        assert len(shown) > 10
        assert page.evaluate("seen.white") == 0

        page.set_input_files("#file", file)
        until(page, "document.getElementById('words').textContent === 'Speaking hello.wav'")
        until(page, "seen.white > 15")
        until(page, "document.getElementById('words').textContent === 'Ready'")

        page.set_input_files("#file", file)
        until(page, "document.getElementById('words').textContent === 'Speaking hello.wav'")
        page.click("#interrupt")
        until(page, "document.getElementById('words').textContent.startsWith('Broken off after')")
        until(page, "document.getElementById('words').textContent === 'Ready'")

        page.click("#record")
        until(page, "!document.getElementById('recording').hidden")
        first, white = page.evaluate("session.url"), page.evaluate("seen.white")
        page.click("#microphone")
        until(page, "document.getElementById('words').textContent === 'Listening'")
        assert page.evaluate("session.url") == first  # the microphone comes and goes within the session
        assert page.get_attribute("#microphone", "aria-pressed") == "true"
        assert page.evaluate("video.muted")
        until(page, f"seen.white > {white} + 5")  # Chromium's own fake microphone beeps
        until(page, "document.getElementById('level').value > 0.2")
        page.click("#record")
        until(page, "!document.getElementById('saved').hidden && document.querySelector('#recordings a')")
        with page.expect_download() as download:
            page.click("#recordings a")
        assert probe(download.value.path()).kind == "video"
        page.click("#microphone")
        until(page, "document.getElementById('words').textContent === 'Ready'")

        until(page, "document.getElementById('link').textContent.startsWith('Connected · VP8 · 512 × 512')")
        until(page, "+document.getElementById('fps').textContent > 5")
        page.focus("input[name=actor]:checked")
        page.keyboard.press("ArrowRight")
        until(page, f"session && session.url !== '{first}' && session.marks.shown")
        assert page.evaluate(f"fetch('{first}').then(answer => answer.status)") == 404

        page.set_input_files("#file", {"name": "no.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
        until(page, "!document.getElementById('trouble').hidden")
        assert page.inner_text("#trouble").endswith(".")

        page.click("#record")
        until(page, "!document.getElementById('recording').hidden")
        page.click("#power")
        assert page.inner_text("#words") == "Ended"
        until(page, "document.querySelectorAll('#recordings a').length === 2")  # what was recorded until then is not lost
        until(page, "fetch('/v1/sessions').then(a => a.json()).then(all => all.sessions.length === 0)")
        page.click("#power")
        until(page, "session && session.marks.shown")
        assert not errors
        browser.close()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_nothing_of_the_page_is_out_of_anybodys_reach(server: str) -> None:
    """axe's rules, in both themes and two sizes; and the page is let go where nobody looks."""
    axe = (Path(axe_playwright_python.__file__).with_name("axe.min.js")).read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for scheme, (width, height) in product(("light", "dark"), ((1280, 860), (390, 844))):
            context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height}, reduced_motion="reduce")
            page = context.new_page()
            page.goto(server)
            until(page, "!document.getElementById('sample').disabled")
            page.evaluate("document.querySelectorAll('details').forEach(one => { one.hidden = false; one.open = true; })")
            page.evaluate(axe)
            for open_it in (
                "null",
                "openAdding()",
                "$('adding').close(), $('door').showModal()",
                "$('door').close(), $('sharing').showModal()",
            ):
                page.evaluate(open_it)
                found = page.evaluate("axe.run().then(all => all.violations.map(one => [one.id, one.nodes.map(node => node.html)]))")
                assert not found, (scheme, width, open_it, found)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            context.close()
        page = browser.new_page()
        page.goto(server)
        page.click("#power")
        until(page, "session && session.marks.shown")
        page.evaluate("hiddenSince = performance.now() - HIDDEN_MS; letGo()")
        until(page, "fetch('/v1/sessions').then(a => a.json()).then(all => all.sessions.length === 0)")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        until(page, "session && session.marks.shown")  # somebody looks again
        browser.close()

"""The virtual camera: real sound devices (PulseAudio's null sinks), a real Chromium that takes the file for its webcam."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from playwright.sync_api import Page, sync_playwright

from benchmarks.camera import Pulse, drifted
from realtime.camera.drift import Bridge
from realtime.camera.whip import Whip
from realtime.cli import main
from realtime.errors import OutputFault
from realtime.media import probe, read_speech
from tests.peers import WIRE_RATE, Peer, bursts, clock, onsets, until, wav
from tests.test_live_browser import CHROMIUM, FLAGS

ROOT = Path(__file__).resolve().parent.parent
FAKE = """
import sys
import engines.pipeline, engines.actor
from realtime.testing import FakePipeline, FakeStore
if __name__ == "__main__":
    from functools import partial
    engines.pipeline.Pipeline = lambda **options: FakePipeline()
    import realtime.cli as cli
    cli._store = lambda settings: FakeStore()
    import realtime.camera.run as run
    real = run.run
    run.run = lambda plan, **rest: real(plan, **{**rest, "pipeline": FakePipeline})
    cli.main(sys.argv[1:])
"""
"""The command with an engine whose pictures say whether they are of loud speech."""


def missing() -> str:
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        return "no PortAudio here: make system, make install"
    parts = [part for part in ("pulseaudio", "pactl", "pacat") if shutil.which(part) is None]
    return f"no {', '.join(parts)} here: make system" if parts else ""


def test_an_hour_between_clocks_200_ppm_apart_drifts_by_less_than_10_ms_without_a_step() -> None:
    found = drifted(200, 3600, rate=2_000, put_s=0.2, take_s=0.4)
    assert found["drift_ms"] < 10
    assert found["step"] < 0.001
    assert (found["holes"], found["cuts"]) == (0, 0)
    assert found["ppm"] == pytest.approx(200, abs=20)


def test_a_jam_is_cut_without_a_step_and_a_hole_fades() -> None:
    bridge, sound = Bridge(48_000, 48_000, 0.01, 0.01, 0.1), np.full(480, 0.5, np.float32)
    for n in range(100):
        bridge.put(sound, n / 100)
        out = bridge.take(1920, n / 100 + 0.01) if n % 4 == 3 else sound
    assert (out > 0.4).all()
    assert bridge.depth == pytest.approx(0.01, abs=0.002)
    for n in range(30):
        bridge.put(sound, 1 + n / 100)
    out = np.concatenate([out, bridge.take(1920, 1.3)])
    assert (bridge.cuts, bridge.holes) == (1, 0)
    assert bridge.depth == pytest.approx(0.01, abs=0.004)
    for n in range(4):
        out = np.concatenate([out, bridge.take(1920, 1.34 + n * 0.04)])
    assert bridge.holes == 1
    assert not out[-1920:].any()
    assert np.abs(np.diff(out)).max() < 0.01


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    if why := missing():
        pytest.skip(why)
    with Pulse(tmp_path) as made:
        yield made


def wait(what: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


class Runs:
    """`mytalk camera`, running."""

    def __init__(self, environment: dict[str, str], *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", FAKE, "camera", "--quiet", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, env=environment, cwd=ROOT,
        )  # fmt: skip

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def __enter__(self) -> Runs:
        assert "presenter is on" in self.line(), self.process.communicate(timeout=20)[1].decode()
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.said = self.process.communicate(timeout=20)[1].decode()
        assert error[0] is not None or self.process.returncode == 0, self.said
        assert "Traceback" not in self.said
        assert error[0] is not None or "ALSA" not in self.said, self.said


def raw(sound: np.ndarray) -> bytes:  # type: ignore[type-arg]
    return (sound * 32767).astype("<i2").tobytes()


def listened(pulse: Pulse, seconds: float, meanwhile: Callable[[], None]) -> np.ndarray:  # type: ignore[type-arg]
    """What comes out of the cable while something happens."""
    with (pulse.folder / "heard.raw").open("w+b") as file:
        with pulse.pacat("--record", "--device=cable.monitor", stdout=file) as recording:
            meanwhile()
            wait(lambda: file.seek(0, os.SEEK_END) > seconds * 2 * WIRE_RATE)
            recording.terminate()
        file.seek(0)
        return np.frombuffer(file.read(), "<i2").astype(np.float32) / 32768


def _until(page: Page, what: str, seconds: float = 60) -> None:
    """Wait on a page whose policy forbids what `wait_for_function` does to poll."""
    for _ in range(int(seconds / 0.05)):
        if page.evaluate(what):
            return
        page.wait_for_timeout(50)
    raise AssertionError(what)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_voice_into_the_microphone_is_seen_in_chromium_and_heard_from_the_cable_even_after_the_microphone_was_away(
    pulse: Pulse, tmp_path: Path
) -> None:
    file = tmp_path / "camera.y4m"

    def speak(seconds: float = 3) -> None:
        with pulse.pacat("--playback", "--device=voice", stdin=subprocess.PIPE) as player:
            player.communicate(raw(bursts(seconds)), timeout=30)

    options = ("--microphone", "voice.monitor", "--output", "cable", "--camera", str(file), "--push-to-talk")
    with Runs(pulse.environment, *options) as runs, sync_playwright() as playwright:
        assert file.read_bytes().startswith(b"YUV4MPEG2 W512 H512 F30:1")
        flags = [flag for flag in FLAGS if "audio" not in flag]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags, f"--use-file-for-fake-video-capture={file}"])
        page = browser.new_page()
        page.route("**/*", lambda route: route.fulfill(body="<p>", content_type="text/html"))
        page.goto("http://localhost/")  # cameras are for secure places
        page.evaluate(SEEN)
        page.wait_for_function("seen.frames > 20")
        preview = browser.new_page(bypass_csp=False)
        preview.goto(runs.line().removeprefix("Preview: "))
        _until(preview, "document.querySelector('img').naturalWidth === 512")
        _until(preview, "state.textContent.endsWith('push to talk')")
        speak(1)
        assert page.evaluate("seen.white") == 0
        preview.keyboard.down("Space")
        _until(preview, "state.textContent.endsWith('live')")
        heard = listened(pulse, 4, speak)
        assert page.evaluate("seen.size") == [512, 512]
        while page.evaluate("seen.white") < 10:  # a machine that is busy loses some of it
            speak(1)
        assert np.abs(heard).max() > 0.3
        assert page.evaluate("seen.moved") > 20

        module = next(line.split()[0] for line in pulse.ask("list", "short", "modules").splitlines() if "sink_name=voice" in line)
        pulse.ask("unload-module", module)
        pulse.ask("load-module", "module-null-sink", "sink_name=voice")
        wait(lambda: "voice.monitor" in pulse.ask("list", "short", "sources"))

        def hears() -> bool:
            number = next(row.split()[0] for row in pulse.ask("list", "short", "sources").splitlines() if "voice.monitor" in row)
            return any(row.split()[1] == number for row in pulse.ask("list", "short", "source-outputs").splitlines())

        wait(hears)
        before = page.evaluate("seen.white")
        while page.evaluate("seen.white") < before + 5:
            speak(1)
        browser.close()
    known = json.loads((Path(os.environ["MYTALK_HOME"]) / "camera.json").read_text())
    assert known == {"microphone": "voice.monitor", "output": "cable", "camera": str(file)}


SEEN = """
async () => {
  const video = document.createElement("video");
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 512, height: 512 } });
  video.muted = true;
  document.body.append(video);
  await video.play();
  window.seen = { frames: 0, white: 0, moved: 0, size: [video.videoWidth, video.videoHeight] };
  const canvas = new OffscreenCanvas(1, 1), pen = canvas.getContext("2d", { willReadFrequently: true });
  const bar = new OffscreenCanvas(64, 1), at = bar.getContext("2d", { willReadFrequently: true });
  let last = "";
  const look = () => {
    video.requestVideoFrameCallback(look);
    seen.frames += 1;
    pen.drawImage(video, 236, 236, 40, 40, 0, 0, 1, 1);
    if (pen.getImageData(0, 0, 1, 1).data[1] > 120) seen.white += 1;
    at.drawImage(video, 0, 52, 512, 10, 0, 0, 64, 1);
    const now = at.getImageData(0, 0, 64, 1).data.join();
    seen.moved += now !== last;
    last = now;
  };
  video.requestVideoFrameCallback(look);
}
"""


def test_samples_on_standard_input_are_said_into_a_file_with_sound(pulse: Pulse, tmp_path: Path) -> None:
    out = tmp_path / "call.mkv"
    with Runs(pulse.environment, "--speech", "-", "--rate", "24000", "--camera", str(tmp_path / "c.y4m"), "--to", str(out)) as runs:
        assert runs.process.stdin is not None
        runs.process.stdin.write(raw(bursts(1.5, rate=24_000)))
        runs.process.stdin.flush()
        time.sleep(2.5)
    info = probe(out)
    assert info.kind == "video"
    assert info.sound
    assert np.abs(np.concatenate(list(read_speech(out, 16_000)))).max() > 0.2


def test_devices_are_listed_and_what_is_not_there_gets_a_sentence(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PULSE_SERVER", pulse.environment["PULSE_SERVER"])
    with pytest.raises(SystemExit) as left:
        main(["devices"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    for words in ("Microphones:", "voice.monitor", "Outputs:", "cable", "Cameras:", "FILE.y4m"):
        assert words in shown
    y4m = str(tmp_path / "c.y4m")
    for options, words in (
        (["--microphone", "nosuch", "--camera", y4m], ("no microphone called 'nosuch'", "voice.monitor")),
        (["--microphone", "monitor", "--camera", y4m], ("several microphones", "cable.monitor")),
        (["--camera", "nosuch"], ("camera", "v4l2loopback" if not list(Path("/dev").glob("video*")) else "Choose one of")),
        (["--actor", "nobody", "--camera", y4m, "--preview", "8010"], ("nobody",)),
        (["--speech", "ws://192.0.2.1:80", "--camera", y4m], ("ws://127.0.0.1:PORT", "other machines")),
        (["--speech", "-", "--push-to-talk", "--camera", y4m], ("microphones",)),
        (["--speech", "-", "--camera", y4m, "--to", "http://192.0.2.1/whip", "--to-secret", "word"], ("https://HOST/PATH",)),
    ):
        with pytest.raises(SystemExit) as left:
            main(["camera", *options])
        said = capsys.readouterr().err
        assert left.value.code == 2
        assert said.startswith("error: ")
        for word in words:
            assert word in said


@pytest.mark.slow
async def test_a_page_shows_it_a_websocket_speaks_and_both_live_on_when_the_engine_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "camera.y4m"
    options = ("--camera", str(file), "--speech", "ws://127.0.0.1:0/say", "--preview")
    with Runs(dict(os.environ), *options) as runs:
        page, socket = (runs.line().partition(": ")[2] for _ in range(2))
        async with ClientSession() as client:
            for kind, url, headers in (
                ("GET", f"{page}figures", {"Host": "evil.example"}),
                ("POST", f"{page}pause", {"Origin": "http://evil.example"}),
                ("GET", socket.replace("ws:", "http:"), {"Origin": "http://evil.example"}),
            ):
                assert (await client.request(kind, url, headers=headers)).status == 403, url
            async with client.get(f"{page}picture") as stream:
                assert stream.headers["Cross-Origin-Resource-Policy"] == "same-origin"
                for _ in range(3):
                    while not (line := await stream.content.readline()).startswith(b"Content-Length"):
                        pass
                    await stream.content.readline()
                    jpeg = await stream.content.readexactly(int(line.split()[1]))
                    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (512, 512, 3)

            async def figures() -> dict[str, Any]:
                found: dict[str, Any] = await (await client.get(f"{page}figures")).json()
                return found

            def white() -> bool:
                return file.read_bytes()[-512 * 512 * 3 // 2 :][512 * 256 + 256] > 120  # the middle of its brightness

            async with client.ws_connect(socket) as speech:
                await speech.send_json({"type": "start", "rate": 16_000})
                for restarts in (0, 1):
                    await speech.send_bytes(raw(bursts(1.5, rate=16_000)))
                    await speech.send_str("flush")
                    await until(white)
                    while (await speech.receive_json())["type"] != "idle":
                        pass
                    now = await figures()
                    assert (now["state"], now["restarts"]) == ("live", restarts)
                    if not restarts:
                        os.kill(now["engine_pid"], signal.SIGKILL)
                        while (await figures())["restarts"] == restarts:
                            await clock.sleep_until(clock.now() + 0.05)
                        while (after := await figures())["state"] != "live":
                            await clock.sleep_until(clock.now() + 0.05)
                        assert after["pictures"] > now["pictures"]


class Receiver:
    """A WHIP server: who publishes has to bear the secret."""

    def __init__(self) -> None:
        self.app = web.Application()
        self.app.add_routes([web.post("/whip", self._begin), web.delete("/whip/{number}", self._end)])
        self.connections: list[RTCPeerConnection] = []
        self.peer = Peer(None)  # type: ignore[arg-type]
        self.ended: list[str] = []

    async def _begin(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer let me in":
            return web.Response(status=401)
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.on("track", lambda track: self.peer.tasks.append(asyncio.create_task(self.peer._receive(track))))
        await connection.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        self.connections.append(connection)
        where = {"Location": f"/whip/{len(self.connections)}"}
        return web.Response(text=connection.localDescription.sdp, status=201, content_type="application/sdp", headers=where)

    async def _end(self, request: web.Request) -> web.Response:
        self.ended.append(request.match_info["number"])
        return web.Response()


@pytest.mark.slow
async def test_a_whip_address_gets_pictures_and_sound_in_step_and_again_after_it_was_lost(tmp_path: Path, aiohttp_server: Any) -> None:
    speech, receiver = tmp_path / "speech.wav", Receiver()
    speech.write_bytes(wav(bursts(60)))
    server = await aiohttp_server(receiver.app)
    options = ("--speech", str(speech), "--camera", str(tmp_path / "c.y4m"), "--to", str(server.make_url("/whip")))
    with pytest.raises(OutputFault, match=r"wants another secret \(401\)"):
        await Whip(options[-1], "", clock).begin()
    runs = Runs({**os.environ, "MYTALK_TO_SECRET": "let me in"}, *options)
    await asyncio.to_thread(runs.__enter__)
    peer = receiver.peer
    try:
        await until(lambda: len(peer.sounds) > 150 and len(peer.pictures) > 75)
        seen = onsets([(pts / 90_000, box > 120) for pts, box, *_ in peer.pictures])
        heard = onsets([(pts / WIRE_RATE, loud > 1500) for pts, loud in peer.sounds])
        assert max(min(abs(at - other) for other in heard) for at in seen[:2]) < 0.1
        await receiver.connections[0].close()
        before = len(peer.pictures)
        await until(lambda: len(receiver.connections) > 1 and len(peer.pictures) > before + 10)
    finally:
        await asyncio.to_thread(runs.__exit__, None)
    assert receiver.ended[-1] == "2"
    for connection in receiver.connections:
        await connection.close()
    await asyncio.gather(*peer.tasks)

"""The virtual camera: real sound devices (PulseAudio's null sinks), a real Chromium that takes the file for its webcam."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from realtime.camera.drift import Bridge
from realtime.cli import main
from realtime.media import probe, read_speech
from tests.peers import bursts, wav
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
    rate, tone = 8_000, 2 * np.pi * 440 / 8_000
    second = (0.5 * np.sin(tone * np.arange(rate))).astype(np.float32)
    for ppm, seconds in ((200, 3600),):
        bridge, jitter = Bridge(rate, rate, 0.05, 0.01, 0.2), np.random.default_rng(1)
        put, before = 0, np.zeros(2, np.float32)
        delays, steps, speeds = [], [], []
        for tick in range(1, seconds * 10 + 1):
            now = tick * 0.1
            while (due := (put / rate + 0.05) / (1 + ppm / 1e6)) <= now:
                bridge.put(second[put % rate : put % rate + 400], due + jitter.uniform(0, 0.003))
                put += 400
            heard = np.concatenate([before, bridge.take(800, now)])
            before = heard[-2:]
            if tick > 50:
                delays.append(now - (put / rate - bridge.depth) / (1 + ppm / 1e6))
                steps.append(float(np.abs(heard[2:] - 2 * np.cos(tone) * heard[1:-1] + heard[:-2]).max()))  # of a sine it is nothing
                speeds.append(bridge.ppm)
        assert max(delays) - min(delays) < 0.01
        assert max(steps) < 0.001
        assert (bridge.holes, bridge.cuts) == (0, 0)
        assert np.mean(speeds[-3000:]) == pytest.approx(ppm, abs=20)


def test_a_jam_is_cut_without_a_step_and_a_hole_fades() -> None:
    bridge, sound = Bridge(48_000, 48_000, 0.01, 0.01, 0.1), np.full(480, 0.5, np.float32)
    for n in range(100):
        bridge.put(sound, n / 100)
    out = np.concatenate([bridge.take(1920, 1.0)])
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


@dataclass
class Pulse:
    """A PulseAudio of a test's own."""

    folder: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    def ask(self, *words: str) -> str:
        return subprocess.run(["pactl", *words], env=self.environment, capture_output=True, text=True, check=True, timeout=20).stdout


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    if why := missing():
        pytest.skip(why)
    socket = tmp_path / "pulse"
    environment = {**os.environ, "PULSE_SERVER": f"unix:{socket}", "HOME": str(tmp_path), "PULSE_RUNTIME_PATH": str(tmp_path / "run")}
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"]
    modules = [f"module-native-protocol-unix auth-anonymous=1 socket={socket}"]
    modules += [f"module-null-sink sink_name={name}" for name in ("voice", "cable")]
    with subprocess.Popen(
        [*command, *(f"--load={module}" for module in modules)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        made = Pulse(tmp_path, process, environment)
        wait(lambda: socket.exists() and subprocess.run(["pactl", "info"], env=environment, capture_output=True).returncode == 0)
        yield made
        process.terminate()


def wait(what: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


class Runs:
    """`mytalk camera`, running."""

    def __init__(self, pulse: Pulse, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", FAKE, "camera", "--quiet", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, env=pulse.environment, cwd=ROOT,
        )  # fmt: skip

    def __enter__(self) -> Runs:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert "presenter is on" in line, self.process.communicate(timeout=20)[1].decode()
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.said = self.process.communicate(timeout=20)[1].decode()
        assert error[0] is not None or self.process.returncode == 0, self.said
        assert "Traceback" not in self.said


def listened(pulse: Pulse, seconds: float, meanwhile: Callable[[], None]) -> np.ndarray:  # type: ignore[type-arg]
    """What comes out of the cable while something happens."""
    with (pulse.folder / "heard.raw").open("w+b") as file:
        command = ["pacat", "--record", "--raw", "--device=cable.monitor", "--rate=16000", "--channels=1", "--format=s16le"]
        with subprocess.Popen([*command, "--latency-msec=20"], stdout=file, env=pulse.environment) as recording:
            meanwhile()
            wait(lambda: file.seek(0, os.SEEK_END) > seconds * 32_000)
            recording.terminate()
        file.seek(0)
        return np.frombuffer(file.read(), "<i2").astype(np.float32) / 32768


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_voice_into_the_microphone_is_seen_in_chromium_and_heard_from_the_cable_even_after_the_microphone_was_away(
    pulse: Pulse, tmp_path: Path
) -> None:
    file, voice = tmp_path / "camera.y4m", tmp_path / "voice.wav"
    voice.write_bytes(wav(bursts(4)))
    say = ["pacat", "--device=voice", "--raw", "--rate=48000", "--channels=1", "--format=s16le"]

    def speak() -> None:
        subprocess.run(say, input=(bursts(3) * 32767).astype("<i2").tobytes(), env=pulse.environment, check=True, timeout=30)

    options = ("--microphone", "voice.monitor", "--output", "cable", "--camera", str(file))
    with Runs(pulse, *options), sync_playwright() as playwright:
        assert file.read_bytes().startswith(b"YUV4MPEG2 W512 H512 F30:1")
        flags = [flag for flag in FLAGS if "audio" not in flag]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags, f"--use-file-for-fake-video-capture={file}"])
        page = browser.new_page()
        page.route("**/*", lambda route: route.fulfill(body="<p>", content_type="text/html"))
        page.goto("http://localhost/")  # cameras are for secure places
        page.evaluate(SEEN)
        page.wait_for_function("seen.frames > 20")
        assert page.evaluate("seen.white") == 0
        heard = listened(pulse, 4, speak)
        assert page.evaluate("seen.size") == [512, 512]
        page.wait_for_function("seen.white > 10")
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
        speak()
        page.wait_for_function(f"seen.white > {before} + 5")
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
    with Runs(pulse, "--speech", "-", "--rate", "24000", "--camera", str(tmp_path / "c.y4m"), "--to", str(out)) as runs:
        assert runs.process.stdin is not None
        runs.process.stdin.write((bursts(1.5, rate=24_000) * 32767).astype("<i2").tobytes())
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
        (["--actor", "nobody", "--camera", y4m], ("nobody",)),
    ):
        with pytest.raises(SystemExit) as left:
            main(["camera", *options])
        said = capsys.readouterr().err
        assert left.value.code == 2
        assert said.startswith("error: ")
        for word in words:
            assert word in said

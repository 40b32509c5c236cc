"""The command: what a person mistypes gets one sentence, a hint and exit code 2; and nothing is written."""

from __future__ import annotations

import errno
import logging
import shlex
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import cv2
import numpy as np
import pytest

import engines.backends.found
from engines.backends import weights
from engines.backends.found import Card, Found, look
from engines.errors import ActorFault, Fault, UnknownActor
from engines.motion.config import EARS, LIPS
from realtime.cli import main
from realtime.cli import mytalk as the_command
from realtime.errors import StorageFault, fault_of, problem
from realtime.settings import Settings, load
from tests.made import noise, write_clip, write_wav
from tests.test_dub import Counting

Outcome = SimpleNamespace


def refused(outcome: Outcome, *words: str, files: tuple[str, ...] = ()) -> None:
    assert outcome.code == 2, outcome.err
    lines = outcome.err.strip().splitlines()
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2
    for word in words:
        assert word in outcome.err
    assert tuple(outcome.files) == files


def test_version_and_help(mytalk: Any) -> None:
    assert mytalk("--version").out == "mytalk 0.1.0\n"
    shown = mytalk("--help")
    assert shown.code == 0
    for command in ("actor", "dub", "demo", "serve"):
        assert command in shown.out
    assert mytalk("nonsense").code == 2


def commands(group: click.Group, name: str = "mytalk") -> list[tuple[str, click.Command]]:
    inner = [found for part, command in group.commands.items() for found in (
        commands(command, f"{name} {part}") if isinstance(command, click.Group) else [(f"{name} {part}", command)]
    )]  # fmt: skip
    return [(name, group), *inner]


@pytest.mark.parametrize(("name", "command"), commands(the_command), ids=lambda one: one if isinstance(one, str) else "")
def test_every_help_text_shows_an_example(name: str, command: click.Command) -> None:
    _, _, examples = (command.epilog or "").partition("Examples:\n")
    assert examples, name
    for line in examples.splitlines():
        words = shlex.split(line.split("|")[0].strip(), comments=True)
        at = words.index("mytalk") if "mytalk" in words else 0
        assert " ".join(words[at:]).startswith(name), line
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        said = {word for word in words[at:] if word.startswith("-") and word != "-"}
        assert said <= options or isinstance(command, click.Group), line


def test_the_benchmarks_have_help_of_their_own(mytalk: Any) -> None:
    shown = mytalk("bench", "--help")
    assert shown.code == 0
    assert "mytalk bench latency" in shown.out


def test_unknown_actors_get_the_nearest_names(mytalk: Any, tmp_path: Path) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(640))
    refused(mytalk("dub", "presentr", speech, "-o", "out.mp4"), "'presentr'", "presenter")
    refused(mytalk("actor", "show", "presentr"), "presenter")
    refused(mytalk("actor", "remove", "nobody"), "'nobody'")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 80])
def test_names_that_are_none(mytalk: Any, tmp_path: Path, name: str) -> None:
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.zeros((64, 64, 3), np.uint8))
    refused(mytalk("actor", "add", name, photo), "is not a name")
    refused(mytalk("actor", "remove", name), "is not a name")


def test_the_presenter_stays(mytalk: Any) -> None:
    assert "presenter" in mytalk("actor", "list").out.splitlines()
    outcome = mytalk("actor", "remove", "presenter")
    assert outcome.code == 2
    assert "cannot be removed" in outcome.err


def test_files_that_will_not_do(mytalk: Any, tmp_path: Path) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(640))
    mute = write_clip(tmp_path / "mute.mp4", [0, 0.04])
    text = tmp_path / "text.wav"
    text.write_text("no sound at all " * 50)
    refused(mytalk("dub", "presenter", "nothing.wav", "-o", "out.mp4"), "no such file", "nothing.wav")
    refused(mytalk("dub", "nothing.mp4", speech, "-o", "out.mp4"), "no such file", "nothing.mp4")
    refused(mytalk("dub", "presenter", mute, "-o", "out.mp4"), "mute.mp4 has no sound")
    refused(mytalk("dub", "presenter", text, "-o", "out.mp4"), "text.wav is damaged")
    refused(mytalk("dub", speech, speech, "-o", "out.mp4"), "a.wav has no pictures")
    refused(mytalk("actor", "add", "me", tmp_path), "folder")


def test_a_video_without_a_face(mytalk: Any, tmp_path: Path) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(640))
    clip = write_clip(tmp_path / "clip.mp4", [0, 0.04, 0.08])
    outcome = mytalk("dub", clip, speech, "-o", "out.mp4")
    assert outcome.code == 2
    assert "No face was found." in outcome.err
    assert outcome.files == []


def test_dub_writes_and_says_what(mytalk: Any, counting: Counting, tmp_path: Path) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(16001))
    outcome = mytalk("dub", "grey", speech, "-o", "out.mp4")
    assert (outcome.code, outcome.out) == (0, "out.mp4: 26 pictures, 1.00 s of speech.\n")
    refused(mytalk("dub", "grey", speech, "-o", "out.mp4"), "exists", "--overwrite", files=("out.mp4",))
    again = mytalk("dub", "grey", speech, "-o", "out.mp4", "--overwrite", "--quiet", "--fps", 50)
    assert (again.code, again.out) == (0, "")


def test_dub_refuses_options_out_of_range(mytalk: Any, counting: Counting, tmp_path: Path) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(640))
    for option in (
        ("--start", 99),
        ("--fps", 0),
        ("--crf", 99),
        ("--face", 1),
        ("--still",),
        ("--expressiveness", 3),
        ("--expressiveness", "nan"),
    ):
        refused(mytalk("dub", "grey", speech, "-o", "out.mp4", *option))
    refused(mytalk("dub", "grey", speech, "-o", speech, "--overwrite"))


def test_ctrl_c_leaves_nothing(mytalk: Any, counting: Counting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(counting, "_fails", (5, KeyboardInterrupt))
    outcome = mytalk("dub", "grey", write_wav(tmp_path / "a.wav", noise(16000)), "-o", "out.mp4")
    assert outcome.code == 130
    assert outcome.files == []
    assert "Traceback" not in outcome.err


def test_a_full_disk_is_one_sentence(mytalk: Any, counting: Counting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out.mp4")

    monkeypatch.setattr("realtime.writer.Writer.picture", full)
    refused(mytalk("dub", "grey", write_wav(tmp_path / "a.wav", noise(640)), "-o", "out.mp4"), "no space left")


def test_a_bug_is_no_fault(mytalk: Any, counting: Counting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(counting, "_fails", (5, ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        main(["dub", "grey", str(write_wav(tmp_path / "a.wav", noise(16000))), "-o", "out.mp4"])


def test_a_file_being_built_is_told_by_its_folder() -> None:
    fault = fault_of(OSError(errno.ENOSPC, "words", "file:/videos/.out.1234.part"))
    assert fault is not None
    assert fault.message == "There is no space left on the disk: /videos."


def test_every_disk_error_is_a_sentence() -> None:
    for code in (errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EROFS, errno.EADDRINUSE):
        fault = fault_of(OSError(code, "words", "a.mp4"))
        assert isinstance(fault, StorageFault)
        assert fault.hint
    assert fault_of(OSError(errno.EBADF, "a bug")) is None


@pytest.mark.parametrize(("fault", "status"), [(UnknownActor("a", "b"), 404), (ActorFault("a", "b"), 422), (Fault("a", "b"), 400)])
def test_problems(fault: Fault, status: int) -> None:
    said = problem(fault)
    assert (said["status"], said["detail"], said["hint"]) == (status, "a", "b")
    assert said["type"].endswith(fault.code)


def test_settings_come_in_order(tmp_path: Path) -> None:
    file = tmp_path / "mytalk.toml"
    file.write_text('port = 1\ncrf = 20\nhost = "::1"\n')
    settings = load({"host": "localhost", "crf": None}, {"MYTALK_PORT": "2", "MYTALK_HOME": "~/x"}, file)
    assert (settings.port, settings.crf, settings.host) == (2, 20, "localhost")
    assert settings.actors == Path("~/x/actors").expanduser()
    assert Settings().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", "Did you mean port"),
        ('port = "x"', "whole number"),
        ("port = 99999", "not a port"),
        ("port = ", "TOML"),
        ("crf = 1.5", "whole number"),
        ("crf = true", "whole number"),
        ('expressiveness = "much"', "must be a number"),
        ("expressiveness = -0.1", "does not exist"),
    ],
)
def test_settings_that_will_not_do(mytalk: Any, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mytalk.toml"
    file.write_text(text)
    refused(mytalk("--config", file, "actor", "list"), words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "0.0.0.0"), "MYTALK_TOKEN"),
        (("--host", "0.0.0.0", "--token", "short"), "openssl"),
        (("--origins", "example.org"), "https://example.org"),
        (("--ice", "example.org"), "stun:HOST:PORT"),
        (("--sessions", "-1"), "--sessions"),
        (("--idle", "0"), "limits"),
        (("--actor", "nobody"), "presenter"),
    ],
)
def test_a_server_that_is_not_safe_or_not_possible_is_not_begun(mytalk: Any, options: tuple[str, ...], words: str) -> None:
    refused = mytalk("serve", "--port", "0", *options)
    assert refused.code == 2
    assert words in refused.err
    assert "hint:" in refused.err


def test_a_benchmark_that_is_not_there_is_said(mytalk: Any) -> None:
    refused = mytalk("bench", "nonsense")
    assert refused.code == 2
    assert "nonsense" in refused.err


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No driver, and an empty cache folder, whatever this machine has."""
    monkeypatch.setattr(engines.backends.found, "look", partial(look, str(tmp_path / "nowhere.so")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("command", ["dub", "serve", "camera"])
@pytest.mark.parametrize("backend", ["cuda", "tensorrt"])
def test_a_backend_that_cannot_be_had_ends_the_command(mytalk: Any, no_card: None, tmp_path: Path, command: str, backend: str) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(640))
    rest = {"dub": ("presenter", speech, "-o", "out.mp4"), "serve": ("--port", 0), "camera": ("--camera", "out.y4m", "--speech", speech)}[
        command
    ]
    refused(mytalk(command, *rest, "--backend", backend), f"backend {backend} cannot be had", "no NVIDIA driver was found", "--backend cpu")


def test_a_backend_may_be_set_for_all_commands(
    mytalk: Any, counting: Any, no_card: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(640))
    monkeypatch.setenv("MYTALK_BACKEND", "tensorrt")
    refused(mytalk("dub", "grey", speech, "-o", "out.mp4"), "backend tensorrt cannot be had")
    refused(mytalk("dub", "grey", speech, "-o", "out.mp4", "--backend", "gpu"), "no backend 'gpu'", "auto, cpu, cuda, tensorrt")
    with caplog.at_level(logging.INFO):
        assert mytalk("dub", "grey", speech, "-o", "out.mp4", "--backend", "auto").code == 0
    assert "backend cpu (tensorrt: " in caplog.text
    card = Found("13.2", cards=(Card("NVIDIA L4", "sm_89", 24 << 30),))
    monkeypatch.setattr(engines.backends.found, "look", lambda: card)
    caplog.clear()
    assert mytalk("dub", "grey", speech, "-o", "two.mp4", "--backend", "auto").code == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # whoever has a card is told why it lies idle


def test_the_doctor_finds_nothing_wrong_with_a_machine_without_a_card(mytalk: Any, no_card: None) -> None:
    outcome = mytalk("doctor")
    assert outcome.code == 0, outcome.out + outcome.err
    for words in (
        "as shipped",
        "finds the presenter's face",
        "H.264",
        "aiortc",
        "no NVIDIA driver was found",
        "→ install NVIDIA's driver",
        "takes cpu",
    ):
        assert words in outcome.out
    assert "✗" not in outcome.out


def test_the_doctor_ends_with_what_mends_a_broken_machine(
    mytalk: Any, no_card: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(Path(str(weights.files("engines.weights"))), tmp_path / "weights")
    monkeypatch.setattr(weights, "files", lambda package: tmp_path / "weights")
    (tmp_path / "weights" / LIPS).unlink()
    outcome = mytalk("doctor")
    refused(outcome, "not all here: motion", "Install mytalk-live again")
    assert "✗ motion" in outcome.out
    assert "✓ faces" in outcome.out


def test_building_needs_an_architecture_and_names_those_that_there_are(mytalk: Any, no_card: None) -> None:
    refused(mytalk("build"), "no card here", "--arch sm_89")
    refused(mytalk("build", "--arch", "ada"), "'ada' is not an architecture", "sm_89")
    refused(mytalk("build", "--arch", "sm_90"), "sm_90 cannot be built here")


@pytest.mark.slow
def test_what_is_built_for_an_architecture_is_built_once(mytalk: Any, no_card: None) -> None:
    pytest.importorskip("tensorrt_rtx", reason="plans need TensorRT-RTX, which is not for this machine")
    for how in ("built", "was there"):
        outcome = mytalk("build", "--arch", "sm_89")
        assert outcome.code == 0, outcome.err
        *plans, kernels = outcome.out.splitlines()
        assert "kernels for sm_89" in kernels
        for name, line in zip((EARS, LIPS), plans, strict=True):
            place, _, said = line.partition(": ")
            assert said.startswith(f"{name} for sm_89, {how}, ")
            assert Path(place).stat().st_size > 500_000

"""`import mytalk`: what a Python user has, and that a project with folders of our names does not break it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mytalk
from engines.actor import Actor, built_in
from engines.errors import Fault
from engines.spec import TICK
from realtime.media import probe
from realtime.testing import FakeActor, FakePipeline
from tests.made import noise, write_wav

ROOT = Path(__file__).parent.parent
FAKE: Any = FakeActor("grey", (64, 48), [np.full((72, 64), 90, np.uint8)])


def python(code: str, folder: Path) -> str:
    """What a program says that lies in a folder, as a user's does."""
    (folder / "program.py").write_text(textwrap.dedent(code))
    done = subprocess.run([sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_nothing_and_unknown_names_are_refused_in_words() -> None:
    heavy = {"numpy", "av", "cv2", "openvino", "asyncio", "click", "engines", "realtime"}
    code = f"import sys, mytalk; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout == "[]\n"
    with pytest.raises(AttributeError, match=r"mytalk has no 'enroll'\. Did you mean 'enrol'\?"):
        mytalk.enroll  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="It has: Actor, "):
        mytalk.xyzzy  # type: ignore[attr-defined]  # noqa: B018
    assert set(mytalk.__all__) <= set(dir(mytalk))
    for name in mytalk.__all__:
        assert getattr(mytalk, name).__doc__, name
    assert mytalk.Fault is Fault
    assert mytalk.Actor is Actor


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 48_000, 12_345])
def test_a_stream_gives_as_many_pictures_as_its_speech_needs_and_its_own_sound(rate: int) -> None:
    speech = noise(rate * 2).astype(np.float32)[: int(rate * 1.37)]
    ticks = -(-len(speech) * 25 // rate)
    runs = []
    for cut in (len(speech), 100, 1):
        stream = mytalk.Stream(FAKE, rate, pipeline=FakePipeline(), pictures="i420")  # type: ignore[arg-type]
        pieces = [speech[at : at + cut] for at in range(0, len(speech), cut)] if cut > 1 else [speech[:7], speech[7:]]
        shown = [one for piece in pieces for one in stream.push(piece)]
        assert len(shown) >= ticks - 4
        runs.append(shown + stream.flush())
    for run in runs:
        assert [one.tick for one in run] == list(range(ticks))
        sound = np.concatenate([one.sound for one in run])
        np.testing.assert_array_equal(sound[: len(speech)], speech)
        assert not sound[len(speech) :].any()
        assert len(sound) == ticks * rate // 25
        for one, first in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(one.picture, first.picture)


def test_a_stream_goes_on_after_its_end_and_forgets_what_is_broken_off() -> None:
    stream = mytalk.Stream(FAKE, 24_000, pipeline=FakePipeline(), pictures="rgb")  # type: ignore[arg-type]
    loud = np.full(24_000, 0.5, np.float32)
    first = stream.push(loud)
    assert len(first) in (22, 23)  # the conversion to 16 kHz keeps some samples back
    last = stream.flush()
    assert [one.tick for one in first + last] == list(range(25))
    assert last[0].picture.shape == (48, 64, 3)
    after = stream.push(loud)
    assert [one.tick for one in after] == list(range(25, 25 + len(after)))
    assert [float(one.sound.max()) for one in after[:4]] == [0, 0, 0.5, 0.5]  # the look-ahead's silence comes first
    assert all(len(one.sound) == 960 for one in after)
    stream.push(loud[:500])
    stream.interrupt()
    rest = stream.silence(0.2)
    assert len(rest) in (4, 5)
    assert not any(one.sound.any() for one in rest)


def test_samples_of_all_kinds_are_the_same_and_others_are_refused() -> None:
    speech = (noise(6400) * 20000).astype(np.int16)
    runs = []
    for samples in (speech, speech.tobytes(), (speech / 32768).astype(np.float32), (speech / 32768).tolist()):
        stream = mytalk.Stream(FAKE, pipeline=FakePipeline())  # type: ignore[arg-type]
        runs.append(np.concatenate([one.sound for one in stream.push(samples) + stream.flush()]))
    for run in runs[1:]:
        np.testing.assert_allclose(run, runs[0], atol=1e-6)
    for wrong in (np.zeros((2, TICK), np.float32), b"odd", [1, 2], np.array([np.nan])):
        with pytest.raises(Fault):
            stream.push(wrong)
    for bad in ({"rate": 5}, {"rate": 1e4}, {"pictures": "bgr"}):
        with pytest.raises(Fault):
            mytalk.Stream(FAKE, pipeline=FakePipeline(), **bad)  # type: ignore[arg-type]
    with pytest.raises(Fault, match="expressiveness"):
        mytalk.pipeline(expressiveness=3)


def test_actors_are_kept_where_the_command_keeps_them(tmp_path: Path) -> None:
    assert mytalk.actors(home=tmp_path) == list(built_in())
    with pytest.raises(Fault, match="presentr"):
        mytalk.load("presentr")
    photo = tmp_path / "grey.png"
    photo.write_text("no picture at all " * 50)
    for name in ("grey", None):
        with pytest.raises(Fault, match=r"grey\.png"):
            mytalk.enrol(photo, name, home=tmp_path)
    assert mytalk.actors(home=tmp_path) == list(built_in())


def test_a_text_becomes_a_video(tmp_path: Path, counting: Any) -> None:
    voice = f"cat '{write_wav(tmp_path / 'a.wav', noise(16000))}'"
    report = mytalk.say("grey", "Hello.", tmp_path / "out.mp4", voice_command=voice, pipeline=counting)
    assert (report.pictures, report.path) == (34, tmp_path / "out.mp4")
    with pytest.raises(Fault, match="exists"):
        mytalk.say("grey", "Hello.", tmp_path / "out.mp4", voice_command=voice)
    assert [len(block) for block in mytalk.speak("Hello. You.", voice_command=voice)] == [24000, 8400, 24000, 8400]
    assert mytalk.voices(voice_command=voice)[0].name == "command"


def test_a_program_without_a_main_guard_has_an_engine_and_its_own_way_to_start_processes(tmp_path: Path) -> None:
    """It is run once; so is what lies beside it, also where it is called as ours."""
    for name in ("", "realtime"):
        folder = tmp_path / f"a{name}"
        folder.mkdir()
        if name:
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text("print('theirs')\n")
        said = python(
            """
            import asyncio, multiprocessing, os
            print("begins", flush=True)
            from mytalk.own import own
            clock, testing, engine = (own(f"realtime.{name}") for name in ("clock", "testing", "engine"))
            async def main():
                made = engine.Engine(testing.FakeStore(), clock.WallClock(), testing.FakePipeline, actor="presenter", spare_s=0.01)
                await made.start()
                while not made.spare_ready:
                    await asyncio.sleep(0.01)
                print(made.costs[1] > 0, engine.__name__, flush=True)
                await made.close()
            asyncio.run(main())
            shell = own("realtime.processes").forks().Process(target=os.system, args=("echo ${PYTHONSAFEPATH-no}",))
            shell.start()
            shell.join()
            multiprocessing.set_start_method("spawn")
            """,
            folder,
        )
        assert said.splitlines() == ["begins", f"True {'mytalk.own.' if name else ''}realtime.engine", "no"]


@pytest.mark.slow
def test_a_project_with_folders_of_our_names_has_both(tmp_path: Path) -> None:
    for name in ("engines", "realtime", "native"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"mine = '{name}'\n")
    (tmp_path / "realtime" / "worker.py").write_text("raise SystemExit('the wrong module')\n")
    write_wav(tmp_path / "speech.wav", noise(3200))
    said = python(
        """
        import mytalk
        import engines
        actor = mytalk.load("presenter")
        shown = mytalk.Stream(actor, pipeline=(nets := mytalk.pipeline())).push([0.1] * 3200)
        report = mytalk.dub(actor, "speech.wav", "out.mp4", pipeline=nets)
        import native
        try:
            mytalk.load("nobody")
        except mytalk.Fault as fault:
            print(fault.code)
        print(engines.mine, native.mine, len(shown), shown[0].picture.shape, report.pictures, type(actor).__module__)
        """,
        tmp_path,
    )
    assert said.splitlines() == ["unknown-actor", "engines native 3 (512, 512, 3) 5 mytalk.own.engines.actor"]
    assert probe(tmp_path / "out.mp4").size == (512, 512)
    command = Path(sys.executable).with_name("mytalk")
    done = subprocess.run([command, "actor", "list"], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stdout.startswith("presenter"), done.stderr

"""Dubbing with a pipeline that only counts: numbers of pictures, what may be written, what is left behind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from realtime.dub import dub
from realtime.errors import MediaFault, OutputFault, SettingsFault
from realtime.media import read_pictures, read_speech
from tests.made import lag, noise, number, write_wav

ACTOR: Any = SimpleNamespace(name="grey", size=(64, 48), frames=[None] * 40)


class Counting:
    """Picture n is of the grey n + first. Remembers what it heard."""

    def __init__(self, look_ahead: int = 2, fails: tuple[int, type[BaseException]] | None = None) -> None:
        self.look_ahead, self._fails = look_ahead, fails
        self.heard: list[np.ndarray] = []

    def start(self, actor: Any, seed: int = 0, first: int = 0) -> int:
        self.heard.clear()
        return first - self.look_ahead

    def step(self, conversations: list[int], speech: np.ndarray) -> tuple[list[int], list[np.ndarray | None]]:
        assert speech.shape == (1, 640)
        if self._fails and len(self.heard) == self._fails[0]:
            raise self._fails[1]
        self.heard.append(speech[0].copy())
        (at,) = conversations
        young = len(self.heard) <= self.look_ahead
        return [at + 1], [None if young else np.full((72, 64), 20 + at * 4 % 200, np.uint8)]


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize(("samples", "expected"), [(1, 1), (640, 1), (641, 2), (16000, 25), (16001, 26)])
def test_as_many_pictures_as_the_speech_needs(tmp_path: Path, rate: int, samples: int, expected: int) -> None:
    samples = samples * rate // 16000 + (samples % 640 == 1 and rate != 16000)
    speech = write_wav(tmp_path / "a.wav", noise(samples), rate)
    pipeline = Counting()
    report = dub(ACTOR, speech, tmp_path / "out.mp4", pipeline=pipeline)
    assert report.pictures == report.ticks == expected == -(-samples * 25 // rate)
    assert len(pipeline.heard) == expected + pipeline.look_ahead
    assert [number(picture) for picture in read_pictures(tmp_path / "out.mp4")] == list(range(expected))


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_picture_n_goes_with_sound_n(tmp_path: Path, look_ahead: int) -> None:
    said = noise(32000)
    speech = write_wav(tmp_path / "a.wav", said)
    pipeline = Counting(look_ahead)
    dub(ACTOR, speech, tmp_path / "out.mp4", pipeline=pipeline, start=0.2)
    np.testing.assert_allclose(np.concatenate(pipeline.heard)[:32000], said, atol=1e-6)
    assert [number(picture) for picture in read_pictures(tmp_path / "out.mp4")] == [(5 + n) % 50 for n in range(50)]
    heard = np.concatenate(list(read_speech(tmp_path / "out.mp4", 16000)))
    assert lag(heard, said) == 0


@pytest.mark.parametrize(("fps", "expected"), [(50, [0, 0, 1, 1, 2, 2]), (12.5, [0, 2, 4]), (30, [0, 0, 1, 2, 3, 4])])
def test_other_rates_repeat_or_drop(tmp_path: Path, fps: float, expected: list[int]) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(16000))
    report = dub(ACTOR, speech, tmp_path / "out.mkv", pipeline=Counting(), fps=fps)
    assert report.pictures == np.ceil(fps)
    import av

    with av.open(str(tmp_path / "out.mkv")) as container:
        shown = [number(frame.to_ndarray()) for frame in container.decode(video=0)]
    assert len(shown) == report.pictures
    assert shown[: len(expected)] == expected


def test_no_samples_give_one_picture(tmp_path: Path) -> None:
    speech = write_wav(tmp_path / "a.wav", np.zeros(0, np.int16))
    report = dub(ACTOR, speech, tmp_path / "out.mp4", pipeline=Counting())
    assert (report.pictures, report.seconds) == (1, 0)
    assert len(list(read_pictures(tmp_path / "out.mp4"))) == 1


def test_stereo_stays_stereo(tmp_path: Path) -> None:
    from realtime.media import read_sound

    speech = write_wav(tmp_path / "a.wav", np.stack([noise(8000), noise(8000, 1)], 1))
    dub(ACTOR, speech, tmp_path / "out.mp4", pipeline=Counting())
    assert next(read_sound(tmp_path / "out.mp4", 48000, None)).shape[0] == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing_and_keeps_what_was(tmp_path: Path, error: type[BaseException]) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(16000))
    out = tmp_path / "out.mp4"
    out.write_bytes(b"before")
    with pytest.raises(error):
        dub(ACTOR, speech, out, pipeline=Counting(fails=(10, error)), overwrite=True)
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "out.mp4"]


def test_damage_late_in_the_speech_leaves_nothing(tmp_path: Path) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(64000))
    speech.write_bytes(speech.read_bytes()[:100_000])
    with pytest.raises(MediaFault, match="truncated"):
        dub(ACTOR, speech, tmp_path / "out.mp4", pipeline=Counting())
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_outputs_that_may_not_be(tmp_path: Path) -> None:
    speech = write_wav(tmp_path / "a.wav", noise(1600))
    (tmp_path / "there.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    bad = {"there.mp4": "exists", "folder.mp4": "folder", "no/out.mp4": "no folder", "out.avi": "not a name"}
    for name, words in bad.items():
        with pytest.raises(OutputFault, match=words):
            dub(ACTOR, speech, tmp_path / name, pipeline=Counting())
    alias = tmp_path / "a.mp4"
    alias.hardlink_to(speech)
    with pytest.raises(OutputFault, match="input"):
        dub(ACTOR, speech, alias, pipeline=Counting(), overwrite=True)
    assert dub(ACTOR, speech, tmp_path / "there.mp4", pipeline=Counting(), overwrite=True).pictures == 3


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": 500}, {"fps": float("nan")}, {"crf": 99}, {"start": -1}, {"start": 2}])
def test_options_out_of_range(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsFault):
        dub(ACTOR, write_wav(tmp_path / "a.wav", noise(640)), tmp_path / "out.mp4", pipeline=Counting(), **options)


def test_progress_knows_the_whole(tmp_path: Path) -> None:
    said: list[tuple[int, int | None]] = []
    speech = write_wav(tmp_path / "a.wav", noise(1500))
    dub(ACTOR, speech, tmp_path / "out.mp4", pipeline=Counting(), progress=lambda *at: said.append(at))
    assert said == [(1, 3), (2, 3), (3, 3)]

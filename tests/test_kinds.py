"""Whatever people feed it: a file of each kind through the command line, looked at and listened to afterwards."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import engines.pipeline
from engines.actor import Actor, Store
from engines.pipeline import Pipeline
from native.planes import to_rgb
from realtime.errors import MediaFault
from realtime.media import probe, read_pictures, read_speech
from tests import kinds
from tests.kinds import MOVING, STILLS, VIDEOS, Float, Rgb, face, frames, on_white, speech, with_gap, write_sound
from tests.made import lag, write_wav

LOOP = 250
"""Pictures of a photo's idle loop."""
LIVING = ("plain.jpg", "tiles.heic", "clear.gif", "one_frame.mp4")
"""Stills whose loop is made, too: with the others it would only take its time."""


def enrolled(mytalk: Any, path: Path, *options: str) -> tuple[Actor, str]:
    """The actor that a file becomes, and what was said about it."""
    outcome = mytalk("actor", "add", "someone", path, *options)
    assert outcome.code == 0, outcome.err
    return Store(Path(os.environ["MYTALK_HOME"]) / "actors").load("someone"), outcome.err


def apart(picture: Any, rgb: Rgb) -> float:
    """How far a picture (I420) is from what was drawn, of 255, in the mean. Chroma has half the size: both are blurred."""
    shown, wanted = (cv2.blur(one.astype(np.float32), (5, 5)) for one in (to_rgb(picture), rgb))
    return float(np.abs(shown - wanted).mean())


@pytest.mark.parametrize("kind", STILLS)
def test_a_still_is_a_still_whatever_it_is_in(mytalk: Any, tmp_path: Path, kind: str) -> None:
    STILLS[kind](tmp_path / kind, face())
    actor, said = enrolled(mytalk, tmp_path / kind, *([] if kind in LIVING else ["--still"]))
    assert len(actor.frames) == (LOOP if kind in LIVING else 1)
    expected = on_white(face()) if "clear" in kind else face()
    (picture,) = read_pictures(tmp_path / kind)
    assert apart(picture, expected) < 1.6
    assert apart(actor.frames[0], expected) < 2.5
    assert ("transparent" in said) == ("clear" in kind)
    assert said.count("warning") == ("clear" in kind)


@pytest.mark.parametrize("kind", MOVING)
def test_pictures_that_move_are_videos(mytalk: Any, tmp_path: Path, kind: str) -> None:
    MOVING[kind](tmp_path / kind, frames())
    actor, _ = enrolled(mytalk, tmp_path / kind)
    assert len(actor.frames) == 3 * len(frames())  # 120 ms each
    for at, rgb in enumerate(frames()):
        assert apart(actor.frames[3 * at + 1], rgb) < 2.5


@pytest.mark.parametrize("kind", VIDEOS)
def test_a_video_looks_as_it_was_filmed(mytalk: Any, tmp_path: Path, kind: str) -> None:
    VIDEOS[kind](tmp_path / kind, frames(6))
    actor, said = enrolled(mytalk, tmp_path / kind)
    assert len(actor.frames) == 6
    for rgb, picture, kept in zip(frames(6), read_pictures(tmp_path / kind), actor.frames, strict=True):
        expected = on_white(rgb) if "clear" in kind else rgb
        assert apart(picture, expected) < 2.0
        assert apart(kept, expected) < 2.5
    words = "transparent" if "clear" in kind else "HDR" if "hdr" in kind else ""
    assert said.count("warning") == bool(words)
    assert words in said


@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_hdr_photos_are_toned_down_too(tmp_path: Path, transfer: int, kind: str) -> None:
    kinds.write_hdr_photo(tmp_path / f"photo.{kind}", face(), transfer)
    said: list[str] = []
    assert probe(tmp_path / f"photo.{kind}").kind == "photo"
    (picture,) = read_pictures(tmp_path / f"photo.{kind}", said.append)
    assert apart(picture, face()) < 2.5
    assert ["HDR" in sentence for sentence in said] == [True]


def test_bright_parts_of_hdr_are_not_cut_off(tmp_path: Path) -> None:
    """Light up to five times white's: it still gets brighter, and what is under white keeps its place."""
    steps = np.repeat(np.array([0.2, 0.5, 1.0, 2.0, 4.0]), 16)[None, :, None].repeat(64, 0).repeat(3, 2)
    for name, transfer in (("pq", 16), ("hlg", 18)):
        code = np.rint(65535 * kinds.code_of(transfer, steps * 203)).astype(np.uint16)
        kinds.write_hdr(tmp_path / f"{name}.mp4", [code] * 4, transfer)
        picture = to_rgb(next(read_pictures(tmp_path / f"{name}.mp4")))[32, 8::16].mean(1)
        assert np.abs(picture[:2] - 255 * np.array([0.2, 0.5]) ** (1 / 2.4)).max() < 6
        assert (np.diff(picture) > 2).all()
        assert 225 < picture[2] < 250
        assert picture[4] > 245


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("raw.dng", "dng", "raw photo"),
        ("raw.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100), "raw photo"),
        ("bomb.png", "bomb", "million pixels"),
        ("cut.heic", "heic", "damaged"),
        ("cut.avif", "avif", "damaged"),
        ("cut.gif", "gif", "damaged"),
        ("cut.tif", "tif", "damaged"),
        ("cut.webp", "webp", "damaged"),
        ("new.jxl", b"\xff\x0a" + bytes(200), "JPEG"),
    ],
)
def test_stills_that_cannot_be_read_are_a_sentence(mytalk: Any, tmp_path: Path, name: str, data: str | bytes, words: str) -> None:
    path = tmp_path / name
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        kinds.SPOILT[data](path)
    outcome = mytalk("actor", "add", "someone", path)
    assert outcome.code == 2
    assert words in outcome.err
    assert "hint: " in outcome.err
    assert len(outcome.err.strip().splitlines()) == 2


# ---- sounds


@pytest.fixture
def heard(mytalk: Any, counting: Any) -> Any:
    """What the engine hears of a file that is dubbed, at 16 kHz, and what is said about it."""

    def listen(path: Path) -> tuple[Float, str]:
        outcome = mytalk("dub", "grey", path, "-o", "out.mp4", "--overwrite", "-q")
        assert outcome.code == 0, outcome.err
        assert len(list(read_pictures(Path("out.mp4")))) == len(counting.heard) - counting.look_ahead
        return np.concatenate(counting.heard[: -counting.look_ahead]), outcome.err

    return listen


def alike(one: Float, other: Float) -> float:
    """Correlation of two sounds' loudness in steps of 20 ms, at 16 kHz; the level does not matter, nor what codecs do."""
    count = min(len(one), len(other)) // 320
    loud = [np.sqrt((sound[: count * 320].reshape(count, 320) ** 2).mean(1)) for sound in (one, other)]
    return float(np.corrcoef(*loud)[0, 1])


def at_16k(tmp_path: Path, said: Float) -> Float:
    return np.concatenate(list(read_speech(write_wav(tmp_path / "known.wav", said, kinds.RATE), 16_000)))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("call.webm", "libopus", {}),
        ("call_with_picture.webm", "libopus", {"with_picture": True}),
        ("call.mkv", "pcm_s16le", {}),
        ("call.mka", "flac", {}),
        ("call.ogg", "libopus", {}),
        ("call.m4a", "aac", {}),
        ("call.mp4", "libopus", {}),
        ("call.ts", "aac", {}),
    ],
)
def test_gaps_are_silence(heard: Any, tmp_path: Path, name: str, codec: str, options: dict[str, Any]) -> None:
    said = speech()
    path = write_sound(tmp_path / name, [said[None]], codec, gap=(0.6, 1.0), **options)
    sound, words = heard(path)
    wanted = at_16k(tmp_path, with_gap(said, 0.6, 1.0))
    assert len(sound) == pytest.approx(len(wanted), abs=1280)
    assert alike(sound, wanted) > 0.95
    assert np.abs(sound[int(0.7 * 16_000) : int(1.55 * 16_000)]).max() < 1e-3
    assert words == ""


def test_times_that_jitter_and_overlap_make_no_holes(heard: Any, tmp_path: Path) -> None:
    said = speech()
    sound, _ = heard(write_sound(tmp_path / "jitter.mka", [said[None]], "pcm_s16le", jitter=0.015))
    assert alike(sound, at_16k(tmp_path, said)) > 0.999
    assert lag(sound, at_16k(tmp_path, said)) == 0


def test_sound_that_begins_after_the_pictures_is_in_its_place(heard: Any, tmp_path: Path) -> None:
    said = speech(0.8)
    for name, codec in (("late.mp4", "aac"), ("late.mkv", "libopus")):
        sound, _ = heard(write_sound(tmp_path / name, [said[None]], codec, late=0.5, with_picture=True))
        assert alike(sound, at_16k(tmp_path, with_gap(said, 0, 0.5))) > 0.9
    alone, _ = heard(write_sound(tmp_path / "alone.mka", [said[None]], "pcm_s16le", late=0.5))
    assert alike(alone, at_16k(tmp_path, said)) > 0.99


def test_a_call_that_ends_muted_is_whole(heard: Any, tmp_path: Path) -> None:
    """What a file's header promises and no frame fills, in a file that has all of its bytes."""
    said = speech(0.8)
    webm = write_sound(tmp_path / "muted.webm", [said[None]], "libopus")
    data = bytearray(webm.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3
    data[at : at + 8] = struct.pack(">d", 5000.0)
    tag = data.index(b"00:00:00.")
    data[tag : tag + 9] = b"00:00:05."
    webm.write_bytes(data)
    for path in (webm, write_sound(tmp_path / "muted.m4a", [said[None]], "aac", last=3.0)):
        sound, words = heard(path)
        assert alike(sound, at_16k(tmp_path, said)) > 0.95
        assert words == ""
    webm.write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaFault, match="truncated"):
        list(read_speech(webm, 16_000))


@pytest.mark.parametrize("name", ["cut.webm", "cut.ogg", "cut.m4a", "cut.mka", "cut.mp4"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_what_is_cut_off_is_refused_with_and_without_gaps(mytalk: Any, heard: Any, tmp_path: Path, name: str, share: float) -> None:
    codec = "aac" if name.endswith("4a") else "flac" if name.endswith("mka") else "libopus"
    whole = write_sound(tmp_path / f"whole{name[3:]}", [speech()[None]], codec, gap=(0.6, 1.0)).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    outcome = mytalk("dub", "grey", tmp_path / name, "-o", "out.mp4")
    assert outcome.code == 2
    assert outcome.files == []


def channels(*which: Float | float) -> Float:
    """(C, n): speech times each number."""
    said = speech()
    return np.stack([one * said if isinstance(one, float | int) else one for one in which])


def wav(*which: Float | float) -> Callable[[Path], Path]:
    """A WAV of these channels."""
    return lambda folder: write_wav(folder / "a.wav", channels(*which).T, kinds.RATE)


def scaled(by: float, offset: float = 0.0, kind: type[np.generic] = np.float32) -> Callable[[Path], Path]:
    """A WAV of the speech times a number, plus one, stored so."""
    return lambda folder: write_wav(folder / "a.wav", (speech() * np.float32(by) + np.float32(offset)).astype(kind), kinds.RATE)


def rumble() -> Float:
    return 0.5 * np.sin(2 * np.pi * 40 / kinds.RATE * np.arange(len(speech()))).astype(np.float32)


def other() -> Float:
    """Somebody else."""
    return np.roll(speech()[::-1], 7000)[None].copy()


SOUNDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "inverted": (wav(1, -1), "cancel"),
    "nearly inverted": (wav(1, -0.8), "cancel"),
    "inverted in AAC": (lambda folder: write_sound(folder / "a.m4a", [channels(1, -1)], "aac", "stereo"), "cancel"),
    "left only": (wav(1, 0), ""),
    "centre of 5.1": (lambda folder: write_sound(folder / "a.m4a", [channels(0, 0, 1, rumble(), 0, 0)], "aac", "5.1"), ""),
    "one of six microphones": (wav(0, 0, 0, 0, 1, 0), ""),
    "second track": (lambda folder: write_sound(folder / "a.mka", [channels(0), channels(1)], "libopus"), "track 2 is heard"),
    "third track": (lambda folder: write_sound(folder / "a.mov", [channels(0), channels(0), channels(1)], "pcm_s16le"), "track 3 is heard"),
    "comment first": (lambda folder: write_sound(folder / "a.mka", [other(), channels(1)], "flac", aside=(0,), first=1), ""),
    "second is the default": (lambda folder: write_sound(folder / "a.mka", [other(), channels(1)], "flac", first=1), ""),
    "very quiet": (scaled(0.003), "turned up"),
    "beyond full scale": (scaled(20), "turned down"),
    "floats as integers": (scaled(32768), "turned down"),
    "offset": (scaled(0.2, 0.5), ""),
    "eight bits": (scaled(127, 128, np.uint8), ""),
    "32 bits": (scaled(2.0**30, 0, np.int32), ""),
}
"""The speech in each way in which it may come, and what is to be said about it."""


@pytest.mark.parametrize("kind", SOUNDS)
def test_what_a_listener_hears_drives_the_lips(heard: Any, tmp_path: Path, kind: str) -> None:
    write, words = SOUNDS[kind]
    sound, said = heard(write(tmp_path))
    wanted = at_16k(tmp_path, speech())
    assert len(sound) == pytest.approx(len(wanted), abs=1280)
    assert alike(sound, wanted) > 0.95
    assert sound.std() > 0.02  # as loud as speech is
    assert abs(sound.mean()) < 0.02
    assert words in said
    assert said.count("warning") == bool(words)


def test_where_nothing_is_heard_one_warning_says_so(heard: Any, tmp_path: Path) -> None:
    hiss = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    for name, samples in {"silent.wav": hiss * 0, "hiss.wav": hiss * np.float32(1e-3), "empty.wav": hiss[:0]}.items():
        _, said = heard(write_wav(tmp_path / name, samples))
        assert said.count("warning") == 1
        assert f"No speech is heard in {name}" in said


# ---- and the lips


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline()


def moving(pictures: Sequence[Any]) -> Float:
    """How far the mouth's pixels are from picture to picture."""
    mouths = np.stack([to_rgb(picture)[64:112, 40:88].astype(np.float32) for picture in pictures])
    return np.abs(np.diff(mouths, axis=0)).mean((1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inverted", "centre", "gap", "silent"])
def test_lips_move_where_speech_is_and_nowhere_else(
    mytalk: Any, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setattr(engines.pipeline, "Pipeline", lambda **options: pipeline)
    write_heic = STILLS["tiles.heic"]
    write_heic(tmp_path / "face.heic", face())
    said = speech()
    path = {
        "inverted": lambda: wav(1, -1)(tmp_path),
        "centre": lambda: write_sound(tmp_path / "a.m4a", [channels(0, 0, 1, 0, 0, 0)], "aac", "5.1"),
        "gap": lambda: write_sound(tmp_path / "a.webm", [said[None]], "libopus", gap=(0.6, 1.2)),
        "silent": lambda: scaled(0)(tmp_path),
    }[kind]()
    outcome = mytalk("dub", tmp_path / "face.heic", path, "-o", "out.mp4", "--still", "-q")
    assert outcome.code == 0, outcome.err
    moved = moving(list(read_pictures(Path("out.mp4"))))
    assert len(moved) + 1 == pytest.approx(25 * (1.2 + 1.2 * (kind == "gap")), abs=1)
    if kind == "silent":
        assert moved.max() < 0.5
        return
    assert moved.max() > 1.0
    if kind == "gap":
        assert moved[26:40].max() < 0.1 * moved[:15].max()
        assert moved[45:].max() > 0.4

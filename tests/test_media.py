"""Files in and out: whatever the file is, 25 upright pictures a second and sample-exact sound."""

from __future__ import annotations

import math
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import realtime
from realtime.errors import MediaFault, OutputFault
from realtime.media import probe, read_pictures, read_sound, read_speech, ticks
from realtime.writer import DIGITAL_SOURCE_TYPE, Writer
from tests.made import lag, noise, number, turn, write_clip, write_wav


def numbers(path: Path) -> list[int]:
    return [number(picture) for picture in read_pictures(path)]


@pytest.mark.parametrize(
    ("fps", "count", "expected"),
    [
        (25, 10, list(range(10))),
        (50, 20, list(range(0, 20, 2))),
        (60, 12, [0, 2, 4, 7, 9]),
        (12.5, 5, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
    ],
)
def test_any_rate_becomes_25(tmp_path: Path, fps: float, count: int, expected: list[int]) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [n / fps for n in range(count)], rate=math.ceil(fps))
    assert numbers(clip)[: len(expected)] == expected
    assert len(numbers(clip)) == pytest.approx(count * 25 / fps, abs=1)


def test_variable_rate_shows_the_last_frame_that_has_begun(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [0, 0.05, 0.06, 0.20, 0.24])
    assert numbers(clip)[:7] == [0, 0, 2, 2, 2, 3, 4]


def test_a_late_start_is_no_wait(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", [2 + n / 25 for n in range(6)])
    assert numbers(clip) == [0, 1, 2, 3, 4, 5]


def test_rotation_is_applied(tmp_path: Path) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = 255  # bright at the top left; turned clockwise: at the top right
    clip = write_clip(tmp_path / "clip.mp4", [0], paint=lambda n: picture)
    turn(clip)
    (shown,) = read_pictures(clip)
    assert shown.shape == (96, 48)
    assert shown[16, 36] > 200
    assert shown[16, 12] < 50
    assert shown[48, 36] < 50


def test_odd_sizes_are_cut_to_even(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", [0, 0.04], size=(63, 49), codec="ffv1")
    assert [picture.shape for picture in read_pictures(clip)] == [(72, 62)] * 2


def test_full_range_becomes_limited(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "clip.mkv",
        [0],
        codec="mjpeg",
        pixels="yuvj420p",
        paint=lambda n: np.full((48, 64, 3), 255, np.uint8),
    )
    (picture,) = read_pictures(clip)
    assert abs(int(picture[:48].max()) - 235) <= 1


def test_too_large_is_scaled_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((40, 4000, 3), 128, np.uint8))
    (picture,) = read_pictures(tmp_path / "wide.png", said.append)
    assert picture.shape == (57, 3840)
    assert "3840" in said[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_their_exif_says(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:24, :32] = 255
    upright[:24, 32:] = 128
    undone = {
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: np.rot90(p, 2), 4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p, 1), 7: lambda p: np.rot90(p.transpose(1, 0, 2), 2),
        8: lambda p: np.rot90(p, -1),
    }  # fmt: skip
    data = cv2.imencode(".jpg", undone[orientation](upright), [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + b"\0\0\0\0\0\0"
    path = tmp_path / "photo.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + data[2:])
    (picture,) = read_pictures(path)
    assert picture.shape == (72, 64)
    assert [round(int(picture[y, x]) / 50) for y, x in ((8, 8), (8, 56), (40, 8))] == [5, 3, 0]
    assert probe(path).kind == "photo"


def test_transparent_is_white(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((32, 32, 4), np.uint8))
    (picture,) = read_pictures(tmp_path / "photo.png")
    assert picture[:32].min() >= 234


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_photo_kinds(tmp_path: Path, kind: str) -> None:
    cv2.imwrite(str(tmp_path / f"photo.{kind}"), np.full((33, 47, 3), 90, np.uint8))
    (picture,) = read_pictures(tmp_path / f"photo.{kind}")
    assert picture.shape == (48, 46)


@pytest.mark.parametrize(("kind", "keep"), [("photo.jpg", 0.5), ("photo.png", 0.5), ("clip.mkv", 0.5), ("clip.mp4", 0.6)])
def test_damaged_pictures_are_refused(tmp_path: Path, kind: str, keep: float) -> None:
    path = tmp_path / kind
    texture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    if kind.startswith("photo"):
        cv2.imwrite(str(path), texture)
    else:
        write_clip(path, [n / 25 for n in range(50)], paint=lambda n: np.roll(texture, n, 0))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(MediaFault, match=r"damaged|truncated"):
        list(read_pictures(path))


@pytest.mark.parametrize("space", [1, 5])
def test_colours_are_right_whatever_the_colour_space(tmp_path: Path, space: int) -> None:
    colours = np.array([[200, 60, 40], [40, 180, 60], [50, 70, 210], [190, 150, 120]], np.uint8)
    painted = np.repeat(np.repeat(colours.reshape(2, 2, 3), 24, 0), 32, 1)
    clip = write_clip(tmp_path / "clip.mp4", [0], paint=lambda n: painted, space=space)
    (picture,) = read_pictures(clip)
    shown = cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420).astype(int)
    for y, x in ((12, 16), (12, 48), (36, 16), (36, 48)):
        assert np.abs(shown[y, x] - painted[y, x]).max() <= 4


def test_files_that_are_no_media(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    for name in ("empty.mp4", "text.mp4"):
        with pytest.raises(MediaFault):
            list(read_pictures(tmp_path / name))
    with pytest.raises(MediaFault, match="no pictures"):
        list(read_pictures(write_wav(tmp_path / "sound.wav", noise(1000))))
    with pytest.raises(MediaFault, match="no sound"):
        list(read_speech(write_clip(tmp_path / "mute.mp4", [0, 0.04]), 16000))
    with pytest.raises(FileNotFoundError):
        list(read_pictures(tmp_path / "nothing.mp4"))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_speech_of_any_rate(tmp_path: Path, rate: int) -> None:
    samples = rate + 123
    said = noise(samples)
    heard = np.concatenate(list(read_speech(write_wav(tmp_path / "a.wav", said, rate), 16000)))
    assert heard.dtype == np.float32
    assert len(heard) == math.ceil(samples * 16000 / rate)
    at = np.arange(len(heard)) * rate / 16000
    assert abs(lag(heard, np.interp(at, np.arange(samples), said).astype(np.float32))) == 0


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_that_all_hold_speech_become_their_mean(tmp_path: Path, channels: int) -> None:
    said = np.stack([noise(5000, seed) for seed in range(channels)], 1)
    path = write_wav(tmp_path / "a.wav", said, 16000)
    np.testing.assert_allclose(np.concatenate(list(read_speech(path, 16000))), said.mean(1), atol=1e-6)
    kept = np.concatenate(list(read_sound(path, 16000, None)), 1)
    assert kept.shape == (min(channels, 2), 5000)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_sample_kinds(tmp_path: Path, kind: type[np.generic]) -> None:
    said = noise(4000)
    stored = {np.uint8: said * 127 + 128, np.int16: said * 32767, np.float32: said}[kind].astype(kind)
    heard = np.concatenate(list(read_speech(write_wav(tmp_path / "a.wav", stored), 16000)))
    assert np.abs(heard - said).max() < (0.02 if kind is np.uint8 else 1e-4)


def test_values_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    for bad in (np.nan, np.inf):
        said = noise(20000)
        said[16000] = bad
        with pytest.raises(MediaFault, match="not numbers"):
            list(read_speech(write_wav(tmp_path / "a.wav", said), 48000))


def test_clipped_speech_is_said_and_kept_in_range(tmp_path: Path) -> None:
    said: list[str] = []
    clipped = np.clip(noise(20000) * 20 * 32768, -32768, 32767).astype(np.int16)
    heard = np.concatenate(list(read_speech(write_wav(tmp_path / "a.wav", clipped), 16000, said.append)))
    assert np.abs(heard).max() <= 1
    assert len(said) == 1
    assert "clipped" in said[0]


def test_a_truncated_recording_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(32000))
    path.write_bytes(path.read_bytes()[:40000])
    with pytest.raises(MediaFault, match="truncated"):
        list(read_speech(path, 16000))


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8, 0.97])
def test_a_clip_that_is_cut_off_anywhere_ends_in_a_sentence(tmp_path: Path, share: float) -> None:
    whole = Path(realtime.__file__).parents[1] / "engines" / "actors" / "presenter" / "frames.mp4"
    sound = write_wav(tmp_path / "s.wav", noise(48000))
    for made in (whole, sound):
        path = tmp_path / f"cut{made.suffix}"
        path.write_bytes(made.read_bytes()[: int(made.stat().st_size * share)])
        with pytest.raises(MediaFault):
            list(read_pictures(path))
        with pytest.raises(MediaFault):
            list(read_speech(path, 16000))


def test_silence_and_nothing_are_speech(tmp_path: Path) -> None:
    assert np.concatenate(list(read_speech(write_wav(tmp_path / "a.wav", np.zeros(1000, np.int16)), 16000))).max() == 0
    assert sum(len(block) for block in read_speech(write_wav(tmp_path / "b.wav", np.zeros(0, np.int16)), 16000)) == 0


def test_ticks_are_of_one_size_and_lose_nothing() -> None:
    said = noise(5000)
    counted: list[int] = []
    blocks = list(ticks(np.split(said, [1, 10, 1500, 1501, 4000]), 640, counted.append))
    assert {len(block) for block in blocks} == {640}
    assert len(blocks) == 8
    assert counted == [5000]
    np.testing.assert_array_equal(np.concatenate(blocks)[:5000], said)
    assert not np.concatenate(blocks)[5000:].any()
    assert list(ticks([], 640, counted.append)) == []
    assert counted == [5000, 0]


def write(path: Path, pictures: int = 25, channels: int = 1, **options: float) -> np.ndarray:
    said = np.stack([noise(pictures * 1920, seed) for seed in range(channels)])
    with Writer(path, (64, 48), channels=channels, **options) as writer:  # type: ignore[arg-type]
        for n in range(pictures):
            writer.picture(np.full((72, 64), 20 + n * 4, np.uint8))
            writer.sound(said[:, n * 1920 : (n + 1) * 1920])
    return said


@pytest.mark.parametrize("kind", ["mp4", "m4v", "mov", "mkv"])
@pytest.mark.parametrize("channels", [1, 2])
def test_written_sound_is_sample_exact_in_place(tmp_path: Path, kind: str, channels: int) -> None:
    path = tmp_path / f"out.{kind}"
    said = write(path, 50, channels)
    heard = np.concatenate(list(read_sound(path, 48000, None)), 1)
    assert len(heard) == channels
    assert said.shape[1] <= heard.shape[1] < said.shape[1] + 1024
    for channel in range(channels):
        assert lag(heard[channel], said[channel]) == 0
    assert [number(picture) for picture in read_pictures(path)] == list(range(50))


@pytest.mark.parametrize("kind", ["mp4", "m4v", "mov", "mkv"])
def test_written_files_say_that_they_are_synthetic(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"out.{kind}"
    write(path, 3)
    with av.open(str(path)) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.audio[0].codec_context.name == "aac"
    assert DIGITAL_SOURCE_TYPE in tags["comment"]
    if kind in ("mp4", "m4v"):
        assert tags["description"] == DIGITAL_SOURCE_TYPE
    if kind != "mkv":
        assert b"Iptc4xmpExt:DigitalSourceType" in path.read_bytes()
    assert path.read_bytes().find(b"moov") < 1000 or kind == "mkv"  # plays before it is whole


def fail(path: Path, error: type[BaseException]) -> None:
    with Writer(path, (64, 48)) as writer:
        writer.picture(np.zeros((72, 64), np.uint8))
        assert len(list(path.parent.iterdir())) == 1
        assert not path.exists()
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_of_a_file_that_failed(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail(tmp_path / "out.mp4", error)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_no_videos(tmp_path: Path) -> None:
    with pytest.raises(OutputFault):
        Writer(tmp_path / "out.txt", (64, 48))
    with pytest.raises(FileNotFoundError), Writer(tmp_path / "no" / "out.mp4", (64, 48)):
        pass

"""The tracker: near, far and turned faces, films in which a face is noticed late, and MediaPipe beside it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import face
from engines.actor import Store
from engines.drawn import draw
from engines.enrol import Follower
from engines.errors import BackendFault
from engines.person import PRESENTER, Head, Mouth, random_look
from engines.tracker import Tracker
from engines.tracking.nets import Detector
from native.planes import from_rgb, to_rgb

Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]


@pytest.fixture(scope="module")
def looker() -> Iterator[Tracker]:
    """A tracker of stills."""
    with Tracker(4, video=False) as tracker:
        yield tracker


def scenery(size: tuple[int, int], seed: int = 0) -> Bytes:
    """A picture (W, H) of blurred blots."""
    blots = np.random.default_rng(seed).integers(40, 200, (9, 16, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(blots, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def someone(eyes: float, seed: int = 7) -> tuple[Bytes, Float]:
    """A drawn person with so many pixels between the eyes, and the landmarks."""
    picture, landmarks = draw(random_look(seed), Mouth(8), Head(yaw=0.05), 320)
    scale = round(320 * eyes / float(face.iod(landmarks))) / 320
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8), landmarks * np.float32(scale)


def laid(into: Bytes, eyes: float, corner: tuple[int, int], seed: int = 7) -> Float:
    """Lay somebody into a scene, and give the landmarks there."""
    (x, y), (picture, landmarks) = corner, someone(eyes, seed)
    part = into[y : y + len(picture), x : x + picture.shape[1]]
    part[:] = picture[: part.shape[0], : part.shape[1]]
    landmarks[:, :2] += corner
    return landmarks


def off(found: Float, true: Float) -> float:
    """How far landmarks are from the true ones in the mean, in IOD."""
    return float(np.linalg.norm((found - true)[:, :2], axis=1).mean() / face.iod(true))


@pytest.mark.parametrize(
    ("size", "eyes", "corner"), [((1920, 1080), 24, (1730, 890)), ((1920, 1080), 14, (333, 77)), ((3840, 2160), 24, (40, 1900))]
)
def test_a_far_face_is_found_wherever_it_is(size: tuple[int, int], eyes: float, corner: tuple[int, int], looker: Tracker) -> None:
    picture = scenery(size)
    true = laid(picture, eyes, corner)
    (found,) = looker.track(picture)
    assert off(found, true) < 0.08


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("eyes", [26, 90])
def test_a_turned_face_is_found_and_followed(quarters: int, eyes: float) -> None:
    picture = scenery((960, 720))
    true = laid(picture, eyes, (250, 20))
    for _ in range(quarters):
        true[:, :2] = np.stack([true[:, 1], picture.shape[1] - 1 - true[:, 0]], 1)
        picture = np.ascontiguousarray(np.rot90(picture))
    with Tracker() as tracker:
        for _ in range(2):
            (found,) = tracker.track(picture)
            assert off(found, true) < 0.08
    roll = np.degrees(face.angles(face.pose(found))[2])
    assert abs((roll + 90 * quarters + 180) % 360 - 180) < 10


def test_a_face_larger_than_the_picture_is_found(looker: Tracker) -> None:
    picture, true = someone(180)
    low = (face.eye_centres(true).mean(0)[:2] - [180, 110]).astype(int)
    true[:, :2] -= low
    (found,) = looker.track(np.ascontiguousarray(picture[low[1] : low[1] + 360, low[0] : low[0] + 360]))
    assert off(found, true) < 0.1


def test_where_nobody_is_nobody_is_found_and_little_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, look = [], Detector.look
    monkeypatch.setattr(Detector, "look", lambda *given: looks.append(1) or look(*given))
    picture = scenery((1920, 1080), 3)
    with Tracker(4) as tracker:
        assert not any(tracker.track(picture) for _ in range(26))
    searches = 3  # the first picture, then after 12 and 24
    assert 26 < len(looks) < 26 + searches * 160


def test_faces_come_the_largest_first_and_as_many_as_are_asked_for(looker: Tracker) -> None:
    picture = scenery((1920, 1080))
    large, small = laid(picture, 90, (100, 100), 7), laid(picture, 20, (1500, 700), 8)
    (found,) = looker.track(picture)
    assert off(found, large) < 0.08
    found, other = looker.track(picture, at_least=2)
    assert off(found, large) < 0.08
    assert off(other, small) < 0.08


def test_a_face_that_is_noticed_late_is_followed_back() -> None:
    with Tracker(4) as tracker:
        follower, true = Follower(tracker), []
        for at in range(16):
            picture = scenery((1280, 720))
            if at >= 4:  # it comes when the first picture has been searched
                true.append(laid(picture, 22, (700 + 2 * at, 300)))
            follower.see(from_rgb(picture))
    tracks = follower.tracks()
    assert list(np.flatnonzero(tracks.seen)) == list(range(4, 16))
    assert max(off(found, own) for found, own in zip(tracks.landmarks[4:], true, strict=True)) < 0.1


def test_same_pictures_same_bits() -> None:
    pictures = [draw(PRESENTER, Mouth(opening), Head(), 240)[0] for opening in (0, 9, 18)]
    runs = []
    for _ in range(2):
        with Tracker() as tracker:
            runs.append([tracker.track(picture)[0] for picture in pictures])
    assert np.array_equal(*runs)


@pytest.mark.skipif(find_spec("mediapipe") is not None, reason="MediaPipe is installed")
def test_the_reference_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYTALK_TRACKER", "mediapipe")
    with pytest.raises(BackendFault, match=r"MediaPipe is not installed.*mytalk-live\[mediapipe\]"):
        Tracker()


@pytest.mark.skipif(find_spec("mediapipe") is None, reason="the reference needs the extra `mediapipe`")
@pytest.mark.parametrize("video", [True, False])
def test_mediapipe_gives_the_same_landmarks(video: bool) -> None:
    frames = Store(Path("nowhere")).load("presenter").frames
    pictures = [to_rgb(frames[at]) for at in range(0, 40, 2)]
    pictures += [draw(random_look(seed), Mouth(12), Head(yaw=0.1, roll=0.2), 300)[0] for seed in range(3) for _ in range(2)]
    apart, lips = [], []
    with Tracker(video=video, reference=False) as ours, Tracker(video=video, reference=True) as theirs:
        for picture in pictures:
            (mine,), (true,) = ours.track(picture), theirs.track(picture)
            away = np.linalg.norm((mine - true)[:, :2], axis=1) / face.iod(true)
            apart.append(away.mean())
            lips.append(away[list(face.LIPS)].mean())
    assert np.mean(apart) < 0.002
    assert np.mean(lips) < 0.002


@pytest.mark.skipif(find_spec("mediapipe") is None, reason="the nets are made from the extra `mediapipe`")
def test_the_shipped_nets_are_mediapipes(tmp_path: Path) -> None:
    from engines.backends.weights import read_weights
    from engines.train.tracker import make_tracker

    make_tracker(tmp_path)
    for name in ("face_detector.bin", "face_mesh.bin"):
        assert (tmp_path / name).read_bytes() == read_weights(name)

"""A photo lives: its idle loop sways and blinks, knows its poses, meets its own end, and is the photo's own pixels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines import face
from engines.actor import Actor
from engines.drawn import draw
from engines.enrol import enrol
from engines.person import PRESENTER, Head, Mouth
from engines.tracker import Tracker
from native.planes import from_rgb, to_rgb
from realtime.cli import main
from realtime.demo import shipped_speech
from realtime.media import read_pictures, read_speech
from tests.made import write_wav

SIZE = 240
UPPER, LOWER = (159, 386), (145, 374)  # middles of the lids


def photo(head: Head | None = None) -> np.ndarray:
    """A photo of the presenter, RGB."""
    return draw(PRESENTER, Mouth(), head or Head(yaw=0.1), SIZE)[0]


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a.astype(float) - b) ** 2).mean()))


def tracked(pictures: list[np.ndarray]) -> np.ndarray:
    """Landmarks (N, 478, 3) of RGB pictures."""
    with Tracker(1) as tracker:
        return np.stack([tracker.track(picture)[0] for picture in pictures])


def eyes_open(landmarks: np.ndarray) -> np.ndarray:
    """(N,): how far the lids are apart, against the median."""
    apart = np.linalg.norm(landmarks[:, UPPER, :2] - landmarks[:, LOWER, :2], axis=-1).mean(1)
    return np.asarray(apart / np.median(apart))


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Actor:
    return enrol(iter([from_rgb(photo())]), tmp_path_factory.mktemp("living"), "living")


@pytest.fixture(scope="module")
def pictures(living: Actor) -> list[np.ndarray]:
    return [to_rgb(frame) for frame in living.frames]


def test_it_sways_gently_and_its_end_meets_its_start(living: Actor, pictures: list[np.ndarray]) -> None:
    assert living.loop == "round"
    assert 200 <= len(living.poses) == len(pictures) <= 300
    unit = float(face.unit(living.poses[0]))
    path = face.from_head(np.zeros((1, 3), np.float32), living.poses)[:, 0, :2] / unit
    assert 0.03 < np.ptp(path[:, 0]) < 0.15
    steps = np.diff(np.concatenate([path, path[:2]]), axis=0)  # once round, over the seam
    assert np.abs(steps).max() < 0.004
    assert np.abs(np.diff(steps, axis=0)).max() < 0.0006  # nothing jerks
    turns = np.degrees(np.ptp(face.angles(living.poses), axis=0))
    assert (turns > 0.5).all()
    assert (turns < 4).all()
    still = [error(a, b) for a, b in pairwise([*pictures, pictures[0]])]
    assert still[-1] < 2 * np.percentile(still, 90) + 0.5


def test_it_begins_with_the_photo_and_its_border_never_moves(living: Actor, pictures: list[np.ndarray]) -> None:
    assert error(pictures[0], to_rgb(from_rgb(photo()))) < 2  # 42 dB, after encoding
    assert living.references.frame.tolist() == [0]
    for picture in pictures[::10]:
        for side in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
            assert error(picture[side], pictures[0][side]) < 3


def test_its_poses_are_true_and_its_pixels_the_photo_s(living: Actor, pictures: list[np.ndarray]) -> None:
    at = face.from_head(living.neutral, living.poses)
    mouth = at[0, list(face.LIPS), :2]
    (x0, y0), (x1, y1) = (mouth.min(0) - 6).astype(int), (mouth.max(0) + 6).astype(int)
    box = np.s_[y0:y1, x0:x1]
    moved = []
    for frame in range(0, len(pictures), 7):
        # put back by where the poses say that the lips' points are, it is the photo again
        back = cv2.estimateAffine2D(at[0, list(face.LIPS), :2], at[frame, list(face.LIPS), :2])[0]
        again = cv2.warpAffine(pictures[frame], back, (SIZE, SIZE), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        assert error(again[box], pictures[0][box]) < 4
        moved.append(error(pictures[frame][box], pictures[0][box]))
    assert max(moved) > 10


def test_it_blinks_now_and_then(pictures: list[np.ndarray]) -> None:
    shut = np.flatnonzero(eyes_open(tracked(pictures)) < 0.75)
    blinks = np.split(shut, np.flatnonzero(np.diff(shut) > 3) + 1)
    assert 2 <= len(blinks) <= 4
    assert all(1 <= len(blink) <= 7 for blink in blinks)
    apart = np.diff([*(blink[0] for blink in blinks), blinks[0][0] + len(pictures)])
    assert (apart > 70).all()
    assert (apart < 180).all()


def test_closed_eyes_stay_closed(tmp_path: Path) -> None:
    asleep = enrol(iter([from_rgb(photo(Head(blink=1.0)))]), tmp_path, "asleep")
    lids = face.from_head(asleep.neutral, asleep.poses)[:, [*UPPER, *LOWER], :2].mean(1)
    patches = []
    for picture, place in zip(asleep.frames, lids, strict=True):
        patches.append(cv2.getRectSubPix(to_rgb(picture), (60, 14), place.tolist()))
    assert max(error(a, b) for a, b in pairwise(patches)) < 4  # a blink would be a jump


def test_the_same_photo_gives_the_same_loop(living: Actor, pictures: list[np.ndarray], tmp_path: Path) -> None:
    again = enrol(iter([from_rgb(photo())]), tmp_path, "another name")
    assert np.array_equal(again.poses, living.poses)
    assert all(np.array_equal(to_rgb(again.frames[at]), pictures[at]) for at in (0, 100, 249))


def test_close_to_the_border_it_sways_less(living: Actor, tmp_path: Path) -> None:
    face_only = photo()[40:188, 60:180]  # chin and cheeks at the border
    close = enrol(iter([from_rgb(np.ascontiguousarray(face_only))]), tmp_path, "close")
    reach = [float(np.ptp(actor.poses[:, 0, 3]) / face.unit(actor.poses[0])) for actor in (living, close)]
    assert reach[1] < 0.6 * reach[0]
    assert len(close.poses) > 200


def test_dubbed_it_lives_and_says_the_same_as_a_still_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "photo.png"
    cv2.imwrite(str(source), photo()[:, :, ::-1])
    with shipped_speech() as path:
        said = np.concatenate(list(read_speech(path, 16000)))[: 16000 * 4]
    speech = write_wav(tmp_path / "said.wav", said)
    seen = []
    for name, options in (("still", ["--still"]), ("living", [])):
        out = tmp_path / f"{name}.mp4"
        with pytest.raises(SystemExit) as left:
            main(["dub", str(source), str(speech), "-o", str(out), "-q", *options])
        assert left.value.code == 0, capsys.readouterr().err
        seen.append(tracked([to_rgb(picture) for picture in read_pictures(out)]))
    still, living = seen
    unit = float(face.iod(still[0]))
    for landmarks, moves in ((still, False), (living, True)):
        eyes = face.eye_centres(landmarks).mean(1)[:, :2] / unit
        assert (np.ptp(eyes, axis=0).max() > 0.03) == moves
        assert (eyes_open(landmarks).min() < 0.75) == moves
    openings = [face.opening(face.motion_of(face.to_head(landmarks, face.pose(landmarks)))) for landmarks in (still, living)]
    assert np.ptp(openings[0]) > 0.05
    assert np.corrcoef(*openings)[0, 1] > 0.9


def test_still_keeps_one_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", photo()[:, :, ::-1])
    with pytest.raises(SystemExit) as left:
        main(["actor", "add", "anna", "photo.png", "--still"])
    out, err = capsys.readouterr()
    assert left.value.code == 0, err
    assert out.startswith(f"anna is enrolled: 1 frames of {SIZE}x{SIZE}")


def test_a_photo_on_its_side_lives_as_it_would_upright() -> None:
    picture, landmarks = draw(PRESENTER, Mouth(), Head(), (200, 200))
    turned = landmarks.copy()
    turned[:, :2] = np.stack([landmarks[:, 1], 199 - landmarks[:, 0]], 1)
    loops = []
    for shown, points in ((picture, landmarks), (np.ascontiguousarray(np.rot90(picture)), turned)):
        _, frames = bring_to_life(from_rgb(shown), points, np.random.default_rng(1), 30)
        loops.append([to_rgb(frame).astype(int) for frame in frames])
    moved = [np.abs(frame - loops[0][0]).mean() for frame in loops[0]]
    apart = [np.abs(frame - np.rot90(other, -1)).mean() for frame, other in zip(*loops, strict=True)]
    assert max(moved) > 3 * np.ptp(apart)
    assert max(apart) < 2 * apart[0] + 0.1  # both were rounded to YUV on their own

"""A photo lives: its idle loop sways and blinks, knows its poses, meets its own end, and is the photo's own pixels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines import face
from engines.actor import Actor
from engines.alive import bring_to_life
from engines.blink import lower
from engines.drawn import draw
from engines.enrol import enrol
from engines.lids import lids
from engines.person import PRESENTER, Head, Mouth
from engines.tracker import Tracker
from native.planes import from_rgb, planes, to_rgb
from realtime.cli import main
from realtime.demo import shipped_speech
from realtime.media import read_pictures, read_speech
from tests.made import write_wav

SIZE = 240
UPPER, LOWER = (159, 386), (145, 374)  # middles of the lids
SOCKETS = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 190, 56, 28, 27, 29, 30, 247),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 414, 286, 258, 257, 259, 260, 467),
)
"""The upper lids, up to the crease."""


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


LARGE = 640


def painted(blink: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A large photo of the presenter, and its landmarks."""
    return draw(PRESENTER, Mouth(), Head(yaw=0.1, blink=blink), LARGE)


def polygons(landmarks: np.ndarray, parts: tuple[tuple[int, ...], ...], grown: int) -> np.ndarray:
    """Where parts of a face are, 0..1, with soft edges: (LARGE, LARGE, 1)."""
    mask = np.zeros((LARGE, LARGE), np.float32)
    for part in parts:
        cv2.fillPoly(mask, [np.round(landmarks[list(part), :2]).astype(np.int32)], 1.0)
    mask = cv2.dilate(mask, np.ones((grown, grown)))
    return cv2.GaussianBlur(mask, (0, 0), 2)[:, :, None]


def eyes_of(landmarks: np.ndarray) -> np.ndarray:
    """Where the eyes are, between their lids: (LARGE, LARGE), hard."""
    upper, low = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362)), (
        (153, 145, 144, 163, 7)[::1], (380, 374, 373, 390, 249)[::1])  # fmt: skip
    parts = tuple((*a, *b) for a, b in zip(upper, low, strict=True))
    return polygons(landmarks, parts, 1)[:, :, 0] > 0.5


def closed(rgb: np.ndarray, landmarks: np.ndarray, shut: float = 1.0) -> np.ndarray:
    """The photo (I420) with its lids lowered."""
    picture = from_rgb(rgb)
    for lid in lids(picture, landmarks):
        lower(picture, lid, shut)
    return picture


def middles(picture: np.ndarray, landmarks: np.ndarray, down: float) -> np.ndarray:
    """(2, 3): Y, U, V in the middle of both eyes, `down` of the way from upper to lower lid."""
    at = landmarks[list(UPPER), :2] * (1 - down) + landmarks[list(LOWER), :2] * down
    return np.array(
        [[np.median(cv2.getRectSubPix(p, (5, 5), (xy / h).tolist())) for p, h in zip(planes(picture), (1, 2, 2), strict=True)] for xy in at]
    )


@pytest.mark.parametrize(
    "colour", [(120, 70, 150), (70, 60, 62), (60, 130, 120), (176, 120, 84)], ids=["violet", "smoky", "teal", "bronze"]
)
def test_a_made_up_lid_closes_made_up(colour: tuple[int, int, int]) -> None:
    rgb, landmarks = painted()
    inside = eyes_of(landmarks)[:, :, None]
    mask = polygons(landmarks, SOCKETS, 9) * ~inside
    rgb = (rgb * (1 - mask) + np.array(colour) * mask).astype(np.uint8)
    truth = cv2.cvtColor(np.full((2, 2, 3), colour, np.uint8), cv2.COLOR_RGB2YUV_I420)
    y, u, v = (float(np.median(plane)) for plane in planes(truth))
    skin = float(np.median(planes(from_rgb(rgb))[0][landmarks[[50, 280], 1].astype(int), landmarks[[50, 280], 0].astype(int)]))
    for lid in middles(closed(rgb, landmarks), landmarks, 0.4):
        assert abs(lid[1] - u) < 7  # the made-up skin's colour, not the cheek's, nor grey
        assert abs(lid[2] - v) < 11
        assert min(y, skin) - 8 < lid[0] < max(y, skin) + 8


def test_in_shade_a_lid_is_in_shade() -> None:
    rgb, landmarks = painted()
    dark = polygons(landmarks, SOCKETS, 55)
    shaded = (rgb * (1 - 0.6 * dark)).astype(np.uint8)
    bright, shade = (middles(closed(each, landmarks), landmarks, 0.4) for each in (rgb, shaded))
    assert (np.abs(shade[:, 0] / bright[:, 0] - 0.42) < 0.1).all()
    lit = [closed(each, landmarks) for each in (rgb, shaded)]
    # red stays red: as much of its brightness is colour as in the light
    share = [to_rgb(each)[landmarks[list(LOWER), 1].astype(int) - 8, landmarks[list(LOWER), 0].astype(int)].astype(float) for each in lit]
    assert np.abs(share[0][:, 0] / share[0][:, 1] - share[1][:, 0] / share[1][:, 1]).max() < 0.2


def test_a_grey_photo_stays_grey() -> None:
    rgb, landmarks = painted()
    grey = np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2)
    for plane in planes(closed(grey, landmarks))[1:]:
        assert np.abs(plane.astype(int) - 128).max() <= 1


def test_lashes_leave_their_place_and_hang_at_the_new_edge() -> None:
    rgb, landmarks = painted()
    luma = [planes(closed(rgb, landmarks, shut))[0].astype(float) for shut in (0.0, 1.0)]
    unit = float(face.iod(landmarks))
    for upper, low in zip(UPPER, LOWER, strict=True):
        x = int(landmarks[upper, 0])
        above, below = int(landmarks[upper, 1] - 0.08 * unit), int(landmarks[low, 1] + 0.08 * unit)
        was, now = (cv2.blur(plane, (5, 1))[above:below, x] for plane in luma)
        darkest = (int(np.argmin(now)) + above - landmarks[upper, 1]) / (landmarks[low, 1] - landmarks[upper, 1])
        assert 0.7 < darkest < 1.15
        root = int(landmarks[upper, 1]) - above
        assert now[root - 2 : root + 3].min() > was[root - 2 : root + 3].min() + 25  # no line where the lid was


def with_glasses(
    rgb: np.ndarray, landmarks: np.ndarray, lens: tuple[int, int, int] | None, rim: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The photo with glasses on, and where their rims are (LARGE, LARGE)."""
    out, rims = rgb.copy(), np.zeros((LARGE, LARGE), np.uint8)
    unit = float(face.iod(landmarks))
    centres = face.eye_centres(landmarks)[:, :2]
    corners = []
    for centre in centres[np.argsort(centres[:, 0])]:
        low, high = (np.round(centre + unit * np.array(by)).astype(int).tolist() for by in ((-0.42, -0.2), (0.42, 0.3)))
        if lens is not None:
            cv2.rectangle(out, low, high, lens, -1)
        cv2.rectangle(rims, low, high, 255, 5)
        corners.append((low, high))
    (_, (x0, y0)), ((x1, _), _) = corners
    y0 = int(centres[:, 1].mean() - 0.05 * unit)
    cv2.line(rims, (x0, y0), (x1, y0), 255, 5)
    out[rims > 0] = rim
    return out, rims > 0


@pytest.mark.parametrize("rim", [(20, 20, 24), (210, 60, 30), (235, 235, 240)], ids=["black", "red", "white"])
def test_a_lid_closes_behind_glasses(rim: tuple[int, int, int]) -> None:
    bare, landmarks = painted()
    rgb, rims = with_glasses(bare, landmarks, None, rim)
    before, after = planes(from_rgb(rgb))[0].astype(int), planes(closed(rgb, landmarks))[0].astype(int)
    assert np.abs(after - before)[rims].max() <= 2
    assert np.abs(after - before)[eyes_of(landmarks)].mean() > 15
    without = planes(closed(bare, landmarks))[0].astype(int)
    assert np.abs(after - without)[eyes_of(landmarks)].mean() < 20  # and is the same lid


@pytest.mark.parametrize("lens", [(12, 12, 14), (60, 40, 34), (40, 60, 110), (190, 200, 215)], ids=["black", "brown", "blue", "mirror"])
def test_behind_dark_glasses_nothing_blinks(lens: tuple[int, int, int]) -> None:
    bare, landmarks = painted()
    rgb, _ = with_glasses(bare, landmarks, lens, (20, 20, 24))
    assert lids(from_rgb(rgb), landmarks) == []


def test_nobody_winks() -> None:
    bare, landmarks = painted()
    one = bare.copy()
    cover = landmarks[[33, 133], :2].astype(int)
    one[cover[:, 1].min() - 30 : cover[:, 1].max() + 30, cover[:, 0].min() - 15 : cover[:, 0].max() + 15] = (30, 26, 24)
    assert len(lids(from_rgb(bare), landmarks)) == 2
    assert lids(from_rgb(one), landmarks) == []


def test_a_loop_with_dark_glasses_never_blinks() -> None:
    bare, landmarks = painted()
    rgb, _ = with_glasses(bare, landmarks, (12, 12, 14), (20, 20, 24))
    _, living = bring_to_life(from_rgb(rgb), landmarks, np.random.default_rng(0), 100)
    at = [cv2.getRectSubPix(frame, (30, 20), landmarks[UPPER[0], :2].tolist()) for frame in living]
    assert max(error(a, b) for a, b in pairwise(at)) < 2


def test_glasses_keep_straight() -> None:
    rgb, landmarks = painted()
    eyes = face.eye_centres(landmarks)[:, :2]
    x = np.arange(int(eyes[:, 0].min() - 35), int(eyes[:, 0].max() + 35))
    y = int(eyes[:, 1].mean()) - 20
    rows = np.arange(-30, 31)
    rgb[y - 30 : y + 31, x] = (200 - 200 * np.exp(-0.5 * (rows / 1.6) ** 2))[:, None, None]
    _, living = bring_to_life(from_rgb(rgb), landmarks, np.random.default_rng(3), 60)
    bends = []
    for frame in list(living)[::3]:
        part = planes(frame)[0][y - 20 : y + 21, x[12:-12]].astype(float)
        ink = np.clip(part.max() - 40 - part, 0, None)
        line = (ink * np.arange(len(ink))[:, None]).sum(0) / ink.sum(0)
        bends.append(np.abs(line - np.polyval(np.polyfit(x[12:-12], line, 1), x[12:-12])).max())
    assert max(bends) < 0.1  # pixels, of 83 between the eyes


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

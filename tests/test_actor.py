"""Enrolment, and actors on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines import face
from engines.actor import Actor, Store, built_in, load_actor, save_actor
from engines.appearance.engine import WarpAppearance
from engines.drawn import draw
from engines.enrol import Tracks, check, choose, enrol, smooth
from engines.errors import ActorFault, FaceFault, UnknownActor
from engines.frames import Frames, write_frames
from engines.motion.space import Habit
from engines.person import Head, Mouth, random_look
from engines.portrait import preview, sheet
from native.planes import from_rgb, to_rgb
from tests.people import filmed, small_actor, talking


def test_enrolment_finds_what_was_drawn(tmp_path: Path) -> None:
    mouths = talking(40)
    actor = enrol(iter(filmed(mouths)), tmp_path, "anna")
    assert actor.size == (320, 240)
    assert len(actor.frames) == len(actor.poses) == 40
    true = np.percentile([mouth.opening for mouth in mouths], 95) / 100
    assert actor.opening_range == pytest.approx(true, rel=0.35)
    assert face.opening(face.motion_of(actor.neutral)) < 0.03
    shown = face.opening(actor.references.motion)
    assert shown.min() < 0.04
    assert shown.max() > 0.7 * true
    assert len(set(actor.references.frame.tolist())) == len(actor.references.frame)


def test_enrolment_finds_where_the_mouth_is_while_it_speaks(tmp_path: Path) -> None:
    mouths = [Mouth()] * 40 + [Mouth(mouth.opening, width=0.7) for mouth in talking(40)]  # a wide mouth, after a silence
    actor = enrol(iter(filmed(mouths)), tmp_path, "anna")
    assert actor.habit is not None
    assert 35 <= actor.habit.frames <= 48
    spoken = np.mean([mouth.opening for mouth in mouths[40:]]) / 100
    assert face.opening(actor.habit.mean) == pytest.approx(spoken, rel=0.35)
    assert face.width(actor.habit.mean) > face.width(face.motion_of(actor.neutral)) + 0.01


def test_enrolment_keeps_where_the_face_is_lost(tmp_path: Path) -> None:
    pictures = filmed(talking(24))
    for at in (12, 13):  # something passes before the face
        pictures[at] = np.full_like(pictures[at], 128)
    actor = enrol(iter(pictures), tmp_path, "anna")
    save_actor(actor, tmp_path / "saved")
    shown = load_actor(tmp_path / "saved").shown
    assert shown is not None
    assert shown[12:14].max() == 0
    assert shown[:6].min() == 1
    assert shown[20:].min() == 1
    assert np.abs(np.diff(shown)).max() <= 0.25  # it fades


def test_enrolment_tells_where_the_mouth_rests(tmp_path: Path) -> None:
    actor = enrol(iter(filmed([Mouth()] * 20 + [Mouth(20.0)] * 10)), tmp_path, "anna")
    save_actor(actor, tmp_path / "saved")
    resting = load_actor(tmp_path / "saved").resting
    assert resting is not None
    assert resting[2:18].max() < 0.02
    assert resting[22:].min() > 0.05


def test_who_is_silent_shows_no_habit(tmp_path: Path) -> None:
    actor = enrol(iter(filmed([Mouth()] * 30)), tmp_path, "silent")
    assert actor.habit is None
    assert actor.shown is None  # and the face was seen throughout


def test_a_still_photo_is_a_video_of_one_frame(tmp_path: Path) -> None:
    actor = enrol(iter(filmed([Mouth()])), tmp_path, "photo", still=True)
    assert len(actor.poses) == 1
    assert [actor.frame_at(tick) for tick in range(3)] == [0, 0, 0]
    assert actor.opening_range > 0.1
    assert actor.habit is None


def test_a_short_video_plays_to_and_fro() -> None:
    actor = small_actor()
    assert actor.loop == "to-and-fro"
    shown = [actor.frame_at(tick) for tick in range(80)]
    assert shown[:37] == list(range(37))
    assert shown[36:40] == [36, 35, 34, 33]
    assert shown[72:75] == [0, 1, 2]


def test_no_face_and_nothing_to_see(tmp_path: Path) -> None:
    grey = np.full((180, 160), 128, np.uint8)
    with pytest.raises(FaceFault, match="No face"):
        enrol(iter([grey] * 3), tmp_path, "nobody")
    with pytest.raises(FaceFault, match="no pictures"):
        enrol(iter([]), tmp_path, "nothing")


def test_a_face_that_is_lost_for_long_is_refused_and_a_short_loss_is_bridged(tmp_path: Path) -> None:
    shown = filmed(talking(30))
    grey = np.full_like(shown[0], 128)
    said: list[str] = []
    bridged = [*shown[:12], grey, grey, *shown[14:]]
    actor = enrol(iter(bridged), tmp_path, "bridged", warn=said.append)
    assert any("12-13" in sentence for sentence in said)
    assert np.abs(np.diff(actor.poses[:, 0, 3])).max() < 3
    seen = np.ones(30, np.bool_)
    seen[5:15] = False
    with pytest.raises(FaceFault, match=r"lost in 10 of 30 frames.*5-14"):
        check(Tracks(np.repeat(draw(random_look(1), Mouth(), Head(), 320)[1][None], 30, 0), seen, 1), said.append)


def test_two_faces_the_largest_is_taken_or_the_one_asked_for(tmp_path: Path) -> None:
    left, right = draw(random_look(1), Mouth(), Head(), 320)[0], draw(random_look(2), Mouth(), Head(), 240)[0]
    both = np.full((320, 560, 3), 200, np.uint8)
    both[:, :320] = left
    both[40:280, 320:] = right
    said: list[str] = []
    largest = enrol(iter([from_rgb(both)] * 2), tmp_path, "both", warn=said.append)
    assert largest.poses[0, 0, 3] < 280
    assert any("2 faces" in sentence for sentence in said)
    other = enrol(iter([from_rgb(both)] * 2), tmp_path, "other", face_number=2)
    assert other.poses[0, 0, 3] > 320
    with pytest.raises(FaceFault, match="no face number 3"):
        enrol(iter([from_rgb(both)] * 2), tmp_path, "third", face_number=3)


def test_a_face_too_small(tmp_path: Path) -> None:
    tiny = np.full((240, 320, 3), 190, np.uint8)
    tiny[60:160, 100:200] = draw(random_look(1), Mouth(), Head(), 100)[0]
    with pytest.raises(FaceFault, match=r"too small: 1[0-9] pixels"):
        enrol(iter([from_rgb(tiny)]), tmp_path, "tiny")


def test_smoothing_stops_at_a_cut() -> None:
    values = np.array([0.0] * 8 + [10.0] * 8, np.float32)
    assert np.array_equal(smooth(values, np.array([8])), values)
    assert 0 < smooth(values, np.zeros(0, np.int64))[7] < 10


def test_references_are_spread() -> None:
    actor = small_actor()
    motion = np.repeat(actor.references.motion, 3, 0)
    chosen = choose(motion, np.repeat(actor.poses[:1], len(motion), 0), np.ones(len(motion), bool), 8)
    assert len(chosen) == 8
    assert face.opening(motion[chosen]).max() > 0.3


def test_saved_and_loaded_alike(tmp_path: Path) -> None:
    actor, store = small_actor(), Store(tmp_path / "actors")
    store.add(actor, preview(actor))
    again = store.load("small")
    assert np.array_equal(again.poses, actor.poses)
    assert np.array_equal(again.references.pictures, actor.references.pictures)
    assert (again.name, again.size, again.loop, again.opening_range) == (actor.name, actor.size, actor.loop, actor.opening_range)
    for index in (0, 36, 5, 17, 4):
        error = to_rgb(again.frames[index]).astype(int) - to_rgb(actor.frames[index])
        assert 10 * np.log10(255**2 / (error**2).mean()) > 40
    assert store.names() == [*built_in(), "small"]
    assert not [path for path in (tmp_path / "actors").iterdir() if path.name.startswith(".")]
    with pytest.raises(ActorFault, match="already"):
        store.add(actor)
    store.remove("small")
    assert store.names() == list(built_in())


def test_a_habit_is_kept_and_an_actor_of_old_has_none(tmp_path: Path) -> None:
    actor = small_actor()
    spoken = replace(actor, habit=Habit(face.motion_of(actor.neutral) + np.float32(0.01), 70))
    known, old = (save_and_load(one, tmp_path / name) for one, name in ((spoken, "known"), (actor, "old")))
    assert known.habit is not None
    assert spoken.habit is not None
    assert known.habit.frames == 70
    assert np.array_equal(known.habit.mean, spoken.habit.mean)
    assert old.habit is None


def test_an_actor_of_old_speaks(tmp_path: Path) -> None:
    """Folders as the first versions wrote them: no shots, no grading, nothing of where the mouth rests or was."""
    store = Store(tmp_path)
    folder = store.add(small_actor())
    kept = ("poses", "neutral", "references.frame", "references.pictures", "references.crops", "references.motion")
    with np.load(folder / "arrays.npz") as arrays:
        first = {name: arrays[name] for name in kept}
    np.savez(folder / "arrays.npz", **first)
    text = json.loads((folder / "actor.json").read_text())
    (folder / "actor.json").write_text(json.dumps({name: value for name, value in text.items() if name != "guessed"}))
    actor, engine = store.load("small"), WarpAppearance()
    assert (actor.shot, actor.grade, actor.shown, actor.resting, actor.habit, actor.guessed) == (None,) * 6
    wide = actor.references.motion[int(np.argmax(actor.references.opening))]
    _, (picture,) = engine.step([engine.start(actor)], [3], wide[None])
    assert np.abs(to_rgb(picture).astype(int) - to_rgb(actor.frames[3])).max() > 40


def test_frames_that_are_coded_are_not_coded_again(tmp_path: Path) -> None:
    actor = enrol(iter(filmed([Mouth(8.0 * (at % 3)) for at in range(6)] * 5)), tmp_path, "anna")
    folder = Store(tmp_path / "actors").add(actor)
    assert (folder / "frames.mp4").read_bytes() == (tmp_path / "frames.mp4").read_bytes()


def save_and_load(actor: Actor, folder: Path) -> Actor:
    save_actor(actor, folder)
    return load_actor(folder)


@pytest.mark.parametrize("harm", ["no arrays", "short arrays", "other format", "no json", "empty video"])
def test_a_damaged_actor_is_said_to_be(tmp_path: Path, harm: str) -> None:
    store = Store(tmp_path)
    folder = store.add(small_actor())
    match harm:
        case "no arrays":
            (folder / "arrays.npz").unlink()
        case "short arrays":
            (folder / "arrays.npz").write_bytes((folder / "arrays.npz").read_bytes()[:5000])
        case "other format":
            (folder / "actor.json").write_text(json.dumps(json.loads((folder / "actor.json").read_text()) | {"format": 99}))
        case "no json":
            (folder / "actor.json").write_text("{")
        case "empty video":
            (folder / "frames.mp4").write_bytes(b"")
    with pytest.raises(ActorFault, match="actor remove small"):
        load_actor(folder)


def test_names(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(small_actor())
    with pytest.raises(UnknownActor, match="Did you mean: small"):
        store.load("smal")
    for name in ("../x", "a/b", "", ".hidden", "x" * 80, "a\\b"):
        with pytest.raises(ActorFault, match="not a name"):
            store.load(name)
    with pytest.raises(ActorFault, match="built in"):
        store.remove("presenter")


def test_the_presenter_is_there_at_once(tmp_path: Path) -> None:
    actor = Store(tmp_path).load("presenter")
    assert actor.size == (512, 512)
    assert actor.loop == "round"
    assert sheet(actor).shape[0] == 640


def test_frames_are_read_in_any_order(tmp_path: Path) -> None:
    pictures = [np.full((96, 64), 40 + 5 * k, np.uint8) for k in range(21)]
    assert write_frames(tmp_path / "f.mp4", iter(pictures)) == 21
    frames = Frames(tmp_path / "f.mp4", 21)
    for index in (20, 0, 13, 12, 7, 8, 20, 1):
        assert np.abs(frames[index].astype(int) - pictures[index]).mean() < 1.5
    with pytest.raises(IndexError):
        frames[21]
    frames.close()
    (tmp_path / "f.mp4").write_bytes(b"no video")
    with pytest.raises(ActorFault, match="cannot be read"):
        frames[3]

"""Any picture of a face suffices: rest and range are estimated, an open mouth closes, and nothing but the face is touched."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines import face
from engines.actor import Actor, load_actor, save_actor
from engines.appearance.config import WarpConfig
from engines.appearance.references import covered
from engines.enrol import enrol
from engines.motion.rest import USUAL_OPENING
from engines.person import PRESENTER, Head, Look, Mouth, random_look, shape
from engines.portrait import describe
from engines.spec import APPEARANCE, Float, load
from engines.tracker import Tracker
from native.planes import to_rgb
from tests.people import filmed, small_actor, talking

OPEN, SMILE = Mouth(22), Mouth(9, width=0.5, smile=1.0)


def photo(mouth: Mouth, folder: Path, look: Look = PRESENTER, head: Head | None = None) -> Actor:
    """An actor of one drawn picture, which does not live."""
    return enrol(iter(filmed([mouth], look, (384, 384), head)), folder, "photo", still=True)


@cache
def appearance() -> Any:
    return load(APPEARANCE, "refined")


def said(actor: Actor, motion: Float, index: int = 0) -> np.ndarray:
    """The frame `index`, RGB, saying a motion."""
    engine = appearance()
    _, (picture,) = engine.step([engine.start(actor)], [index], motion[None])
    return np.asarray(to_rgb(picture))


@pytest.mark.parametrize("mouth", [OPEN, SMILE, Mouth(14), Mouth()], ids=["open", "smile", "half open", "closed"])
def test_a_photo_tells_rest_whatever_it_shows(tmp_path: Path, mouth: Mouth) -> None:
    look = random_look(7)
    actor = photo(mouth, tmp_path, look)
    rest, true = face.motion_of(actor.neutral), face.motion_of(shape(look, Mouth()))
    own = face.motion_of(shape(look, mouth))
    assert face.opening(rest) < 0.02
    assert face.lips_apart(rest, true) < max(0.5 * face.lips_apart(own, true), 0.02)
    assert actor.opening_range == pytest.approx(USUAL_OPENING, rel=0.05)


@pytest.mark.parametrize("mouth", [OPEN, SMILE], ids=["open", "smile"])
def test_a_photo_with_an_open_mouth_closes_it_and_no_teeth_are_left(tmp_path: Path, mouth: Mouth) -> None:
    actor = photo(mouth, tmp_path)
    shown = said(actor, face.motion_of(actor.neutral))
    with Tracker(video=False) as tracker:
        (seen,) = tracker.track(shown)
    assert face.opening(face.motion_onto(seen[face.MOTION, :2], actor.poses[0], actor.neutral)) < 0.03
    middle = face.from_head(actor.neutral[list(face.INNER_MIDDLE)], actor.poses[0])[:, :2].mean(0)
    (x, y), reach = np.round(middle).astype(int), max(2, round(0.04 * float(face.unit(actor.poses[0]))))
    between = shown[y - reach : y + reach + 1, x - 3 * reach : x + 3 * reach + 1].astype(int)
    teeth = (between.min(-1) > 150) & (between.max(-1) - between.min(-1) < 40)
    assert not teeth.any()


def test_who_is_silent_opens_as_usual_people_do_and_who_speaks_as_they_do(tmp_path: Path) -> None:
    silent = enrol(iter(filmed([Mouth()] * 40)), tmp_path, "silent")
    softly = [Mouth(0.35 * mouth.opening) for mouth in talking(60)]
    soft = enrol(iter(filmed(softly)), tmp_path, "soft")
    own = float(np.percentile([mouth.opening for mouth in softly], 95)) / 100
    assert silent.opening_range == pytest.approx(USUAL_OPENING, rel=0.05)
    assert own < soft.opening_range < own + 0.4 * (USUAL_OPENING - own)
    assert silent.guessed is not None
    assert soft.guessed is not None
    assert soft.guessed[1] < silent.guessed[1]  # how certain


def test_more_of_a_closed_mouth_makes_rest_more_certain(tmp_path: Path) -> None:
    found = [enrol(iter(filmed([OPEN] * 10 + [Mouth()] * calm)), tmp_path, "anna") for calm in (0, 3, 30)]
    errors = [actor.guessed[0] for actor in found if actor.guessed]
    assert errors[0] > errors[1] > errors[2]
    assert face.lips_apart(face.motion_of(found[2].neutral), face.motion_of(shape(PRESENTER, Mouth()))) < 0.02


@pytest.mark.parametrize("head", [Head(), Head(yaw=0.5), Head(yaw=-0.5, pitch=0.2)], ids=["front", "left", "right, down"])
def test_outside_of_the_face_nothing_is_touched(tmp_path: Path, head: Head) -> None:
    actor = photo(Mouth(), tmp_path, head=head)
    motion = face.motion_of(actor.neutral) + face.motion_of(shape(PRESENTER, Mouth(16))) - face.motion_of(shape(PRESENTER, Mouth()))
    shown, frame = said(actor, motion.astype(np.float32)), to_rgb(actor.frames[0])
    inside = np.ones(frame.shape[:2], np.uint8)
    for mouth in (face.motion_of(actor.neutral), motion):  # where the face is, and where it is shown
        points = face.from_head(face.with_motion(actor.neutral, mouth), actor.poses[0])[:, :2]
        cv2.fillConvexPoly(inside, np.round(cv2.convexHull(points.astype(np.float32))).astype(np.int32), 0)
    away = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > 0.1 * float(face.unit(actor.poses[0]))
    changed = np.abs(shown.astype(int) - frame).max(-1)
    assert changed[~inside.astype(bool)].max() > 30
    assert changed[away].max() <= 1


def test_a_chin_that_the_frame_shows_lower_is_covered(tmp_path: Path) -> None:
    actor = photo(OPEN, tmp_path)
    shown = said(actor, face.motion_of(actor.neutral))
    low, high = (
        face.from_head(face.with_motion(actor.neutral, of), actor.poses[0])[152, :2]
        for of in (actor.mouths[0], face.motion_of(actor.neutral))
    )
    assert low[1] > high[1] + 3
    frame, (x, y) = to_rgb(actor.frames[0]).astype(int), np.round((low * 2 + high) / 3).astype(int)
    assert np.abs(shown[y - 1 : y + 2, x - 6 : x + 7].astype(int) - frame[y - 1 : y + 2, x - 6 : x + 7]).mean() > 3


def test_where_the_head_turns_away_quickly_the_mouth_fades_slowly() -> None:
    actor = small_actor()
    poses = actor.poses.copy()
    poses[18:, :, :3] = poses[18:, :, :3] @ face.rotations(np.array([1.0, 0, 0], np.float32))
    keep = np.flatnonzero(actor.references.frame < 18)
    fewer = {name: getattr(actor.references, name)[keep] for name in ("frame", "pictures", "crops", "motion")}
    share = covered(replace(actor, poses=poses, references=replace(actor.references, **fewer)), WarpConfig())
    assert share[:8].min() == 1
    assert share[18:].max() == 0
    assert np.abs(np.diff(share)).max() <= 0.2


def test_an_actor_tells_what_was_guessed_and_what_to_film(tmp_path: Path) -> None:
    words = " ".join(describe(photo(Mouth(), tmp_path)))
    assert "Rest: estimated" in words
    assert "usual person" in words
    assert "Teeth and tongue: drawn" in words
    assert "ten seconds of lively speech" in words
    words = " ".join(describe(enrol(iter(filmed([Mouth()] * 40 + talking(80))), tmp_path, "anna")))
    assert "Rest: seen" in words
    assert "as seen" in words
    assert "lively speech" not in words


def test_actors_of_before_load_and_speak(tmp_path: Path) -> None:
    actor = replace(small_actor(), motion=None, guessed=None)
    save_actor(actor, tmp_path / "old")
    text = json.loads((tmp_path / "old" / "actor.json").read_text())
    (tmp_path / "old" / "actor.json").write_text(json.dumps({name: value for name, value in text.items() if name != "guessed"}))
    again = load_actor(tmp_path / "old")
    assert again.guessed is None
    motion = face.motion_of(shape(PRESENTER, Mouth(16)))
    assert np.abs(said(again, motion, 3).astype(int) - said(actor, motion, 3)).mean() < 1

"""Lips by reference: pixels of somebody else's mouth on an actor's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines import face
from engines.actor import Actor
from engines.appearance.engine import WarpAppearance
from engines.appearance.lips import registered, with_lips
from native.planes import to_rgb
from tests.made import noise, write_wav
from tests.people import small_actor


def giver(lips: tuple[int, int, int], all_over: int = 0) -> Actor:
    """The drawn actor, in another light, with lips of a colour."""
    actor = small_actor()
    references, pictures = actor.references, []
    for picture, frame, crop, motion in zip(references.pictures, references.frame, references.crops, references.motion, strict=True):
        points = face.from_head(face.with_motion(actor.neutral, motion), actor.poses[frame])[face.MOTION[:40], :2]
        places = np.round((points - crop[:2]) * crop[2]).astype(np.int32)
        painted = np.ascontiguousarray(np.clip(picture.astype(int) + all_over, 0, 255).astype(np.uint8))
        mask = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(mask, [places[:20]], 1)
        cv2.fillPoly(mask, [places[20:]], 0)
        painted[mask > 0] = np.clip(np.array(lips) + all_over, 0, 255)
        pictures.append(painted)
    return replace(actor, references=replace(references, pictures=np.stack(pictures)))


def shown(actor: Actor) -> tuple[np.ndarray, np.ndarray]:
    """A picture with an open mouth, and where in it the middle of the lower lip and the chin are."""
    engine, motion = WarpAppearance(), actor.references.motion[int(actor.references.opening.argmax())]
    _, (picture,) = engine.step([engine.start(actor)], [5], motion[None])
    points = face.from_head(face.with_motion(actor.neutral, motion), actor.poses[5])
    return to_rgb(picture), np.round(np.stack([(points[14] + points[17])[:2] / 2, points[199, :2]])).astype(int)


def test_lips_come_from_the_giver_and_the_skin_stays() -> None:
    actor = small_actor()
    before, (lip, chin) = shown(actor)
    for all_over in (0, 30):  # whatever the light it was filmed in
        made = with_lips(actor, giver((90, 60, 160), all_over))
        after, _ = shown(made)
        colour = after[lip[1], lip[0]].astype(int)
        assert colour[2] > colour[0] + 20, all_over  # the drawn lips are red
        assert np.abs(after[chin[1], chin[0]].astype(int) - before[chin[1], chin[0]]).max() < 12
        assert len(made.references.frame) == len(actor.references.frame)
    assert before[lip[1], lip[0], 0] > before[lip[1], lip[0], 2]


def test_a_mouth_of_another_size_moves_in_proportion() -> None:
    actor = small_actor()
    large = replace(
        actor,
        neutral=actor.neutral * np.float32(1.25),
        references=replace(actor.references, motion=actor.references.motion * np.float32(1.25)),
    )
    assert np.abs(registered(actor, large) - actor.references.motion).max() < 1e-4


def test_the_command_refuses_lips_that_are_not_there(mytalk: Any, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "a.wav", noise(640))
    for lips, words in (("none.png", "no such file"), ("nobody", "There is no actor")):
        outcome = mytalk("dub", "presenter", sound, "-o", "out.mp4", "--lips", lips)
        assert (outcome.code, outcome.files) == (2, [])
        assert words in outcome.err

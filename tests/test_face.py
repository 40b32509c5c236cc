"""Pose and its removal, motion and its inverse, what an opening is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import face
from engines.person import PRESENTER as LOOK
from engines.person import Head, Mouth, pose_of, shape

angle = st.floats(-0.5, 0.5)


@settings(max_examples=40, deadline=None)
@given(yaw=angle, pitch=angle, roll=angle, x=st.floats(-2, 2), opening=st.floats(0, 30))
def test_pose_removal_and_its_inverse(yaw: float, pitch: float, roll: float, x: float, opening: float) -> None:
    head = shape(LOOK, Mouth(opening))
    landmarks = face.from_head(head, pose_of(Head(yaw, pitch, roll, x), (640, 480)))
    pose = face.pose(landmarks, shape(LOOK, Mouth()))
    again = face.to_head(landmarks, pose)
    assert np.abs(again - head).max() < 1e-3  # 0.1 % of the inter-ocular distance
    assert np.abs(face.from_head(again, pose) - landmarks).max() < 1e-3 * face.iod(landmarks)
    assert np.allclose(face.unit(pose), face.unit(pose_of(Head(), (640, 480))), rtol=1e-4)


def test_a_mouth_does_not_change_the_pose() -> None:
    shut, wide = (face.from_head(shape(LOOK, Mouth(o)), pose_of(Head(0.2), (512, 512))) for o in (0, 30))
    assert np.abs(face.pose(shut) - face.pose(wide)).max() < 1e-3


def test_angles_have_the_signs_of_a_turned_head() -> None:
    for head, at in ((Head(yaw=0.3), 0), (Head(pitch=0.3), 1), (Head(roll=0.3), 2)):
        found = face.angles(pose_of(head, (512, 512)))
        assert found[at] == pytest.approx(0.3, abs=1e-3)
        assert np.abs(np.delete(found, at)).max() < 1e-3


def test_motion_onto_a_picture_and_back() -> None:
    neutral, moved = shape(LOOK, Mouth()), face.motion_of(shape(LOOK, Mouth(17, width=0.5)))
    pose = pose_of(Head(0.3, -0.2, 0.1), (512, 512))
    shown = face.from_head(face.with_motion(neutral, moved), pose)[face.MOTION, :2]
    assert np.abs(face.motion_onto(shown, pose, neutral) - moved).max() < 1e-4


def test_with_motion_moves_cheeks_with_the_lips_and_leaves_the_eyes() -> None:
    neutral = face.canonical()
    moved = face.with_motion(neutral, face.motion_of(neutral) + np.float32([0, 0.1]))
    upper = ~face.lower()
    assert np.array_equal(moved[upper], neutral[upper])
    assert np.allclose(face.motion_of(moved) - face.motion_of(neutral), [0, 0.1], atol=1e-6)
    between = moved[face.lower(), 1] - neutral[face.lower(), 1]
    assert between.min() >= 0
    assert between.max() <= 0.1 + 1e-6


def test_opening_and_width() -> None:
    motion = face.motion_of(shape(LOOK, Mouth(20)))
    assert face.opening(motion) == pytest.approx(0.2, rel=0.01)
    assert face.width(face.motion_of(shape(LOOK, Mouth(width=1)))) > face.width(face.motion_of(shape(LOOK, Mouth(width=-1)))) + 0.1

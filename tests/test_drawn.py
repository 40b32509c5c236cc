"""The drawn presenter: pleasant is for eyes to judge, the rest is here."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from engines import face
from engines.drawn import draw
from engines.person import IDLE_TICKS, PRESENTER, Head, Mouth, idle, random_look, shape
from engines.tracker import Tracker
from tests.people import SHAPES


def test_the_tracker_follows_every_mouth_and_agrees() -> None:
    true, seen, apart = [], [], []
    with Tracker(video=False) as tracker:
        for look in (PRESENTER, random_look(7)):
            for mouth in SHAPES:
                picture, landmarks = draw(look, mouth, Head(yaw=0.05), 320)
                faces = tracker.track(picture)
                assert faces, f"not tracked: {mouth}"
                lips = list(face.LIPS)
                apart.append(np.linalg.norm(faces[0][lips, :2] - landmarks[lips, :2], axis=1).mean() / face.iod(landmarks))
                true.append(mouth.opening)
                seen.append(face.opening(face.motion_of(face.to_head(faces[0], face.pose(faces[0])))))
    assert np.mean(apart) < 0.04
    assert np.corrcoef(true, seen)[0, 1] > 0.9


@pytest.mark.parametrize("opening", [0, 3, 11, 30])
def test_the_opening_is_the_one_asked_for(opening: float) -> None:
    landmarks = shape(PRESENTER, Mouth(opening))
    assert face.iod(landmarks) == pytest.approx(1)
    assert face.opening(face.motion_of(landmarks)) == pytest.approx(opening / 100, rel=0.01, abs=1e-4)


def test_same_arguments_same_bits_and_any_size() -> None:
    first, again = (draw(PRESENTER, Mouth(9), idle(5), (200, 160)) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert first[0].shape == (160, 200, 3)
    assert first[1].shape == (face.POINTS, 3)


def test_the_idle_loop_closes_and_lives() -> None:
    assert idle(0) == idle(IDLE_TICKS)
    heads = [idle(tick) for tick in range(IDLE_TICKS + 1)]
    assert max(abs(a.yaw - b.yaw) for a, b in pairwise(heads)) < 0.01
    assert max(head.blink for head in heads) == 1


def test_people_differ() -> None:
    one, two = (draw(random_look(seed), Mouth(), Head(), 128)[0] for seed in (1, 2))
    assert np.abs(one.astype(int) - two).mean() > 10
    assert random_look(3) == random_look(3)

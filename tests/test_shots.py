"""Films of several shots, other people in them: what is found, what is left alone, what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.actor import Actor, load_actor, save_actor
from engines.enrol import enrol
from engines.errors import FaceFault
from engines.frames import Picture, write_frames
from engines.person import PRESENTER, Head, Look, random_look
from engines.pipeline import Pipeline
from native.planes import from_rgb, planes, to_rgb
from realtime.media import read_pictures
from tests.made import noise, write_wav
from tests.people import filmed, talking

ANNA, BERT = PRESENTER, random_look(4)


SAID = 9


@cache  # few pictures are drawn: to and fro they make shots of any length
def shot(look: Look, count: int, seed: int = 0, x: float = 0.0) -> list[Picture]:
    """Pictures of somebody who talks."""
    drawn = filmed(talking(SAID, seed), look, head=Head(x=x) if x else None)
    return [drawn[abs((at + SAID - 1) % (2 * SAID - 2) - SAID + 1)] for at in range(count)]


def film(tmp_path: Path, *shots: Sequence[Picture], face_number: int | None = None) -> tuple[Actor, list[str]]:
    """An actor of shots, one after the other, as it comes from disk; and what was said at its enrolment."""
    said: list[str] = []
    actor = enrol((picture for pictures in shots for picture in pictures), tmp_path, "film", warn=said.append, face_number=face_number)
    save_actor(actor, tmp_path / "saved")
    return load_actor(tmp_path / "saved"), said


def mixed(one: Picture, other: Picture, share: float) -> Picture:
    return np.round(one * (1 - share) + other * share).astype(np.uint8)


def shown(actor: Actor) -> np.ndarray:
    assert actor.shown is not None
    return actor.shown


def test_another_person_is_left_alone_and_named(tmp_path: Path) -> None:
    actor, said = film(tmp_path, shot(ANNA, 30), shot(BERT, 20))
    assert shown(actor)[30:].max() == 0
    assert shown(actor)[:30].min() == 1  # it does not fade towards a cut
    assert actor.references.frame.max() < 30
    assert any("30-49" in sentence and "somebody else" in sentence for sentence in said)


def test_the_one_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    actor, said = film(tmp_path, shot(ANNA, 26), shot(BERT, 40), face_number=1)
    assert shown(actor)[26:].max() == 0
    assert actor.references.frame.max() < 26
    assert any("26-65" in sentence and "chosen" in sentence for sentence in said)


def test_one_person_in_two_shots_talks_in_both(tmp_path: Path) -> None:
    actor, said = film(tmp_path, shot(ANNA, 25), shot(ANNA, 25, 1, x=1.0))
    assert actor.shown is None
    assert not said
    assert {0, 1} == set((actor.references.frame >= 25).astype(int))
    steps = np.abs(np.diff(actor.poses[:, 0, 3]))
    assert steps[24] > 20  # the head is elsewhere at once: nothing is smoothed over the cut
    assert np.delete(steps, 24).max() < 4
    assert actor.shot is not None
    assert (actor.shot == np.repeat([0, 1], 25)).all()


def test_a_dissolve_is_shown_as_it_is(tmp_path: Path) -> None:
    one, other = shot(ANNA, 35), shot(ANNA, 35, 1, x=1.0)
    dissolve = [mixed(one[25 + k], other[k], (k + 1) / 11) for k in range(10)]
    actor, said = film(tmp_path, one[:25], dissolve, other[10:])
    assert shown(actor)[25:35].max() == 0
    assert shown(actor)[:16].min() == shown(actor)[44:].min() == 1
    assert not set(actor.references.frame.tolist()) & set(range(25, 35))
    assert any("dissolve" in sentence for sentence in said)


def test_a_flash_is_no_cut_and_is_shown_as_it_is(tmp_path: Path) -> None:
    pictures = [picture.copy() for picture in shot(ANNA, 40)]
    for at in (20, 21):
        luma = planes(pictures[at])[0]
        luma[:] = np.round(luma * 0.2 + 235 * 0.8)
    actor, said = film(tmp_path, pictures)
    assert shown(actor)[20:22].max() == 0
    assert shown(actor)[:14].min() == shown(actor)[28:].min() == 1
    assert actor.shot is None
    assert not set(actor.references.frame.tolist()) & {20, 21}
    assert any("20-21" in sentence for sentence in said)


def test_a_shot_without_the_face_is_left_alone(tmp_path: Path) -> None:
    table = np.full_like(shot(ANNA, 1)[0], 128)
    planes(table)[0][60:120] = 60
    actor, said = film(tmp_path, shot(ANNA, 25), [table] * 8, shot(ANNA, 12, 1))
    assert shown(actor)[25:33].max() == 0
    assert shown(actor)[:25].min() == shown(actor)[33:].min() == 1
    assert any("25-32" in sentence and "without the face" in sentence for sentence in said)
    with pytest.raises(FaceFault, match="seen in 5 of 27 frames only"):
        film(tmp_path, shot(ANNA, 25)[:5], [table] * 22)


def test_a_grey_shot_gets_no_red_lips(tmp_path: Path) -> None:
    grey = [picture.copy() for picture in shot(ANNA, 25, 1)]
    for picture in grey:
        picture[picture.shape[0] * 2 // 3 :] = 128
    actor, said = film(tmp_path, shot(ANNA, 25), grey)
    assert not said
    engine = Pipeline().appearance
    state = engine.start(actor)
    for index in (30, 45):
        motion = actor.references.motion[actor.references.frame < 25][3]  # a mouth that the other shot has
        (state,), (made,) = engine.step([state], [index], motion[None])
        assert np.abs(planes(made)[2].astype(int) - 128).max() <= 10  # the lips of the other shot: 30 and more
        assert (planes(made)[0] != planes(actor.frames[index])[0]).any()


def with_hand(picture: Picture) -> Picture:
    """A picture with fingers before the mouth."""
    rgb = to_rgb(picture).copy()
    for finger in range(4):
        cv2.line(rgb, (195, 128 + 9 * finger), (90, 170 + 9 * finger), (150, 100, 80), 9, cv2.LINE_AA)
        cv2.line(rgb, (195, 128 + 9 * finger), (90, 170 + 9 * finger), (205, 150, 122), 6, cv2.LINE_AA)
    return from_rgb(rgb)


def with_mask(picture: Picture) -> Picture:
    """A picture of somebody who wears a mask."""
    rgb = to_rgb(picture).copy()
    cv2.fillPoly(
        rgb, [np.array([[126, 126], [160, 121], [194, 126], [190, 158], [160, 172], [130, 158]], np.int32)], (150, 190, 205), cv2.LINE_AA
    )
    return from_rgb(rgb)


def test_a_film_from_the_command_line(mytalk: Any, tmp_path: Path) -> None:
    """A cut to somebody else, a hand before the mouth, a dissolve to another place: said, and shown as they are."""
    anna, elsewhere = list(shot(ANNA, 45)), shot(ANNA, 22, 1, x=1.0)
    for at in range(14, 22):
        anna[at] = with_hand(anna[at])
    dissolve = [mixed(anna[35 + k], elsewhere[k], (k + 1) / 11) for k in range(10)]
    pictures = [*shot(BERT, 8), *anna[:35], *dissolve, *elsewhere[10:]]
    write_frames(tmp_path / "film.mp4", pictures)
    outcome = mytalk("actor", "add", "anna", tmp_path / "film.mp4")
    assert outcome.code == 0, outcome.err
    assert "Frames 0-7 show somebody else" in outcome.err
    assert "dissolve" in outcome.err
    assert "before the mouth" in outcome.err
    speech = write_wav(tmp_path / "said.wav", noise(int(len(pictures) / 25 * 16_000)))
    outcome = mytalk("dub", "anna", speech, "-o", "out.mp4", "-q", "--crf", "8")
    assert outcome.code == 0, outcome.err
    away = [
        float(np.abs(planes(one)[0].astype(int) - planes(other)[0]).max())
        for one, other in zip(read_pictures(Path("out.mp4")), pictures, strict=True)
    ]
    as_they_are = [*range(8), *range(22, 30), *range(43, 53)]
    assert max(away[at] for at in as_they_are) < 25  # what coding does
    assert min(away[at] for at in (10, 12, 60)) > 30


def test_a_mask_throughout_is_said(mytalk: Any, tmp_path: Path) -> None:
    pictures = [with_mask(picture) for picture in shot(ANNA, 26)]
    write_frames(tmp_path / "mask.mp4", pictures)
    outcome = mytalk("actor", "add", "masked", tmp_path / "mask.mp4")
    assert outcome.code == 0, outcome.err
    assert "The mouth is nowhere to be seen" in outcome.err
    cv2.imwrite(str(tmp_path / "mask.png"), to_rgb(pictures[0])[..., ::-1])
    outcome = mytalk("actor", "add", "still", tmp_path / "mask.png", "--still")
    assert outcome.code == 0, outcome.err
    assert "before the mouth" in outcome.err


def test_a_chin_beyond_the_edge_is_said(mytalk: Any, tmp_path: Path) -> None:
    for height, words in ((159, "The chin is beyond"), (144, "The mouth is beyond"), (240, "")):
        cv2.imwrite(str(tmp_path / "cut.png"), to_rgb(shot(ANNA, 1)[0])[:height, :, ::-1])
        outcome = mytalk("actor", "add", f"cut {height}", tmp_path / "cut.png", "--still")
        assert outcome.code == 0, outcome.err
        assert words in outcome.err
        assert outcome.err.count("warning") == bool(words)


def test_a_hand_before_the_mouth_stays(tmp_path: Path) -> None:
    pictures = list(shot(ANNA, 45))
    pictures[18:30] = [with_hand(picture) for picture in pictures[18:30]]
    actor, said = film(tmp_path, pictures)
    assert shown(actor)[18:30].max() == 0
    assert shown(actor)[:10].min() == shown(actor)[38:].min() == 1
    assert not set(actor.references.frame.tolist()) & set(range(18, 30))
    assert any("before the mouth" in sentence and "frames 16-31" in sentence for sentence in said)

"""The refiner: what it is given, what it changes, and that it brings pictures nearer to the truth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from engines import face
from engines.actor import Actor
from engines.appearance import refine
from engines.appearance.engine import WarpAppearance
from engines.appearance.refine import RefinedAppearance
from engines.appearance.zone import CELLS, NUMBERS, SIDE, Views, zone_of
from engines.backends import weights
from engines.drawn import draw
from engines.errors import WeightsFault
from engines.person import Mouth, idle, random_look, shape
from engines.presenter import make_presenter
from engines.spec import Float, Picture
from native.planes import from_rgb, to_rgb
from tests.people import small_actor

WIDE = face.motion_of(shape(random_look(99), Mouth(22)))


@cache
def stranger() -> Actor:
    """A drawn person whom no training has seen."""
    return replace(make_presenter(random_look(99), 256, 12, "stranger"), resting=None)


@cache
def refined() -> RefinedAppearance:
    return RefinedAppearance()


def shown(engine: WarpAppearance, actor: Actor, index: int, motion: Float, *, plain: bool = False) -> Picture:
    return engine.step([engine.start(actor)], [index], motion[None], plain=plain)[1][0]


def test_what_is_refined_is_nearer_to_the_truth() -> None:
    actor, engine, look = stranger(), refined(), random_look(99)
    errors: dict[bool, list[float]] = {True: [], False: []}
    for index, mouth in enumerate([Mouth(9), Mouth(17, width=0.4), Mouth(11, width=-0.5), Mouth(3, bite=0.5), Mouth(20)]):
        truth = to_rgb(from_rgb(draw(look, mouth, idle(index), 256)[0])).astype(float)
        for plain, found in errors.items():
            found.append(
                float(((to_rgb(shown(engine, actor, index, face.motion_of(shape(look, mouth)), plain=plain)) - truth) ** 2).mean())
            )
    assert np.mean(errors[False]) < 0.97 * np.mean(errors[True])


def test_plain_pictures_are_the_warps_and_the_others_differ_from_them_within_the_mask_alone() -> None:
    engine, actor = refined(), stranger()
    warped = shown(WarpAppearance(), actor, 3, WIDE)
    assert np.array_equal(shown(engine, actor, 3, WIDE, plain=True), warped)
    made = shown(engine, actor, 3, WIDE)
    frame = actor.frames[3]
    assert 0 < (made != warped).mean() < 0.2
    assert not ((made != frame) & (warped == frame)).sum() > 0.01 * frame.size  # but for pixels that were the frame's by chance
    luma = actor.size[1]
    rows = np.flatnonzero((made != frame)[:luma].any(1))
    eyes = face.eye_centres(face.from_head(actor.neutral, actor.poses[3]))[:, 1].max()
    assert rows.min() > eyes


def test_a_face_at_the_frames_edge_is_refined_as_far_as_it_is_seen() -> None:
    actor, engine = stranger(), refined()
    whole = shown(engine, actor, 3, WIDE)
    middle = int(face.from_head(actor.neutral, actor.poses[3])[13, 0]) // 2 * 2
    left = middle - 10
    cut = [from_rgb(np.ascontiguousarray(to_rgb(frame)[:, left:])) for frame in actor.frames]
    poses = actor.poses.copy()
    poses[:, 0, 3] -= left
    crops = actor.references.crops.copy()
    crops[:, 0] -= left
    beside = replace(
        actor, size=(actor.size[0] - left, actor.size[1]), frames=cut, poses=poses, references=replace(actor.references, crops=crops)
    )
    assert zone_of(poses[3]).x < 0
    made = to_rgb(shown(engine, beside, 3, WIDE)).astype(int)
    assert made.shape == (actor.size[1], actor.size[0] - left, 3)
    assert np.abs(made[:, 24:] - to_rgb(whole)[:, left + 24 :]).mean() < 1.5


def test_what_the_net_is_given_is_whole_whatever_the_actor_has() -> None:
    actor, views = small_actor(), Views()
    few = replace(actor, references=replace(actor.references, **{
        name: getattr(actor.references, name)[:1] for name in ("frame", "pictures", "crops", "motion")
    }))  # fmt: skip
    engine = WarpAppearance()
    for one in (actor, few):
        (asked,) = engine.ask([engine.start(one)], np.array([5]), WIDE[None])
        view = views.of(asked, one.frames[5])
        assert (view.picture.shape, view.references.shape, view.drawn.shape) == ((SIDE, SIDE, 3), (4, CELLS, CELLS, 3), (CELLS, CELLS, 4))
        assert view.numbers.shape == (NUMBERS,)
        assert view.numbers[:16:4].sum() == pytest.approx(1)  # the weights
        mask = view.drawn[:, :, 3]
        assert mask[CELLS // 2, CELLS // 2] == 255
        assert mask[[0, -1]].max() < 64  # it fades to the edge
    assert np.array_equal(view.references[0], view.references[3])  # the only one, again


def test_a_net_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refine, "read_weights", lambda name: weights.read_weights("lips.onnx"))
    with pytest.raises(WeightsFault, match="version"):
        RefinedAppearance()

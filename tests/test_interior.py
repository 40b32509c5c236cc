"""The inside of a mouth that no reference shows: what a photo's actor shows when it speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor, References
from engines.appearance.config import WarpConfig
from engines.appearance.engine import WarpAppearance
from engines.appearance.interior import missing
from engines.appearance.light import lights
from engines.person import PRESENTER, Mouth, shape
from engines.spec import Float
from native.interior.profile import ROWS
from native.planes import from_rgb, to_rgb
from tests.people import small_actor

Bytes = NDArray[np.uint8]
WIDE = face.motion_of(shape(PRESENTER, Mouth(22)))


def photo(seen_in: Callable[[Bytes], Bytes] = lambda picture: picture) -> Actor:
    """An actor whose only reference has its mouth shut; `seen_in` makes its pictures those of another light."""
    actor = small_actor()
    shut = int(np.argmin(actor.references.opening))
    kept = {name: getattr(actor.references, name)[shut : shut + 1] for name in ("frame", "pictures", "crops", "motion")}
    kept["pictures"] = np.stack([seen_in(picture) for picture in kept["pictures"]])
    frames = [from_rgb(seen_in(to_rgb(actor.frames[0]))), *list(actor.frames)[1:]]
    return replace(actor, references=replace(actor.references, **kept), frames=frames)


def lowered(motion: Float, by: float) -> Float:
    """The motion with the jaw, and the lower lip with it, `by` lower (IOD)."""
    motion = motion.copy()
    for point in face.OUTER_LIPS[1:10] + face.INNER_LIPS[1:10]:
        motion[face.LIPS.index(point), 1] += by
    motion[len(face.LIPS) :, 1] += by
    return motion


def mouth(actor: Actor, motion: Float, size: int = 200) -> Float:
    """The light, 0..255, down the middle of the mouth as it is shown, from the upper lip to the lower: (size,)."""
    engine = WarpAppearance()
    _, (picture,) = engine.step([engine.start(actor)], [0], motion[None])
    (x, top), (_, end) = face.from_head(face.with_motion(actor.neutral, motion), actor.poses[0])[[13, 14], :2].round().astype(int)
    column = to_rgb(picture)[top : end + 1, x - 1 : x + 2].mean((1, 2))
    return np.interp(np.linspace(0, len(column) - 1, size), np.arange(len(column)), column)


def inside(actor: Actor, motion: Float) -> dict[str, Float]:
    """What is drawn at the middle of the mouth: heights below the line between the lips at rest, IOD."""
    engine = WarpAppearance()
    (asked,) = engine.ask([engine.start(actor)], np.array([0]), motion[None])
    assert asked.inside is not None
    middle = asked.inside.profile[:, asked.inside.profile.shape[1] // 2]
    return dict(zip(ROWS, middle, strict=True))


def test_an_open_mouth_has_teeth_and_is_dark_below_them() -> None:
    down = mouth(photo(), WIDE)
    assert down.min() < 100  # dark, not stretched lip
    assert down[:80].max() > 1.3 * down.min()  # below teeth
    assert np.argmax(down[:80]) < np.argmin(down)


def test_upper_teeth_are_the_heads_and_lower_ones_the_jaws() -> None:
    actor = photo()
    one, other = inside(actor, WIDE), inside(actor, lowered(WIDE, 0.08))
    assert other["edge"] == pytest.approx(one["edge"], abs=0.002)
    assert other["low_edge"] == pytest.approx(one["low_edge"] + 0.08, abs=0.03)
    assert other["lower"] == pytest.approx(one["lower"] + 0.08, abs=0.01)
    assert one["upper"] < one["edge"] < one["low_edge"] < one["lower"] + 0.05


def test_teeth_are_in_the_light_of_the_skin() -> None:
    def bright(seen_in: Callable[[Bytes], Bytes]) -> Float:
        engine, actor = WarpAppearance(), photo(seen_in)
        (asked,) = engine.ask([engine.start(actor)], np.array([0]), WIDE[None])
        return asked.light

    plain, dim, blue = (bright(lambda picture, by=by: (picture * by).astype(np.uint8)) for by in (1.0, 0.4, np.array([0.5, 0.7, 1.0])))
    assert (dim < 0.7 * plain).all()
    assert (blue[:, 2] / blue[:, 0] > 1.2 * plain[:, 2] / plain[:, 0]).all()
    half = bright(lambda picture: (picture * np.linspace(0.4, 1, picture.shape[1])[None, :, None]).astype(np.uint8))
    assert (half[0] < 0.9 * half[1]).all()  # light from one side
    dark = mouth(photo(lambda picture: (picture * 0.4).astype(np.uint8)), WIDE)
    assert dark[:80].max() < 0.75 * mouth(photo(), WIDE)[:80].max()


def test_teeth_have_the_colour_of_those_that_references_show() -> None:
    actor = small_actor()
    wide = int(np.argmax(actor.references.opening))
    solid = face.from_head(face.with_motion(actor.neutral, actor.references.motion[wide]), actor.poses[actor.references.frame[wide]])
    crop = actor.references.crops[wide]
    outline = (solid[list(face.INNER_LIPS), :2] - crop[:2]) * crop[2]

    def light(colour: tuple[int, int, int]) -> Float:
        kept = {name: getattr(actor.references, name)[[wide]] for name in ("frame", "crops", "motion")}
        pictures = actor.references.pictures[[wide]].copy()
        cv2.fillPoly(pictures[0], [outline.round().astype(np.int32)], colour)
        return lights(replace(actor, references=References(pictures=pictures, **kept)))[0].mean(0)

    dark, white, yellow = light((60, 20, 20)), light((250, 250, 250)), light((250, 235, 170))
    assert yellow[2] < 0.8 * white[2]
    assert abs(yellow[1] - white[1]) < 0.1 * white[1]
    assert (white > dark).all()  # of what is no tooth nothing is learned


def test_nothing_flickers_when_a_mouth_opens_slowly() -> None:
    actor, engine = photo(), WarpAppearance()
    lips = face.from_head(face.with_motion(actor.neutral, WIDE), actor.poses[0])[list(face.LIPS), :2]
    (left, top), (right, bottom) = lips.min(0).astype(int) - 1, lips.max(0).astype(int) + 2
    rest, state, before, steps = face.motion_of(actor.neutral), engine.start(actor), None, []
    for share in np.linspace(0, 0.6, 61, dtype=np.float32):
        (state,), (picture,) = engine.step([state], [0], (rest + share * (WIDE - rest))[None])
        now = to_rgb(picture)[top:bottom, left:right].astype(float)
        if before is not None:
            steps.append(np.abs(now - before).max())
        before = now
    assert max(steps) < 40


def test_how_much_is_missing_is_smooth_and_by_weight() -> None:
    config = WarpConfig()

    def of(opening: float, shown: list[float], weights: list[float], widest: float = 0.2) -> float:
        return missing(config, opening, np.array(shown, np.float32), np.array(weights, np.float32), widest)

    assert of(0.2, [0.01], [1]) == 1
    assert of(0.2, [0.2], [1]) == 0
    assert of(0.005, [0.0], [1]) == 0
    assert of(0.2, [0.19, 0.01], [0.95, 0.05]) == 0
    assert of(0.2, [0.19, 0.01], [0.05, 0.95]) > 0.95
    assert of(0.06, [0.05], [1]) == 0
    assert of(0.06, [0.05], [1], widest=0.05) == 1  # lips apart in a photo: no inside
    said = [of(opening, [0.05], [1]) for opening in np.linspace(0, 0.2, 201)]
    assert np.diff(said).min() >= 0
    assert np.diff(said).max() < 0.2

"""The engines behind their interfaces: stream equals offline, batch equals solo, refusals in words; and the way of a tick."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engines import face
from engines.actor import Actor
from engines.backends import weights
from engines.backends.cpu import CpuNet
from engines.errors import SpeechFault, WeightsFault
from engines.motion import config
from engines.motion.calibration import calibrated
from engines.motion.space import Habit, habit, parted, rest_and_range
from engines.person import PRESENTER, Mouth, shape
from engines.pipeline import ConversationState, Pipeline
from engines.spec import APPEARANCE, MOTION, TICK, Float, load
from native.planes import to_rgb
from tests.people import small_actor
from tests.test_features import speech


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline()


def said(pipeline: Pipeline, actor: Actor, sound: np.ndarray, seed: int = 0) -> np.ndarray:
    """Motion of a whole sound, delayed by the look-ahead."""
    state, out = pipeline.motion.start(actor, seed), []
    for block in sound.reshape(-1, 1, TICK):
        (state,), motion = pipeline.motion.step([state], block)
        out.append(motion[0])
    return np.stack(out)


@pytest.mark.parametrize("name", MOTION)
def test_motion_contract(name: str) -> None:
    engine, actor = load(MOTION, name), small_actor()
    assert 0 <= engine.look_ahead <= 2
    one, two = speech(2), speech(2, seed=1) * 0.3
    solo = []
    for sound in (one, two):
        state, out = engine.start(actor, 3), []
        for block in sound.reshape(-1, 1, TICK):
            before = state
            (state,), motion = engine.step([state], block)
            assert state is not before
            out.append(motion[0])
        solo.append(np.stack(out))
    states, both = [engine.start(actor, 3), engine.start(actor, 3)], []
    for blocks in zip(one.reshape(-1, TICK), two.reshape(-1, TICK), strict=True):
        states, motion = engine.step(states, np.stack(blocks))
        both.append(motion)
    assert np.abs(np.stack(both, 1) - np.stack(solo)).max() < 1e-5
    assert np.array_equal(solo[0][: engine.look_ahead], np.repeat(face.motion_of(actor.neutral)[None], engine.look_ahead, 0))
    assert engine.step([], np.zeros((0, TICK), np.float32))[0] == []


def test_the_look_ahead_is_the_true_one(pipeline: Pipeline) -> None:
    actor, sound = small_actor(), speech(2)
    other = sound.copy()
    other[30 * TICK :] = 0
    a, b = said(pipeline, actor, sound), said(pipeline, actor, other)
    assert np.array_equal(a[:30], b[:30])
    assert not np.array_equal(a[30], b[30])  # it shows tick 30 - look_ahead, and has heard tick 30


def test_speech_moves_the_mouth_and_silence_shuts_it(pipeline: Pipeline) -> None:
    actor = small_actor()
    sound = np.concatenate([speech(2), np.zeros(25 * TICK, np.float32)])
    opening = face.opening(said(pipeline, actor, sound))[pipeline.look_ahead :]
    rest = float(face.opening(face.motion_of(actor.neutral)))
    assert opening[10:50].max() > rest + 0.3 * actor.opening_range
    assert opening[56:].max() < rest + 0.1 * actor.opening_range  # 240 ms after the end, and for good
    assert np.abs(np.diff(opening[60:])).max() < 0.01


def test_lips_never_pass_through_each_other(pipeline: Pipeline) -> None:
    actor = small_actor()
    pressed = replace(actor, neutral=shape(PRESENTER, Mouth(press=1.0)))
    motion = said(pipeline, pressed, speech(2))
    upper, lower = (np.flatnonzero(point == face.MOTION)[0] for point in face.INNER_MIDDLE)
    assert (motion[:, lower, 1] - motion[:, upper, 1]).min() >= -1e-6


@pytest.mark.parametrize("bad", ["rate", "type", "batch", "nan", "list"])
def test_bad_speech_is_refused_in_words(pipeline: Pipeline, bad: str) -> None:
    good = np.zeros((1, TICK), np.float32)
    harm = {
        "rate": np.zeros((1, 1920), np.float32), "type": good.astype(np.int16), "batch": np.zeros((2, TICK), np.float32),
        "nan": np.full_like(good, np.nan), "list": [0.0] * TICK,
    }[bad]  # fmt: skip
    with pytest.raises(SpeechFault, match=r"float32 \(1, 640\)|not numbers"):
        pipeline.motion.step([pipeline.motion.start(small_actor())], harm)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [config.EARS, config.LIPS])
def test_damaged_weights_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(str(weights.files("engines.weights"))), tmp_path / "weights")
    monkeypatch.setattr(weights, "files", lambda package: tmp_path / "weights")
    path = tmp_path / "weights" / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsFault, match=rf"{name} are damaged.*engines.train motion"):
        load(MOTION, "diffusion")
    path.unlink()
    with pytest.raises(WeightsFault, match="cannot be read"):
        load(MOTION, "diffusion")


def test_weights_of_another_version_are_named() -> None:
    known = CpuNet(weights.read_weights(config.EARS)).metadata
    with pytest.raises(WeightsFault, match=r"version None.*engines.train motion"):
        config.read_config({}, config.EARS)
    key, text = config.read_config(known, config.EARS).metadata()
    with pytest.raises(WeightsFault, match="version 2, this program wants 3"):
        config.read_config({key: text.replace('"version": 3', '"version": 2')}, config.EARS)


def test_the_same_seed_gives_the_same_lips(pipeline: Pipeline) -> None:
    actor, sound = small_actor(), speech(2)
    one, again, other = (said(pipeline, actor, sound, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.abs(one - other).mean() < 0.5 * np.abs(one - one.mean(0)).mean()  # it is the speech that moves them


def test_an_interruption_forgets_what_was_not_shown_and_keeps_the_pose(pipeline: Pipeline) -> None:
    actor, sound = small_actor(), speech(2)
    state = pipeline.motion.start(actor, 1)
    before = np.zeros(0)
    for block in sound.reshape(-1, 1, TICK)[:20]:
        (state,), (before,) = pipeline.motion.step([state], block)
    cut, shown = pipeline.motion.interrupt(state), []
    for _ in range(12):
        (cut,), (motion,) = pipeline.motion.step([cut], np.zeros((1, TICK), np.float32))
        shown.append(motion)
    rest = face.motion_of(actor.neutral)
    away = [float(np.abs(motion - rest).max()) for motion in (before, *shown)]
    assert away[0] > 0.02
    assert np.abs(shown[0] - before).max() < 0.5 * away[0]  # no jump
    assert away[6] < 0.02  # and nothing of the speech that was waiting
    assert all(b <= a + 1e-6 for a, b in pairwise(away[:7]))


def test_expressiveness_scales_the_mouth() -> None:
    actor, sound = small_actor(), speech(2)
    rest = face.motion_of(actor.neutral)
    still, half, whole = (Pipeline(expressiveness=e) for e in (0.0, 0.5, 1.0))
    assert np.abs(said(still, actor, sound) - rest).max() < 1e-6
    a, b = (np.abs(said(one, actor, sound) - rest).mean() for one in (half, whole))
    assert 0.4 < a / b < 0.6


def test_the_mouth_is_where_the_actors_own_is_in_speech(pipeline: Pipeline) -> None:
    actor, sound = small_actor(), np.concatenate([speech(2), np.zeros(25 * TICK, np.float32)])
    rest = face.motion_of(actor.neutral)
    usual = said(pipeline, actor, sound)
    where = usual[15:45].mean(0) + np.array([0.0, 0.05], np.float32)  # lower than this voice alone would put it
    few, many = (said(pipeline, replace(actor, habit=Habit(where, frames)), sound) for frames in (5, 2000))
    lower = [(own - usual)[15:45, : len(face.LIPS), 1].mean() for own in (few, many)]
    assert 0 < lower[0] < 0.5 * lower[1]  # what was seen for a moment is hardly believed
    assert lower[1] == pytest.approx(0.05, abs=0.03)
    assert np.abs(face.opening(many) - face.opening(usual)).max() < 1e-5  # the lips meet as before
    assert np.abs(np.diff(many - usual, axis=0)).max() < 0.6 * np.abs(many - usual).max()  # it takes two ticks
    assert np.abs(many[-1] - rest).max() < 1e-3


def test_an_actors_own_speech_says_how_far_its_mouth_opens_and_where_it_is(pipeline: Pipeline) -> None:
    actor, sound = small_actor(), speech(5)
    rest, ahead = face.motion_of(actor.neutral), pipeline.motion.look_ahead
    told = said(pipeline, actor, np.concatenate([sound, np.zeros(ahead * TICK, np.float32)]))[ahead:]
    seen = (rest + 1.4 * (told - rest) + np.array([0.0, 0.03])).astype(np.float32)  # opens farther, and is lower, than a usual person's
    late = np.concatenate([seen[:3], seen[:-3]])  # the file's sound is 120 ms early
    for shown in (seen, late):
        own = calibrated(replace(actor, motion=shown), sound, pipeline.motion)
        again = said(pipeline, own, sound)[ahead:]
        assert own.opening_range > 1.2 * actor.opening_range
        assert np.abs(again - seen[: len(again)]).mean() < 0.5 * np.abs(told - seen).mean()
    noise = np.random.default_rng(0).normal(0, 0.003, seen.shape).astype(np.float32)  # the tracker's
    silent = replace(actor, motion=rest + noise)  # somebody else speaks
    assert calibrated(silent, sound, pipeline.motion) is silent
    unknown = replace(actor, motion=np.full_like(seen, np.nan))
    assert calibrated(unknown, sound, pipeline.motion) is unknown
    assert calibrated(actor, sound[:100], pipeline.motion) is actor


def test_lips_that_nearly_touch_touch() -> None:
    wide, near, shut = (face.motion_of(shape(PRESENTER, Mouth(o))) for o in (20, 1.5, 0))
    assert np.array_equal(parted(wide, 0.03), parted(wide))
    assert face.opening(near) > 0.008
    assert face.opening(parted(near, 0.03)) < 0.55 * face.opening(near)
    assert np.abs(parted(shut, 0.03) - shut).max() < 1e-3
    openings = [float(face.opening(parted(face.motion_of(shape(PRESENTER, Mouth(o))), 0.03))) for o in np.linspace(0, 6, 60)]
    assert min(b - a for a, b in pairwise(openings)) >= 0  # one after the other, none jumps
    assert max(b - a for a, b in pairwise(openings)) < 0.004


def test_rest_and_range() -> None:
    motion = np.stack([face.motion_of(shape(PRESENTER, Mouth(o))) for o in [0.0] * 10 + list(np.linspace(0, 20, 90))])
    rest, reach, _ = rest_and_range(motion)
    assert face.opening(rest) < 0.01
    assert reach == pytest.approx(0.19, abs=0.02)


def test_habit_is_of_the_frames_in_which_the_mouth_moves() -> None:
    still = np.repeat(face.motion_of(shape(PRESENTER, Mouth(3)))[None], 60, 0)
    moving = np.stack([face.motion_of(shape(PRESENTER, Mouth(10 + 8 * np.sin(at / 2)))) for at in range(60)])
    noise = np.random.default_rng(0).normal(0, 0.003, still.shape).astype(np.float32)  # the tracker's
    assert habit(still + noise) is None
    found = habit(np.concatenate([still + noise, moving]))
    assert found is not None
    assert 55 <= found.frames <= 65
    assert face.opening(found.mean) == pytest.approx(0.1, abs=0.01)
    assert habit(still[:1]) is None


@pytest.mark.parametrize("name", APPEARANCE)
def test_appearance_shows_the_motion_and_nothing_else(name: str) -> None:
    engine, actor = load(APPEARANCE, name), small_actor()
    state = engine.start(actor)
    rest = face.motion_of(actor.neutral)
    wide = face.motion_of(shape(PRESENTER, Mouth(22)))
    (after,), (shut,) = engine.step([state], [5], rest[None])
    _, (opened,) = engine.step([state], [5], wide[None])
    original = to_rgb(actor.frames[5]).astype(int)
    assert np.abs(to_rgb(shut).astype(int) - original).mean() < 1.0  # the frame's own mouth is at rest
    changed = np.abs(to_rgb(opened).astype(int) - original).max(2) > 12
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    eyes = face.eye_centres(face.from_head(actor.neutral, actor.poses[5]))[:, 1].max()
    assert changed.mean() > 0.005
    assert rows.min() > eyes
    assert columns.min() > 40
    assert columns.max() < 120
    states, pictures = engine.step([after, state], [5, 5], np.stack([wide, rest]))
    assert len(states) == 2
    assert np.array_equal(pictures[1], shut)  # rows of a batch do not touch each other


def test_the_way_of_a_tick(pipeline: Pipeline) -> None:
    actor, sound = small_actor(), speech(1)
    conversation, shown = pipeline.start(actor, first=30), []
    for block in sound.reshape(-1, 1, TICK):
        (conversation,), (picture,) = pipeline.step([conversation], block)
        shown.append(picture)
    assert [picture is None for picture in shown[:3]] == [True, True, False]
    assert conversation.tick == 25
    # a picture that nobody sees is not made, and the next ones are what they would have been
    (after,), (made,) = pipeline.step([conversation], speech(1, seed=2).reshape(-1, 1, TICK)[0])
    (skipped,), (none,) = pipeline.step([conversation], speech(1, seed=2).reshape(-1, 1, TICK)[0], unseen=[0])
    assert made is not None
    assert none is None
    (_,), (expected,) = pipeline.step([after], speech(1, seed=2).reshape(-1, 1, TICK)[1])
    (_,), (next_one,) = pipeline.step([skipped], speech(1, seed=2).reshape(-1, 1, TICK)[1])
    assert expected is not None
    assert next_one is not None
    assert np.abs(next_one.astype(int) - expected).max() <= 1
    # two conversations of different ages in one batch are what they are alone
    young, old = pipeline.start(actor), conversation
    blocks = speech(1, seed=2).reshape(-1, TICK)[:4]
    alone: list[list[np.ndarray | None]] = []
    for one in (young, old):
        got: list[np.ndarray | None] = []
        mine: ConversationState = one
        for block in blocks:
            (mine,), (picture,) = pipeline.step([mine], block[None])
            got.append(picture)
        alone.append(got)
    both = [young, old]
    for at, block in enumerate(blocks):
        both, pictures = pipeline.step(both, np.stack([block, block]))
        for row in (0, 1):
            expected = alone[row][at]
            assert (pictures[row] is None) == (expected is None)
            if expected is not None and pictures[row] is not None:
                assert np.abs(pictures[row].astype(int) - expected).max() <= 1


def test_a_mouth_at_rest_is_the_actors_own_where_it_rests_there_too() -> None:
    engine, actor = load(APPEARANCE, "warp"), small_actor()
    rest, open_ = face.motion_of(actor.neutral)[None], face.motion_of(shape(PRESENTER, Mouth(22)))[None]
    resting = np.zeros(len(actor.poses), np.float32)
    resting[5], resting[6], resting[7] = 0.2, 0.021, np.inf  # speaks, nearly rests, is not known
    actor = replace(actor, resting=resting)

    def changed(index: int, motion: Float) -> float:
        _, (picture,) = engine.step([engine.start(actor)], [index], motion)
        return float(np.abs(picture.astype(int) - actor.frames[index]).mean())

    assert changed(4, rest) == 0
    assert changed(4, open_) > 0.1
    assert 0 < changed(6, rest) < changed(5, rest)
    assert changed(7, rest) > 0


def test_where_the_face_is_lost_or_turned_away_the_frame_is_left_alone() -> None:
    engine, actor = load(APPEARANCE, "warp"), small_actor()
    wide = face.motion_of(shape(PRESENTER, Mouth(22)))[None]
    shown = np.ones(len(actor.poses), np.float32)
    shown[5], shown[6] = 0, 0.5
    half_lost = replace(actor, shown=shown)
    frames = {}
    for index in (4, 5, 6):
        _, (picture,) = engine.step([engine.start(half_lost)], [index], wide)
        frames[index] = float(np.abs(picture.astype(int) - actor.frames[index]).mean())
    assert frames[5] == 0
    assert 0.15 < frames[6] / frames[4] < 0.65  # half as much of a mouth that is half as far open
    turn = np.array([[np.cos(1), 0, np.sin(1)], [0, 1, 0], [-np.sin(1), 0, np.cos(1)]], np.float32)  # 57 degrees: no reference is
    assert 4 not in actor.references.frame
    poses = actor.poses.copy()
    poses[4, :, :3] = poses[4, :, :3] @ turn
    _, (picture,) = engine.step([engine.start(replace(actor, poses=poses))], [4], wide)
    assert np.array_equal(picture, actor.frames[4])

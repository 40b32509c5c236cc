"""How something is said: manners by name and by example, in the engine, from the command and in a live session."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import face
from engines.actor import Store
from engines.errors import MannerFault
from engines.motion.engine import DiffusionMotion
from engines.motion.manner import Manner, from_words, manner_names, manner_of, named_manner
from engines.motion.space import Habit
from engines.spec import TICK
from engines.train.manners import corners
from realtime.manners import check_strength, manner_called
from tests.made import noise, write_wav
from tests.peers import Peer, problem, serving
from tests.people import small_actor
from tests.test_features import speech


@pytest.fixture(scope="module")
def engine() -> DiffusionMotion:
    return DiffusionMotion()


def said(engine: DiffusionMotion, manner: Manner | None, strength: float = 1.0, seconds: int = 2, at: int = 0) -> np.ndarray:
    """Motion of some speech and two seconds of silence, and more; the manner is asked for at a tick."""
    state, out = engine.start(small_actor(), 0), []
    sound = np.concatenate([speech(seconds), np.zeros(130 * TICK, np.float32)])
    for tick, block in enumerate(sound.reshape(-1, 1, TICK)):
        if tick == at:
            state = engine.speak_as(state, manner, strength)
        (state,), motion = engine.step([state], block)
        out.append(motion[0])
    return np.stack(out)


def test_manners_differ_as_people_do_and_the_lips_still_meet(engine: DiffusionMotion) -> None:
    plain, happy, sad, half = (
        said(engine, manner, strength)
        for manner, strength in ((None, 1), (named_manner("happy"), 1), (named_manner("sad"), 1), (named_manner("happy"), 0.5))
    )  # fmt: skip
    talk = slice(20, 50)
    up = [float(corners(motion[talk]).mean()) for motion in (sad, plain, half, happy)]
    assert up[3] - up[0] > 0.015
    assert up[1] < up[2] < up[3]
    nearest = 20 + int(face.opening(plain)[talk].argmin())
    assert face.opening(happy)[nearest] < 1.2 * face.opening(plain)[nearest] + 0.004  # what moves the lips' place does not part them
    assert np.abs(said(engine, named_manner("happy"), 0.0) - plain).max() == 0
    rest = face.motion_of(small_actor().neutral)
    assert np.abs(happy[:2] - rest).max() == 0  # nobody has spoken
    assert np.abs(happy[-1] - rest).max() < 1e-3  # and long after, it is laid aside


def test_a_manner_comes_in_the_middle_of_speech_without_a_jump(engine: DiffusionMotion) -> None:
    plain, later = said(engine, None), said(engine, named_manner("happy"), at=30)
    assert np.abs(later[:30] - plain[:30]).max() == 0
    away = np.abs(later - plain).max((1, 2))
    assert away[45] > 3 * away[30] > 0
    assert np.abs(np.diff(away[28:45])).max() < 0.4 * away[45]


def test_somebodys_own_manner_takes_the_place_of_the_actors(engine: DiffusionMotion) -> None:
    actor = small_actor()
    rest = face.motion_of(actor.neutral)
    usual = rest + 0.1 * engine.usual
    other = replace(actor, habit=Habit((usual + np.array([0, 0.04], np.float32)).astype(np.float32), 500), opening_range=0.3)
    manner = from_words(manner_of(other).to_words())
    plain, as_other = said(engine, None), said(engine, manner)
    assert (as_other - plain)[20:50, : len(face.LIPS), 1].mean() == pytest.approx(0.03, abs=0.02)
    assert np.ptp(face.opening(as_other)[20:50]) > 1.05 * np.ptp(face.opening(plain)[20:50])
    with pytest.raises(MannerFault, match="Nobody is seen to speak"):
        manner_of(replace(actor, habit=None))


def test_names_of_manners(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert {"calm", "happy", "sad", "angry", "whisper"} <= set(manner_names())
    assert manner_called("own", store) is None
    assert manner_called("sad", store) == named_manner("sad")
    with pytest.raises(MannerFault, match="Did you mean happy"):
        manner_called("hapy", store)
    for strength in (-0.1, 1.5, float("nan"), "1", True, None):
        with pytest.raises(MannerFault):
            check_strength(strength)


def test_the_command_refuses_what_is_no_manner(mytalk: Any, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "a.wav", noise(640))
    for options, words in (
        (("--manner", "hapy"), "Did you mean happy"),
        (("--manner", "none.mp4"), "no such file"),
        (("--manner", "happy", "--strength", "2"), "strength"),
    ):
        outcome = mytalk("dub", "presenter", sound, "-o", "out.mp4", *options)
        assert (outcome.code, outcome.files) == (2, [])
        assert words in outcome.err


async def test_a_session_goes_on_in_another_manner() -> None:
    async with serving() as client:
        assert (await (await client.get("/v1/manners")).json())["manners"][:2] == ["own", "calm"]
        await problem(
            await client.post("/v1/sessions?manner=nobody&strength=3", data="", headers={"Content-Type": "application/sdp"}), 422, "manner"
        )
        async with Peer(client, door="/v1/sessions?actor=presenter&manner=sad&strength=0.3") as peer:
            await peer.until(lambda: bool(peer.pictures) and peer.pictures[-1][2] > 150)
            assert (await peer.report())["strength"] == 0.3
        async with Peer(client) as peer:
            await peer.until(lambda: len(peer.pictures) > 2)
            assert peer.pictures[-1][2] < 150
            async with client.ws_connect(f"{peer.url}/speech") as socket:
                await socket.send_json({"type": "manner", "name": "happy", "strength": 0.5})
                await peer.until(lambda: peer.pictures[-1][2] > 150)
                assert {key: (await peer.report())[key] for key in ("manner", "strength")} == {"manner": "happy", "strength": 0.5}
                answer = await client.post(f"{peer.url}/manner", json={"name": "own"})
                assert (await answer.json())["manner"] == "own"
                await peer.until(lambda: peer.pictures[-1][2] < 150)
                await problem(await client.post(f"{peer.url}/manner", json={"name": "hapy"}), 422, "manner")
                await socket.send_json({"type": "manner", "name": "nobody at all"})
                told = await asyncio.wait_for(socket.receive_json(), 30)
                assert (told["type"], told["code"]) == ("error", "manner")

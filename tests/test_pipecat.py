"""Pipecat: its own pipeline, worker and output transport, whose wire is a list."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from engines.errors import Fault
from realtime.testing import FakeStore, VirtualClock
from tests.peers import until

pytestmark = [
    pytest.mark.xdist_group("pipecat"),  # it takes seconds to be imported
    pytest.mark.skipif(find_spec("pipecat") is None, reason="Pipecat is not installed: make install EXTRAS=test"),
]


@pytest.fixture
def pc() -> Any:
    """The pipeline, imported by those who need it."""
    from tests import pipecat_call

    return pipecat_call


async def test_speech_leaves_with_its_pictures_and_the_pipeline_ends_after_it(pc: Any) -> None:
    async with pc.call() as made:
        out, told = made.out, made.told
        assert out.heard == []  # nothing is said
        await made.say(0.6, "one")
        await made.say(0.41, "two")
        await until(lambda: len(told.of(pc.BotStoppedSpeakingFrame)) == 2)
        order = [getattr(frame, "context_id", None) for frame in told.frames if isinstance(frame, pc.TTSAudioRawFrame | pc.TTSStoppedFrame)]
        assert order == sorted(order)  # each stop right behind its own speech
        assert [frame.context_id for frame in told.of(pc.TTSStoppedFrame)] == ["one", "two"]
        assert len(told.of(pc.BotStartedSpeakingFrame)) == 2
        assert {frame.sample_rate for frame in told.of(pc.TTSAudioRawFrame)} == {pc.RATE}
        said = sum(len(frame.audio) for frame in told.of(pc.TTSAudioRawFrame)) / 2
        assert said == (0.6 + 0.41) * pc.RATE
        await until(lambda: not out.seen[-1])
        assert 18 <= sum(out.seen) <= 32
        assert out.sizes == {256 * 192 * 3}

        await made.say(8.0, "three")
        await until(lambda: out.seen[-1])
        count = len(told.of(pc.BotStoppedSpeakingFrame))
        await made.worker.queue_frame(pc.InterruptionFrame())
        await until(lambda: len(told.of(pc.BotStoppedSpeakingFrame)) == count + 1)
        await until(lambda: not out.seen[-1])
        loud = out.loud
        await asyncio.sleep(0.15)
        assert out.loud == loud
        assert loud < 5 * pc.RATE

        out.heard.clear()
        told.frames.clear()
        await made.say(0.5, "four")
        await made.worker.queue_frame(pc.EndFrame())
        await until(lambda: told.of(pc.EndFrame))
        assert sum(len(frame.audio) for frame in told.of(pc.TTSAudioRawFrame)) / 2 == 0.5 * pc.RATE
        assert [frame.context_id for frame in told.of(pc.TTSStoppedFrame)] == ["four"]  # of the third, that was broken off, none
        assert isinstance(told.of(pc.TTSStoppedFrame | pc.EndFrame)[-1], pc.EndFrame)  # type: ignore[arg-type]


async def test_a_transport_that_counts_pictures_gets_as_many_as_it_counts_and_a_cancelled_one_ends(pc: Any) -> None:
    async with pc.call(live=False, rate=48_000, fps=30.0) as made:
        counts: dict[int, int] = {}
        due = made.service._due

        def counted(tick: int) -> int:
            counts[tick] = due(tick)
            return counts[tick]

        made.service._due = counted  # type: ignore[method-assign]
        await until(lambda: len(counts) >= 25)
        ticks = sorted(counts)
        assert set(counts.values()) <= {1, 2}
        for first in range(0, len(ticks) - 5, 5):
            if ticks[first + 4] - ticks[first] == 4:
                assert sum(counts[tick] for tick in ticks[first : first + 5]) == 6  # 30 for each 25
        await made.say(20)
        await until(lambda: made.out.loud > 1000)
        assert {frame.sample_rate for frame in made.told.of(pc.TTSAudioRawFrame)} == {48_000}


def test_what_does_not_exist_is_refused(pc: Any) -> None:
    with pytest.raises(Fault, match="nobody"):
        pc.MyTalkVideoService(actor="nobody", store=FakeStore())
    with pytest.raises(Fault, match="1000 pictures a second"):
        pc.MyTalkVideoService(store=FakeStore(), fps=1000)


@pytest.mark.parametrize("by", [1, 2, 3, 6])
def test_a_rate_below_the_engine_s_is_reached_in_any_pieces_without_holding_back(pc: Any, by: int) -> None:
    time = np.arange(9600) / 48_000
    sound = (10_000 * np.sin(2 * np.pi * 300 * time)).astype(np.int16)
    whole, pieces = pc.Down(by)(sound), pc.Down(by)
    assert np.array_equal(np.concatenate([pieces(sound[at : at + 1920]) for at in range(0, 9600, 1920)]), whole)
    assert len(whole) == 9600 // by
    delay = 48 if by > 1 else 0  # 1 ms
    expected = 10_000 * np.sin(2 * np.pi * 300 * (np.arange(len(whole)) * by - delay) / 48_000)
    assert np.abs(whole[200:] - expected[200:]).max() < 60
    above = (10_000 * np.sin(2 * np.pi * (48_000 / by * 0.62) * time)).astype(np.int16)
    assert by == 1 or np.abs(pc.Down(by)(above)[200:]).max() < 150  # nothing is folded back


def test_pictures_are_as_late_as_their_sound_and_no_later_than_that(pc: Any) -> None:
    """Sound that comes after the last was heard leaves a hole, in whichever transport: what follows is later, until a pause."""
    service, clock = pc.MyTalkVideoService(store=FakeStore(), fps=30), VirtualClock()
    service._clock, service._plays = clock, 0.0
    given = []
    for tick in range(75):
        clock.jump(0.04 + 0.1 * (tick == 20))
        if tick < 50:
            service._heard(1920)
        given.append(service._due(tick))
    assert [sum(given[first : first + 5]) for first in (5, 10, 20, 25, 30, 45)] == [6, 6, 9, 6, 6, 6]
    assert sum(given) == 75 * 30 / 25  # after the pause they are no more than their time has

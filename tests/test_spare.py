"""The engine's process: all conversations have their turn in it; it dies, and a spare one takes over what it did."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from functools import partial

import numpy as np
import pytest

from engines.errors import Fault
from engines.frames import Picture
from engines.spec import TICK
from realtime import engine as supervision
from realtime.clock import WallClock
from realtime.engine import CrashFault, Engine
from realtime.testing import FakePipeline, FakeStore
from realtime.worker import AT_ONCE
from tests.peers import until
from tests.pipelines import Counting, LostCard, Marking, NeverLoads


class Ear:
    """Counts what the engine says of a conversation."""

    def __init__(self) -> None:
        self.begun = self.answers = self.gone = 0
        self.last: Picture | None = None

    def opened(self, look_ahead: int) -> None:
        self.begun += 1

    def answered(self, sequence: int, picture: Picture | None) -> None:
        self.answers, self.last = self.answers + 1, picture

    def lost(self) -> None:
        self.gone += 1

    def refused(self, fault: Fault) -> None:
        raise fault


class Counts(Ear):
    """Notes the first pixel of each picture."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def answered(self, sequence: int, picture: Picture | None) -> None:
        super().answered(sequence, picture)
        if picture is not None:
            self.counts.append(int(picture[0, 0]))


class Refused(Ear):
    """Keeps the fault."""

    fault: Fault | None = None

    def refused(self, fault: Fault) -> None:
        self.fault = fault


async def test_steps_of_talk_say_what_the_machine_can_after_a_busy_start() -> None:
    engine, ear = Engine(FakeStore(), WallClock(), FakePipeline, actor="presenter", spare_s=60), Ear()
    await engine.start()
    try:
        talk = engine.open("presenter", ear)
        await until(lambda: ear.begun == 1)
        speech = np.full(TICK, 0.5, np.float32)
        for loud in (False, True):
            engine.costs = {1: 9.0, 2: 18.0}  # as if something else had taken all the time then
            for tick in range(30):
                engine.hear(talk, tick, speech * loud)
            before = ear.answers
            await until(lambda: ear.answers == before + 30)  # noqa: B023
            assert (engine.costs == {1: 9.0, 2: 18.0}) != loud  # pictures of silence may cost nothing
        assert engine.costs[2] <= 2 * engine.costs[1] < 2.0
    finally:
        await engine.close()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(FakeStore(), WallClock(), partial(FakePipeline, cost=0.005), actor="presenter", spare_s=0.05)
    await engine.start()
    yield engine
    await engine.close()


async def test_a_spare_process_takes_over_and_is_replaced(engine: Engine) -> None:
    ear = Ear()
    talk = engine.open("presenter", ear)
    await until(lambda: ear.begun == 1 and engine.spare_pid is not None)
    first, spare, costs = engine.pid, engine.spare_pid, engine.costs
    assert first is not None
    assert spare is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: ear.begun == 2)
    assert (engine.pid, engine.restarts, ear.gone, engine.costs) == (spare, 1, 1, costs)
    engine.hear(talk, 0, np.zeros(TICK, np.float32))
    await until(lambda: ear.answers == 1)
    await until(lambda: engine.spare_pid not in (None, spare))  # a new one

    waits = engine.spare_pid
    assert waits is not None
    os.kill(waits, signal.SIGKILL)  # the spare itself dies: nobody notices, another waits
    await until(lambda: engine.spare_pid not in (None, waits))
    assert (engine.pid, engine.restarts, ear.begun) == (spare, 1, 2)


async def test_a_process_that_hangs_is_replaced_though_nobody_waits_for_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "SWITCH_S", 1.0)
    await until(lambda: engine.spare_pid is not None and engine.spare_ready)
    first, spare = engine.pid, engine.spare_pid
    assert first is not None
    assert spare is not None
    os.kill(first, signal.SIGSTOP)
    await until(lambda: engine.pid == spare)
    assert engine.restarts == 1

    await until(lambda: engine.spare_pid is not None and engine.spare_ready)
    hung = engine.spare_pid
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)  # a spare that does not answer does not take over
    os.kill(spare, signal.SIGKILL)
    await until(lambda: engine.restarts == 2 and engine.answers)
    assert engine.pid not in (spare, hung)
    ear = Ear()
    engine.open("presenter", ear)
    await until(lambda: ear.begun == 1)


async def test_a_conversation_that_cannot_be_opened_is_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "OPEN_S", 1.0)
    monkeypatch.setattr(supervision, "HELD_S", 0.1)
    engine, stuck = Engine(NeverLoads(), WallClock(), FakePipeline, actor="presenter", spare_s=0.05), Refused()
    await engine.start()
    try:
        engine.open("second", stuck)
        await until(lambda: stuck.fault is not None)
        assert isinstance(stuck.fault, CrashFault)
        with pytest.raises(CrashFault):
            engine.open("second", stuck)
    finally:
        await engine.close()


async def test_a_conversation_that_is_behind_takes_no_more_than_its_tick_from_others(engine: Engine) -> None:
    behind, others = Ear(), [Ear() for _ in range(3)]
    late, *talks = (engine.open("presenter", ear) for ear in (behind, *others))
    await until(lambda: all(ear.begun == 1 for ear in (behind, *others)))
    for tick in range(40):
        engine.hear(late, tick, np.zeros(TICK, np.float32))
    for talk in talks:
        engine.hear(talk, 0, np.zeros(TICK, np.float32))
    await until(lambda: all(ear.answers for ear in others))
    assert behind.answers < 15  # they were in the next step, together, not behind those forty
    assert engine.backend == "cpu"
    await until(lambda: behind.answers == 40)


async def test_whatever_comes_the_engine_goes_on_stepping() -> None:
    engine, ears = Engine(FakeStore(), WallClock(), Counting, actor="presenter", spare_s=60), [Counts(), Counts()]
    await engine.start()
    try:
        flood, talk = (engine.open("presenter", ear) for ear in ears)
        await until(lambda: all(ear.begun == 1 for ear in ears))
        for tick in range(7):  # as many as its ring holds
            engine.hear(talk, tick, np.zeros(TICK, np.float32))
        for _ in range(3000):
            engine.interrupt(flood)
        await until(lambda: ears[1].answers == 7)
        assert max(ears[1].counts) <= AT_ONCE + 2 * 2
    finally:
        await engine.close()


async def test_a_card_that_is_lost_ends_the_process_and_no_conversation() -> None:
    engine, ear = Engine(FakeStore(), WallClock(), LostCard, actor="presenter", spare_s=0.05), Ear()
    await engine.start()
    try:
        talk = engine.open("second", ear)
        await until(lambda: ear.begun == 1 and engine.spare_pid is not None)
        for tick in range(4):
            engine.hear(talk, tick, np.zeros(TICK, np.float32))
        await until(lambda: ear.begun == 2)
        assert (ear.answers, ear.gone, engine.restarts) == (3, 1, 1)
    finally:
        await engine.close()


async def test_pictures_are_plain_while_more_talk_than_there_is_time_for_care() -> None:
    engine, ears = Engine(FakeStore(), WallClock(), partial(Marking, cost=0.011), actor="presenter", spare_s=60), [Ear() for _ in range(3)]
    await engine.start()
    try:
        talks: list[int] = []
        for plain, count in ((False, 1), (False, 2), (True, 3)):  # 32 ms may be used
            talks.append(engine.open("presenter", ears[count - 1]))
            await until(lambda: ears[len(talks) - 1].begun == 1)
            assert await said(engine, talks[0], ears[0], count) == plain
        engine.shut(talks[2])
        assert not await said(engine, talks[0], ears[0], 4)
    finally:
        await engine.close()


async def said(engine: Engine, talk: int, ear: Ear, turn: int) -> bool:
    """Whether the picture of a conversation's next few ticks is plain; the turns are counted from 1."""
    for tick in range(4 * turn - 4, 4 * turn):  # one after the other: an engine that is late makes plain pictures, too
        engine.hear(talk, tick, np.zeros(TICK, np.float32))
        await until(partial(lambda answered: ear.answers > answered, tick))
    assert ear.last is not None
    return bool(ear.last[0, 0])


async def test_an_idle_engine_is_measured_again_and_large_actors_are_scaled_and_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "AGAIN_S", 0.1)
    options = {"actor": "presenter", "spare_s": 0.05, "largest": 400, "label": "AI-generated"}
    engine, ear = Engine(FakeStore(size=(1600, 800)), WallClock(), FakePipeline, **options), Ear()
    await engine.start()
    try:
        await until(lambda: engine.ready)
        engine.costs = {1: 9.0}  # as if something else had taken all the time then
        await until(lambda: engine.costs[1] < 1.0 and 2 in engine.costs)
        assert engine.size == (1600, 800)
        talk = engine.open("presenter", ear)
        await until(lambda: ear.begun == 1)
        for tick in range(4):
            engine.hear(talk, tick, np.zeros(TICK, np.float32))
        await until(lambda: ear.answers == 4)
        assert ear.last is not None
        assert ear.last.shape == (300, 400)  # 400 x 200, as I420
        assert abs(float(ear.last[50, 5]) - 60) < 3
        corner = ear.last[175:200, 300:]
        assert corner.max() > 180
        assert (corner > 120).mean() > 0.02
    finally:
        await engine.close()

"""A session in time that only the script moves: pacing, interruption, back-pressure, late engines, the end of speech."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import numpy as np

from realtime.conversation import Conversation
from realtime.engine import Engine
from realtime.intake import LULL, Stream
from realtime.surroundings import State, Surroundings
from realtime.testing import InlineEngine, VirtualClock
from realtime.timeline import TICK_S, WIRE_RATE, Float


@dataclass
class Script:
    """A session, and what left it: (when, media tick, loudness, whether the picture is loud)."""

    clock: VirtualClock
    engine: InlineEngine
    session: Conversation = field(init=False)
    left: list[tuple[float, int, float, bool]] = field(default_factory=list)
    sound: list[Float] = field(default_factory=list)
    said: list[tuple[float, int, float]] = field(default_factory=list)
    told: list[tuple[str, float, int]] = field(default_factory=list)
    held_ticks: int = 0
    delays: list[float] = field(default_factory=list)

    # session.Outlet

    def say(self, tick: int, sound: Float) -> None:
        self.said.append((self.clock.now(), tick, float(np.abs(sound).max())))

    def show(self, tick: int, sound: Float, picture: Any) -> None:
        self.left.append((self.clock.now(), tick, float(np.abs(sound).max()), picture is not None and bool(picture[0, 0] > 100)))
        self.sound.append(sound)

    def hush(self) -> None:
        pass

    # session.Gauges

    def left_(self, added: float | None) -> None:
        if added is not None:
            self.delays.append(added)

    def held(self, ticks: int) -> None:
        self.held_ticks += ticks

    # session.Follower

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name in ("speaking", "played", "idle"):
            return lambda stream: self.told.append((name, self.clock.now(), stream.played))
        if name == "interrupted":
            return lambda stream, heard, dropped: self.told.append((name, heard, dropped))
        if name == "ended":
            return lambda: None
        raise AttributeError(name)

    def __hash__(self) -> int:
        return id(self)

    def loud(self) -> list[int]:
        return [tick for _, tick, level, _ in self.left if level > 0.1]

    def seen(self) -> list[int]:
        return [tick for _, tick, _, picture in self.left if picture]


class _Gauges:
    def __init__(self, script: Script) -> None:
        self.left, self.held = script.left_, script.held


@asynccontextmanager
async def script(cost: Callable[[int], float] = lambda tick: 0.02, **limits: float) -> AsyncIterator[Script]:
    clock = VirtualClock()
    made = Script(clock, InlineEngine(clock, cost))
    around = Surroundings(cast(Engine, made.engine), clock, _Gauges(made), **cast(Any, limits))
    made.session = Conversation("one", "presenter", "", around, lambda session: None)
    made.session.attach(made)
    made.session.followers.add(made)
    made.session.begin()
    await clock.advance(1.0)
    yield made
    await made.session.close()


def tone(seconds: float) -> Float:
    return (0.5 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * WIRE_RATE)) / WIRE_RATE)).astype(np.float32)


def spoken(made: Script) -> Float:
    """All sound from the first loud sample on."""
    sound = np.concatenate(made.sound)
    return sound[int(np.argmax(np.abs(sound) > 0)) :]


async def test_a_minute_of_talk_leaves_tick_by_tick_with_its_pictures() -> None:
    async with script() as made:
        stream = Stream(60 * WIRE_RATE)
        made.session.say(stream, tone(60))
        stream.end()
        await made.clock.advance(61.5)
        ticks = [tick for _, tick, _, _ in made.left]
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))  # no hole, no twin
        times = [when for when, *_ in made.left]
        assert max(b - a for a, b in pairwise(times)) <= TICK_S + 1e-6
        assert [tick for _, tick, _ in made.said] == [*ticks, *range(ticks[-1] + 1, made.said[-1][1] + 1)]
        beats = [when for when, *_ in made.said[1:]]
        assert all(abs(b - a - TICK_S) < 1e-6 for a, b in pairwise(beats))  # sound leaves on the beat
        assert made.loud() == made.seen()[:1500]  # the picture of a tick leaves with its sound
        assert len(made.seen()) <= 1501  # the way to 16 kHz is 1 ms long: the last of it falls into the next tick
        assert len(made.loud()) == 1500
        assert made.held_ticks == 0
        assert max(made.delays) <= 2 * TICK_S + 0.021
        said = tone(60)[1:]  # the first sample of a sine is none
        assert np.allclose(spoken(made)[: len(said)], said, atol=1e-6)


async def test_an_interruption_is_silent_from_its_own_tick_on_and_new_speech_follows_at_once() -> None:
    async with script() as made:
        stream = Stream(60 * WIRE_RATE)
        made.session.say(stream, tone(60))
        await made.clock.advance(10.0)
        heard = stream.played
        broken = made.session.interrupt()
        count, upto = len(made.left), len(made.said)
        assert round(broken.heard * WIRE_RATE) == heard
        assert broken.heard + broken.dropped == 60
        assert made.told[-1] == ("interrupted", heard, 60 * WIRE_RATE - heard)
        await made.clock.advance(1.0)
        after = made.left[count:]
        assert all(level < 0.01 for *_, level in made.said[upto:])
        assert not any(picture for _, _, _, picture in after[2:])
        count = len(made.left)
        made.session.say(stream, tone(1))
        await made.clock.advance(0.2)
        assert any(level > 0.1 for _, _, level, _ in made.left[count:])
        assert made.session.generation == 1


async def test_a_stream_that_is_full_says_so_and_keeps_its_bound() -> None:
    async with script() as made:
        stream, most = Stream(2 * WIRE_RATE), 0

        async def pour() -> None:
            nonlocal most
            for block in np.array_split(tone(30), 600):
                while not stream.room:
                    await made.clock.sleep_until(made.clock.now() + TICK_S)
                made.session.say(stream, block)
                most = max(most, stream.waiting)
            stream.end()

        pouring = asyncio.create_task(pour())
        await made.clock.advance(31.5)
        await pouring
        assert most <= 2 * WIRE_RATE + 2400
        assert len(made.loud()) == 750
        assert made.held_ticks == 0


async def test_a_late_engine_holds_the_picture_and_nothing_of_a_stream_is_lost() -> None:
    async with script(lambda tick: 0.6 if tick == 100 else 0.02) as made:
        stream = Stream(20 * WIRE_RATE)
        made.session.say(stream, tone(20))
        stream.end()
        await made.clock.advance(23)
        assert made.held_ticks >= 8
        assert len([level for _, _, level, _ in made.left if level > 0.1]) in (500, 501)  # the fall into a hold may count
        assert made.told[-1][0] == "idle"
        assert made.told[-1][2] == 20 * WIRE_RATE
        ticks = [tick for _, tick, _, _ in made.left]
        assert ticks == sorted(set(ticks))


async def test_a_crash_of_the_engine_loses_nothing_of_a_stream() -> None:
    async with script() as made:
        stream = Stream(20 * WIRE_RATE)
        made.session.say(stream, tone(10))
        stream.end()
        await made.clock.advance(4)
        made.engine.crash(2.0)
        await made.clock.advance(9)
        assert stream.played == 10 * WIRE_RATE
        assert 245 <= len(made.loud()) <= 252
        assert made.held_ticks >= 40
        late = [when for when, *_ in made.left]
        assert max(b - a for a, b in pairwise(late)) <= 5 * TICK_S + 1e-6  # the picture holds, sound is silence


async def test_the_end_of_speech_leaves_though_it_fills_no_tick() -> None:
    async with script() as made:
        stream = Stream()
        made.session.say(stream, tone(1.01))  # nobody says that this is the end
        await made.clock.advance(1.0 + LULL + 0.3)
        assert stream.played == len(tone(1.01))
        kinds = [kind for kind, _, _ in made.told]
        assert kinds[0] == "speaking"
        assert kinds[-1] == "idle"
        assert kinds.count("idle") == 1
        places = [place for kind, _, place in made.told if kind == "played"]
        assert places == sorted(places)
        assert made.told[-1][2] == len(tone(1.01))


async def test_speech_at_the_pace_of_talk_has_no_holes() -> None:
    async with script() as made:
        stream, rng = Stream(), np.random.default_rng(5)
        for block in np.array_split(tone(10), 500):  # 20 ms each, up to 15 ms late
            made.session.say(stream, block)
            await made.clock.advance(0.02 + float(rng.uniform(-0.005, 0.005)))
        stream.end()
        await made.clock.advance(1)
        loud = made.loud()
        assert loud == list(range(loud[0], loud[0] + len(loud)))
        assert 250 <= len(loud) <= 251


async def test_two_streams_take_turns_and_none_is_cut() -> None:
    async with script() as made:
        one, two = Stream(), Stream()
        for stream in (one, two):
            made.session.say(stream, tone(2))
        one.end()
        two.end()
        await made.clock.advance(4.5)
        assert one.played == two.played == 2 * WIRE_RATE
        assert len(made.loud()) == 100
        assert [kind for kind, _, _ in made.told if kind in ("speaking", "idle")] == ["speaking", "speaking", "idle"]


async def test_a_session_of_silence_comes_to_its_limit() -> None:
    async with script(idle_s=5.0) as made:
        stream = Stream()
        made.session.say(stream, tone(3))
        stream.end()
        await made.clock.advance(7)
        assert made.session.state is not State.ENDED
        await made.clock.advance(3)
        assert made.session.state is State.ENDED

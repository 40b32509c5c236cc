"""What adapters of frameworks share, in time that only the script moves: ends once, positions, interruption, slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from realtime.conversation import Conversation
from realtime.plug.face import AHEAD, PICTURES, End, Face, Shown, Sound, conversation_of_its_own, mono
from realtime.testing import FakeStore, InlineEngine, VirtualClock
from realtime.timeline import WIRE_RATE


@dataclass
class Script:
    """A face whose items are taken at once, unless `pause` is set."""

    clock: VirtualClock
    engine: InlineEngine
    conversation: Conversation
    face: Face
    taken: list[tuple[float, Any]] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self) -> None:
        async for item in self.face.items():
            self.taken.append((self.clock.now(), item))
            await self.go.wait()

    def of(self, kind: type) -> list[Any]:
        return [item for _, item in self.taken if isinstance(item, kind)]

    def samples(self, tag: object) -> int:
        return sum(len(item.samples) for item in self.of(Sound) if item.segment.tag == tag)


@asynccontextmanager
async def script(cost: Callable[[int], float] = lambda tick: 0.02) -> AsyncIterator[Script]:
    clock = VirtualClock()
    engine = InlineEngine(clock, cost)
    conversation = conversation_of_its_own(cast(Any, engine), "presenter", FakeStore(), clock, lambda ended: None)
    made = Script(clock, engine, conversation, Face(conversation, clock))
    made.go.set()
    conversation.begin()
    taking = asyncio.create_task(made.take())
    await clock.advance(0.5)
    yield made
    await conversation.close()
    await taking  # the end of the conversation is the end of its items


def tone(seconds: float, rate: int = WIRE_RATE) -> bytes:
    return (16000 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * rate)) / rate)).astype("<i2").tobytes()


async def say(made: Script, seconds: float, tag: object, rate: int = WIRE_RATE, piece: float = 0.02) -> asyncio.Task[Any]:
    async def push() -> Any:
        data, size = tone(seconds, rate), 2 * int(rate * piece)
        for at in range(0, len(data), size):
            await made.face.push(data[at : at + size], rate, tag=tag)
        return await made.face.finish()

    return asyncio.create_task(push())


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 48_000, 192_000])
async def test_a_segment_leaves_whole_with_pictures_in_step_and_one_end(rate: int) -> None:
    async with script() as made:
        assert not made.of(Sound)  # idle: pictures only
        assert len(made.of(Shown)) > 5
        pushing = await say(made, 3.013, "one", rate)
        await made.clock.advance(4)
        assert (await pushing).tag == "one"
        assert made.samples("one") == -(-round(3.013 * rate) * WIRE_RATE // rate)
        assert [end.segment.tag for end in made.of(End)] == ["one"]
        times = [when for when, item in made.taken if isinstance(item, Sound)]
        assert max(np.diff(times)) < 0.041
        order = [type(item) for _, item in made.taken]
        last = len(order) - 1 - order[::-1].index(Sound)
        assert Shown in order[last : order.index(End)]  # its picture, too
        loud = [when for when, item in made.taken if isinstance(item, Shown) and item.picture[0, 0] > 100]
        assert abs(loud[0] - times[0]) < 0.03
        assert abs(loud[-1] - times[-1]) < 0.05


async def test_segments_one_after_the_other_and_none_at_all() -> None:
    async with script() as made:
        for tag in "abc":
            await (await say(made, 0.5, tag))
        assert await made.face.finish() is None  # nothing was said
        await made.clock.advance(4)
        assert [end.segment.tag for end in made.of(End)] == ["a", "b", "c"]
        assert {tag: made.samples(tag) for tag in "abc"} == dict.fromkeys("abc", WIRE_RATE // 2)
        tags = [item.segment.tag for _, item in made.taken if isinstance(item, Sound | End)]
        assert tags == sorted(tags)  # nothing of the next before the end of the one before

        for part in (tone(0.3), tone(0.2)):  # the end comes long after the last sample was heard
            await made.face.push(part, WIRE_RATE, tag="late")
            await made.clock.advance(1)
        assert made.samples("late") == WIRE_RATE // 2
        await made.face.finish()
        await made.clock.advance(0.1)
        assert [end.segment.tag for end in made.of(End)] == ["a", "b", "c", "late"]
        await asyncio.wait_for(made.face.settled(), 1)


async def test_a_hundred_segments_half_of_them_interrupted_at_random_moments() -> None:
    moments = np.random.default_rng(5)
    async with script(lambda tick: 0.001 + 0.05 * (tick % 17 == 0)) as made:
        whole = []
        for tag in range(100):
            pushing = await say(made, float(moments.uniform(0.03, 0.5)), tag, int(moments.choice([16_000, 24_000, 48_000])))
            if tag % 2:
                await made.clock.advance(float(moments.uniform(0, 0.7)))
                ended = any(end.segment.tag == tag for end in made.of(End))
                made.face.interrupt()
                count = len(made.taken)
                await made.clock.advance(float(moments.uniform(0, 0.2)))
                assert not any(isinstance(item, Sound | End) for _, item in made.taken[count:])
                whole += [tag] * ended
            else:
                await made.clock.advance(1.2)
                whole.append(tag)
            assert pushing.done()
            await asyncio.wait_for(made.face.settled(), 1)
        assert [end.segment.tag for end in made.of(End)] == whole
        assert len(set(whole)) == len(whole) > 50


async def test_who_is_slow_finds_the_newest_pictures_and_all_speech() -> None:
    async with script() as made:
        made.go.clear()
        await made.clock.advance(3)
        pushing = await say(made, 5.0, "long")
        await made.clock.advance(3)
        assert not pushing.done()
        assert not made.conversation.report()["waiting_ms"]  # nobody takes anything: nothing is said
        made.go.set()
        await made.clock.advance(1)
        made.go.clear()  # in mid-speech
        await made.clock.advance(20)
        kept = list(made.face._items)
        assert sum(isinstance(item, Shown) for item in kept) <= PICTURES
        assert sum(len(item.samples) for item in kept if isinstance(item, Sound)) <= AHEAD + WIRE_RATE
        assert not pushing.done()
        made.go.set()
        await made.clock.advance(6)
        assert made.samples("long") == 5 * WIRE_RATE
        assert len(made.of(End)) == 1


async def test_an_interruption_by_somebody_else_ends_what_was_finished_and_drops_the_rest_of_what_was_not() -> None:
    async with script() as made:
        await (await say(made, 1.0, "finished"))
        await made.clock.advance(0.3)
        made.conversation.interrupt()
        await made.clock.advance(0.1)
        assert [end.segment.tag for end in made.of(End)] == ["finished"]
        await made.face.push(tone(0.3), WIRE_RATE, tag="open")
        await made.clock.advance(0.2)
        made.conversation.interrupt()
        heard = made.samples("open")
        await made.face.push(tone(0.3), WIRE_RATE, tag="open")
        await made.face.finish()
        await made.clock.advance(0.5)
        assert made.samples("open") == heard
        assert [end.segment.tag for end in made.of(End)] == ["finished", "open"]


async def test_where_the_conversation_ends_every_segment_that_is_finished_does() -> None:
    async with script() as made:
        await (await say(made, 1.0, "one"))
        pushing = await say(made, 20.0, "two")
        await made.clock.advance(0.5)
        await made.conversation.close()
        await made.clock.advance(0.1)
        assert [end.segment.tag for end in made.of(End)] == ["one"]
        assert await pushing is None
        await asyncio.wait_for(made.face.settled(), 1)


async def test_an_engine_that_ends_loses_nothing() -> None:
    async with script() as made:
        await (await say(made, 1.5, "one"))
        await made.clock.advance(0.5)
        made.engine.crash(0.5)
        await made.clock.advance(3)
        assert made.samples("one") == 1.5 * WIRE_RATE
        assert len(made.of(End)) == 1


def test_channels_are_mixed() -> None:
    assert mono(np.array([100, 300, -50, 50], "<i2").tobytes(), 2) == np.array([200, 0], "<i2").tobytes()

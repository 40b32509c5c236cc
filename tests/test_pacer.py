"""Pacing and times in virtual time: an engine of declared cost, a clock that only the script moves."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from realtime.intake import CUSHION, MOST, Microphone, Stream, ToEngine
from realtime.pacer import Kind, Pacer
from realtime.testing import VirtualClock
from realtime.timeline import TICK_S, WIRE_RATE, WIRE_TICK, next_origin, picture_pts, sound_pts, start_of


@dataclass
class Talk:
    """What a simulated conversation did."""

    left: list[tuple[float, int, int]] = field(default_factory=list)  # (when sound left, media tick, which tick of speech)
    held: list[tuple[float, int]] = field(default_factory=list)
    owed: int = 0  # pictures that the engine owed at worst
    fed: list[float] = field(default_factory=list)  # when each tick of speech was given to the engine
    pacer: Pacer = field(default_factory=lambda: Pacer(0))


def simulate(seconds: float, cost: Callable[[int], float], look_ahead: int = 2, kind: Kind = Kind.STREAM) -> Talk:
    """One conversation and an engine that takes `cost(n)` seconds for its n-th tick, one after the other."""
    talk = Talk(pacer=Pacer(look_ahead))
    pacer, free = talk.pacer, 0.0
    events = [(n * TICK_S, 1, n) for n in range(int(seconds / TICK_S))]
    heapq.heapify(events)
    while events:
        now, what, n = heapq.heappop(events)
        if what == 1:
            step = pacer.tick(kind)
            if step.feed:
                free = max(free, now) + cost(len(talk.fed))
                heapq.heappush(events, (free, 0, len(talk.fed)))
                talk.fed.append(now)
            if step.leaves:
                talk.left.append((now, pacer.left - 1, len(talk.left)))
            elif step.holds:
                talk.held.append((now, pacer.left - 1))
        else:
            pacer.answered()
            if n >= look_ahead and not pacer.started:
                pacer.begin()
                talk.left.append((now, pacer.left - 1, 0))
            talk.owed = max(talk.owed, pacer.owed)
    return talk


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_an_engine_in_time_gives_every_tick_once_at_its_own_time(look_ahead: int) -> None:
    talk = simulate(60, lambda n: 0.02, look_ahead)
    assert not talk.held
    assert [tick for _, tick, _ in talk.left] == list(range(talk.left[0][1], talk.left[0][1] + len(talk.left)))
    delays = [when - talk.fed[speech] for when, _, speech in talk.left]
    assert max(delays) <= look_ahead * TICK_S + 0.021
    assert len(talk.left) >= 60 * 25 - look_ahead - 2


def test_jitter_within_the_slack_holds_nothing() -> None:
    talk = simulate(60, lambda n: 0.09 if n % 50 == 20 else 0.01)
    assert not talk.held
    assert talk.pacer.lag <= 0


def test_a_late_engine_holds_and_a_stream_loses_nothing() -> None:
    talk = simulate(20, lambda n: 0.5 if n == 100 else 0.01)
    assert 5 <= len(talk.held) <= 12
    spoken = [speech for _, _, speech in talk.left]
    assert spoken == list(range(len(spoken)))  # every tick, in order
    media = sorted([tick for _, tick, _ in talk.left] + [tick for _, tick in talk.held])
    assert len(set(media)) == len(media)
    assert 0 < talk.pacer.lag < 12  # it waits with its sound, and no longer than the engine was late


@pytest.mark.parametrize("kind", [Kind.LIVE, Kind.SILENCE])
def test_after_a_late_engine_live_speech_is_current_again(kind: Kind) -> None:
    talk = simulate(20, lambda n: 0.5 if n == 100 else 0.01, kind=kind)
    assert talk.held
    assert talk.pacer.lag <= 0
    late = [when - talk.fed[speech] for when, _, speech in talk.left if when > 8]
    assert max(late) <= 2 * TICK_S + 0.02


@pytest.mark.parametrize("kind", [Kind.LIVE, Kind.STREAM])
def test_an_engine_that_is_always_too_slow_never_lets_the_delay_grow(kind: Kind) -> None:
    talk = simulate(60, lambda n: 0.06, kind=kind)
    delays = [when - talk.fed[speech] for when, _, speech in talk.left]
    assert max(delays) <= 0.6
    assert np.mean(delays[-100:]) <= np.mean(delays[100:200]) + TICK_S
    media = [tick for _, tick, _ in talk.left]
    assert media == sorted(set(media))
    assert abs(talk.pacer.left - 60 * 25) < 12  # media time keeps to the clock


def test_a_slow_first_tick_is_made_up_for_in_silence() -> None:
    talk = simulate(10, lambda n: 0.4 if n == 0 else 0.01, kind=Kind.SILENCE)
    assert talk.pacer.lag <= 0


def test_a_restarted_engine_goes_on_at_the_clocks_media_time() -> None:
    pacer = Pacer(1)
    times = []
    for n in range(200):
        if n == 100:
            pacer.reset()
        step = pacer.tick(Kind.SILENCE, not 60 <= n < 100)
        if step.leaves:
            times.append(pacer.left - 1)
        if step.feed:
            pacer.answered()
        if n == 1:
            pacer.begin()
            times.append(pacer.left - 1)
    assert times == sorted(set(times))
    assert pacer.held >= 35
    assert times[-1] == 198


def test_ticks_do_not_drift() -> None:
    assert start_of(90_000, 5.0) == 3605.0
    assert next_origin(10.001) == pytest.approx(10.04)
    assert picture_pts(25) == 90_000
    assert sound_pts(25) == WIRE_RATE


def test_a_microphone_is_bounded_and_drops_the_oldest() -> None:
    microphone = Microphone()
    for n in range(100):
        microphone.put(np.full(960, n / 100, np.float32), n * 0.02)
    assert microphone.ready
    speech = microphone.take()
    assert speech.sound[-1] > 0.9  # the newest is near
    assert microphone.dropped >= 100 * 960 - MOST - WIRE_TICK


def test_a_microphones_passing_delay_does_not_stay() -> None:
    microphone = Microphone()
    late = 0.0
    for n in range(400):
        microphone.put(np.zeros(WIRE_TICK, np.float32), n * TICK_S)
        if n == 0:
            microphone.put(np.zeros(WIRE_TICK * 2, np.float32), 0.0)  # a burst
        assert microphone.ready
        late = n * TICK_S - microphone.take().arrived
    assert late <= 0.045
    assert 0 < microphone.dropped <= WIRE_TICK * 2


def spoken_into(microphone: Microphone, seconds: float, late: Callable[[int], float]) -> tuple[list[float], int]:
    """Packets of 20 ms, each so much later than its time, taken by a tick: delays of what was taken, and holes."""
    arrivals = sorted((n * 0.02 + late(n), n) for n in range(int(seconds / 0.02)))
    delays, holes, at = [], 0, 0
    for tick in range(int(seconds / TICK_S)):
        now = tick * TICK_S + 0.031  # the tick falls anywhere between packets
        while at < len(arrivals) and arrivals[at][0] <= now:
            microphone.put(np.zeros(960, np.float32), arrivals[at][0])
            at += 1
        if microphone.ready:
            delays.append(now - microphone.take().arrived)
        else:
            holes += microphone.starve()
    return delays, holes


def test_a_microphones_buffer_is_as_deep_as_packets_are_late() -> None:
    microphone = Microphone()
    first, holes = spoken_into(microphone, 5, lambda n: 0.0)
    assert not holes
    later, holes = spoken_into(microphone, 60, lambda n: 0.0)
    assert not holes
    assert np.mean(later[-100:]) <= np.mean(first[:50])
    assert max(later[-100:]) <= 0.021
    shaken, late = Microphone(), np.random.default_rng(2).uniform(0, 0.05, 6000)
    delays, holes = spoken_into(shaken, 120, lambda n: late[n])
    assert holes <= 3  # it learns how late packets are, and does not forget it too soon
    assert np.mean(delays[-500:]) <= 0.09


def test_a_microphone_that_stutters_gathers_again_before_it_speaks() -> None:
    microphone = Microphone()
    microphone.put(np.zeros(WIRE_TICK, np.float32), 0.0)
    assert not microphone.ready
    microphone.put(np.zeros(CUSHION, np.float32), 0.01)
    microphone.take()
    assert not microphone.ready
    microphone.starve()
    microphone.put(np.zeros(WIRE_TICK - CUSHION, np.float32), 0.02)
    assert not microphone.ready


def test_a_stream_gives_every_sample_once() -> None:
    rng = np.random.default_rng(1)
    sound = rng.uniform(-1, 1, 100_003).astype(np.float32)
    stream = Stream()
    at = 0
    while at < len(sound):
        size = int(rng.integers(1, 5000))
        stream.put(sound[at : at + size], 0.0)
        at += size
    given = []
    while stream.ready:
        given.append(stream.take(0.0))
    assert not given[-1].sound.size % WIRE_TICK
    stream.end()
    given.append(stream.take(0.0))
    stream.give_back(given[-2:])
    given[-2:] = [stream.take(0.0), stream.take(0.0)]
    whole = np.concatenate([speech.sound for speech in given])
    assert np.array_equal(whole[: len(sound)], sound)
    assert not whole[len(sound) :].any()
    assert not stream.ready


def test_the_way_to_the_engine_is_the_same_in_ticks_and_whole_and_keeps_the_tone() -> None:
    time = np.arange(WIRE_TICK * 50) / WIRE_RATE
    tone = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    high = (0.5 * np.sin(2 * np.pi * 11_000 * time)).astype(np.float32)
    to_engine = ToEngine()
    heard = np.concatenate([to_engine(block) for block in (tone + high).reshape(50, WIRE_TICK)])
    assert heard.shape == (640 * 50,)
    wanted = 0.5 * np.sin(2 * np.pi * 440 * (np.arange(640 * 50) / 16_000 - 48 / WIRE_RATE))
    assert np.abs(heard - wanted)[640:].max() < 2e-3


async def test_virtual_time_wakes_in_order() -> None:
    import asyncio

    clock, woken = VirtualClock(), []

    async def sleeper(when: float) -> None:
        await clock.sleep_until(when)
        woken.append((when, clock.now()))

    tasks = [asyncio.create_task(sleeper(when)) for when in (0.3, 0.1, 0.2)]
    await clock.advance(0.25)
    assert woken == [(0.1, 0.1), (0.2, 0.2)]
    await clock.advance(1)
    await asyncio.gather(*tasks)
    assert woken[-1] == (0.3, 0.3)

"""What a machine carries, and what it leaves out when it cannot: pure, in ticks."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.load import MOST, Costs, Overload, careful, quicker


def test_pictures_are_made_with_care_while_there_is_time() -> None:
    assert [careful(alone) for alone in (0.04, 0.02, 0.0155, 0.0079)] == [0, 1, 2, 4]


@pytest.mark.parametrize(
    ("engine", "wire", "cores", "carried"),
    [
        ({1: 0.016, 2: 0.030, 4: 0.058}, 0.008, 2, 2),  # the engine's core is full with two
        ({1: 0.016, 2: 0.030, 4: 0.058}, 0.008, 1, 1),
        ({1: 0.002, 2: 0.003, 4: 0.005}, 0.008, 2, 7),  # the wires are
        ({1: 0.050, 2: 0.100, 4: 0.200}, 0.008, 2, 1),  # too slow for one: it gets fewer pictures
        ({1: 0.0, 2: 0.0, 4: 0.0}, 0.0, 2, MOST),
        ({1: 0.004, 64: 0.006, 256: 0.012, 512: 0.024}, 0.0, 16, 512),  # a card: as many as were measured, and no more
        ({1: 0.004, 64: 0.012, 128: 0.024, 256: 0.048}, 0.0, 16, 170),
        ({1: 0.004, 64: 0.012, 128: 0.024, 256: 0.048}, 0.004, 16, 122),  # sending is on its processor
        ({1: 0.010}, 0.0, 64, 3),
    ],
)
def test_what_was_measured_says_how_many_sessions_fit(engine: dict[int, float], wire: float, cores: int, carried: int) -> None:
    assert Costs(engine, wire, cores).carried() == carried


def test_a_viewer_takes_less_room_than_a_session() -> None:
    costs = Costs({1: 0.014, 2: 0.028, 4: 0.056}, 0.006, 2)
    assert costs.fits(2, 5)
    assert not costs.fits(2, 7)
    assert not costs.fits(3, 3)


def test_a_large_actor_counts_as_several() -> None:
    costs = Costs({1: 0.004, 2: 0.008, 4: 0.016}, 0.004, 2, 512 * 512, 512 * 512)
    assert costs.weight(512 * 512) == costs.weight(256 * 256) == 1
    assert costs.weight(2560 * 2560) > 3
    assert costs.wires(1280 * 1280, 2) == 12.5
    assert costs.fits(costs.weight(2560 * 2560), costs.wires(1280 * 1280, 1))
    assert not costs.fits(2 * costs.weight(2560 * 2560), costs.wires(2560 * 2560, 2))


def test_what_was_measured_in_a_busy_moment_is_forgotten() -> None:
    busy = {1: 0.05}
    assert Costs(busy, 0.002, 2).carried() == 1
    now = quicker(busy, 1, 0.008)
    assert now == {1: 0.008}
    now = quicker(now, 2, 0.012)
    assert now == {1: 0.008, 2: 0.012}
    assert Costs(now, 0.002, 2).carried() > 4
    assert quicker({1: 0.05, 2: 0.1, 4: 0.2}, 1, 0.008) == pytest.approx({1: 0.008, 2: 0.016, 4: 0.032})
    assert quicker(now, 2, 0.2) == now


def simulate(cost: float, seconds: float, other: float = 0.0) -> tuple[float, float, Overload]:
    """Pictures cost `cost`, hearing costs `other`: share of pictures made, and ticks that waited, both in the second half."""
    overload, made, waited, free = Overload(), [], [], 0.0
    done = 0
    while free < seconds:
        now = max(free, done * 0.04)
        waiting = int(now / 0.04) - done + 1
        overload.step(waiting)
        waited.append(waiting)
        seen = 0 not in overload.unseen([(1, done)])
        made.append(seen)
        free = now + other + (cost if seen else 0.0)
        done += 1
    return float(np.mean(made[len(made) // 2 :])), float(np.mean(waited[len(waited) // 2 :])), overload


def test_an_engine_in_time_leaves_nothing_out() -> None:
    assert simulate(0.03, 60)[0] == 1.0


@pytest.mark.parametrize(("cost", "other", "least", "most"), [(0.05, 0.01, 0.4, 0.65), (0.06, 0.02, 0.25, 0.45), (0.1, 0.01, 0.25, 0.4)])
def test_an_engine_that_is_too_slow_leaves_out_pictures_and_its_delay_does_not_grow(
    cost: float, other: float, least: float, most: float
) -> None:
    share, waited, overload = simulate(cost, 120, other)
    assert least <= share <= most  # it tries more of them again, ever more rarely
    assert waited < 2.5
    assert overload.every > 1


def test_after_a_passing_overload_all_pictures_are_made_again() -> None:
    overload = Overload()
    for _ in range(30):
        overload.step(4)
    assert overload.every == 3
    for _ in range(200):
        overload.step(1)
    assert overload.every == 1


def test_neighbours_take_turns() -> None:
    overload = Overload()
    for _ in range(5):
        overload.step(3)
    assert overload.every == 2
    rows = [overload.unseen([(1, tick), (2, tick), (3, tick), (4, tick)]) for tick in range(4)]
    assert all(len(row) == 2 for row in rows)
    assert set(rows[0]) ^ set(rows[1]) == {0, 1, 2, 3}

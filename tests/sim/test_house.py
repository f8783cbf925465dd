"""Whole runs on a virtual clock, a few hundred seeds: everything finishes, once, in order, within its slots."""

import random

import pytest
from house import House, row_key

from disbatch.core.driver_events import Ending

SEEDS = range(150)


def a_list(seed: int) -> tuple[bytes, dict[bytes, int]]:
    """A task file with everything in it, and the exit codes of its commands."""
    chance = random.Random(seed)
    lines = [b"#DISBATCH PERENGINE START up"] * chance.randint(0, 2) + [
        b"#DISBATCH PERENGINE STOP down"
    ] * chance.randint(0, 2)
    for number in range(chance.randint(0, 60)):
        what = chance.random()
        if what < 0.08:
            lines.append(b"#DISBATCH BARRIER")
        elif what < 0.12:
            lines.append(b"#DISBATCH REPEAT %d r%d" % (chance.randint(0, 120), number))
        else:
            lines.append(b"t%d" % number)
    codes = {b"t%d" % number: chance.choice((0, 0, 0, 1, -9)) for number in range(60)}
    return b"\n".join(lines), codes


def slots(seed: int) -> list[int]:
    chance = random.Random(seed + 1_000_000)
    return [chance.choice((1, 1, 2, 4, 16)) for _ in range(chance.randint(1, 5))]


def mean_s(seed: int) -> float:
    return random.Random(seed).choice((0.0005, 0.02, 1.0, 100.0))


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_is_done_once(seed: int) -> None:
    text, codes = a_list(seed)
    house = House(seed, text, slots(seed), codes=codes, mean_s=mean_s(seed))
    assert house.run() is Ending.COMPLETE
    assert house.recorded == house.tasks
    assert {row_key(row)[1] for row in house.rows if row_key(row)[0] == "B"} == set(house.barriers)
    assert not house.driver.left
    tasks = [count for (kind, _, _), count in house.spawned.items() if kind == "T"]
    assert len(tasks) == len(house.tasks) and set(tasks) <= {1}


@pytest.mark.parametrize("seed", SEEDS)
def test_per_engine_commands_run_once_on_each_engine_that_works(seed: int) -> None:
    text = b"#DISBATCH PERENGINE START a\n#DISBATCH PERENGINE START b\n#DISBATCH PERENGINE STOP z\n#DISBATCH REPEAT 9 x"
    house = House(seed, text, slots(seed), mean_s=mean_s(seed))
    house.run()
    assert house.recorded == house.tasks
    for engine in house.engines:
        starts = [house.spawned[("A", i, engine.rank)] for i in (0, 1)]
        assert starts in ([1, 1], [1, 0], [0, 0])  # an engine may come when all is done
        assert house.spawned[("Z", 0, engine.rank)] == starts[0]
        if any(kind == "T" and rank == engine.rank for kind, _, rank in house.spawned):
            assert starts == [1, 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_failed_check_ends_the_run_behind_its_barrier(seed: int) -> None:
    text = b"#DISBATCH REPEAT 7 x\nbad\n#DISBATCH REPEAT 5 x\n#DISBATCH BARRIER CHECK\n#DISBATCH REPEAT 9 y"
    house = House(seed, text, slots(seed), codes={b"bad": 1}, mean_s=mean_s(seed))
    assert house.run() is Ending.CHECK
    assert house.recorded == set(range(13))
    assert house.driver.left


@pytest.mark.parametrize("seed", SEEDS)
def test_a_start_command_that_fails_everywhere_ends_the_run(seed: int) -> None:
    text = b"#DISBATCH PERENGINE START bad\n#DISBATCH REPEAT 5 x"
    house = House(seed, text, slots(seed), codes={b"bad": 1})
    assert house.run() is Ending.NO_ENGINE
    assert house.recorded == set() and house.driver.left


@pytest.mark.parametrize("seed", SEEDS)
def test_signals_stop_a_run_whenever_they_come(seed: int) -> None:
    text, codes = a_list(seed)
    house = House(seed, text, slots(seed), codes=codes, mean_s=mean_s(seed))
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        house.signal(chance.expovariate(1.0), chance.choice((Ending.SIGINT, Ending.SIGINT, Ending.SIGTERM)))
    ending = house.run()
    assert ending in (Ending.SIGINT, Ending.SIGTERM, Ending.COMPLETE)
    if house.recorded != house.tasks:
        assert ending is not Ending.COMPLETE and house.driver.left
    stopped = [row for row in house.rows if row_key(row)[0] == "T" and row.returncode == -15]
    assert stopped == []  # what we stopped has no row


@pytest.mark.parametrize("seed", SEEDS)
def test_fail_fast_stops_a_run_at_its_first_failure(seed: int) -> None:
    text = b"#DISBATCH REPEAT 30 x\nbad\n#DISBATCH REPEAT 3000 x"
    house = House(seed, text, slots(seed), codes={b"bad": 1}, mean_s=1.0, fail_fast=True)
    assert house.run() is Ending.FAIL_FAST
    assert 30 in house.recorded and house.driver.left


def test_two_runs_of_one_seed_are_the_same() -> None:
    text, codes = a_list(5)
    runs = [House(5, text, [2, 3], codes=codes) for _ in range(2)]
    assert [house.run() for house in runs] == [Ending.COMPLETE] * 2
    assert runs[0].rows == runs[1].rows and runs[0].now == runs[1].now


def test_the_checks_see_a_task_that_is_recorded_twice_and_a_barrier_that_is_met_too_early() -> None:
    house = House(1, b"a\nb\n#DISBATCH BARRIER\nc", [2])
    house.run()
    house.rows.append(house.rows[0])
    with pytest.raises(AssertionError):
        house.check_rows()
    house.rows.pop()
    house.rows[:] = sorted(house.rows, key=lambda row: row_key(row) != ("B", 2))
    with pytest.raises(AssertionError, match="too early"):
        house.check_rows()

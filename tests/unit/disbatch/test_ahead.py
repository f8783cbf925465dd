"""How much an engine holds ahead, by the pace of what ends, and when it gives up holding."""

import pytest

from disbatch.core.ahead import AHEAD_MAX, STILL_S, Ahead


def steady(slots: int, task_s: float, until_s: float = 2.0) -> Ahead:
    """An engine whose slots have run tasks of this length, one after the other, for some time."""
    ahead = Ahead(slots)
    ahead.came(0.0, slots)
    ahead.started(0.0, slots)
    rounds = max(1, int(until_s / task_s))
    for number in range(1, rounds + 1):
        ahead.came(number * task_s, slots)
        ahead.ended(number * task_s, slots, task_s)
        ahead.started(number * task_s, slots)
    return ahead


@pytest.mark.parametrize(
    ("slots", "task_s", "least", "most"),
    [
        (2, 0.001, 80, 120),  # 2,000 a second: 50 ms of that
        (8, 0.004, 80, 120),
        (8, 0.1, 8, 8),  # one for each slot
        (8, 5.0, 0, 1),
        (1, 1e-6, AHEAD_MAX, AHEAD_MAX),
    ],
)
def test_some_fifty_milliseconds_of_work(slots: int, task_s: float, least: int, most: int) -> None:
    until_s = 0.01 if task_s < 1e-4 else 2.0
    assert least <= steady(slots, task_s, until_s).demand - slots <= most


def test_the_pace_is_known_after_the_first_tasks() -> None:
    ahead = steady(8, 0.01, 0.02)
    assert 20 <= ahead.demand - 8 <= 60


def test_long_tasks_in_most_slots_slow_the_pace_although_the_short_ones_are_more() -> None:
    ahead = steady(8, 0.01, 0.5)
    assert ahead.demand - 8 > 30
    for number in range(100):  # seven slots are taken by long ones
        ahead.came(0.5 + number * 0.01, 1)
        ahead.started(0.5 + number * 0.01, 1)
        ahead.ended(0.51 + number * 0.01, 1, 0.01)
    assert ahead.demand - 8 == 8  # of one slot alone


def test_many_tasks_in_no_time_at_all() -> None:
    ahead = Ahead(1)
    ahead.started(0.0, 1)
    ahead.ended(0.0, 1, 0.0)
    assert 1 <= ahead.demand <= 1 + AHEAD_MAX


def test_who_waits_longest_decides() -> None:
    ahead = Ahead(1)
    ahead.started(0.0, 1)
    ahead.came(0.0, 2)
    ahead.came(STILL_S, 5)
    assert ahead.too_long(STILL_S)
    ahead.started(STILL_S, 2)
    assert not ahead.too_long(STILL_S)
    assert ahead.too_long(2 * STILL_S)
    ahead.gave_back()
    assert not ahead.too_long(9.0)


def test_tasks_that_end_together_are_no_pace_that_lasts() -> None:
    """128 tasks of 25 s that were started together: the next ones take as long."""
    ahead = Ahead(128)
    ahead.came(0.0, 128)
    ahead.started(0.0, 128)
    ahead.ended(25.0, 128, 25.0)
    assert ahead.demand == 128
    ahead.ended(25.1, 1, 0.01)  # a short one among them: there may be more of its kind
    assert ahead.demand > 140


def test_a_short_task_of_long_ago_says_nothing_of_those_to_come() -> None:
    ahead = steady(128, 0.01)
    ahead.ended(30.0, 128, 25.0)
    assert ahead.demand == 128

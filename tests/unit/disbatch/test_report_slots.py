"""What the times of tasks tell: how many slots there were, which ran in which, how busy they were, when the tail began."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disbatch.report.slots import busy_curve, lay_out, phases, slots_needed


def run_on(slots: int, durations: list[float], pause: float = 0.0) -> tuple[list[float], list[float]]:
    """Start and end of each task on so many slots, rounded as in a status file."""
    free = [1000.0] * slots
    starts, finishes = [], []
    for duration in durations:
        slot = min(range(slots), key=free.__getitem__)
        starts.append(round(free[slot], 3))
        free[slot] += duration
        finishes.append(round(free[slot], 3))
        free[slot] += pause
    return starts, finishes


@pytest.mark.parametrize(
    ("starts", "finishes", "wanted"),
    [
        ([], [], 0),
        ([5.0], [6.0], 1),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], 1),  # one after the other, touching
        ([0.0, 0.0, 2.0], [3.0, 3.0, 3.0], 3),
        ([0.0, 0.999], [1.0, 2.0], 1),  # rounding made them overlap
        ([0.0, 3599.0], [3600.0, 7200.0], 1),  # a clock that was being set right while an hour passed
        ([0.0, 3500.0], [3600.0, 7200.0], 2),
        ([0.0, 0.0], [0.0, 0.0], 1),  # no time at all
    ],
)
def test_slots_needed(starts: list[float], finishes: list[float], wanted: int) -> None:
    assert slots_needed(starts, finishes) == wanted


@given(st.integers(1, 12), st.lists(st.floats(0.01, 50.0), min_size=1, max_size=60))
def test_slots_are_never_more_than_there_were(slots: int, durations: list[float]) -> None:
    starts, finishes = run_on(slots, durations)
    assert slots_needed(starts, finishes) <= slots
    if len(durations) >= slots:
        assert (
            slots_needed(starts, finishes) == slots
        )  # all begin at the same moment, and each takes 10 ms or more


@given(st.integers(1, 8), st.lists(st.floats(0.01, 20.0), min_size=1, max_size=60), st.randoms())
def test_no_two_tasks_in_one_slot(slots: int, durations: list[float], random) -> None:
    starts, finishes = run_on(slots, durations)
    order = list(range(len(starts)))
    random.shuffle(order)
    starts, finishes = [starts[i] for i in order], [finishes[i] for i in order]
    layout = lay_out(starts, finishes, slots)
    by_slot: dict[int, list[tuple[float, float]]] = {}
    for slot, start, finish in zip(layout.slot, starts, finishes, strict=True):
        assert 0 <= slot < slots
        by_slot.setdefault(slot, []).append((start, finish))
    for tasks in by_slot.values():
        tasks.sort()
        for (_, ended), (began, _) in pairwise(tasks):
            assert began >= ended - 0.02


def test_gaps_are_the_pauses_between_tasks() -> None:
    starts, finishes = run_on(2, [1.0, 3.0, 1.0, 1.0, 2.0], pause=0.25)
    gaps = list(lay_out(starts, finishes, 2).gaps_s)
    assert gaps == pytest.approx([0.25] * 3)


def test_more_tasks_at_a_time_than_slots_are_laid_out_all_the_same() -> None:
    layout = lay_out([0.0, 0.0, 0.0], [5.0, 5.0, 5.0], 2)
    assert sorted(layout.slot) == [0, 0, 1] or sorted(layout.slot) == [0, 1, 1]


def test_busy_curve_of_hand_made_tasks() -> None:
    #        0    1    2    3    4
    # one    ██████████
    # two         █████████████████
    assert busy_curve([0.0, 1.0], [2.0, 4.0], 0.0, 4.0, 4) == pytest.approx([1.0, 2.0, 1.0, 1.0])
    assert busy_curve([0.5], [1.25], 0.0, 2.0, 2) == pytest.approx([0.5, 0.25])
    assert busy_curve([], [], 0.0, 2.0, 2) == [0.0, 0.0]
    assert busy_curve([1.0], [1.0], 1.0, 1.0, 2) == [0.0, 0.0]


@given(st.lists(st.tuples(st.floats(0, 90), st.floats(0, 10)), max_size=40), st.integers(1, 50))
def test_busy_curve_keeps_the_area(tasks: list[tuple[float, float]], bins: int) -> None:
    starts, finishes = [s for s, _ in tasks], [s + d for s, d in tasks]
    curve = busy_curve(starts, finishes, 0.0, 100.0, bins)
    assert sum(curve) * 100.0 / bins == pytest.approx(
        sum(f - s for s, f in zip(starts, finishes, strict=True)), abs=1e-6
    )


def test_the_tail_begins_when_a_slot_runs_empty() -> None:
    # three slots; the last task begins at 4, the first slot runs empty at 5, the last task ends at 9
    starts, finishes = [0.0, 0.0, 0.0, 4.0], [4.0, 5.0, 6.0, 9.0]
    (phase,) = phases(starts, finishes, [])
    assert (phase.begin_s, phase.tail_s, phase.end_s) == (0.0, 5.0, 9.0)


def test_a_task_run_again_at_the_end_does_not_hide_the_tail() -> None:
    # two slots busy until 50, one until 60; at 90 a lost task begins once more
    starts = [*map(float, range(0, 50, 10)), *map(float, range(0, 60, 10)), 90.0]
    finishes = [*map(float, range(10, 60, 10)), *map(float, range(10, 70, 10)), 95.0]
    (phase,) = phases(starts, finishes, [])
    assert (phase.tail_s, phase.end_s) == (50.0, 95.0)


def test_tasks_that_trickle_in_have_no_tail() -> None:
    starts = [float(n) for n in range(0, 100, 10)]
    finishes = [start + (15.0 if n == 3 else 9.0) for n, start in enumerate(starts)]
    (phase,) = phases(starts, finishes, [])
    assert phase.tail_s == phase.end_s


def test_barriers_cut_a_run_into_phases() -> None:
    starts, finishes = [0.0, 0.0, 5.0, 5.0], [2.0, 5.0, 6.0, 8.0]
    first, second = phases(starts, finishes, [5.0])
    assert (first.begin_s, first.tail_s, first.end_s) == (0.0, 2.0, 5.0)
    assert (second.begin_s, second.tail_s, second.end_s) == (5.0, 6.0, 8.0)
    assert sorted([*first.tasks, *second.tasks]) == [0, 1, 2, 3]


def test_barriers_without_tasks_between_make_no_phase() -> None:
    assert len(phases([0.0, 9.0], [1.0, 10.0], [2.0, 3.0, 9.0, 11.0])) == 2
    assert phases([], [], [2.0]) == []


def test_a_lone_task_has_no_tail() -> None:
    (phase,) = phases([1.0], [3.0], [])
    assert phase.tail_s == phase.end_s == 3.0

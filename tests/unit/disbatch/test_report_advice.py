"""Advice in numbers: what other counts of slots and another order would do, and when there is nothing to say."""

import random
from pathlib import Path

import pytest
from report_builders import EPOCH_S, barrier, report_of, row, write

from disbatch.report.advice import EXACT_TASKS, replay
from disbatch.report.terminal import figures
from disbatch.report.usage import UsageTable


def run_on(slots: int, durations: list[float]) -> list[bytes]:
    """Status lines of a run that always gives the next task to the slot that is free first."""
    free, lines = [0.0] * slots, []
    for task_id, duration in enumerate(durations):
        slot = min(range(slots), key=free.__getitem__)
        lines.append(row(task_id, free[slot], free[slot] + duration))
        free[slot] += duration
    return lines


@pytest.mark.parametrize(
    ("durations", "slots", "wanted"),
    [
        ([], 3, 0.0),
        ([5.0], 3, 5.0),
        ([1.0, 1.0, 1.0, 1.0], 1, 4.0),
        ([1.0, 1.0, 1.0, 1.0], 2, 2.0),
        ([1.0, 2.0, 3.0], 2, 4.0),
        ([3.0, 2.0, 1.0], 2, 3.0),
    ],
)
def test_replay(durations: list[float], slots: int, wanted: float) -> None:
    assert replay(durations, slots) == wanted


def test_a_long_list_is_replayed_in_part_and_comes_out_alike() -> None:
    rng = random.Random(3)
    durations = [rng.expovariate(0.5) for _ in range(12 * EXACT_TASKS)]
    free = [0.0] * 7
    for duration in durations:
        slot = min(range(7), key=free.__getitem__)
        free[slot] += duration
    assert replay(durations, 7) == pytest.approx(max(free), rel=0.001)


def test_fewer_slots_for_a_list_with_a_long_tail(tmp_path: Path) -> None:
    r = report_of(write(tmp_path / "x", *run_on(10, [1.0] * 40 + [20.0])))
    advice = r.slot_advice
    assert advice is not None
    assert (advice.now.slots, advice.now.wall_s) == (10, 24.0)
    assert advice.now.busy_share == pytest.approx(60 / 240)
    # 60 s of work, 20 s of them in the last task: two slots need 40 s, three 34 s
    assert (advice.suggested.slots, advice.suggested.wall_s) == (1, 60.0)
    assert advice.longest_first_s == 20.0
    text = " ".join(r.advice)
    assert (
        "Slots: 1 suit" in text
        and "the 10 that there were need 24.0 s and are 25 % busy: 0.0500 core-hours saved" in text
    )
    assert (
        "Order: with the longest tasks at the top of the list, 10 slots need 20.0 s instead of 24.0 s."
        in text
    )


def test_what_fewer_slots_save(tmp_path: Path) -> None:
    # 660 s of work; on 12 slots 50 s and the last task, on two 300 s and the last task
    r = report_of(write(tmp_path / "x", *run_on(12, [10.0] * 60 + [60.0])))
    advice = r.slot_advice
    assert advice is not None
    assert (advice.now.wall_s, advice.shortest_s, advice.longest_first_s) == (110.0, 60.0, 60.0)
    assert (advice.suggested.slots, advice.suggested.wall_s) == (2, 360.0)
    assert "50 % busy: 0.17 core-hours saved" in r.advice[0]  # 12 x 110 s less 2 x 360 s


def test_more_slots_for_a_list_that_is_long_enough(tmp_path: Path) -> None:
    r = report_of(write(tmp_path / "x", *run_on(2, [1.0] * 400)))
    assert r.slot_advice is not None
    assert r.slot_advice.suggested.slots >= 200  # each then runs two
    assert r.slot_advice.suggested.busy_share >= 0.9
    assert any(f"Slots: {r.slot_advice.suggested.slots} suit this list" in line for line in r.advice)


def test_barriers_limit_the_slots(tmp_path: Path) -> None:
    lines = []
    for phase in range(5):
        at = 10.0 * phase
        lines += [row(9 * phase + n, at, at + 10.0) for n in range(8)]
        lines.append(barrier(9 * phase + 8, at, at + 10.0))
    r = report_of(write(tmp_path / "x", *lines))
    assert r.slot_advice is not None
    assert r.slot_advice.suggested.slots == 8
    assert r.advice == ["Slots: 8, as many as there were, suit this list."]


def test_time_that_is_lost_elsewhere_is_said(tmp_path: Path) -> None:
    lines = [row(0, 0, 5), row(1, 0, 5), row(2, 300, 305), row(3, 300, 305)]
    assert any(
        line.startswith("The run took 5:05, although 2 slots need only") for line in report_of(write(tmp_path / "x", *lines)).advice
    )  # fmt: skip


def test_short_tasks_are_to_be_bundled(tmp_path: Path) -> None:
    lines = [row(n, 0.01 * n, 0.01 * n + 0.004) for n in range(200)]
    r = report_of(write(tmp_path / "x", *lines))
    assert "Short tasks: 4 ms each, and a pause of 6 ms before the next. With 30 commands in a line, pauses would be a twentieth of the time." in r.advice  # fmt: skip


def test_a_slow_node_and_a_failing_node(tmp_path: Path) -> None:
    lines = []
    for n in range(30):
        lines.append(row(3 * n, 10 * n, 10 * n + 2, node="a"))
        lines.append(row(3 * n + 1, 10 * n, 10 * n + 2, node="b"))
        lines.append(row(3 * n + 2, 10 * n, 10 * n + 9, node="c", code=n % 2))
    text = " ".join(report_of(write(tmp_path / "x", *lines)).advice)
    assert "Slow node: c needs 9.00 s for the median task, the others 2.00 s." in text
    assert "Failing node: 15 of 15 failures happened on c." in text
    assert "Slow node: a" not in text and "Slow node: b" not in text


def test_leaks_are_named(tmp_path: Path) -> None:
    r = report_of(write(tmp_path / "x", row(0, 0, 1, out="hello\n"), row(1, 1, 2)))
    assert "Output: 1 task printed 6 B that nobody caught, from line 1 of the list; redirect it, for example with #DISBATCH SUFFIX." in r.advice  # fmt: skip


def usage(*lines: str) -> UsageTable:
    table = UsageTable()
    for line in lines:
        table.add(line.encode(), "usage")
    return table


def usage_line(task: int, elapsed: float, cpu: float, peak_kib: int, cores: int = 4, node: str = "n1") -> str:
    return f"task\t{task}\t-1\t1\t{node}\t0\t{cores}\t0\t{EPOCH_S:.3f}\t{elapsed:.3f}\t{cpu:.3f}\t{peak_kib}"


def test_usage_figures(tmp_path: Path) -> None:
    path = write(tmp_path / "x", row(0, 0, 10), row(1, 10, 20), row(2, 20, 30, command="greedy"))
    table = usage(
        "#node\tn1\t0\t6\t16\t1048576\tcontext",
        usage_line(0, 10, 10, 1000),
        usage_line(1, 10, 10, 2000),
        usage_line(2, 10, 20, 300_000),
    )
    r = report_of(path, usages=[table])
    u = r.usage
    assert u is not None
    assert (u.tasks, u.cpu_s, u.core_s, u.efficiency, u.cores_per_slot) == (
        3,
        40,
        120,
        pytest.approx(1 / 3),
        4,
    )
    assert (u.peak_median_kib, u.peak_p95_kib, u.peak_largest_kib) == (2000, 300_000, 300_000)
    assert (u.largest[0][0], u.largest[0][1].command) == (300_000, "greedy")
    assert [(n.memory_kib, n.slots, n.largest_peak_kib) for n in u.nodes] == [(1048576, 6, 300_000)]
    assert r.slots == 6  # as the engine said, although one was in use at a time
    assert (r.core_time.used_s, r.core_time.known) == (120, True)
    text = " ".join(r.advice)
    assert "Cores: tasks use 1.3 of the 4 cores of their slot; -c 2 would make room for more slots." in text
    assert "Memory: a task of 293 MiB in each of the 6 slots of n1 is more than its 1.0 GiB; there is room for 3 such tasks at a time." in text  # fmt: skip


def test_peaks_that_are_bounds_are_shown_as_such_and_advise_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "x", row(0, 0, 10), row(1, 10, 20), row(2, 20, 30, command="greedy"))
    node = "#node\tn1\t0\t6\t16\t65536\tcontext"
    small = [usage_line(0, 10, 10, 2000) + "\t<=", usage_line(1, 10, 10, 30_000) + "\t<="]
    r = report_of(path, usages=[usage(node, *small, usage_line(2, 10, 20, 300_000) + "\t=")])
    assert r.usage is not None and r.usage.vague_peak_kib == 30_000
    assert dict(figures(r))["Memory"] == "median <= 29 MiB, 95 % within 293 MiB, largest 293 MiB"
    assert [(peak, task.command) for peak, task in r.usage.largest] == [(300_000, "greedy")]
    assert any("there is room for 1 such task" in line for line in r.advice)
    r = report_of(path, usages=[usage(node, *small)])
    assert dict(figures(r))["Memory"] == "median <= 2.0 MiB, 95 % within <= 29 MiB, largest <= 29 MiB"
    assert r.usage is not None and r.usage.largest == []
    assert not any("Memory:" in line for line in r.advice)


def test_no_advice_on_cores_where_they_are_used(tmp_path: Path) -> None:
    path = write(tmp_path / "x", row(0, 0, 10))
    assert not any(
        "Cores:" in line for line in report_of(path, usages=[usage(usage_line(0, 10, 38, 1))]).advice
    )
    more = report_of(path, usages=[usage(usage_line(0, 10, 38, 1, cores=1))]).advice
    assert "Cores: tasks use 3.8 cores, their slots have 1; -c 4 sets them aside." in more

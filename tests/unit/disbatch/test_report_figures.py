"""Reports of hand-made status files: every figure is one that can be worked out on paper."""

from pathlib import Path

import pytest
from report_builders import EPOCH_S, barrier, report_of, row, write

from disbatch.report import rows as rows_module
from disbatch.report.figures import durations_of, percentile


def test_percentiles_are_values_that_occurred() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert percentile(hundred, 50) == 50.0
    assert percentile(hundred, 95) == 95.0
    assert percentile([7.0], 95) == 7.0
    assert percentile([1.0, 9.0], 50) == 1.0
    assert percentile([1.0, 2.0, 9.0], 95) == 9.0
    assert durations_of([]) is None


def test_a_run_on_one_node(tmp_path: Path) -> None:
    # two slots:  |0 0 0 0|2 2|      0: 0-4, 2: 4-6
    #             |1 1|3 3 3 3 3 3|  1: 0-2, 3: 2-8
    path = write(tmp_path / "x_status.txt", row(1, 0, 2), row(0, 0, 4), row(2, 4, 6, code=3), row(3, 2, 8))
    r = report_of(path)
    assert (r.tasks, r.failed, r.lost, r.earlier, r.repaired) == (4, 1, 0, 0, 0)
    assert (r.begin_s, r.end_s, r.wall_s) == (EPOCH_S, EPOCH_S + 8, 8.0)
    assert r.durations is not None
    assert (r.durations.median_s, r.durations.p95_s, r.durations.longest_s, r.durations.mean_s) == (
        2,
        6,
        6,
        3.5,
    )
    assert [t.task_id for t in r.longest] == [3, 0, 1, 2]
    assert r.longest[0].command == "work 3"
    (node,) = r.nodes
    assert (node.slots, node.tasks, node.failed, node.busy_slot_s, node.capacity_slot_s) == (2, 4, 1, 14, 16)
    (run,) = r.runs
    (tail,) = run.tails
    assert (tail.begin_s - EPOCH_S, tail.end_s - EPOCH_S, tail.idle_slot_s, tail.line_no) == (6, 8, 2, 0)
    assert (r.core_time.used_s, r.core_time.idle_s, r.core_time.idle_tail_s) == (14, 2, 2)
    assert r.busy_share == pytest.approx(14 / 16)


def test_nodes_count_from_their_first_task(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x",
        row(0, 0, 10, node="n10"),
        row(1, 0, 10, node="n10"),
        row(2, 4, 6, node="n9", code=-9),
        row(3, 6, 10, node="n9"),
    )
    r = report_of(path)
    assert [(n.name, n.slots, n.failed, n.busy_slot_s, n.capacity_slot_s) for n in r.nodes] == [
        ("n9", 1, 1, 6, 6),
        ("n10", 2, 0, 20, 20),
    ]
    assert [n.busy_share for n in r.nodes] == [1.0, 1.0]
    assert r.slots == 3


def test_the_tail_counts_a_node_from_when_it_came(tmp_path: Path) -> None:
    # a: two slots until 10, one of them goes on until 20; b joins at 14
    lines = [row(0, 0, 10, node="a"), row(1, 0, 20, node="a"), row(2, 14, 16, node="b")]
    (tail,) = report_of(write(tmp_path / "x", *lines)).runs[0].tails
    assert (tail.begin_s - EPOCH_S, tail.end_s - EPOCH_S) == (16, 20)
    assert tail.idle_slot_s == 4 + 4
    lines = [row(n, 0, 10, node="a") for n in range(3)] + [row(3, 0, 20, node="a"), row(4, 14, 16, node="b")]
    (tail,) = report_of(write(tmp_path / "x", *lines)).runs[0].tails
    assert (tail.begin_s - EPOCH_S, tail.idle_slot_s) == (10, 30 + 4)


def test_tails_before_barriers_are_told_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x",
        row(0, 0, 1),
        row(1, 0, 4),
        barrier(2, 1, 4),
        row(3, 4, 6),
        row(4, 4, 9),
        barrier(5, 6, 9),
    )
    r = report_of(path)
    assert r.barriers == 2
    assert r.tasks == 4
    first, last = r.runs[0].tails
    assert (first.begin_s - EPOCH_S, first.end_s - EPOCH_S, first.idle_slot_s, first.line_no) == (1, 4, 3, 3)
    assert (last.begin_s - EPOCH_S, last.end_s - EPOCH_S, last.idle_slot_s, last.line_no) == (6, 9, 3, 0)
    assert (r.core_time.idle_barriers_s, r.core_time.idle_tail_s, r.core_time.idle_s) == (3, 3, 6)


def test_failures_are_grouped(tmp_path: Path) -> None:
    lines = [
        row(n, n, n + 1, code=2, err=f"no licence\nat line {n + 98}\n", node=f"n{n % 2}") for n in range(5)
    ]
    lines += [row(9, 0, 1, code=-11), row(10, 0, 1)]
    r = report_of(write(tmp_path / "x", *lines))
    assert [(f.count, f.returncode, f.message, f.example.task_id, f.nodes) for f in r.failures] == [
        (5, 2, "at line 98", 0, 2),
        (1, -11, "", 9, 1),
    ]
    assert r.failures[1].how == "killed by SIGSEGV"


def test_too_many_kinds_of_messages_are_taken_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "MAX_REASONS", 3)
    words = ["one", "two", "three", "four", "four", "five"]
    lines = [row(n, n, n + 1, code=1, err=word) for n, word in enumerate(words)]
    r = report_of(write(tmp_path / "x", *lines))
    assert sum(f.count for f in r.failures) == 6
    assert {(f.count, f.message) for f in r.failures} == {(1, "one"), (1, "two"), (4, "(other messages)")}


def test_per_engine_commands_are_no_tasks(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x",
        row(0, 0, 1, flags="   P", command="setup"),
        row(0, 0, 1, flags="R  P", code=1),
        row(0, 1, 3),
    )
    r = report_of(path)
    assert (r.tasks, r.failed, r.setup, r.setup_failed) == (1, 0, 2, 1)
    assert r.durations is not None and r.durations.count == 1
    assert r.nodes[0].capacity_slot_s == 3  # the node was there from its first command


def test_a_task_that_could_not_be_started_took_no_time(tmp_path: Path) -> None:
    r = report_of(
        write(tmp_path / "x", row(0, 0, 0, code=7, pid=-1), row(1, 5, 6), row(2, 0, 0, code=-100, pid=-1))
    )
    assert (r.tasks, r.failed, r.lost) == (3, 1, 1)
    assert r.durations is not None and r.durations.count == 1
    assert r.wall_s == 1.0


def test_skipped_rows_are_no_time_of_this_run(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x",
        row(0, -500, -400, flags="   S"),
        row(1, -500, -499, flags="R  S", code=1),
        row(2, 0, 3),
    )
    r = report_of(path)
    assert (r.tasks, r.earlier, r.failed) == (3, 2, 1)
    assert r.wall_s == 3.0
    assert r.durations is not None and r.durations.count == 1


def test_a_chain_of_runs(tmp_path: Path) -> None:
    first = write(
        tmp_path / "a", row(0, 0, 10), row(1, 0, 4, code=1, err="bad\n"), row(2, 4, 10, code=1, err="bad\n")
    )
    second = write(
        tmp_path / "b",
        row(0, 0, 10, flags="   S"),
        row(1, 1000, 1005),
        row(2, 1000, 1002, code=5),
        row(3, 1002, 1006),
    )
    for order in ((first, second), (second, first)):
        r = report_of(*order)
        assert (r.tasks, r.failed, r.earlier, r.repaired) == (4, 1, 0, 1)
        assert r.wall_s == 16.0  # what lies between the runs does not count
        assert r.durations is not None and r.durations.count == 6
        assert [(f.count, f.returncode) for f in r.failures] == [(1, 5)]
        assert r.core_time.used_s == 20 + 11
        assert r.core_time.idle_s == 0 + 1
        assert len(r.runs) == 2
        assert r.notes == []


def test_files_of_different_lists_are_not_mixed_up(tmp_path: Path) -> None:
    first = write(tmp_path / "a", row(0, 0, 1, command="one"), row(1, 0, 1, code=1))
    second = write(tmp_path / "b", row(0, 9, 10, command="another"), row(1, 9, 10))
    r = report_of(first, second)
    assert (r.tasks, r.failed) == (3, 0)
    assert r.notes == [
        "1 task numbers stand for different commands in different files: each counts as a task of its own"
    ]


def test_several_lines_for_a_task_in_one_file(tmp_path: Path) -> None:
    r = report_of(
        write(tmp_path / "a", row(0, 0, 1), row(0, 2, 3, code=1), row(1, 0, 1, code=1), row(1, 2, 3, code=2))
    )
    assert (r.tasks, r.failed, r.repaired) == (2, 1, 1)
    assert r.failures[0].returncode == 2


def test_leaks_by_line(tmp_path: Path) -> None:
    lines = [row(n, n, n + 1, out="x" * 10, line_no=4, command=f"chatty {n}") for n in range(3)]
    lines += [row(7, 0, 1, err="hm\n"), row(8, 0, 1)]
    leaks = report_of(write(tmp_path / "x", *lines)).leaks
    assert (leaks.tasks, leaks.out_bytes, leaks.err_bytes, leaks.lines) == (4, 30, 3, 2)
    assert [(x.line_no, x.tasks, x.out_bytes, x.err_bytes, x.command) for x in leaks.largest] == [
        (4, 3, 30, 0, "chatty 0"),
        (8, 1, 0, 3, "work 7"),
    ]


def test_an_empty_file(tmp_path: Path) -> None:
    r = report_of(write(tmp_path / "x"))
    assert (r.tasks, r.durations, r.longest, r.nodes, r.runs, r.advice) == (0, None, [], [], [], [])
    assert r.busy_share == 0.0


def test_a_command_cannot_move_the_cursor(tmp_path: Path) -> None:
    r = report_of(write(tmp_path / "x", row(0, 0, 1, command="printf '\x1b[2J\ta\x07'")))
    assert r.longest[0].command == "printf '\\x1b[2J\\ta\\x07'"

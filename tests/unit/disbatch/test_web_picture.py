"""The picture behind the web page: rows of the timeline, bars, failures with examples, and what is sent when."""

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import disbatch.web.picture.timeline as tl
from disbatch.core.failures import FailureGroup
from disbatch.core.snapshot import EngineView, RunningView, RunSnapshot
from disbatch.core.status import StatusRecord
from disbatch.web.picture.causes import EXAMPLES, SHOWN_GROUPS, Causes
from disbatch.web.picture.lanes import MOST_ROWS, Lanes
from disbatch.web.picture.picture import KEPT_MESSAGES, PageFacts, Picture
from disbatch.web.picture.timeline import DENSE, MOST_NODES, Bar, Running, Timeline

FACTS = PageFacts("Tasks", "J1", "vm", "/tmp/run_status.txt", 1000.0, "4", False)


def record(
    task_id: int, start: float, finish: float, code: int = 0, node: str = "a", flags: str = "", err: str = ""
) -> StatusRecord:
    flags = flags or ("R   " if code else "    ")
    ids = (flags, task_id, task_id + 1, -1, node, 4711, code)
    return StatusRecord(*ids, finish - start, start, finish, 0, "", len(err), err, f"do {task_id}")


def engine(rank: int = 0, node: str = "a", slots: int = 2, silent_s: float = 0.1) -> EngineView:
    return EngineView(rank, node, "SSH0", "RUNNING", slots, 1, 1, 4, 3, 0, silent_s, None, None, None, None)


def snapshot(at: float = 10.0, **more: object) -> RunSnapshot:
    made = RunSnapshot(
        at, 3, 0, 0, 1, 2, 6, "", "running", (engine(),), 1.5, 2, detail=True, wall_s=1000 + at
    )
    return replace(made, **more)  # type: ignore[arg-type]


# -- rows


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=60))
def test_as_many_rows_as_tasks_ever_ran_side_by_side(tasks: list[tuple[int, int]]) -> None:
    lanes = Lanes()
    lanes.most = 1000
    spans = sorted(((start, start + length) for start, length in tasks), key=lambda span: span[1])
    rows = [lanes.place(key, *span) for key, span in enumerate(spans)]
    for row in set(rows):
        mine = sorted(span for span, at in zip(spans, rows, strict=True) if at == row)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(mine))
    at_once = max((sum(s <= at < f for s, f in spans) for at, _ in spans), default=0)
    assert lanes.count == at_once


def test_what_runs_keeps_its_row() -> None:
    lanes = Lanes()
    lanes.most = 2
    long = lanes.hold(1, 0.0)
    for key in range(2, 9):
        assert lanes.place(key, key, key + 0.5) == 1 - long
        assert lanes.hold(1, 0.0) == long
    assert lanes.place(1, 0.0, 20.0) == long


def test_a_row_that_was_held_for_nothing_is_free_again() -> None:
    lanes = Lanes()
    lanes.most = 1
    assert lanes.hold(1, 0.0) == 0
    lanes.let_go({2}, 5.0)
    assert lanes.place(3, 6.0, 7.0) == 0 and lanes.count == 1


def test_more_at_once_than_slots_is_drawn_over_and_nothing_is_lost_by_it() -> None:
    lanes = Lanes()
    lanes.most = 2
    rows = [lanes.hold(key, 0.0) for key in range(3)]  # the third seems to run and does not
    assert rows == [0, 1, 1]
    for key in range(3):
        lanes.place(key, 0.0, 1.0 + key)
    assert {lanes.place(10, 5.0, 9.0), lanes.place(11, 5.0, 9.0)} == {0, 1}


def test_rows_of_a_node_are_bounded() -> None:
    lanes = Lanes()
    lanes.most = 10 * MOST_ROWS
    for key in range(2 * MOST_ROWS):
        lanes.hold(key, 0.0)
    assert lanes.count == MOST_ROWS


# -- bars


def timeline(slots: int = 2) -> Timeline:
    made = Timeline()
    made.room(0, "a", slots)
    return made


def test_a_bar_for_each_task() -> None:
    t = timeline()
    bars = t.add([record(0, 1, 2), record(1, 1, 3, 7), record(2, 2, 4)])
    assert [(b.row, b.task_id, b.tasks, b.failed, b.returncode) for b in bars] == [
        (0, 0, 1, 0, 0),
        (1, 1, 1, 1, 7),
        (0, 2, 1, 0, 0),
    ]
    assert t.nodes == ["a"] and t.rows == [2] and list(t.bars) == bars


def test_what_is_no_task_of_this_run() -> None:
    t = timeline()
    rows = [record(0, 0, 1, flags="   S"), record(1, 1, 2, flags="B    "), record(0, 2, 3, flags="   P")]
    assert [b.task_id for b in t.add(rows)] == [-1]
    assert list(t.barriers) == [2]


def test_a_running_task_and_its_end_are_in_one_row() -> None:
    t = timeline()
    t.add([record(0, 0, 1)])
    open_bars = t.running([Running("a", 2, 1.5, "long"), Running("a", 1, 1.0, "x" * 1000)], 3.0)
    assert [(o.task_id, o.row) for o in open_bars] == [(1, 0), (2, 1)] and len(open_bars[0].label) < 100
    assert t.add([record(1, 1.0, 4)])[0].row == 0
    assert t.add([record(3, 4, 5)])[0].row == 0
    assert [o.row for o in t.running([Running("a", 2, 1.5, "long")], 5.0)] == [1]


def test_many_short_tasks_become_few_bars_and_every_one_is_counted() -> None:
    t = timeline(4)
    rows = [record(n, n * 0.001, n * 0.001 + 0.004, int(n % 100 == 0)) for n in range(DENSE + 1000)]
    bars = t.add(rows)
    assert len(bars) < 40
    assert sum(b.tasks for b in bars) == len(rows) and sum(b.failed for b in bars) == sum(
        r.returncode for r in rows
    )
    assert all(b.finish_s - b.start_s <= 1.0 for b in bars)


def crowd(slots: int, busy: int, seconds: float, apart_s: float = 0.0) -> list[StatusRecord]:
    """Tasks of 3 to 5 ms on `busy` of the slots, each `apart_s` after the one before it, in the order of their ends."""
    rows = []
    for slot in range(busy):
        at, n = slot * 0.0007, 0
        while at < seconds:
            took = 0.003 + (n * 7 + slot) % 3 * 0.001
            rows.append((at, at + took))
            at, n = at + took + apart_s, n + 1
    rows.sort(key=lambda span: span[1])
    return [record(n, *span, int(n % 50 == 0)) for n, span in enumerate(rows)]


def drawn_s(bars: list[Bar]) -> dict[int, float]:
    found: dict[int, float] = {}
    for bar in bars:
        found[bar.row] = found.get(bar.row, 0.0) + bar.finish_s - bar.start_s
    return found


@pytest.mark.parametrize(("slots", "busy"), [(2, 2), (4, 1), (8, 8), (16, 5)])
def test_a_crowd_is_drawn_as_its_tasks_would_be(slots: int, busy: int) -> None:
    rows = crowd(slots, busy, 3.0)
    at_once, each = timeline(slots), timeline(slots)
    bars = at_once.add(rows)
    one_by_one: list[Bar] = []
    each._draw_each(rows, one_by_one)
    assert sum(b.tasks for b in bars) == len(rows) and sum(b.failed for b in bars) == len(rows[::50])
    assert all(b.failed <= b.tasks and (b.returncode != 0) == (b.failed > 0) for b in bars)
    assert at_once.rows == each.rows == [busy]
    shown, wanted = drawn_s(bars), drawn_s(one_by_one)
    assert all(abs(shown[row] - wanted[row]) < 0.1 for row in wanted)
    assert len(bars) < 6 * busy


def test_a_crowd_leaves_open_where_nothing_ran() -> None:
    t = timeline()
    early, late = crowd(2, 2, 1.0), crowd(2, 2, 1.0)
    rows = early + [r._replace(start_s=r.start_s + 3, finish_s=r.finish_s + 3) for r in late]
    bars = t.add(rows)
    assert all(b.finish_s < 1.1 or b.start_s >= 3 for b in bars)
    assert sum(drawn_s(bars).values()) == pytest.approx(4, abs=0.1)


def test_what_runs_on_beside_a_crowd_keeps_its_row() -> None:
    t = timeline(2)
    (running,) = t.running([Running("a", 10**6, 0.0, "long")], 0.0)
    first = t.add(crowd(2, 1, 1.0))
    assert {b.row for b in first} == {1 - running.row}
    # one of the crowd is seen running at a look, and has ended at the next
    t.running([Running("a", 10**6, 0.0, "long"), Running("a", 5001, 1.01, "short")], 1.012)
    more = [r._replace(task_id=5000 + n, start_s=r.start_s + 1.01, finish_s=r.finish_s + 1.01)
            for n, r in enumerate(crowd(2, 1, 1.0))]  # fmt: skip
    end = record(10**6, 0.0, 2.005)
    bars = t.add([*more, end])
    assert {b.row for b in bars if b.task_id == 10**6} == {running.row}
    assert {b.row for b in bars if b.task_id != 10**6} == {1 - running.row}
    assert sum(b.tasks for b in bars) == len(more) + 1 and not t._lanes[0].held


def test_long_ones_among_a_crowd_are_drawn_one_by_one() -> None:
    t = timeline(2)
    long = record(10**6, 0.21, 0.7)
    later = [r._replace(start_s=r.start_s + 0.21, finish_s=r.finish_s + 0.21) for r in crowd(2, 1, 0.6)]
    rows = sorted([*crowd(2, 2, 0.2), *later, long], key=lambda r: r.finish_s)
    bars = t.add(rows)
    assert [(b.start_s, b.finish_s, b.tasks) for b in bars if b.task_id == 10**6] == [(0.21, 0.7, 1)]
    assert sum(b.tasks for b in bars) == len(rows)
    assert drawn_s(bars) == pytest.approx({0: 0.8, 1: 0.69}, abs=0.1) or drawn_s(bars) == pytest.approx(
        {1: 0.8, 0: 0.69}, abs=0.1
    )


def test_a_clock_that_jumps_costs_nothing() -> None:
    t = timeline()
    rows = [*crowd(2, 2, 1.0), record(10**6, 1e9, 1e9 + 0.004)]
    assert sum(b.tasks for b in t.add(rows)) == len(rows)


def test_long_tasks_stay_apart_however_many_they_are() -> None:
    t = timeline(MOST_ROWS)
    rows = [record(n, n % 10, n % 10 + 0.9) for n in range(DENSE + 10)]
    assert len(t.add(sorted(rows, key=lambda r: r.finish_s))) == DENSE + 10


def test_nodes_beyond_what_is_shown_are_counted() -> None:
    t = Timeline()
    t.add([record(n, 0, 1, node=f"n{n}") for n in range(MOST_NODES + 3)])
    assert len(t.nodes) == MOST_NODES and t.unseen == 3
    assert t.running([Running("other", 1, 0.0, "")], 1.0) == []


# -- failures


def test_examples_are_the_latest_of_each_cause() -> None:
    causes = Causes()
    rows = [record(n, 0, n, 2, err=f"{n}\nno such file {'ab'[n % 2]}{n}\n") for n in range(50)]
    causes.add(rows[:30])
    kept = causes.add(rows[30:])
    assert {e.task_id for _, e in kept} == set(range(30, 50))
    assert [e.task_id for key, e in causes.examples() if key == (2, "no such file a0")] == list(
        range(30, 50, 2)
    )
    assert len(causes.examples()) == 2 * EXAMPLES


def test_examples_are_bounded_in_all() -> None:
    causes = Causes()
    for n in range(3 * SHOWN_GROUPS):
        causes.add([record(n, 0, 1, 1, err="x" * (n % 30) + "y" * (n // 30))])
    assert len(causes.examples()) == SHOWN_GROUPS
    assert causes.examples()[-1][1].task_id == 3 * SHOWN_GROUPS - 1


def test_only_counts_that_changed_are_told() -> None:
    causes = Causes()
    groups = [FailureGroup(1, "a", 5, 0, "a"), FailureGroup(2, "b", 3, 1, "b")]
    assert causes.changed(groups) == groups
    assert causes.changed(groups) == []
    groups[1].count += 1
    assert causes.changed(groups) == [groups[1]]


# -- the whole and its changes


def test_fields_by_their_numbers() -> None:
    names = ("flags", "task_id", "node", "returncode", "elapsed_s", "start_s", "finish_s")
    numbers = (tl._FLAGS, tl._TASK, tl._NODE, tl._CODE, tl._ELAPSED, tl._START, tl._FINISH)
    assert tuple(map(StatusRecord._fields.index, names)) == numbers


def test_a_newcomer_and_one_who_was_there_have_the_same_picture() -> None:
    picture = Picture(FACTS)
    bars, examples, messages = [], [], []
    for step in range(4):
        picture.note([record(step, step, step + 1, int(step == 2), err="oops")])
        picture.say(float(step), "note", f"said {step}")
        change = picture.tick(snapshot(10.0 + step), [FailureGroup(1, "oops", step, 2, "oops")])
        bars += change["bars"]
        examples += change["examples"]
        messages += change["messages"]
    picture.note([record(9, 8, 9)])  # not told yet
    picture.say(9.0, "note", "not told yet")
    whole = picture.whole()
    assert whole["bars"] == bars and whole["examples"] == examples and whole["messages"] == messages
    assert whole["number"] == change["number"] == 4 and whole["counts"] == change["counts"]
    assert whole["groups"] == [(1, "oops", "oops", 3, 2)] and len(whole["engines"]) == 1
    json.dumps(whole)
    following = picture.tick(snapshot(15.0), [])
    assert [bar[6] for bar in following["bars"]] == [9]
    assert [text for _, _, text in following["messages"]] == ["not told yet"]


def test_engines_are_told_when_they_change() -> None:
    picture = Picture(FACTS)
    assert len(picture.tick(snapshot(), [])["engines"]) == 1
    assert picture.tick(snapshot(engines=(engine(silent_s=3.3),)), [])["engines"] == []
    (silent,) = picture.tick(snapshot(engines=(engine(silent_s=21.7),)), [])["engines"]
    assert 21 in silent
    joined = (engine(silent_s=21.7), engine(1, "b"))
    assert [row[1] for row in picture.tick(snapshot(engines=joined), [])["engines"]] == ["b"]


def test_running_tasks_come_from_the_snapshot() -> None:
    picture = Picture(FACTS)
    running = RunningView(5, 6, -1, 1, "a", 0, 4.0, "sleep 9")
    (shown,) = picture.tick(snapshot(tasks=(running,)), [])["open"]
    assert (shown.task_id, shown.start_s, shown.label) == (5, 1006.0, "sleep 9")


def test_what_nobody_looks_at_is_bounded() -> None:
    picture = Picture(FACTS)
    for n in range(200):
        picture.note([record(n, 0, 1, 1)] * 100)
        picture.say(0.0, "note", str(n))
    change = picture.tick(snapshot(), [])
    assert sum(bar[4] for bar in change["bars"]) == 10_000
    assert len(change["messages"]) == KEPT_MESSAGES and change["messages"][-1][2] == "199"


def test_failed_per_engine_commands_are_no_failed_tasks() -> None:
    picture = Picture(FACTS)
    picture.note([record(0, 0, 1, 1, flags="R  P"), record(0, 0, 1, 1)])
    assert len(picture.tick(snapshot(), [])["examples"]) == 1


def test_the_end() -> None:
    picture = Picture(FACTS)
    picture.end("CHECK", "a BARRIER CHECK found failed tasks", 1)
    change = picture.tick(snapshot(), [])
    assert change["end"] == {
        "ending": "CHECK",
        "text": "a BARRIER CHECK found failed tasks",
        "exit_code": 1,
        "saved": "",
    }

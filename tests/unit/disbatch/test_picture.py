"""The picture with all rows: engines, contexts, what runs, the last failures; and its way through JSON and back."""

import json

import pytest
from disbatch_builders import EPOCH_S, Driver, outcome, task
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.driver_events import EngineLaunched, Instant, MessageCame
from disbatch.core.errors import PeerError
from disbatch.core.failures import MAX_RECENT
from disbatch.core.messages import Report, Up, Vitals
from disbatch.core.snapshot import (
    COMMAND_CHARS,
    MAX_RUNNING,
    ContextView,
    EngineView,
    FailureView,
    RunningView,
    RunSnapshot,
    Sample,
    read_snapshot,
)


def picture(d: Driver) -> RunSnapshot:
    return d.core.picture(Instant(d.now_s, EPOCH_S + d.now_s), d.now_s, None)


def test_an_engine_row() -> None:
    d = Driver()
    d.engine(0, slots=2, demand=4)
    d.lists(*map(task, range(10)))
    d.now_s = 5.0
    d.finishes(0, 3, demand=4)
    d.now_s = 7.5
    (e,) = picture(d).engines
    assert (e.rank, e.node, e.context, e.state, e.slots, e.busy) == (0, "node0", "SSH0", "RUNNING", 2, 2)
    assert (e.held, e.assigned, e.finished, e.failed, e.silent_s) == (4, 5, 1, 1, 2.5)
    assert (e.load, e.mem_used_kib, e.mem_total_kib, e.cpus) == (None, None, None, None)


def test_an_engine_that_was_never_heard_of() -> None:
    d = Driver()
    d.happens(EngineLaunched(0, "node0", 2, "SSH0"))
    (e,) = picture(d).engines
    assert (e.state, e.silent_s, e.busy) == ("STARTING", None, 0)


def test_how_a_node_is_stays_until_it_is_told_anew() -> None:
    d = Driver()
    d.engine(0)
    vitals = Vitals(1.5, 100, 200, 8)
    d.happens(MessageCame(Up("sid0", 1, 0, 0.0, (), 1, vitals=vitals)))
    d.up(0, demand=1)
    (e,) = picture(d).engines
    assert (e.load, e.mem_used_kib, e.mem_total_kib, e.cpus) == vitals


def test_contexts_add_up_their_engines() -> None:
    d = Driver()
    d.engine(0, slots=2, demand=3)
    d.engine(1, slots=4, demand=0)
    d.happens(EngineLaunched(2, "far", 8, "OTHER"))
    d.lists(*map(task, range(10)), end=False)
    d.finishes(0, 1, demand=3)
    d.up(1, demand=0, bye="told to")
    first, other = picture(d).contexts
    assert first == ContextView("SSH0", "RUNNING", 1, 2, 2, 4, 1, 1, None)
    assert other == ContextView("OTHER", "STARTING", 1, 8, 0, 0, 0, 0, None)


def test_what_runs_is_the_oldest_in_each_slot_the_longest_first() -> None:
    d = Driver()
    d.engine(0, slots=1, demand=2)
    d.engine(1, slots=2, demand=0)
    d.now_s = 1.0
    d.lists(*(task(i, b"run %d" % i) for i in range(4)), end=False)
    d.now_s = 4.0
    d.up(1, demand=4)
    d.now_s = 10.0
    rows = picture(d).tasks
    assert [(t.task_id, t.rank, t.seconds, t.command) for t in rows] == [
        (0, 0, 9.0, "run 0"), (2, 1, 6.0, "run 2"), (3, 1, 6.0, "run 3"),
    ]  # fmt: skip
    d.finishes(0, demand=2)
    assert [t.task_id for t in picture(d).tasks] == [1, 2, 3]


def test_an_attempt_counts_from_when_it_was_handed_out() -> None:
    d = Driver()
    d.engine(0)
    d.engine(1)
    d.lists(task(0), end=False)
    d.now_s = 100.0
    d.up(0, demand=0, bye="told to")
    d.now_s = 101.0
    (row,) = picture(d).tasks
    assert (row.attempt, row.rank, row.seconds) == (2, 1, 1.0)


def test_many_running_tasks_are_cut_to_the_longest() -> None:
    d = Driver()
    for rank in range(3):
        d.engine(rank, slots=150, demand=0)
    for rank in (2, 0, 1):
        d.now_s += 1.0
        d.up(rank, demand=150)
        d.lists(*(task(1000 * (rank + 1) + i) for i in range(150)), end=False)
    assert d.core.snapshot(1.0, None).running == 450
    rows = picture(d).tasks
    assert len(rows) == MAX_RUNNING
    assert [t.rank for t in rows] == [2] * 150 + [0] * 50
    assert [t.seconds for t in rows] == sorted((t.seconds for t in rows), reverse=True)


@pytest.mark.parametrize("command", [b"x" * 5000, "ü".encode() * 5000, b"\xff" * 5000])
def test_commands_are_cut(command: bytes) -> None:
    d = Driver()
    d.engine(slots=2)
    d.lists(task(0, command), task(1, b"short"), end=False)
    long, short = (t.command for t in picture(d).tasks)
    assert len(long) == COMMAND_CHARS and long.endswith("…") and short == "short"


def test_the_last_failures_come_first_and_are_bounded() -> None:
    d = Driver()
    d.engine(slots=100)
    d.lists(*(task(i, b"false %d" % i) for i in range(80)))
    reports = tuple(
        Report(n + 1, "T", n, 1, outcome(3)._replace(err_snippet=f"noise\nno such file {n}\n", err_bytes=20))
        for n in range(80)
    )
    d.up(demand=100, reports=reports)
    rows = picture(d).failures
    assert [f.task_id for f in rows] == list(range(79, 79 - MAX_RECENT, -1))
    newest = rows[0]
    assert (newest.returncode, newest.error, newest.command) == (3, "no such file 79", "false 79")
    assert (newest.node, newest.rank, newest.elapsed_s) == ("node0", 0, outcome().elapsed_s)


TEXT = st.text(max_size=8)
COUNT = st.integers(0, 2**40)
SECONDS = st.floats(0, 1e12)
ENGINES = st.builds(
    EngineView, COUNT, TEXT, TEXT, TEXT, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, st.none() | SECONDS,
    st.none() | SECONDS, st.none() | COUNT, st.none() | COUNT, st.none() | COUNT,
)  # fmt: skip
CONTEXTS = st.builds(ContextView, TEXT, TEXT, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, st.none() | COUNT)
TASKS = st.builds(RunningView, COUNT, COUNT, st.integers(-1, 9), COUNT, TEXT, COUNT, SECONDS, TEXT)
FAILURES = st.builds(
    FailureView,
    COUNT,
    COUNT,
    st.integers(-1, 9),
    TEXT,
    COUNT,
    st.integers(-100, 255),
    SECONDS,
    SECONDS,
    TEXT,
    TEXT,
)
SAMPLES = st.builds(Sample, SECONDS, COUNT, COUNT, COUNT)


def rows(of: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(of, max_size=2).map(tuple)


SNAPSHOTS = st.builds(
    RunSnapshot, SECONDS, COUNT, COUNT, COUNT, COUNT, COUNT, st.none() | COUNT, TEXT, TEXT, rows(ENGINES), SECONDS,
    COUNT, st.booleans(), st.booleans(), SECONDS, rows(CONTEXTS), rows(TASKS), rows(FAILURES), rows(SAMPLES),
)  # fmt: skip


@given(SNAPSHOTS)
def test_a_snapshot_comes_back_from_json_as_it_was(snapshot: RunSnapshot) -> None:
    assert read_snapshot(snapshot.to_json()) == snapshot


@given(SNAPSHOTS, st.data())
def test_a_snapshot_with_one_field_changed_is_one_or_a_peer_error(
    snapshot: RunSnapshot, data: st.DataObject
) -> None:
    body = json.loads(snapshot.to_json())
    name = data.draw(st.sampled_from(sorted(body)))
    body[name] = data.draw(
        st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.none(), min_size=1)
    )
    try:
        read_snapshot(json.dumps(body))
    except PeerError:
        pass


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b.pop("done"),
        lambda b: b.update(done="7"),
        lambda b: b.update(done=True),
        lambda b: b.update(over=1),
        lambda b: b.update(elapsed_s=float("nan")),
        lambda b: b.update(engines=[{"rank": 1}]),
        lambda b: b.update(history=[[1.0, 2]]),
        lambda b: b.update(tasks={"a": 1}),
    ],
)
def test_a_damaged_snapshot_is_a_peer_error(damage) -> None:
    body = json.loads(picture(Driver()).to_json())
    damage(body)
    with pytest.raises(PeerError):
        read_snapshot(json.dumps(body))


def test_fields_of_a_later_version_are_skipped() -> None:
    snapshot = picture(Driver())
    assert read_snapshot(json.dumps(json.loads(snapshot.to_json()) | {"mood": "good"})) == snapshot


def test_an_engine_whose_session_was_lost_keeps_its_counts() -> None:
    d = Driver()
    d.engine(0, slots=1)
    d.lists(task(0), task(1), end=False)
    d.finishes(0, 3)
    d.core.fleet.renew(d.core.fleet.engines[0])
    (e,) = picture(d).engines
    assert (e.finished, e.failed, e.held) == (1, 1, 0)

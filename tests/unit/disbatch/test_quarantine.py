"""Engines on which tasks fail at once, as the driver core sees it: when one is set aside, and what becomes of its tasks."""

import pytest
from disbatch_builders import Driver, barrier, outcome, task

from disbatch.core.driver_events import (
    ContextOpened,
    Ending,
    EngineAside,
    Instant,
    LaunchAgain,
    MessageCame,
    SignalCame,
)
from disbatch.core.losses import LossPolicy
from disbatch.core.messages import Report, Up
from disbatch.core.quarantine import MAX_RAISES, PATIENCE_S


def house(k: int = 2, engines: int = 2, slots: int = 1, **changes: object) -> Driver:
    d = Driver(quarantine=k, **changes)  # type: ignore[arg-type]
    for rank in range(engines):
        d.engine(rank, slots)
    return d


def lines(d: Driver) -> list[tuple[int, str, int]]:
    """Task, node and exit code of what was written, in order."""
    return [(row.task_id, row.node, row.returncode) for row in d.rows]


def held(d: Driver, rank: int) -> dict[int, int]:
    return dict(d.core.fleet.engines[rank].held)


def fails(d: Driver, rank: int, code: int = 1, seconds: float = 0.1) -> int:
    """The oldest task of an engine ends with this code; returns its id."""
    engine = d.core.fleet.engines[rank]
    task_id, attempt = next(iter(engine.held.items()))
    report = d.report(rank, task_id, code, attempt=attempt, seconds=seconds)
    d.up(rank, demand=engine.slots, reports=(report,))
    return task_id


def works(d: Driver, rank: int) -> int:
    return fails(d, rank, 0)


def test_off_unless_it_is_asked_for() -> None:
    d = house(0)
    d.lists(*map(task, range(20)))
    for _ in range(10):
        fails(d, 0)
    assert len(lines(d)) == 10 and held(d, 0)


def test_a_bad_node_gets_no_more_tasks_and_its_failures_are_no_tasks() -> None:
    d = house(2)
    d.lists(*map(task, range(8)))
    failed = [fails(d, 0), fails(d, 0)]
    assert lines(d) == [] and held(d, 0) == {}
    assert d.last_ack(0) == 2  # else it would say nothing more
    assert "2 tasks in a row failed at once on node0" in d.texts("warning")
    while d.core.fleet.engines[1].held:
        works(d, 1)
    assert d.core.ending is Ending.COMPLETE
    assert sorted(lines(d)) == [(i, "node1", 0) for i in range(8)]
    assert "the engine on node0 gets no more tasks: of 2 tasks" in d.texts("error")
    (told,) = [e for e in d.effects if isinstance(e, EngineAside)]
    assert (told.rank, told.node, told.label) == (0, "node0", "SSH0")
    assert d.assigned(0) == [(i, 1) for i in failed]
    bad = d.core.fleet.engines[0]
    assert (bad.finished, bad.failed) == (2, 2) and (d.core.ledger.done, d.core.ledger.failed) == (8, 0)


def test_tasks_that_fail_everywhere_are_their_own_fault() -> None:
    d = house(2)
    d.lists(*map(task, range(8)))
    failed = [fails(d, 0), fails(d, 0)]
    works(d, 1)
    assert sorted([fails(d, 1), fails(d, 1)]) == sorted(failed)
    assert "the engine on node0 gets tasks again: of 2 tasks that had failed at once there, 2" in d.texts()
    assert held(d, 0)
    assert {(i, "node1", 1) for i in failed} <= set(lines(d))
    assert [i for i, _, _ in lines(d)].count(failed[0]) == 1
    assert not any(isinstance(e, EngineAside) for e in d.effects)


def test_one_that_came_back_needs_twice_as_many_and_then_more() -> None:
    d = house(1, slots=1)
    d.lists(*map(task, range(64)))
    asides = []
    for _ in range(MAX_RAISES + 2):
        row = 0
        while not d.core.fleet.engines[0].aside:
            fails(d, 0)
            row += 1
        asides.append(row)
        while d.core.fleet.engines[0].aside:
            fails(d, 1, seconds=2.0)
        if len(d.core.ledger.entries) < 40:
            break
    assert asides[:3] == [1, 2, 4]


@pytest.mark.parametrize(("code", "seconds"), [(0, 0.1), (1, 1.5)])
def test_a_task_that_does_not_fail_at_once_ends_the_row(code: int, seconds: float) -> None:
    d = house(2)
    d.lists(*map(task, range(10)))
    first = fails(d, 0)
    assert lines(d) == []
    second = fails(d, 0, code, seconds)
    assert lines(d) == [(first, "node0", 1), (second, "node0", code)]
    fails(d, 0)
    assert not d.core.fleet.engines[0].aside


def test_a_row_that_does_not_go_on_is_written_after_a_while() -> None:
    d = house(2)
    d.lists(*map(task, range(10)), end=False)
    first = fails(d, 0)
    d.ticks(PATIENCE_S - 0.2)
    assert lines(d) == []
    d.ticks(0.4)
    assert lines(d) == [(first, "node0", 1)]


def test_at_the_end_of_the_list_nothing_waits() -> None:
    d = house(3)
    d.lists(task(0), task(1))
    failed = fails(d, 0)
    assert lines(d) == [(failed, "node0", 1)]
    works(d, 1)
    assert d.core.ending is Ending.COMPLETE


def test_a_barrier_waits_for_those_that_run_once_more_and_for_nothing_else() -> None:
    d = house(2)
    d.lists(task(0), task(1), barrier(2), task(3))
    fails(d, 0)
    works(d, 1)
    assert [row.task_id for row in d.rows] == [0, 1, 2] and len(d.core.ledger.entries) == 1
    d = house(1)
    d.lists(task(0), task(1), barrier(2), task(3))
    fails(d, 0)
    works(d, 1)
    assert [row.task_id for row in d.rows] == [1]
    works(d, 1)
    assert [row.task_id for row in d.rows] == [1, 0, 2] and held(d, 1) == {3: 1}


def test_where_there_is_no_other_engine_failures_stand() -> None:
    d = house(2, engines=1)
    d.lists(*map(task, range(4)))
    for _ in range(4):
        fails(d, 0)
    assert [i for i, _, _ in lines(d)] == [0, 1, 2, 3] and d.core.failed == 4
    assert d.core.ending is Ending.COMPLETE and "aside" not in d.texts()


def test_one_engine_always_works() -> None:
    """All nodes are bad: the last one is not set aside, and shows that it is not the first one's fault."""
    d = house(2, engines=2)
    d.lists(*map(task, range(12)))
    for _ in range(40):
        for rank in (0, 1):
            if held(d, rank):
                fails(d, rank)
                assert not all(e.aside for e in d.core.fleet.engines.values())
    assert sorted(i for i, _, _ in lines(d)) == list(range(12)) and d.core.failed == 12
    assert d.core.ending is Ending.COMPLETE


def test_the_only_other_engine_is_lost() -> None:
    d = house(2)
    d.lists(*map(task, range(6)))
    failed = [fails(d, 0), fails(d, 0)]
    d.exits(1)
    assert "the engine on node0 gets tasks again: no other engine" in d.texts()
    assert lines(d) == [(i, "node0", 1) for i in failed]
    context = d.core.fleet.contexts["SSH0"]
    assert held(d, 0) and (context.charged, context.finished) == (3, 2)


def test_an_engine_that_is_lost_while_it_is_set_aside() -> None:
    d = house(2)
    d.lists(*map(task, range(4)))
    failed = [fails(d, 0), fails(d, 0)]
    d.exits(0)
    while held(d, 1):
        fails(d, 1) if next(iter(held(d, 1))) in failed else works(d, 1)
    assert sorted(lines(d)) == sorted((i, "node1", int(i in failed)) for i in range(4))


def test_there_is_no_verdict_on_an_engine_that_is_gone() -> None:
    d = house(1)
    d.lists(*map(task, range(4)))
    fails(d, 0)
    d.exits(0)
    while held(d, 1):
        works(d, 1)
    assert len(lines(d)) == 4 and not any(isinstance(e, EngineAside) for e in d.effects)


def test_where_second_runs_are_lost_too_the_engine_comes_back() -> None:
    d = house(1, engines=3, losses=LossPolicy(on_lost="fail"))
    d.lists(*map(task, range(9)))
    works(d, 2)
    works(d, 1)
    failed = fails(d, 0)
    while failed not in held(d, 2):
        works(d, 2)
    d.exits(2)
    assert lines(d)[-1] == (failed, "node2", -100) and held(d, 0)


def test_an_engine_that_leaves_anyway_is_not_set_aside() -> None:
    d = house(1)
    d.lists(*map(task, range(4)))
    d.core.fleet.engines[0].stop = "finish"
    failed = fails(d, 0)
    assert lines(d) == [(failed, "node0", 1)] and not d.core.fleet.engines[0].aside


def test_what_is_kept_back_of_a_lost_engine_is_written() -> None:
    d = house(2)
    d.lists(*map(task, range(6)), end=False)
    failed = fails(d, 0)
    d.exits(0)
    d.ticks(0.1)
    assert lines(d) == [(failed, "node0", 1)]


def test_failures_of_the_session_before_are_written_with_those_of_the_next() -> None:
    d = house(3)
    d.lists(*map(task, range(9)), end=False)
    first = fails(d, 0)
    d.hello(0, demand=1, sid="next")
    second, attempt = next(iter(held(d, 0).items()))
    d.happens(MessageCame(Up("next", d.core.fleet.engines[0].ep, 1, d.now_s, (), 1, (), "")))
    report = Report(1, "T", second, attempt, outcome(1, elapsed_s=0.1))
    d.happens(MessageCame(Up("next", d.core.fleet.engines[0].ep, 1, d.now_s, (report,), 1, (), "")))
    assert lines(d) == [(first, "node0", 1)]
    d.ticks(PATIENCE_S + 0.2)
    assert lines(d) == [(first, "node0", 1), (second, "node0", 1)]


def test_what_failed_last_when_nobody_else_was_left_is_written_too() -> None:
    d = house(1, slots=2)
    d.lists(*map(task, range(9)))
    fails(d, 0)
    d.core.fleet.engines[1].stop = "finish"
    late = fails(d, 0)
    assert d.core.fleet.engines[0].aside == "" and late in [i for i, _, _ in lines(d)]


def test_a_lost_attempt_of_a_second_run_is_one_more_run() -> None:
    d = house(1, engines=3)
    d.lists(*map(task, range(3)))
    works(d, 2)
    failed = fails(d, 0)
    assert held(d, 2) == {failed: 2}
    d.exits(2)
    works(d, 1)
    assert held(d, 1) == {failed: 3}
    works(d, 1)
    assert lines(d)[-1] == (failed, "node1", 0) and d.core.fleet.engines[0].aside == "bad"


def test_a_run_of_bad_nodes_alone_ends_and_can_be_resumed() -> None:
    d = house(1)
    d.lists(*map(task, range(6)))
    fails(d, 0)
    works(d, 1)
    works(d, 1)
    assert d.core.fleet.engines[0].aside == "bad"
    d.exits(1)
    assert d.core.ending is None  # that node gets another engine
    assert [e for e in d.effects if isinstance(e, LaunchAgain)] == []
    d.ticks(2.0)
    for _ in range(3):
        again = [e.rank for e in d.effects if isinstance(e, LaunchAgain)][-1]
        d.exits(again, "cannot start")
        d.ticks(20.0)
    assert d.core.ending is Ending.NO_ENGINE and d.core.left and held(d, 0) == {}


def test_a_bad_node_whose_engine_is_lost_gets_no_other() -> None:
    d = house(1)
    d.lists(*map(task, range(6)))
    fails(d, 0)
    works(d, 1)
    works(d, 1)
    d.exits(0)
    d.ticks(30.0)
    assert [e for e in d.effects if isinstance(e, LaunchAgain)] == []


def test_what_it_holds_ahead_comes_back() -> None:
    d = Driver(quarantine=1)
    d.engine(0, 1, demand=3)
    d.engine(1, 1)
    d.lists(*map(task, range(4)))
    d.up(0, demand=3, reports=(d.report(0, 0, 1, seconds=0.1),))
    assert [message.recall for message in d.sent if message.recall] == [((2, 1),)]
    d.up(0, demand=3, returned=((2, 1),))
    assert held(d, 0) == {1: 1}


def test_failures_that_follow_go_the_same_way() -> None:
    d = house(2, slots=4)
    d.lists(*map(task, range(8)))
    failed = [fails(d, 0) for _ in range(4)]
    assert held(d, 0) == {} and lines(d) == []
    while held(d, 1):
        works(d, 1)
    assert sorted(lines(d)) == [(i, "node1", 0) for i in range(8)]
    assert d.core.fleet.engines[0].failed == len(failed)


def test_a_limit_of_tasks_counts_lines() -> None:
    d = Driver(quarantine=1)
    d.happens(ContextOpened("SSH0", 4))
    for rank in range(2):
        d.engine(rank)
    d.lists(*map(task, range(9)))
    fails(d, 0)
    for _ in range(3):
        works(d, 1)
    assert len(lines(d)) == 3 and "has run its" not in d.texts()
    works(d, 1)
    assert len(lines(d)) == 4 and "context SSH0 has run its 4 tasks" in d.texts()
    assert held(d, 0) == held(d, 1) == {}


def test_fail_fast_goes_by_lines() -> None:
    d = house(2, fail_fast=True)
    d.lists(*map(task, range(9)))
    fails(d, 0)
    assert d.core.ending is None
    fails(d, 0, 1, 3.0)
    assert d.core.ending is Ending.FAIL_FAST


def test_a_run_that_stops_leaves_what_was_to_run_once_more_to_the_next() -> None:
    d = house(2)
    d.lists(*map(task, range(9)))
    fails(d, 0)
    d.happens(SignalCame(Ending.SIGINT))
    assert [i for i, _, _ in lines(d)] == [0]
    d = house(1)
    d.lists(*map(task, range(9)))
    fails(d, 0)
    d.happens(SignalCame(Ending.SIGINT))
    works(d, 1)
    for rank in (0, 1):
        d.up(rank, demand=0, bye="told to stop")
    assert [i for i, _, _ in lines(d)] == [1] and d.core.left and d.over


def test_viewers_see_it() -> None:
    d = house(1)
    d.lists(*map(task, range(9)))
    fails(d, 0)
    picture = d.core.picture(Instant(d.now_s, 0.0), 1.0, 9)
    assert [e.state for e in picture.engines] == ["ASIDE", "RUNNING"] and picture.slots == 1
    assert (picture.failed, picture.running, picture.ready) == (0, 1, 8)

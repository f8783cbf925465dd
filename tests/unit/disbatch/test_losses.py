"""Engines that are lost, as the driver core sees it: promises, sweeps, what becomes of their tasks, who comes instead."""

import pytest
from disbatch_builders import Driver, task

from disbatch.core.driver_events import (
    Dismiss,
    Ending,
    EngineLaunched,
    EngineLeft,
    EngineLost,
    JoinCame,
    LaunchAgain,
    Sweep,
    Swept,
    Tick,
)
from disbatch.core.fleet import EngineState
from disbatch.core.joining import Order
from disbatch.core.lease import margin_s
from disbatch.core.losses import AGAIN_S, LossPolicy
from disbatch.core.messages import ORPHANED, Down

LEASE_S = 20.0


def driver(**changes: object) -> Driver:
    return Driver(losses=LossPolicy(LEASE_S), sweeps=False, **changes)  # type: ignore[arg-type]


def sweeps(d: Driver) -> list[str]:
    return [e.sid for e in d.effects if isinstance(e, Sweep)]


def launches(d: Driver) -> list[tuple[int, int]]:
    return [(e.rank, e.like) for e in d.effects if isinstance(e, LaunchAgain)]


def test_tasks_of_an_engine_whose_launcher_ended_wait_for_the_sweep() -> None:
    d = driver()
    d.engine(0)
    d.engine(1, slots=2)
    d.lists(task(0), task(1))
    held = d.assigned(0)
    d.exits(0)
    assert sweeps(d) == ["sid0"] and len(d.assigned(1)) == 1
    d.happens(Swept("sid0", True))
    assert d.assigned(1)[1] == (held[0][0], 2)


def test_where_a_node_cannot_be_swept_the_lease_decides() -> None:
    d = driver()
    d.engine(0)
    d.engine(1, slots=2)
    d.lists(task(0), task(1))
    d.exits(0)
    d.happens(Swept("sid0", False))
    assert "cannot be asked" in d.texts("warning")
    for _ in range(int(LEASE_S) - 1):
        d.now_s += 1.0
        d.up(1, demand=2)
        d.happens(Tick())
    assert len(d.assigned(1)) == 1 and sweeps(d) == ["sid0", "sid0"]  # once more before the end
    d.happens(Swept("sid0", False))
    d.now_s += 2.0
    d.happens(Tick())
    assert len(d.assigned(1)) == 2


def silent_driver() -> Driver:
    d = driver()
    d.engine(0)
    d.engine(1, slots=2)
    d.lists(task(0), task(1))
    return d


def passes(d: Driver, seconds: float) -> None:
    """Time passes in which engine 1 is heard, and engine 0 is not."""
    for _ in range(int(seconds)):
        d.now_s += 1.0
        d.up(1, demand=2)
        d.happens(Tick())


def test_a_silent_engine_is_lost_when_its_own_lease_is_over_and_its_tasks_are_free_with_the_promise() -> None:
    d = silent_driver()
    passes(d, LEASE_S - margin_s(LEASE_S) - 1)
    assert sweeps(d) == []
    passes(d, 2)
    assert sweeps(d) == ["sid0"] and "no word from it for 20 s" in d.texts("error")
    assert len(d.assigned(1)) == 1
    d.happens(Swept("sid0", False))
    assert len(d.assigned(1)) == 1
    passes(d, 2)
    assert len(d.assigned(1)) == 2


def test_a_lease_is_renewed_by_answers_and_not_by_what_is_heard() -> None:
    d = silent_driver()
    engine = d.core.fleet.engines[0]
    first = engine.promise
    d.now_s = 0.5
    d.up(0, demand=1)  # so soon, it is not answered
    assert engine.promise == first
    d.now_s = 1.5
    d.up(0, demand=1)
    assert engine.promise == d.now_s + LEASE_S and d.sent[-1].echo == 1.5


def test_a_driver_that_was_held_up_listens_before_it_gives_engines_up() -> None:
    d = silent_driver()
    d.happens(Tick())
    d.now_s += LEASE_S * 2
    d.happens(Tick())
    assert sweeps(d) == []
    d.up(0, demand=1)
    d.up(1, demand=2)
    passes(d, 3)
    assert sweeps(d) == []


def test_a_lost_session_is_told_so_whatever_it_says() -> None:
    d = silent_driver()
    d.exits(0)
    d.up(0, demand=1)
    d.hello(0, demand=1)
    assert [e for e in d.effects if isinstance(e, Dismiss)] == [Dismiss("sid0", 1), Dismiss("sid0", 2)]
    assert d.core.fleet.engines[0].ep == 1


def test_an_engine_that_begins_a_new_session_has_killed_what_it_held() -> None:
    d = silent_driver()
    lost = d.assigned(0)[0][0]
    d.hello(0, demand=1, sid="sid0.1", ep=2)
    assert sweeps(d) == []
    # the oldest is the next to start, there or elsewhere
    given = [h[:2] for m in d.sent if m.sid in ("sid0.1", "sid1") for h in m.tasks]
    assert (lost, 2) in given


def test_a_late_report_of_a_lost_session_counts_for_nothing() -> None:
    d = silent_driver()
    (held,) = d.assigned(0)
    late = d.report(0, held[0])
    d.exits(0)
    d.happens(Swept("sid0", True))
    d.up(0, demand=1, reports=(late,))
    assert d.rows == []


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_task_that_has_lost_so_many_engines_is_recorded_as_lost(limit: int) -> None:
    d = Driver(losses=LossPolicy(LEASE_S, limit=limit))
    d.lists(task(0))
    for rank in range(limit):
        d.engine(rank)
        assert d.assigned(rank) == [(0, rank + 1)]
        d.exits(rank)
    (row,) = d.rows
    assert (row.pid, row.returncode) == (-1, -100)
    assert d.core.ledger.failed == 1


def test_on_lost_fail_records_all_that_may_have_begun() -> None:
    d = Driver(losses=LossPolicy(LEASE_S, "fail"))
    d.engine(0, slots=1, demand=3)
    d.lists(task(0), task(1), task(2))
    d.exits(0)
    assert [(r.task_id, r.returncode) for r in d.rows] == [(0, -100), (1, -100), (2, -100)]


def test_what_was_held_ahead_of_the_slots_does_not_count_as_lost() -> None:
    d = Driver(losses=LossPolicy(LEASE_S, limit=1))
    d.engine(0, slots=1, demand=3)
    d.lists(task(0), task(1), task(2))
    d.exits(0)
    assert [r.task_id for r in d.rows] == [0]
    assert {e.task.task_id: e.lost for e in d.core.ledger.ready} == {1: 0, 2: 0}


def test_a_node_gets_another_engine_a_few_times_and_then_the_run_ends() -> None:
    d = Driver(losses=LossPolicy(LEASE_S, limit=100))
    d.engine(0)
    d.lists(task(0))
    d.exits(0)
    for number, seconds in enumerate(AGAIN_S):
        assert d.over is None
        d.ticks(seconds - 0.5)
        assert len(launches(d)) == number
        d.ticks(1)
        assert launches(d)[number] == (number + 1, number)
        d.hello(number + 1, demand=1)
        d.exits(number + 1)
    assert d.over is not None and d.over.ending is Ending.NO_ENGINE and d.core.left


def told(d: Driver) -> list[str]:
    """What hooks and viewers hear of engines that are gone."""
    words = {EngineLeft: "left", EngineLost: "lost"}
    return [words[type(e)] for e in d.effects if isinstance(e, EngineLeft | EngineLost)]


def orphaned_driver() -> Driver:
    """Its only engine has seen the end of its launcher first."""
    d = Driver(losses=LossPolicy(LEASE_S))
    d.engine(0)
    d.lists(task(0))
    d.up(0, demand=0, returned=((0, 1),), bye=ORPHANED)
    return d


def test_an_engine_that_leaves_as_its_launcher_is_gone_is_replaced() -> None:
    """Which of the two is heard of first makes no difference."""
    d = orphaned_driver()
    assert d.over is None and launches(d) == []  # nothing is known of the launcher yet
    assert told(d) == ["lost"]
    d.exits(0, "ssh was killed")
    assert "the engine on node0 has stopped its tasks and left" in d.texts("error")
    assert "ssh was killed" in d.texts("error") and d.over is None
    d.ticks(AGAIN_S[0] + 0.5)
    assert launches(d) == [(1, 0)]
    d.hello(1, demand=1)
    assert d.assigned(1) == [(0, 2)]


def test_a_launcher_whose_end_is_never_seen_does_not_keep_a_run_without_engines() -> None:
    d = orphaned_driver()
    d.ticks(LEASE_S - 1)
    assert d.over is None
    d.ticks(10)
    assert d.over is not None and d.over.ending is Ending.NO_ENGINE and launches(d) == []


@pytest.mark.parametrize(
    ("why", "ordered"), [("it was sent SIGTERM", False), ("it was told to", False), (ORPHANED, True)]
)
def test_an_engine_that_leaves_for_another_reason_or_had_to_is_not_replaced(why: str, ordered: bool) -> None:
    d = Driver(losses=LossPolicy(LEASE_S))
    d.engine(0)
    d.engine(1)
    d.lists(task(0), task(1))
    if ordered:
        d.happens(JoinCame(Order("engine", "0", "somebody", True)))
    d.up(0, demand=0, returned=(d.assigned(0)[0],), bye=why)
    d.exits(0)
    d.ticks(5)
    assert launches(d) == [] and d.texts("error") == "" and told(d) == ["left"]


def test_an_engine_of_a_context_is_not_replaced_by_the_driver() -> None:
    d = Driver(losses=LossPolicy(LEASE_S))
    d.engine(0)
    d.core.fleet.engines[0].ours = False
    d.lists(task(0))
    d.up(0, demand=0, returned=((0, 1),), bye=ORPHANED)
    assert d.over is not None and d.over.ending is Ending.NO_ENGINE
    d.exits(0)
    assert d.texts("error").count("has stopped its tasks and left") == 1 and told(d) == ["lost"]


@pytest.mark.parametrize("hard", [False, True])
def test_an_engine_of_a_context_that_had_to_stop_leaves_without_a_word(hard: bool) -> None:
    d = Driver(losses=LossPolicy(LEASE_S), waits=True)
    d.engine(0)
    d.core.fleet.engines[0].ours = False
    d.lists(task(0))
    d.happens(JoinCame(Order("engine", "0", "somebody", hard)))
    d.up(0, demand=0, returned=((0, 1),), bye=ORPHANED)
    assert d.texts("error") == ""


def test_an_engine_of_a_context_that_leaves_when_all_is_done_leaves_without_a_word() -> None:
    d = Driver(losses=LossPolicy(LEASE_S))
    d.engine(0)
    d.core.fleet.engines[0].ours = False
    d.lists(task(0))
    d.finishes(0)
    d.up(0, demand=0, bye=ORPHANED)
    assert d.texts("error") == "" and told(d) == ["left"]


def test_nobody_replaces_an_orphan_where_nothing_is_left_to_do() -> None:
    d = Driver(losses=LossPolicy(LEASE_S))
    d.engine(0)
    d.engine(1)
    d.lists(task(0))
    rank = 0 if d.assigned(0) else 1
    d.up(1 - rank, demand=0, bye=ORPHANED)
    d.finishes(rank)
    d.exits(1 - rank)
    d.ticks(5)
    assert launches(d) == [] and d.texts("error") == ""


def test_an_engine_that_never_came_up_is_not_started_again() -> None:
    from disbatch.core.driver_events import EngineLaunched

    d = Driver(losses=LossPolicy(LEASE_S))
    d.happens(EngineLaunched(0, "node0", 1, "SSH0"))
    d.lists(task(0))
    d.exits(0)
    assert d.over is not None and launches(d) == []


def test_nothing_is_started_again_where_nothing_is_left_to_do() -> None:
    d = Driver(losses=LossPolicy(LEASE_S))
    d.engine(0)
    d.lists(task(0))
    d.finishes(0)
    d.exits(0)
    assert d.over is not None and d.over.ending is Ending.COMPLETE and launches(d) == []


def test_a_run_whose_only_engine_is_cut_off_waits_until_that_can_no_longer_come_back() -> None:
    d = Driver(losses=LossPolicy(LEASE_S))
    d.engine(0)
    d.lists(task(0))
    d.ticks(LEASE_S + 5)
    assert "was lost" in d.texts("error") and d.over is None
    d.hello(0, demand=1, sid="sid0.1", ep=2)
    assert [h[:2] for m in d.sent if m.sid == "sid0.1" for h in m.tasks] in ([], [(0, 2)])
    d.ticks(LEASE_S * 2 + 25)
    assert d.over is not None and d.over.ending is Ending.NO_ENGINE


def test_what_an_engine_kept_is_not_asked_back_again() -> None:
    """Its report may wait for the disk: asking on and on would keep both busy."""
    d = Driver(losses=LossPolicy(LEASE_S))
    d.engine(0, slots=1, demand=3)
    d.lists(task(0), task(1), task(2))
    d.engine(1)

    def asked() -> list[Down]:
        return [m for m in d.sent if m.recall]

    assert [h[0] for h in asked()[0].recall] == [1]
    from disbatch.core.driver_events import MessageCame
    from disbatch.core.messages import Up

    for _ in range(5):
        seq = asked()[-1].seq
        d.happens(MessageCame(Up("sid0", 1, 0, d.now_s, (), 3, answers=seq)))
    assert [[h[0] for h in m.recall] for m in asked()] == [[1], [2]]


def test_a_run_that_is_to_end_at_once_does_not_wait_for_an_engine_that_says_nothing() -> None:
    from disbatch.core.driver_events import SignalCame

    d = silent_driver()
    d.happens(SignalCame(Ending.SIGTERM))
    d.up(1, demand=0, bye="stopped")
    d.ticks(8)
    assert d.over is None
    d.happens(SignalCame(Ending.SIGTERM))
    d.ticks(4)
    assert d.over is None
    d.ticks(2)
    assert d.over is not None and d.over.ending is Ending.SIGTERM and d.core.left


def test_no_engine_is_started_beside_what_may_still_run_on_its_node() -> None:
    d = driver()
    d.engine(0)
    d.lists(task(0))
    d.exits(0)
    d.happens(Swept("sid0", False))
    d.ticks(5)
    assert launches(d) == []
    d.ticks(LEASE_S - margin_s(LEASE_S))
    d.happens(Swept("sid0", True))
    d.ticks(0.5)
    assert launches(d) == [(1, 0)]


def test_a_late_hello_of_an_older_session_ends_no_newer_one() -> None:
    """Else what runs there is held as killed, and is given to others."""
    d = driver()
    d.happens(EngineLaunched(0, "node0", 1, "SSH0", False))
    d.hello(0, demand=1, sid="sid0.1", ep=3)
    d.lists(task(0))
    d.hello(0, demand=1, sid="sid0", ep=2)
    engine = d.core.fleet.engines[0]
    assert (engine.sid, engine.ep, engine.state) == ("sid0.1", 3, EngineState.RUNNING)
    assert [*engine.held] == [0]

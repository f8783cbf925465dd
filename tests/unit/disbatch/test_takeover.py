"""What a new driver takes over from the one before it: claims, reports, barriers, and what it must not hand out yet."""

import pytest
from disbatch_builders import Driver, barrier, per_engine, task

from disbatch.core.driver_events import (
    ContextLost,
    DiskGivenUp,
    Ending,
    Event,
    ItemsCame,
    JoinCame,
    ListFailed,
    Reply,
    ServerLost,
    SignalCame,
    Sweep,
    Swept,
    Tick,
)
from disbatch.core.errors import UsageError
from disbatch.core.joining import Join, Refusal, Rejoin, Welcome
from disbatch.core.losses import LossPolicy
from disbatch.core.model import Task
from disbatch.core.resume import Place, Verdict
from disbatch.core.takeover import SWEEP_S, Inheritance, JoinedContext

LEASE_S = 20.0


def driver(
    *done: int,
    contexts: tuple[str, ...] = ("c0",),
    barriers: tuple[int, ...] = (),
    ranks: int = 1,
    limit: int = 0,
    ran: int = 0,
) -> Driver:
    """After a driver that had given `ranks` ranks, to the first context, and recorded these tasks. Each context has a
    `limit`, and has run `ran` tasks of it."""

    def judge(task: Task) -> tuple[Verdict, Place | None]:
        return (Verdict.SKIP_DONE if task.task_id in done else Verdict.RUN), None

    joined = [
        JoinedContext(cid, cid, limit, range(ranks if not n else 0), ran) for n, cid in enumerate(contexts)
    ]
    heirs = Inheritance(ranks, tuple(joined), frozenset(barriers), frozenset({("node0", 4711)}))
    d = Driver(judge=judge, losses=LossPolicy(LEASE_S), sweeps=False, waits=True, inheritance=heirs)
    d.happens(Tick())
    return d


def back(d: Driver, *ranks: int, cid: str = "c0", slots: int = 1, clean: bool = True, limit: int = 0) -> None:
    rows = tuple((rank, f"node{rank}", slots, False) for rank in ranks)
    d.happens(JoinCame(Rejoin(cid, cid, limit, rows, "vm", clean)))


def test_what_an_engine_holds_is_not_handed_out_and_its_result_counts() -> None:
    d = driver()
    d.hello(0, demand=1, held=((1, 3),))
    d.lists(task(0), task(1))
    assert d.assigned(0) == []
    back(d, 0)
    d.up(0, demand=2)
    assert d.assigned(0) == [(0, 1)]
    d.finishes(1, attempt=3, demand=1)
    d.finishes(0, demand=1)
    assert sorted(row.task_id for row in d.rows) == [0, 1] and d.core.ending is Ending.COMPLETE


def test_a_hello_after_the_task_was_read_claims_it_all_the_same() -> None:
    d = driver()
    d.lists(task(0), task(1))
    d.hello(0, demand=1, held=((0, 1),))
    back(d, 0)
    d.up(0, demand=2)
    assert d.assigned(0) == [(1, 1)]


def test_reports_that_nobody_had_heard_are_taken_once_their_tasks_are_read() -> None:
    d = driver(0)
    d.hello(0, demand=1, reports=(d.report(0, 0), d.report(0, 1, 7)), ended=2)
    assert d.rows == [] and d.last_ack(0) == 0
    d.lists(task(0), task(1))
    assert [(row.task_id, row.returncode) for row in d.rows] == [(1, 7)]
    assert d.last_ack(0) == 2 and d.core.ending is Ending.COMPLETE


def test_reports_that_wait_for_the_list_are_kept_once_however_often_their_engine_connects() -> None:
    d = driver()
    report = d.report(0, 0)
    for ep in range(1, 10):
        d.hello(0, ep=ep, demand=1, reports=(report,), ended=1)
    assert [len(reports) for _, reports in d.core._takeover._reports.values()] == [1]
    d.lists(task(0))
    assert [row.task_id for row in d.rows] == [0] and d.core.ending is Ending.COMPLETE


def test_a_result_that_comes_after_its_task_was_read_is_not_lost() -> None:
    d = driver()
    d.lists(task(0))
    d.hello(0, demand=1, reports=(d.report(0, 0),), ended=1)
    assert [row.task_id for row in d.rows] == [0] and d.core.ending is Ending.COMPLETE


def test_nothing_is_handed_out_before_all_contexts_are_back_or_the_lease_is_over() -> None:
    d = driver(contexts=("c0", "c1"), ranks=2)
    d.hello(0, demand=1)
    back(d, 0)
    d.lists(task(0))
    d.up(0, demand=1)
    d.now_s = LEASE_S - 0.1
    d.up(0, demand=1)
    d.happens(Tick())
    assert d.assigned(0) == []
    d.now_s = LEASE_S
    d.happens(Tick())
    assert d.assigned(0) == [(0, 1)]


def test_a_context_whose_dead_engine_may_have_left_something_makes_it_wait() -> None:
    d = driver(ranks=2)
    d.hello(0, demand=1)
    back(d, 0, clean=False)
    d.lists(task(0))
    d.up(0, demand=1)
    assert d.assigned(0) == []
    d.now_s = LEASE_S
    d.happens(Tick())
    assert d.assigned(0) == [(0, 1)]


def test_engines_that_say_nothing_are_swept_before_their_tasks_may_be_given_away() -> None:
    d = driver(ranks=2)
    d.hello(0, demand=1)
    back(d, 0, 1)
    d.lists(task(0))
    d.now_s = LEASE_S
    d.up(0, demand=1)
    assert [e.rank for e in d.effects if isinstance(e, Sweep)] == [1] and d.assigned(0) == []
    d.happens(Swept("", True, 1))
    d.happens(Tick())
    assert d.assigned(0) == [(0, 1)]


def test_an_engine_that_has_not_spoken_is_waited_for_though_its_context_is_gone() -> None:
    """What it had started may run for a moment longer, or be left."""
    d = driver(ranks=2)
    d.hello(0, demand=1)
    back(d, 0, 1)
    d.lists(task(0))
    d.happens(ContextLost("c0", "killed"))
    d.up(0, demand=1)
    assert d.assigned(0) == []


def test_a_sweep_that_is_never_answered_does_not_hold_up_for_ever() -> None:
    d = driver(ranks=2)
    d.hello(0, demand=1)
    back(d, 0, 1)
    d.lists(task(0))
    for d.now_s in (LEASE_S, LEASE_S + SWEEP_S):
        d.up(0, demand=1)
        d.happens(Tick())
    assert d.assigned(0) == [(0, 1)]


def late_claim() -> Driver:
    """Of two tasks, of which another engine was given the first. Its own lease is over by then."""
    d = driver(contexts=())
    d.engine(1)
    d.lists(task(0), task(1))
    assert d.assigned(1) == [(0, 1)]
    d.hello(0, demand=0, held=((0, 1), (1, 1)))
    return d


def test_a_claim_that_comes_late_counts_for_what_nobody_else_was_given() -> None:
    d = late_claim()
    assert d.core.fleet.engines[0].held == {1: 1} and d.core.fleet.engines[1].held == {0: 1}
    d.hello(0, demand=1, sid="sid0.1")
    assert d.core.fleet.engines[0].held == {1: 2}


def test_an_engine_that_claimed_late_and_never_came_back_is_waited_for_no_longer_than_its_lease() -> None:
    d = late_claim()
    d.finishes(0, rank=1)
    for _ in range(int(LEASE_S + SWEEP_S)):
        d.ticks(1.0)
        d.up(1, demand=1)
    assert d.core.fleet.engines[1].held == {1: 2}


def test_a_barrier_that_was_met_is_passed_and_not_recorded_again() -> None:
    d = driver(0, contexts=(), barriers=(1,))
    d.engine(1)
    d.lists(task(0), barrier(1), end=False)
    d.lists(task(2))
    assert d.assigned(1) == [(2, 1)] and d.rows == []


def test_a_command_that_has_its_line_gets_no_other() -> None:
    d = driver()
    d.hello(0, demand=1, reports=(d.report(0, 0, kind="A"),))
    back(d, 0)
    d.lists(per_engine("START", 0), task(0), end=False)
    assert d.rows == [] and d.last_ack(0) == 1


def test_what_a_context_may_run_is_counted_across_drivers() -> None:
    """Engines that are gone have run some of it: what those that are there have ended says nothing."""
    d = driver(limit=4, ran=2)
    d.hello(0, demand=1, ended=1, held=((2, 1),))
    d.lists(*map(task, range(5)))
    back(d, 0, slots=2, limit=4)
    d.up(0, demand=3)
    assert len(d.assigned(0)) == 1  # two have ended, one is held
    assert d.core.fleet.contexts["c0"].charged == 4


def test_a_limit_holds_for_engines_whose_context_never_comes_back() -> None:
    d = driver(limit=2, ran=1)
    d.hello(0, demand=3)
    d.lists(*map(task, range(5)))
    d.now_s = LEASE_S + SWEEP_S + 1
    d.up(0, demand=3)
    d.happens(Tick())
    assert len(d.assigned(0)) == 1
    d.finishes(d.assigned(0)[0][0], demand=3)
    assert [message.stop for message in d.sent if message.stop] == ["finish"] and len(d.assigned(0)) == 1


def test_an_engine_of_a_context_that_has_run_all_it_may_is_stopped_when_it_is_heard() -> None:
    d = driver(limit=4, ran=4)
    d.hello(0, demand=1, ended=4)
    d.lists(task(0))
    assert [message.stop for message in d.sent if message.stop] == ["finish"] and d.assigned(0) == []


def test_a_label_that_a_missing_context_has_is_not_given_to_another() -> None:
    d = driver()
    d.happens(JoinCame(Join("c1", "c0", True, 0, (("node9", 1, False),), "vm")))
    replies = [e.message for e in d.effects if isinstance(e, Reply)]
    assert isinstance(replies[0], Refusal)


def test_ranks_of_the_driver_before_are_not_given_again() -> None:
    d = driver(ranks=7)
    assert d.core.fleet.next_rank == 7


def test_only_contexts_that_had_joined_come_back() -> None:
    d = driver()
    back(d, 0, cid="stranger")
    back(d, 0)
    replies = [e.message for e in d.effects if isinstance(e, Reply)]
    assert isinstance(replies[0], Refusal) and replies[1] == Welcome("c0", (0,))


# ---- a run that is ended before the list was read so far


def interrupted(
    *done: int, by: tuple[Ending, ...] = (Ending.SIGINT,), barriers: tuple[int, ...] = ()
) -> Driver:
    """Its engine holds task 5 and has the outcome of task 4; nothing of the list was read yet."""
    d = driver(*done, barriers=barriers)
    d.hello(0, demand=1, held=((5, 1),), reports=(d.report(0, 4),), ended=1)
    assert d.last_ack(0) == 0
    for ending in by:
        d.happens(SignalCame(ending))
    return d


def rows(d: Driver) -> list[int]:
    return [row.task_id for row in d.rows]


@pytest.mark.parametrize("ending", [Ending.SIGINT, Ending.SIGTERM])
def test_the_list_is_read_on_until_what_engines_have_is_known(ending: Ending) -> None:
    d = interrupted(0, by=(ending,))
    assert d.core.wants > 0 and d.over is None
    d.lists(*[task(i) for i in range(5)], end=False)
    assert rows(d) == [4] and d.last_ack(0) == 1 and d.core.wants > 0
    d.lists(task(5), task(6), end=False)
    assert d.core.wants == 0 and d.assigned(0) == []
    d.finishes(5, demand=0)
    d.up(0, demand=0, bye="it was told to")
    assert rows(d) == [4, 5] and d.over is not None and d.over.ending is ending and d.core.left


def test_what_still_runs_is_said_when_it_is_known() -> None:
    d = interrupted(0, 1, 2, 3)
    d.up(0, demand=0)
    assert "still" not in d.texts("note")
    d.lists(*[task(i) for i in range(6)], end=False)
    assert "task 5" in d.texts("note")


def test_a_task_that_is_stopped_before_it_was_read_is_still_to_do() -> None:
    d = interrupted(0, 1, 2, 3, by=(Ending.SIGTERM,))
    d.up(0, demand=0, returned=((5, 1),))
    d.lists(*[task(i) for i in range(6)], end=False)
    assert rows(d) == [4] and d.core.wants == 0
    d.up(0, demand=0, bye="it was told to")
    assert d.over is not None and d.core.left


def test_who_speaks_after_the_signal_is_heard_too() -> None:
    d = driver()
    back(d, 0)
    d.happens(SignalCame(Ending.SIGINT))
    assert d.core.wants == 0
    d.hello(0, demand=0, held=((1, 1),), reports=(d.report(0, 0),), ended=1)
    assert d.core.wants > 0
    d.lists(task(0), task(1), end=False)
    d.finishes(1, demand=0)
    assert rows(d) == [0, 1]


def test_a_barrier_that_was_met_before_is_passed() -> None:
    d = interrupted(0, 1, 2, barriers=(3,))
    d.lists(*[task(i) for i in range(3)], barrier(3), task(4), task(5), end=False)
    assert rows(d) == [4] and d.last_ack(0) == 1
    d.finishes(5, demand=0)
    assert rows(d) == [4, 5]


def test_nothing_behind_a_barrier_that_nobody_will_meet_is_waited_for() -> None:
    d = interrupted(0, 1)
    d.lists(*[task(i) for i in range(3)], barrier(3), task(4), task(5), end=False)
    d.happens(Tick())
    assert rows(d) == [] and d.last_ack(0) == 1 and d.core.wants == 0


@pytest.mark.parametrize(
    "event", [SignalCame(Ending.SIGTERM), ListFailed("bad"), ServerLost("gone"), DiskGivenUp()]
)
def test_engines_are_let_go_where_the_list_cannot_be_read_on(event: Event) -> None:
    d = interrupted(by=(Ending.SIGTERM,))  # once more means: at once
    d.happens(event)
    assert d.last_ack(0) == 1 and d.rows == [] and d.core.wants == 0


def test_a_list_that_does_not_match_is_said_once() -> None:
    def judge(task: Task) -> tuple[Verdict, Place | None]:
        raise UsageError(f"task {task.task_id} is another one")

    d = Driver(judge=judge)
    d.engine(0)
    d.happens(ItemsCame([task(0), task(1)]))
    assert d.texts("error") == "task 0 is another one"


def test_claims_hold_where_nothing_of_the_list_was_done() -> None:
    heirs = Inheritance(1, (JoinedContext("c0", "c0", 0, range(1), 0),))
    d = Driver(losses=LossPolicy(LEASE_S), sweeps=False, waits=True, inheritance=heirs)
    back(d, 0)
    d.hello(0, demand=3, held=((1, 1),))
    d.lists(task(0), end=False)
    d.lists(task(1), task(2))
    d.up(0, demand=3)
    assert [held[0] for held in d.assigned(0)] == [0, 2]


def test_a_list_that_has_ended_was_read_as_far_as_it_can_be() -> None:
    d = interrupted(0, 1, 2, 3)
    d.lists(*[task(i) for i in range(5)])
    assert rows(d) == [4] and d.last_ack(0) == 1 and d.core.fleet.engines[0].held == {}

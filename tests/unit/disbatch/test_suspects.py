"""Tasks that were running when engines died: they run alone, so that only what ends engines is given up."""

from disbatch_builders import Driver, task

from disbatch.core.driver_events import JoinCame, LaunchAgain, Tick
from disbatch.core.joining import Join
from disbatch.core.losses import LossPolicy
from disbatch.core.model import LOST

LEASE_S = 300.0


def driver(limit: int = 3) -> Driver:
    return Driver(losses=LossPolicy(LEASE_S, limit=limit))


def replaced(d: Driver, rank: int, slots: int, demand: int | None = None) -> int:
    """The engine dies and another one signs in on its node; returns the rank of that one."""
    d.exits(rank)
    d.ticks(20)
    (new,) = [e.rank for e in d.effects if isinstance(e, LaunchAgain) and e.like == rank]
    d.core.fleet.engines[new].node = d.core.fleet.engines[rank].node
    d.hello(new, slots, demand=slots if demand is None else demand)
    return new


def lost(d: Driver) -> list[int]:
    return [row.task_id for row in d.rows if row.returncode == LOST]


def held(d: Driver, rank: int) -> list[int]:
    return sorted(d.core.fleet.engines[rank].held)


def test_after_the_second_loss_tasks_run_one_at_a_time_and_only_the_guilty_one_is_given_up() -> None:
    d = driver()
    d.engine(0, 4)
    d.lists(*[task(i) for i in range(6)])
    first = replaced(d, 0, 4)
    assert held(d, first) == [0, 1, 2, 3]  # once may have been chance
    second = replaced(d, first, 4)
    assert held(d, second) == [0]
    assert "each of them runs alone" in d.texts("warning")
    d.up(second, demand=4, reports=(d.report(second, 0, attempt=3),))
    assert held(d, second) == [1]
    third = replaced(d, second, 4)  # task 1 is to blame
    assert lost(d) == [1] and held(d, third) == [2]
    for task_id in (2, 3):
        d.up(third, demand=4, reports=(d.report(third, task_id, attempt=3),))
    assert held(d, third) == [4, 5] and lost(d) == [1]


def test_other_engines_go_on_beside_a_suspect() -> None:
    d = driver(limit=2)
    d.engine(0, 2)
    d.engine(1, 2)
    d.engine(2, 2)
    d.lists(*[task(i) for i in range(20)])
    on_0 = held(d, 0)
    d.up(1, demand=2, reports=tuple([d.report(1, i) for i in held(d, 1)]))
    assert len(held(d, 1)) == 2  # until there is an engine to spare
    d.exits(0)
    d.up(1, demand=2, reports=tuple([d.report(1, i) for i in held(d, 1)]))
    assert held(d, 1) == on_0[:1] and len(held(d, 2)) == 2
    d.up(2, demand=2, reports=tuple([d.report(2, i) for i in held(d, 2)]))
    assert len(held(d, 2)) == 2 and not set(held(d, 2)) & set(on_0)
    d.up(1, demand=2, reports=(d.report(1, on_0[0], attempt=2),))
    assert held(d, 1) == on_0[1:]
    d.up(1, demand=2, reports=(d.report(1, on_0[1], attempt=2),))
    assert len(held(d, 1)) == 2 and not d.core.ledger.suspects


def test_a_suspect_runs_on_another_node_than_the_one_where_it_was_lost() -> None:
    d = driver(limit=2)
    d.engine(0, 1)
    d.engine(1, 1)
    d.lists(task(0), task(1), task(2), task(3))
    assert d.assigned(0) == [(0, 1)]
    new = replaced(d, 0, 1)
    assert 0 not in held(d, new)
    d.up(1, demand=1, reports=(d.report(1, 1),))
    assert held(d, 1) == [0]


def test_a_busy_engine_becomes_empty_for_a_suspect_that_would_wait_for_ever() -> None:
    d = driver(limit=2)
    d.engine(0, 2)
    d.engine(1, 1)
    d.lists(*[task(i) for i in range(8)])
    on_1, on_0 = held(d, 1), held(d, 0)
    d.core.fleet.engines[1].ours = False  # nobody starts another one there
    d.exits(1)
    d.up(0, demand=2, reports=(d.report(0, on_0[0]),))
    assert held(d, 0) == on_0[1:]  # its free slot stays free
    d.up(0, demand=2, reports=(d.report(0, on_0[1]),))
    assert held(d, 0) == on_1
    d.up(0, demand=2, reports=(d.report(0, on_1[0], attempt=2),))
    assert len(held(d, 0)) == 2


def test_tasks_that_end_engines_one_after_another_do_not_use_up_their_node() -> None:
    d = driver()
    d.engine(0, 2)
    d.lists(*[task(i) for i in range(8)])
    rank = 0
    while len(lost(d)) < 7:
        rank = replaced(d, rank, 2)
    d.exits(rank)
    assert sorted(lost(d)) == [*range(8)]


def test_with_a_limit_of_one_there_is_nothing_to_find_out() -> None:
    d = driver(limit=1)
    d.engine(0, 2)
    d.lists(task(0), task(1), task(2))
    d.exits(0)
    assert lost(d) == [0, 1] and not d.core.ledger.suspects


def test_the_limit_of_a_context_holds_for_tasks_that_run_alone() -> None:
    """Two engines stand idle in a context that may run one task more."""
    d = driver(limit=2)
    d.engine(0, 2)
    d.lists(task(0), task(1))
    nodes = (("here", 1, False), ("there", 1, False))
    d.happens(JoinCame(Join("c1", "NIGHT", True, 1, nodes, "host, process 7")))
    d.hello(1, 1, demand=1)
    d.hello(2, 1, demand=1)
    d.exits(0)
    d.happens(Tick())
    assert sorted(held(d, 1) + held(d, 2)) == [0]

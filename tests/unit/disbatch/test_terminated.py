"""Engines that SIGTERM has ended although the driver has not: lost with their reason, unless the job ends."""

import pytest
from disbatch_builders import Driver, task
from test_losses import launches, told

from disbatch.core.driver_events import Ending, JoinCame, SignalCame
from disbatch.core.engine import EngineCore
from disbatch.core.engine_events import DownCame, Leave, Tell, TermCame
from disbatch.core.joining import Order
from disbatch.core.losses import AGAIN_S, SIGNAL_DOUBT_S, LossPolicy
from disbatch.core.messages import Down, Handed, Setup
from disbatch.core.model import LOST
from disbatch.core.phases import EngineConfig

LEASE_S = 20.0
WHY = "it got SIGTERM from task 0, process 4711"


def terminated(
    guilty: tuple[tuple[int, int], ...], limit: int = 3, on_lost: str = "rerun", ours: bool = True
) -> Driver:
    d = Driver(losses=LossPolicy(LEASE_S, on_lost, limit))  # type: ignore[arg-type]
    d.engine(0, 2)
    d.core.fleet.engines[0].ours = ours
    d.lists(task(0), task(1), task(2))
    d.up(0, demand=0, returned=((0, 1), (1, 1)), unasked=True, guilty=guilty)
    d.up(0, demand=0, bye=WHY, unasked=True, guilty=guilty)
    return d


def losses(d: Driver) -> dict[int, int]:
    return {e.task.task_id: e.lost for e in d.core.ledger.entries.values() if e.lost}


def test_the_engine_is_lost_and_replaced_and_only_the_task_to_blame_is_charged() -> None:
    d = terminated(((0, 1),))
    assert d.over is None and d.texts("error") == ""  # the driver may be about to get the same signal
    d.exits(0)
    d.ticks(SIGNAL_DOUBT_S + 0.1)
    assert WHY in d.texts("error") and losses(d) == {0: 1} and told(d) == ["lost"]
    d.ticks(AGAIN_S[0] + 0.5)
    assert launches(d) == [(1, 0)]
    d.hello(1, 2, demand=2)
    assert sorted(d.core.fleet.engines[1].held) == [0, 1]


def test_where_nobody_knows_which_task_it_was_all_that_ran_are_charged() -> None:
    d = terminated(((0, 1), (1, 1)))
    d.ticks(SIGNAL_DOUBT_S + 0.1)
    assert losses(d) == {0: 1, 1: 1}


@pytest.mark.parametrize("on_lost", ["rerun", "fail"])
def test_of_somebody_else_it_costs_no_task_an_attempt(on_lost: str) -> None:
    d = terminated((), limit=1, on_lost=on_lost)
    d.exits(0)
    d.ticks(1)
    assert WHY in d.texts("error") and losses(d) == {} and d.rows == []
    d.ticks(AGAIN_S[0])
    assert launches(d) == [(1, 0)]


def test_a_task_at_its_limit_is_given_up() -> None:
    d = terminated(((0, 1),), limit=1)
    assert d.rows == []
    d.ticks(1)
    assert [(r.task_id, r.returncode) for r in d.rows] == [(0, LOST)]


def test_the_signal_of_a_scheduler_reaches_the_driver_as_well_and_costs_nothing() -> None:
    d = terminated(((0, 1), (1, 1)), limit=1)
    d.exits(0)
    d.happens(SignalCame(Ending.SIGTERM))
    assert d.over is not None and d.over.ending is Ending.SIGTERM
    assert d.rows == [] and d.texts("error") == "" and told(d) == ["left"] and launches(d) == []


def test_an_engine_that_had_to_go_anyway_has_left() -> None:
    d = Driver(losses=LossPolicy(LEASE_S))
    d.engine(0)
    d.engine(1)
    d.lists(task(0), task(1))
    d.happens(JoinCame(Order("engine", "0", "somebody", True)))
    d.up(0, demand=0, returned=((0, 1),), bye=WHY, unasked=True, guilty=((0, 1),))
    d.exits(0)
    d.ticks(5)
    assert told(d) == ["left"] and losses(d) == {} and launches(d) == []


def test_of_a_context_it_is_said_before_the_run_ends_without_engines() -> None:
    d = terminated((), ours=False)
    assert d.over is None
    d.ticks(1)
    assert WHY in d.texts("error") and d.over is not None and d.over.ending is Ending.NO_ENGINE


@pytest.mark.parametrize(("tasks", "guilty"), [((), ()), ((1,), ((1, 1),)), (None, ((0, 1), (1, 1)))])
def test_the_engine_says_what_may_have_ended_it(
    tasks: tuple[int, ...] | None, guilty: tuple[tuple[int, int], ...]
) -> None:
    engine = EngineCore(EngineConfig("s", 0, "n", 2, 5.0))
    engine.hello(0.0)
    handed = tuple([Handed(i, 1, i + 1, -1, b"x") for i in (0, 1, 2)])
    engine.handle(0.0, DownCame(Down("d", "s", 1, 1, 0, 0.0, handed, setup=Setup((), ()))))
    assert (engine.task_in(1), engine.task_in(7), engine.task_in(None)) == (1, None, None)
    ups = [e.message for e in engine.handle(1.0, TermCame("why", tasks)) if isinstance(e, Tell)]
    assert [(set(up.guilty), up.unasked) for up in ups] == [(set(guilty), True)]


def test_an_engine_without_tasks_leaves_at_once() -> None:
    engine = EngineCore(EngineConfig("s", 0, "n", 2, 5.0))
    engine.hello(0.0)
    effects = engine.handle(1.0, TermCame("why", None))
    (up,) = [e.message for e in effects if isinstance(e, Tell)]
    assert up.bye == "why" and up.unasked and Leave() in effects


def test_where_all_engines_are_told_at_once_somebody_ends_the_run() -> None:
    """`scancel --signal=TERM` reaches the steps of a job and not its driver."""
    d = Driver(losses=LossPolicy(LEASE_S))
    d.engine(0)
    d.engine(1)
    d.lists(task(0), task(1))
    d.up(1, demand=0, unasked=True)  # its task takes some time to end
    d.up(0, demand=0, returned=((0, 1),), bye=WHY, unasked=True)
    d.exits(0)
    d.ticks(5)
    assert launches(d) == [] and d.over is None and d.texts("error").count(WHY) == 1
    d.up(1, demand=0, returned=((1, 1),), bye=WHY, unasked=True)
    d.exits(1)
    d.ticks(1)
    assert d.over is not None and d.over.ending is Ending.NO_ENGINE and d.rows == []

"""Which engines are told to leave before the others, and when none is."""

import pytest
from disbatch_builders import Driver, barrier, per_engine, task

from disbatch.core.driver_events import Ending, SignalCame


def two(retires: bool = True) -> Driver:
    """An engine on the driver's node, which stays, and one whose node can be given back."""
    d = Driver()
    d.engine(0)
    d.engine(1, retires=retires)
    return d


def test_an_engine_without_work_leaves_while_another_has_some() -> None:
    d = two()
    d.lists(task(0), task(1))
    assert d.stops(1) == []
    d.finishes(1, rank=1)
    assert d.stops(1) == ["finish"] and d.stops(0) == []
    d.up(1, demand=0, bye="the run is over")
    d.exits(1, "exit code 0")
    assert d.over is None and d.texts("error") == ""
    d.finishes(0, rank=0)
    d.up(0, demand=0, bye="the run is over")
    assert d.over is not None and d.over.ending is Ending.COMPLETE


def test_what_cannot_be_given_back_stays() -> None:
    d = two(retires=False)
    d.lists(task(0), task(1))
    d.finishes(1, rank=1)
    d.up(1, demand=1)
    assert d.stops(1) == []


def test_nobody_leaves_while_the_list_goes_on() -> None:
    d = two()
    d.lists(task(0), task(1), end=False)
    d.finishes(1, rank=1)
    assert d.stops(1) == []


@pytest.mark.parametrize("behind", [[], [task(3)]])
def test_nobody_leaves_before_a_barrier(behind: list[object]) -> None:
    d = two()
    d.lists(task(0), task(1), barrier(2), *behind, end=False)  # type: ignore[arg-type]
    d.finishes(1, rank=1)
    assert d.stops(1) == []


def test_nobody_leaves_while_a_task_is_held_ahead_and_could_be_recalled() -> None:
    d = Driver()
    d.engine(0, slots=1, demand=2)
    d.lists(task(0), task(1))
    d.engine(1, retires=True, demand=0)
    assert d.assigned(0) == [(0, 1), (1, 1)] and d.stops(1) == []
    d.up(1, demand=1)  # asks for it back
    assert d.stops(1) == []
    d.up(0, demand=2, returned=((1, 1),))
    assert d.assigned(1) == [(1, 2)] and d.stops(1) == []


def test_nobody_leaves_while_a_task_is_on_an_engine_that_is_about_to_leave() -> None:
    d = Driver()
    d.engine(0)
    d.engine(1)
    d.engine(2, retires=True)
    d.lists(task(0), task(1), end=False)
    d.core.fleet.engines[1].stop = "finish"
    d.lists(end=True)
    assert d.stops(2) == []
    d.up(1, demand=0, returned=((1, 1),), bye="stopped")
    assert d.assigned(2) == [(1, 2)]


def test_a_task_that_is_lost_finds_the_engines_that_still_run() -> None:
    d = two()
    d.engine(2, retires=True)
    d.lists(task(0), task(1), task(2))
    d.finishes(0, rank=0)
    d.finishes(2, rank=2)
    assert d.stops(2) == ["finish"] and d.stops(0) == []
    d.up(1, demand=0, returned=((1, 1),), bye="it was sent SIGTERM")
    assert d.assigned(0)[-1] == (1, 2)


def test_one_that_comes_when_there_is_nothing_left_for_it_goes_again() -> None:
    d = Driver()
    d.engine(0)
    d.lists(task(0))
    d.engine(1, retires=True)
    assert d.stops(1) == ["finish"]


def test_after_a_reconnect_it_is_said_again() -> None:
    d = two()
    d.lists(task(0), task(1))
    d.finishes(1, rank=1)
    d.hello(1, demand=1)
    assert d.stops(1) == ["finish", "finish"]


def test_an_order_to_stop_that_is_stronger_reaches_one_that_leaves() -> None:
    d = two()
    d.lists(task(0), task(1))
    d.finishes(1, rank=1)
    d.happens(SignalCame(Ending.SIGTERM))
    assert d.stops(1) == ["finish", "kill"]


def test_a_list_of_per_engine_commands_alone_runs_them_everywhere() -> None:
    d = Driver()
    d.engine(0, demand=0)
    d.engine(1, retires=True, demand=0)
    d.lists(per_engine("START", 0))
    assert d.stops(0) == [] and d.stops(1) == []

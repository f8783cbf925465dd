"""The end of a run and engines that have not come: a launcher on this side says nothing of the host on the other."""

import pytest
from disbatch_builders import Driver, per_engine, task

from disbatch.core.driver_events import Ending, EngineLaunched, SignalCame
from disbatch.core.losses import COMING_S


def with_a_silent_host(*, beside: bool = False) -> Driver:
    d = Driver()
    d.engine(0)
    d.happens(EngineLaunched(1, "hosta", 1, "SSH0", beside=beside))
    return d


def leaves(d: Driver) -> None:
    d.up(0, demand=0, bye="told to")


def test_a_run_whose_tasks_are_done_waits_a_moment_and_no_longer() -> None:
    d = with_a_silent_host()
    d.lists(task(0))
    d.finishes(0)
    leaves(d)
    assert d.over is None
    d.ticks(COMING_S + 0.1)
    assert d.over is not None and d.over.ending is Ending.COMPLETE
    assert not d.core.abandoned, "nothing of it can run: whoever resumes need not know of it"


def test_a_run_that_has_lasted_longer_does_not_wait_at_all() -> None:
    d = with_a_silent_host()
    d.lists(task(0))
    d.ticks(COMING_S + 1)
    d.finishes(0)
    leaves(d)
    assert d.over is not None


@pytest.mark.parametrize("ending", [Ending.SIGTERM, Ending.SIGHUP])
def test_a_run_that_is_to_stop_does_not_wait_at_all(ending: Ending) -> None:
    d = with_a_silent_host()
    d.lists(task(0))
    d.happens(SignalCame(ending))
    leaves(d)
    assert d.over is not None and d.over.ending is ending


def test_an_engine_beside_the_driver_is_waited_for() -> None:
    d = with_a_silent_host(beside=True)
    d.lists(task(0))
    d.finishes(0)
    leaves(d)
    d.ticks(COMING_S + 5)
    assert d.over is None


def test_commands_for_each_engine_wait_for_each_of_them() -> None:
    d = with_a_silent_host()
    d.lists(per_engine("START", 0))
    d.ticks(COMING_S + 5)
    assert d.over is None and d.core.ending is None

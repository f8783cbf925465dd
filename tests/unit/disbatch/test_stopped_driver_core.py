"""A driver that is stopped, and the engines on its machine: how long these wait, and when their tasks are free."""

from disbatch_builders import Driver, task
from test_engine_core import Engine
from test_engine_lease import LASTS_S, LEASE_S, down, names

from disbatch.core.driver_events import EngineLaunched, Sweep, Swept, Tick
from disbatch.core.engine_events import Deadline, DriverStands
from disbatch.core.engine_events import Tick as Beat
from disbatch.core.lease import GUARD_AFTER_S, Lease, margin_s
from disbatch.core.losses import LossPolicy


def test_a_lease_is_extended_from_the_moment_at_which_the_driver_stood() -> None:
    lease = Lease(20.0)
    lease.extend(1.0)
    assert lease.deadline is None  # nothing is held before the first answer
    lease.renew(5.0, 4.0)
    lease.extend(60.0)
    assert lease.deadline == 60.0 + 20.0 - 1.5
    assert lease.renew(61.0, 4.5) and lease.deadline == 78.5  # it goes on, and begins with an old time
    assert lease.renew(62.0, 61.5) and lease.deadline == 80.0
    assert not lease.renew(82.0, 62.0) and lease.over(80.0)


def test_an_engine_keeps_its_tasks_while_the_driver_stands_and_tells_its_guard() -> None:
    engine = Engine(2, setup=None)
    down(engine, 10.0, 9.0, 0, 1)
    effects = engine.core.handle(200.0, DriverStands())
    assert Deadline(200.0 + LASTS_S + GUARD_AFTER_S) in effects
    assert "KillAll" not in names(engine.core.handle(9.0 + LEASE_S, Beat()))
    late = 200.0 + LASTS_S
    assert engine.core.lease_over(late)
    assert names(engine.core.handle(late + 0.1, DriverStands())) == ["Deadline", "SetTimer"]
    assert "KillAll" not in names(down(engine, late + 1.0, 20.0))  # the first answer is an old one
    assert "KillAll" in names(engine.core.handle(late + 1.0 + LEASE_S, Beat()))


def beside(lease_s: float = 20.0) -> Driver:
    d = Driver(losses=LossPolicy(lease_s), sweeps=False)
    d.happens(EngineLaunched(0, "here", 1, "SSH0", False, True))
    d.hello(0, demand=1)
    d.engine(1)
    d.lists(task(0), task(1))
    assert d.assigned(0) == [(0, 1)]
    return d


def beats(d: Driver, rank: int, seconds: float) -> None:
    """Time passes, and only this engine is heard."""
    for _ in range(int(seconds)):
        d.ticks(1)
        d.up(rank, demand=1)


def test_after_a_stop_the_engine_has_a_lease_to_be_heard() -> None:
    d = beside()
    d.now_s += 300.0  # before its first tick
    d.happens(Tick())
    beats(d, 1, 18)
    assert d.texts("error") == ""
    d.up(0, demand=1)
    beats(d, 1, 10)
    assert d.texts("error") == ""


def test_its_tasks_are_free_by_a_sweep_and_never_as_time_has_passed() -> None:
    d = beside()
    beats(d, 1, 20)
    assert "no word from it" in d.texts("error")
    for _ in range(40):
        d.happens(Swept("sid0", False))
        beats(d, 1, 1)
    assert "cannot be killed yet" in d.texts("warning") and d.texts("warning").count("killed") == 1
    assert len([e for e in d.effects if isinstance(e, Sweep)]) > 20
    assert 0 in d.core.ledger.entries and d.core.ledger.entries[0].engine == "sid0"
    d.happens(Swept("sid0", True))
    d.up(1, demand=1, reports=(d.report(1, 1),))
    assert d.assigned(1)[-1] == (0, 2)


def test_where_its_guard_was_reaped_the_promise_counts_again() -> None:
    d = beside()
    d.exits(0)
    d.happens(Swept("sid0", False))
    beats(d, 1, 20 + margin_s(20.0))
    d.happens(Swept("sid0", False))
    d.up(1, demand=1, reports=(d.report(1, 1),))
    assert d.assigned(1)[-1] == (0, 2)

"""EngineCore and its lease: renewed by answers that give back its own time, over without them, then all is killed."""

from test_engine_core import Engine

from disbatch.core.engine_events import (
    Deadline,
    DieCame,
    DownCame,
    Ended,
    KillAll,
    Leave,
    SignIn,
    TermCame,
    Tick,
)
from disbatch.core.lease import GUARD_AFTER_S, Lease, margin_s
from disbatch.core.messages import Die, Down, Handed, Setup
from disbatch.core.phases import Phase

LEASE_S = 300.0
LASTS_S = LEASE_S - margin_s(LEASE_S)


def down(engine: Engine, at: float, echo: float, *tasks: int, sid: str = "s", ep: int = 1) -> list:
    engine.seq += 1
    handed = tuple(Handed(i, 1, i + 1, -1, b"task %d" % i) for i in tasks)
    message = Down("d", sid, ep, engine.seq, 0, echo, handed, setup=Setup((), ()))
    effects = engine.core.handle(at, DownCame(message))
    engine.effects += effects
    return effects


def names(effects: list) -> list[str]:
    return [type(e).__name__ for e in effects]


def test_the_margin_leaves_time_to_kill_and_grows_with_the_lease() -> None:
    assert margin_s(2.0) == 1.0 and margin_s(300.0) == 15.5
    assert all(margin_s(s) < s for s in (2.0, 3.0, 10.0, 1e7))


def test_a_lease_counts_from_the_time_that_is_given_back_and_never_shrinks() -> None:
    lease = Lease(20.0)
    assert not lease.over(1e9)  # nothing is held before the first answer
    assert lease.renew(5.0, 4.0) and lease.deadline == 4.0 + 20.0 - 1.5
    assert lease.renew(6.0, 1.0) and lease.deadline == 22.5
    assert not lease.renew(30.0, 11.0)
    assert lease.over(22.5) and not lease.over(22.4)


def test_the_guard_is_told_each_deadline() -> None:
    engine = Engine(2, setup=None)
    effects = down(engine, 10.0, 9.0)
    assert Deadline(9.0 + LASTS_S + GUARD_AFTER_S) in effects
    assert not any(isinstance(e, Deadline) for e in down(engine, 10.1, 9.05))  # too little has changed
    assert any(isinstance(e, Deadline) for e in down(engine, 12.0, 11.0))


def test_past_the_deadline_everything_is_killed_and_a_new_session_begins() -> None:
    engine = Engine(2, setup=None)
    down(engine, 1.0, 0.0, 0, 1, 2)
    effects = engine.core.handle(LASTS_S, Tick())
    assert names(effects)[:3] == ["KillAll", "Deadline", "SignIn"]
    hello = engine.core.hello(LASTS_S)
    assert (hello.sid, hello.ep, hello.held, hello.reports, hello.demand) == ("s.1", 2, (), (), 0)
    assert engine.core.phase is Phase.JOINING
    effects = down(engine, LASTS_S + 1, LASTS_S, 5, sid="s.1", ep=2)
    assert "Spawn" in names(effects)


def test_an_end_that_is_heard_of_after_the_deadline_is_no_report() -> None:
    """A process that was stopped learns of everything at once when it goes on."""
    engine = Engine(1, setup=None)
    down(engine, 1.0, 0.0, 0)
    from disbatch_builders import outcome

    engine.core.handle(LASTS_S + 50, Ended([(0, outcome(0))]))
    assert engine.core.hello(LASTS_S + 50).reports == ()


def test_an_answer_that_comes_too_late_ends_the_session_and_starts_nothing() -> None:
    engine = Engine(2, setup=None)
    effects = down(engine, 1000.0, 0.0, 0, 1)
    assert names(effects) == ["KillAll", "Deadline", "SignIn"]
    assert engine.core.sid == "s.1"


def test_a_session_that_the_driver_holds_as_lost_ends() -> None:
    engine = Engine(2, setup=None)
    down(engine, 1.0, 0.5, 0)
    assert engine.core.handle(2.0, DieCame(Die("other"))) == []
    effects = engine.core.handle(2.0, DieCame(Die("s")))
    assert any(isinstance(e, KillAll) for e in effects) and any(isinstance(e, SignIn) for e in effects)


def test_an_engine_that_was_sent_term_does_not_begin_again() -> None:
    engine = Engine(2, setup=None)
    down(engine, 1.0, 0.5, 0)
    engine.core.handle(2.0, TermCame())
    effects = engine.core.handle(1000.0, Tick())
    assert any(isinstance(e, Leave) for e in effects) and not any(isinstance(e, SignIn) for e in effects)


def test_a_hello_after_a_break_says_what_is_held_and_what_was_not_acknowledged() -> None:
    engine = Engine(2)
    engine.down(0, 1, 2)
    engine.ends(1, code=3)
    again = engine.core.hello(2.0)
    held = [task_id for task_id, _ in again.held]
    reported = [r.task_id for r in again.reports]
    assert sorted(held + reported) == [0, 1, 2] and len(reported) == 1
    assert again.ep == 2 and again.sid == engine.hello.sid

"""EngineCore by events: slots, what is held ahead, reports until acknowledged, per-engine commands, stopping."""

from typing import Any

import pytest
from disbatch_builders import outcome

from disbatch.core.ahead import STILL_S
from disbatch.core.engine import TERM_DOUBT_S, EngineCore
from disbatch.core.engine_events import (
    NO_SLOT,
    DownCame,
    Effect,
    Ended,
    Event,
    Kill,
    Leave,
    SetTimer,
    Spawn,
    Tell,
    TermCame,
    Tick,
    TimerRang,
)
from disbatch.core.errors import IllegalMoveError
from disbatch.core.messages import Down, EngineCommand, Handed, Setup, StopMode, Up
from disbatch.core.phases import ALLOWED_MOVES, EngineConfig, Phase

NO_SETUP = Setup((), ())


class Engine:
    """An EngineCore under test, with what it said so far."""

    def __init__(self, slots: int = 2, *, setup: Setup | None = NO_SETUP) -> None:
        self.core = EngineCore(EngineConfig("s", 0, "n", slots, 5.0))
        self.hello = self.core.hello(0.0)
        self.effects: list[Effect] = []
        self.seq = 0
        self.now = 1.0
        if setup is not None:
            self.down(setup=setup)

    def happens(self, event: Event) -> list[Effect]:
        effects = self.core.handle(self.now, event)
        self.effects += effects
        return effects

    def down(
        self,
        *tasks: int,
        ack: int = 0,
        stop: StopMode = "",
        attempt: int = 1,
        ep: int | None = None,
        **more: Any,
    ) -> list[Effect]:
        handed = tuple(Handed(i, attempt, i + 1, -1, b"task %d" % i) for i in tasks)
        sid = more.pop("sid", "s")
        self.seq += 1
        message = Down(
            "d", sid, self.core.ep if ep is None else ep, self.seq, ack, 0.0, handed, stop=stop, **more
        )
        return self.happens(DownCame(message))

    def ends(self, *slots: int, code: int = 0, seconds: float = 0.01) -> list[Effect]:
        return self.happens(Ended([(slot, outcome(code, elapsed_s=seconds)) for slot in slots]))

    @property
    def spawned(self) -> list[tuple[int, bytes]]:
        return [(e.slot, e.job.command) for e in self.effects if isinstance(e, Spawn)]

    @property
    def told(self) -> list[Up]:
        return [e.message for e in self.effects if isinstance(e, Tell)]

    @property
    def reported(self) -> list[tuple[int, str, int, int]]:
        return [(r.n, r.kind, r.task_id, r.outcome.returncode) for up in self.told for r in up.reports]

    @property
    def returned(self) -> list[tuple[int, int]]:
        return sorted(h for up in self.told for h in up.returned)

    @property
    def left(self) -> bool:
        return any(isinstance(e, Leave) for e in self.effects)

    def kinds(self, effects: list[Effect]) -> list[str]:
        return [type(effect).__name__ for effect in effects]


def commands(*texts: bytes) -> tuple[EngineCommand, ...]:
    return tuple(EngineCommand(i, i + 1, text) for i, text in enumerate(texts))


# -- signing in, slots, demand


def test_hello_says_who_it_is_and_wants_nothing_before_its_setup_is_known() -> None:
    engine = Engine(3, setup=None)
    assert (engine.hello.sid, engine.hello.ep, engine.hello.slots, engine.hello.demand) == ("s", 1, 3, 0)
    assert engine.hello.held == () and engine.hello.reports == ()
    engine.down(setup=NO_SETUP)
    assert engine.told[-1].demand == 3


def test_tasks_start_in_order_and_never_on_a_slot_that_is_taken() -> None:
    engine = Engine(2)
    engine.down(0, 1, 2)
    assert [command for _, command in engine.spawned] == [b"task 0", b"task 1"]
    assert sorted(slot for slot, _ in engine.spawned) == [0, 1]
    engine.ends(1)
    assert engine.spawned[2] == (1, b"task 2")


def test_a_repeated_message_starts_nothing_twice() -> None:
    engine = Engine(2)
    engine.down(0)
    engine.down(0)
    assert len(engine.spawned) == 1
    engine.down(0, attempt=2)
    assert len(engine.spawned) == 2


@pytest.mark.parametrize("wrong", [{"ep": 0}, {"ep": 2}, {"sid": "other"}])
def test_a_message_of_another_connection_or_session_is_dropped(wrong: dict[str, Any]) -> None:
    engine = Engine(2)
    assert engine.down(0, stop="kill", **wrong) == []
    assert engine.core.phase is Phase.WORKING


def test_nothing_is_held_ahead_before_a_task_has_ended() -> None:
    engine = Engine(2)
    assert engine.core.demand == 2
    engine.down(0)
    assert engine.core.demand == 2
    engine.ends(0)
    assert engine.core.demand > 2


def test_what_waits_behind_tasks_that_do_not_end_is_given_back() -> None:
    engine = Engine(2)
    effects = engine.down(0, 1, 2, 3)
    assert [(e.name, e.after_s) for e in effects if isinstance(e, SetTimer)] == [("ahead", STILL_S)]
    engine.now = 1.0 + STILL_S / 2
    engine.happens(TimerRang("ahead"))
    assert engine.returned == []
    engine.now = 1.0 + STILL_S
    engine.happens(TimerRang("ahead"))
    assert engine.returned == [(2, 1), (3, 1)] and engine.core.demand == 2
    engine.ends(0)
    assert [command for _, command in engine.spawned] == [b"task 0", b"task 1"]


# -- reports


def test_a_report_is_sent_at_once_when_nothing_is_in_flight() -> None:
    engine = Engine(1)
    engine.down(7)
    engine.ends(0, code=3)
    assert engine.reported == [(1, "T", 7, 3)]
    assert engine.told[-1].n_hi == 1


def test_one_report_message_is_in_flight_and_the_next_goes_on_its_acknowledgement() -> None:
    engine = Engine(3)
    engine.down(0, 1, 2)
    for slot in (0, 1, 2):
        engine.ends(slot, seconds=1000.0)
    assert [n for n, *_ in engine.reported] == [1]
    engine.down(ack=1)
    assert [n for n, *_ in engine.reported] == [1, 2, 3]
    assert len(engine.told[-1].reports) == 2


def test_reports_wait_a_moment_when_enough_is_held_ahead() -> None:
    engine = Engine(1)
    engine.down(0)
    engine.ends(0, seconds=0.001)
    engine.down(1, 2, 3, 4, ack=1)
    effects = engine.ends(0, seconds=0.001)
    assert any(isinstance(e, SetTimer) and e.name == "report" for e in effects)
    engine.ends(0, seconds=0.001)
    assert [n for n, *_ in engine.reported] == [1]
    engine.happens(TimerRang("report"))
    assert [n for n, *_ in engine.reported] == [1, 2, 3]


def test_what_is_not_acknowledged_goes_into_the_next_hello() -> None:
    engine = Engine(2)
    engine.down(0, 1, 2)
    engine.ends(0)
    engine.ends(1)
    hello = engine.core.hello(5.0)
    assert (hello.ep, [r.n for r in hello.reports], hello.held) == (2, [1, 2], ((2, 1),))
    engine.down(ack=1)
    hello = engine.core.hello(6.0)
    assert (hello.ep, [r.n for r in hello.reports]) == (3, [2])


def test_a_heartbeat_tells_even_when_nothing_happened() -> None:
    engine = Engine(1)
    (effect,) = engine.happens(Tick())
    assert isinstance(effect, Tell) and effect.message.t == 1.0 and effect.message.reports == ()


# -- recall


def test_recall_gives_back_only_what_has_not_started() -> None:
    engine = Engine(1)
    engine.down(0)
    engine.ends(0, seconds=0.001)
    engine.down(1, 2, 3, ack=1)
    engine.down(recall=((1, 1), (2, 1), (3, 9)))
    assert engine.returned == [(2, 1)]
    engine.ends(0)
    assert engine.spawned[-1][1] == b"task 3"


# -- per-engine commands


def test_start_commands_run_in_order_before_the_first_task() -> None:
    engine = Engine(2, setup=Setup(commands(b"a", b"b"), ()))
    assert engine.spawned == [(NO_SLOT, b"a")]
    assert engine.core.demand == 0
    engine.ends(NO_SLOT)
    assert engine.spawned[1:] == [(NO_SLOT, b"b")]
    engine.down(0)  # held, not started
    assert len(engine.spawned) == 2
    engine.ends(NO_SLOT)
    assert engine.spawned[2][1] == b"task 0"
    engine.down(ack=1)
    assert engine.reported[:2] == [(1, "A", 0, 0), (2, "A", 1, 0)]


def test_when_a_start_command_fails_the_engine_takes_no_task_runs_stop_and_leaves() -> None:
    engine = Engine(2, setup=Setup(commands(b"a", b"b"), commands(b"z")))
    engine.ends(NO_SLOT, code=1)
    assert [command for _, command in engine.spawned] == [b"a", b"z"]
    assert engine.core.demand == 0
    engine.down(0)
    engine.ends(NO_SLOT)
    engine.down(ack=1)
    engine.down(ack=2)
    assert engine.left and "START" in engine.told[-1].bye
    assert [command for _, command in engine.spawned] == [b"a", b"z"]


def test_stop_commands_run_in_order_after_the_last_task() -> None:
    engine = Engine(2, setup=Setup((), commands(b"y", b"z")))
    engine.down(0, 1)
    engine.down(stop="finish")
    assert len(engine.spawned) == 2
    engine.ends(0)
    assert len(engine.spawned) == 2
    engine.ends(1)
    assert engine.spawned[2:] == [(NO_SLOT, b"y")]
    engine.ends(NO_SLOT, code=1)
    assert engine.spawned[3:] == [(NO_SLOT, b"z")]
    engine.ends(NO_SLOT)
    assert not engine.left
    while engine.reported and not engine.left:
        engine.down(ack=engine.reported[-1][0])
    assert [(kind, code) for _, kind, _, code in engine.reported] == [("T", 0), ("T", 0), ("Z", 1), ("Z", 0)]
    assert engine.told[-1].bye


# -- stopping


def test_finish_starts_nothing_more_and_waits() -> None:
    engine = Engine(1)
    engine.down(0)
    engine.ends(0, seconds=0.001)
    engine.down(1, 2, 3, ack=1)
    engine.down(stop="finish")
    assert engine.returned == [(2, 1), (3, 1)]
    assert engine.core.demand == 0 and engine.told[-1].demand == 0
    engine.ends(0)
    assert len(engine.spawned) == 2 and not engine.left
    engine.down(ack=2)
    assert engine.left


def test_it_leaves_only_when_its_last_report_is_acknowledged() -> None:
    engine = Engine(1)
    engine.down(0)
    engine.down(stop="finish")
    engine.ends(0)
    assert not engine.left
    engine.down(ack=0)
    assert not engine.left
    engine.down(ack=1)
    assert engine.left and engine.core.phase is Phase.GONE


def test_an_idle_engine_leaves_at_once() -> None:
    for setup in (NO_SETUP, None, Setup((), commands(b"z"))):
        engine = Engine(1, setup=setup)
        effects = engine.down(stop="finish")
        assert engine.kinds(effects)[-2:] == ["Tell", "Leave"]
        assert engine.spawned == []


def test_kill_is_term_then_kill_and_what_is_killed_has_no_report() -> None:
    engine = Engine(2, setup=Setup((), commands(b"z")))
    engine.down(0, 1)
    effects = engine.down(stop="kill")
    assert Kill(False) in effects and SetTimer("kill", 5.0) in effects and Kill(True) not in effects
    engine.ends(0, code=-15)
    assert Kill(True) in engine.happens(TimerRang("kill"))
    engine.ends(1, code=-9)
    assert engine.returned == [(0, 1), (1, 1)]
    assert engine.spawned[2:] == [(NO_SLOT, b"z")]  # an engine that leaves in order runs them
    engine.ends(NO_SLOT)
    engine.down(ack=1)
    assert [kind for _, kind, _, _ in engine.reported] == ["Z"]
    assert engine.left


def test_a_stop_command_that_hangs_is_killed_after_the_grace_time() -> None:
    engine = Engine(1, setup=Setup((), commands(b"z")))
    engine.down(0)
    engine.down(stop="kill")
    engine.ends(0, code=-15)
    assert SetTimer("kill", 5.0) in engine.effects[-3:]
    assert Kill(True) in engine.happens(TimerRang("kill"))
    engine.ends(NO_SLOT, code=-9)
    engine.down(ack=1)
    assert engine.left


def test_kill_after_finish_is_harder() -> None:
    engine = Engine(1)
    engine.down(0)
    assert Kill(False) not in engine.down(stop="finish")
    assert Kill(False) in engine.down(stop="kill")


def test_abort_kills_at_once_and_skips_the_stop_commands() -> None:
    engine = Engine(1, setup=Setup((), commands(b"z")))
    engine.down(0)
    engine.down(stop="kill")
    assert Kill(True) in engine.down(stop="abort")
    engine.ends(0, code=-9)
    assert len(engine.spawned) == 1 and engine.left


def test_abort_kills_a_stop_command_that_runs_and_starts_no_other() -> None:
    engine = Engine(1, setup=Setup((), commands(b"y", b"z")))
    engine.down(0)
    engine.down(stop="finish")
    engine.ends(0)
    assert engine.spawned[-1][1] == b"y"
    assert Kill(True) in engine.down(stop="abort", ack=1)
    engine.ends(NO_SLOT, code=-9)
    engine.down(ack=2)
    assert engine.left and engine.spawned[-1][1] == b"y"


def test_a_kill_while_a_start_command_runs_stops_it() -> None:
    engine = Engine(1, setup=Setup(commands(b"a", b"b"), ()))
    assert Kill(False) in engine.down(stop="kill")
    engine.ends(NO_SLOT, code=-15)
    assert engine.left and len(engine.spawned) == 1


def test_what_ended_by_itself_before_the_kill_keeps_its_report() -> None:
    engine = Engine(2)
    engine.down(0, 1)
    engine.ends(0, code=4)
    engine.down(stop="kill")
    engine.ends(1, code=-15)
    engine.down(ack=1)
    assert engine.reported == [(1, "T", 0, 4)] and engine.returned == [(1, 1)] and engine.left


def test_finish_while_a_start_command_runs_waits_for_it_and_runs_the_stop_commands() -> None:
    engine = Engine(1, setup=Setup(commands(b"a", b"b"), commands(b"z")))
    assert not any(isinstance(effect, Kill) for effect in engine.down(stop="finish"))
    engine.ends(NO_SLOT)
    assert [command for _, command in engine.spawned] == [b"a", b"z"]
    engine.ends(NO_SLOT)
    engine.down(ack=1)
    engine.down(ack=2)
    assert engine.left and [kind for _, kind, _, _ in engine.reported] == ["A", "Z"]


def test_a_repeated_setup_or_stop_changes_nothing() -> None:
    engine = Engine(2, setup=Setup(commands(b"a"), commands(b"z")))
    engine.down(setup=Setup(commands(b"a"), commands(b"z")))
    assert engine.spawned == [(NO_SLOT, b"a")]
    engine.ends(NO_SLOT)
    engine.down(0, ack=1)
    engine.down(stop="finish")
    engine.down(stop="finish")
    engine.ends(0)
    engine.down(stop="finish", ack=1)
    assert [command for _, command in engine.spawned].count(b"z") == 1


@pytest.mark.parametrize("old", Phase)
@pytest.mark.parametrize("new", Phase)
def test_phases_move_by_the_table_alone(old: Phase, new: Phase) -> None:
    assert set(ALLOWED_MOVES) == set(Phase)
    engine = Engine(1)
    engine.core.phase = old
    if new in ALLOWED_MOVES[old]:
        engine.core._move(new)
        assert engine.core.phase is new
    else:
        with pytest.raises(IllegalMoveError):
            engine.core._move(new)


# -- SIGTERM to the engine itself: a scheduler signals everything of a job, in any order


def test_a_task_that_dies_of_term_is_reported_when_nothing_else_was_meant() -> None:
    engine = Engine(1)
    engine.down(0, 1)
    effects = engine.ends(0, code=-15)
    assert SetTimer("term", TERM_DOUBT_S) in effects and not engine.reported
    assert engine.spawned[-1] == (0, b"task 1")  # the slot goes on
    engine.happens(TimerRang("term"))
    assert [(i, code) for _, _, i, code in engine.reported] == [(0, -15)]


@pytest.mark.parametrize("code", [-15, 143])
def test_a_task_that_dies_of_term_just_before_the_engine_hears_it_was_stopped(code: int) -> None:
    engine = Engine(2)
    engine.down(0, 1)
    engine.ends(0, code=code)
    assert Kill(False) in engine.happens(TermCame())
    engine.happens(TimerRang("term"))
    engine.ends(1, code=1)
    assert not engine.reported and sorted(engine.returned) == [(0, 1), (1, 1)]
    assert engine.left


def test_a_task_that_dies_of_term_just_before_the_driver_says_so_was_stopped() -> None:
    engine = Engine(1)
    engine.down(0)
    engine.ends(0, code=-15)
    engine.down(stop="kill")
    assert not engine.reported and engine.returned == [(0, 1)] and engine.left


def test_an_engine_does_not_leave_while_it_is_in_doubt() -> None:
    engine = Engine(1)
    engine.down(0)
    engine.ends(0, code=-15)
    engine.down(stop="finish")
    assert not engine.left
    engine.happens(TimerRang("term"))
    engine.down(ack=1)
    assert engine.left

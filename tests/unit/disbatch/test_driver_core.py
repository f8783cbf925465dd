"""DriverCore by events: who gets what, barriers, records before acknowledgements, stopping, engines that go."""

import pytest
from disbatch_builders import Driver, barrier, outcome, per_engine, task

from disbatch.core.driver_events import (
    DiskGivenUp,
    Ending,
    EngineExited,
    EngineLaunched,
    ItemsCame,
    ListEnded,
    ListFailed,
    MessageCame,
    Record,
    Send,
    SignalCame,
    Written,
)
from disbatch.core.errors import StatusFileError
from disbatch.core.intake import LOOKAHEAD
from disbatch.core.messages import EngineCommand, Report, Setup, Up
from disbatch.core.model import Task
from disbatch.core.recorder import MOST_WAITING
from disbatch.core.resume import Place, Verdict

INT, TERM = SignalCame(Ending.SIGINT), SignalCame(Ending.SIGTERM)


def over(driver: Driver) -> Ending | None:
    return driver.over.ending if driver.over else None


# -- handing out


def test_two_engines_share_the_tasks_in_order() -> None:
    d = Driver()
    d.engine(0)
    d.engine(1)
    d.lists(*map(task, range(4)))
    assert d.assigned(0) + d.assigned(1) == [(0, 1), (1, 1)]
    d.finishes(1, rank=1)
    assert d.assigned(1) == [(1, 1), (2, 1)]
    d.finishes(0)
    assert d.assigned(0) == [(0, 1), (3, 1)]


def test_a_task_goes_out_as_soon_as_it_is_read() -> None:
    d = Driver()
    d.engine(slots=2)
    d.lists(task(0), end=False)
    assert d.assigned() == [(0, 1)]
    d.lists(task(1), end=False)
    assert d.assigned() == [(0, 1), (1, 1)]


def test_demand_is_absolute_and_a_batch_is_one_message() -> None:
    d = Driver()
    d.engine(slots=2, demand=10)
    d.lists(*map(task, range(30)))
    assert [len(m.tasks) for m in d.sent if m.tasks] == [10]
    d.up(demand=10)
    assert len(d.assigned()) == 10
    d.up(demand=12)
    assert len(d.assigned()) == 12
    d.up(demand=0)
    assert len(d.assigned()) == 12


def test_a_batch_of_long_commands_is_cut() -> None:
    d = Driver()
    d.engine(slots=10)
    d.lists(*(task(i, b"x" * 3_000_000) for i in range(10)))
    assert next(len(m.tasks) for m in d.sent if m.tasks) < 10
    d.up(demand=10)
    assert [m.tasks[0].task_id for m in d.sent if m.tasks][:2] == [0, 2]


def test_what_is_handed_out_says_all_about_the_task() -> None:
    d = Driver()
    d.engine()
    d.lists(Task(0, 17, 5, b"x\xff"))
    (message,) = [m for m in d.sent if m.tasks]
    assert tuple(message.tasks[0]) == (0, 1, 17, 5, b"x\xff")
    assert (message.did, message.sid, message.ep) == ("did", "sid0", 1)


def test_the_shell_is_asked_for_a_bounded_number_of_items() -> None:
    d = Driver()
    assert d.core.wants == LOOKAHEAD
    d.engine(slots=3, demand=3)
    assert d.core.wants == 3 + LOOKAHEAD
    d.happens(ItemsCame([task(i) for i in range(d.core.wants)]))
    assert d.core.wants == 0
    d.finishes(0, demand=3)
    assert d.core.wants == 1


def test_the_echo_is_the_engines_own_time() -> None:
    d = Driver()
    d.engine()
    d.now_s = 42.5
    d.up(demand=1)
    d.lists(task(0))
    assert d.sent[-1].echo == 42.5


# -- reports and records


def test_a_row_is_written_before_its_report_is_acknowledged() -> None:
    d = Driver(writes=False)
    d.engine()
    d.lists(task(0), task(1))
    d.finishes(0, 3)
    assert [(r.task_id, r.returncode, r.node) for r in d.rows] == [(0, 3, "node0")]
    assert d.last_ack() == 0
    d.write()
    assert d.last_ack() == 1


def test_the_slot_is_filled_when_the_record_is_in_the_file_by_the_message_that_acknowledges() -> None:
    d = Driver(writes=False)
    d.engine()
    d.lists(task(0), task(1))
    before = len(d.effects)
    d.finishes(0)
    assert [type(e) for e in d.effects[before:] if isinstance(e, Record | Send)] == [Record]
    d.write()
    sent = [e.message for e in d.effects[before:] if isinstance(e, Send)]
    assert [(m.ack, [t.task_id for t in m.tasks]) for m in sent] == [(1, [1])]


def test_more_that_an_engine_wants_waits_for_the_acknowledgement_that_is_due() -> None:
    d = Driver(writes=False)
    d.engine(slots=2)
    d.lists(*map(task, range(5)))
    d.finishes(0, demand=4)
    before = len(d.sent)
    d.up(demand=4)
    assert d.sent[before:] == []
    d.write()
    assert [(m.ack, [t.task_id for t in m.tasks]) for m in d.sent[before:]] == [(1, [2, 3, 4])]


def test_what_came_together_is_answered_by_one_message() -> None:
    d = Driver()
    d.engine(slots=2, demand=0)
    d.lists(*map(task, range(3)))
    before = len(d.sent)
    d.happens(*[MessageCame(Up("sid0", 1, 0, 0.0, (), demand)) for demand in (1, 2)])
    assert [[t.task_id for t in m.tasks] for m in d.sent[before:]] == [[0, 1]]
    reports = [d.report(0, task_id) for task_id in range(2)]
    d.writes = False
    for report in reports:
        d.up(demand=2, reports=(report,))
    before = len(d.sent)
    d.happens(*[Written(batch) for batch in d.unwritten])
    assert [(m.ack, [t.task_id for t in m.tasks]) for m in d.sent[before:]] == [(2, [2])]


def test_the_successors_of_what_is_being_written_are_read_meanwhile() -> None:
    d = Driver(writes=False)
    d.engine(slots=3, demand=3)
    d.happens(ItemsCame([task(i) for i in range(d.core.wants)]))
    assert d.core.wants == 0
    d.up(demand=3, reports=(d.report(0, 0), d.report(0, 1)))
    assert d.core.wants == 2
    d.happens(ItemsCame([task(100), task(101)]))
    assert d.core.wants == 0
    d.write()
    assert [t.task_id for t in d.sent[-1].tasks] == [3, 4] and d.core.wants == 0


def test_one_record_for_a_batch_of_reports() -> None:
    d = Driver()
    d.engine(slots=3)
    d.lists(*map(task, range(3)))
    before = len(d.effects)
    d.up(demand=3, reports=tuple(d.report(0, i) for i in range(3)))
    records = [e for e in d.effects[before:] if isinstance(e, Record)]
    assert [[row.task_id for row in e.rows] for e in records] == [[0, 1, 2]]
    assert d.last_ack() == 3


def test_a_repeated_report_is_acknowledged_and_not_recorded_twice() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    report = d.report(0, 0)
    d.up(demand=1, reports=(report,))
    before = len(d.sent)
    d.up(demand=1, reports=(report,))
    assert len(d.rows) == 1
    assert [m.ack for m in d.sent[before:]] == [1]  # the first acknowledgement may have been lost


def test_a_repeated_report_of_a_per_engine_command_is_not_recorded_twice() -> None:
    d = Driver()
    d.engine(demand=0)
    d.lists(per_engine("START", 0), task(0))
    report = d.report(0, 0, kind="A")
    d.up(demand=1, reports=(report,))
    d.up(demand=1, reports=(report,))
    d.hello(demand=1, held=((0, 1),), reports=(report,))
    assert [(row.flags, row.task_id) for row in d.rows] == [("   P", 0)]


def test_a_report_that_is_repeated_before_it_is_written_is_not_acknowledged_yet() -> None:
    d = Driver(writes=False)
    d.engine()
    d.lists(task(0), task(1))
    report = d.report(0, 0)
    d.up(demand=1, reports=(report,))
    d.up(demand=1, reports=(report,))
    assert d.last_ack() == 0
    d.write()
    assert d.last_ack() == 1


@pytest.mark.parametrize(
    "stale",
    [Report(1, "T", 0, 2, outcome()), Report(1, "T", 9, 1, outcome()), Report(1, "T", 1, 1, outcome())],
)
def test_a_stale_report_is_noted_and_acknowledged_and_nothing_else(stale: Report) -> None:
    d = Driver()
    d.engine(0)
    d.engine(1)
    d.lists(task(0), task(1))  # 0 on engine 0, 1 on engine 1
    d.up(0, demand=1, reports=(stale,))
    assert d.rows == [] and "stale" in d.notes()
    assert d.last_ack(0) == 1
    assert d.core.ledger.done == 0 and d.core.ledger.unfinished == 2


def test_a_report_of_a_per_engine_command_that_is_none_is_harmless() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    d.up(demand=1, reports=(d.report(0, 3, kind="A"), d.report(0, -1, kind="Z")))
    assert d.rows == [] and d.last_ack() == 2


def test_failures_are_grouped_for_the_digest() -> None:
    d = Driver()
    d.engine(slots=3)
    d.lists(*map(task, range(3)))
    for task_id, code in ((0, 5), (1, 5), (2, 0)):
        d.finishes(task_id, code, demand=3)
    assert [(g.returncode, g.count, g.task_id) for g in d.core.failures.largest()] == [(5, 2, 0)]


# -- the end


def test_an_empty_list_is_complete_at_once() -> None:
    d = Driver()
    d.engine()
    d.lists()
    assert d.stops() == ["finish"]
    d.up(demand=0, bye="over")
    assert over(d) is Ending.COMPLETE and not d.core.left


def test_the_run_is_over_when_all_is_written_and_every_engine_has_left() -> None:
    d = Driver(writes=False)
    d.engine(0)
    d.engine(1)
    d.lists(task(0))
    d.finishes(0)
    assert d.stops(0) == []
    d.write()
    assert d.stops(0) == d.stops(1) == ["finish"]
    d.up(0, demand=0, bye="over")
    assert over(d) is None
    d.up(1, demand=0, bye="over")
    assert over(d) is Ending.COMPLETE
    d.exits(0)
    d.exits(1)
    assert d.texts("error", "warning") == ""


def test_engines_that_sign_in_late_are_stopped_too() -> None:
    d = Driver()
    d.lists()
    d.engine(0, demand=0)
    assert d.stops() == ["finish"]


# -- barriers


def test_nothing_behind_a_barrier_goes_out_before_all_before_it_have_ended() -> None:
    d = Driver()
    d.engine(slots=4)
    d.happens(ItemsCame([task(0), task(1), barrier(2), task(3)]))
    assert d.core.wants == 0
    assert d.assigned() == [(0, 1), (1, 1)]
    d.finishes(0, demand=4)
    assert d.assigned() == [(0, 1), (1, 1)]
    d.now_s = 7.0
    d.finishes(1, demand=4)
    assert d.assigned()[2:] == [(3, 1)]
    row = d.rows[2]
    assert (row.flags, row.task_id, row.node, row.pid, row.returncode) == ("B    ", 2, "vm", 99, 0)
    assert row.elapsed_s == 7.0
    assert d.core.wants > 0


def test_a_barrier_opens_only_when_its_row_is_written() -> None:
    d = Driver(writes=False)
    d.engine()
    d.happens(ItemsCame([task(0), barrier(1), task(2)]))
    d.finishes(0)
    assert [row.task_id for row in d.rows] == [0, 1]
    assert d.assigned() == [(0, 1)]
    d.write()
    assert d.assigned() == [(0, 1), (2, 1)]


def test_barriers_one_behind_the_other() -> None:
    d = Driver()
    d.engine()
    d.happens(ItemsCame([barrier(0), barrier(1, check=True), task(2), barrier(3)]))
    d.happens(ListEnded())
    assert d.assigned() == [(2, 1)]
    d.finishes(2)
    assert [row.task_id for row in d.rows] == [0, 1, 2, 3]
    assert d.stops() == ["finish"]


def test_a_barrier_key_is_told_the_id() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0), barrier(1, key=b"mykey"))
    assert d.published() == []
    d.finishes(0)
    assert d.published() == [(b"mykey", "1")]


def test_check_ends_the_run_after_its_row_when_something_failed() -> None:
    d = Driver()
    d.engine()
    d.happens(ItemsCame([task(0), barrier(1, check=True), task(2)]))
    d.finishes(0, 1)
    assert (d.rows[-1].flags, d.rows[-1].returncode) == ("C    ", 0)
    assert d.stops() == ["finish"] and "line 2" in d.texts("error")
    d.up(demand=0, bye="over")
    assert over(d) is Ending.CHECK
    assert Ending.CHECK.exit_code == 1
    assert d.core.left
    assert d.assigned() == [(0, 1)]


def test_check_looks_no_further_back_than_the_last_barrier() -> None:
    d = Driver()
    d.engine()
    d.happens(ItemsCame([task(0), barrier(1), task(2), barrier(3, check=True), task(4)]))
    d.finishes(0, 1)
    d.finishes(2)
    assert d.assigned()[-1] == (4, 1)


def test_a_plain_barrier_lets_failures_pass() -> None:
    d = Driver()
    d.engine()
    d.happens(ItemsCame([task(0), barrier(1), task(2)]))
    d.finishes(0, 1)
    assert d.assigned()[-1] == (2, 1)


# -- per-engine commands


def test_the_setup_is_sent_once_before_any_task() -> None:
    d = Driver()
    d.engine(0, demand=0)
    d.happens(ItemsCame([per_engine("START", 0, b"a"), per_engine("STOP", 0, b"z")]))
    assert [m.setup for m in d.sent] == [None]
    d.happens(ItemsCame([task(0)]))
    expected = Setup((EngineCommand(0, 1, b"a"),), (EngineCommand(0, 1, b"z"),))
    assert [m.setup for m in d.sent] == [None, expected]
    d.up(0, demand=1, reports=(d.report(0, 0, kind="A"),))
    assert [m.setup for m in d.sent if m.setup] == [expected]
    assert d.assigned() == [(0, 1)]
    d.engine(1)
    assert [m.setup for m in d.sent if m.setup] == [expected] * 2


def test_per_engine_rows_carry_their_flag_and_ids() -> None:
    d = Driver()
    d.engine(demand=0)
    d.lists(per_engine("START", 0, b"a"), per_engine("START", 1, b"b"), per_engine("STOP", 0, b"z"), task(0))
    d.up(demand=1, reports=(d.report(0, 0, kind="A"), d.report(0, 1, kind="A")))
    d.finishes(0)
    d.up(demand=0, reports=(d.report(0, 0, 4, kind="Z"),))
    assert [(r.flags, r.task_id, r.command) for r in d.rows] == [
        ("   P", 0, "a"),
        ("   P", 1, "b"),
        ("    ", 0, "true"),
        ("R  P", 0, "z"),
    ]
    assert d.core.ledger.failed == 0  # it is no task


def test_a_failing_start_is_said_and_other_engines_go_on() -> None:
    d = Driver()
    d.engine(0, demand=0)
    d.engine(1, demand=0)
    d.lists(per_engine("START", 0, b"mount x"), task(0))
    d.up(0, demand=0, reports=(d.report(0, 0, 32, kind="A"),))
    said = d.texts()
    assert all(part in said for part in ("START", "line 1", "node0", "32", "mount x"))
    d.up(0, demand=0, bye="a START failed")
    d.up(1, demand=1, reports=(d.report(1, 0, kind="A"),))
    d.finishes(0, rank=1)
    d.up(1, demand=0, bye="over")
    assert over(d) is Ending.COMPLETE


def test_when_no_engine_gets_through_its_start_the_run_ends() -> None:
    d = Driver()
    d.engine(0, demand=0)
    d.lists(per_engine("START", 0), task(0))
    d.up(0, demand=0, reports=(d.report(0, 0, 1, kind="A"),))
    d.up(0, demand=0, bye="a START failed")
    assert over(d) is Ending.NO_ENGINE
    assert Ending.NO_ENGINE.exit_code == 3 and d.core.left


def test_a_list_of_nothing_but_start_commands_runs_them() -> None:
    d = Driver()
    d.engine(demand=0)
    d.lists(per_engine("START", 0))
    assert d.stops() == []
    d.up(demand=1, reports=(d.report(0, 0, kind="A"),))
    assert d.stops() == ["finish"] and len(d.rows) == 1


# -- stopping


def test_sigint_starts_nothing_more_and_waits() -> None:
    d = Driver()
    d.engine(demand=2)
    d.lists(*(task(i, b"task-%d" % i) for i in range(4)))
    d.happens(INT)
    assert d.stops() == ["finish"]
    assert d.core.wants == 0
    d.up(demand=0, returned=((1, 1),))  # it was not started yet
    said = d.texts()
    assert "node0" in said and "task-0" in said and "task-1" not in said
    d.finishes(0, demand=0)
    assert len(d.assigned()) == 2 and [r.task_id for r in d.rows] == [0]
    d.up(demand=0, bye="over")
    assert over(d) is Ending.SIGINT and d.core.left
    assert Ending.SIGINT.exit_code == 130


def test_a_second_sigint_stops_what_runs_and_a_third_does_it_at_once() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    d.happens(INT)
    d.happens(INT)
    d.happens(INT)
    assert d.stops() == ["finish", "kill", "abort"]
    d.up(demand=0, returned=((0, 1),), bye="over")
    assert over(d) is Ending.SIGINT
    assert d.rows == [] and d.core.left


def test_sigterm_stops_what_runs() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    d.happens(TERM)
    assert d.stops() == ["kill"]
    d.up(demand=0, returned=((0, 1),), bye="over")
    assert over(d) is Ending.SIGTERM and Ending.SIGTERM.exit_code == 143


def test_sigterm_after_sigint_is_harder() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    d.happens(INT)
    d.happens(TERM)
    assert d.stops() == ["finish", "kill"]


def test_a_barrier_in_front_of_a_stop_has_no_row() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0), barrier(1))
    d.happens(INT)
    d.finishes(0, demand=0)
    d.up(demand=0, bye="over")
    assert [r.task_id for r in d.rows] == [0]
    assert over(d) is Ending.SIGINT


def test_what_waits_behind_a_barrier_is_left_when_the_run_stops() -> None:
    d = Driver()
    d.engine()
    d.happens(ItemsCame([task(0), barrier(1), task(2)]))
    d.happens(INT)
    d.finishes(0, demand=0)
    d.up(demand=0, bye="over")
    assert d.core.left


def test_fail_fast_kills_what_runs_and_keeps_what_failed() -> None:
    d = Driver(fail_fast=True)
    d.engine(slots=2)
    d.lists(*map(task, range(4)))
    d.finishes(0, 0, demand=2)
    assert d.stops() == []
    d.finishes(1, 7, demand=2)
    assert d.stops() == ["kill"]
    d.up(demand=0, returned=((2, 1),), bye="over")
    assert over(d) is Ending.FAIL_FAST and Ending.FAIL_FAST.exit_code == 1
    assert [r.task_id for r in d.rows] == [0, 1] and d.core.left


def test_a_failure_while_it_is_killing_does_not_change_the_cause() -> None:
    d = Driver(fail_fast=True)
    d.engine(slots=2)
    d.lists(task(0), task(1))
    d.happens(TERM)
    d.finishes(0, 1, demand=0)
    d.up(demand=0, returned=((1, 1),), bye="over")
    assert over(d) is Ending.SIGTERM


def test_a_bad_line_in_a_stream_lets_what_runs_finish() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0), task(1), end=False)
    d.happens(ListFailed("standard input, line 3: unknown directive"))
    assert "line 3" in d.texts("error") and d.stops() == ["finish"]
    d.finishes(0, demand=0)
    d.up(demand=0, bye="over")
    assert over(d) is Ending.BAD_LIST and Ending.BAD_LIST.exit_code == 2
    assert d.assigned() == [(0, 1)] and d.core.left


def test_a_disk_that_is_given_up_ends_the_run_and_lets_engines_go() -> None:
    d = Driver(writes=False)
    d.engine(slots=2)
    d.lists(task(0), task(1))
    d.finishes(0, demand=2)
    d.happens(TERM)
    d.happens(DiskGivenUp())
    assert d.last_ack() == 1  # the engine keeps its reports, and stays, until it hears this
    d.finishes(1, demand=0)
    assert d.last_ack() == 2
    d.up(demand=0, bye="over")
    assert over(d) in (Ending.SIGTERM, Ending.NO_DISK)
    assert d.core.left  # both ran, and no file knows it


def test_a_write_that_succeeds_after_the_disk_was_given_up_is_harmless() -> None:
    d = Driver(writes=False)
    d.engine()
    d.lists(task(0))
    d.finishes(0, demand=0)
    d.happens(TERM)
    d.happens(DiskGivenUp())
    d.write()
    d.up(demand=0, bye="over")
    assert over(d) is not None


# -- engines that go, and come back


def test_a_lost_engine_leaves_its_tasks_to_the_others() -> None:
    d = Driver()
    d.engine(0)
    d.engine(1)
    d.lists(task(0), task(1), task(2))
    d.exits(0, "killed by SIGKILL")
    assert all(part in d.texts("error") for part in ("node0", "1 task", "killed by SIGKILL"))
    d.finishes(1, rank=1)
    assert d.assigned(1) == [(1, 1), (0, 2)]
    d.finishes(0, rank=1, attempt=2)
    d.finishes(2, rank=1)
    d.up(1, demand=0, bye="over")
    assert over(d) is Ending.COMPLETE and not d.core.left
    assert [r.task_id for r in d.rows] == [1, 0, 2]


def test_an_engine_lost_before_it_signed_in_is_said() -> None:
    d = Driver()
    d.lists(task(0))
    from disbatch.core.driver_events import EngineLaunched

    d.happens(EngineLaunched(0, "node0", 1, "SSH0"))
    d.exits(0, "exit code 70")
    assert over(d) is Ending.NO_ENGINE and "could be started" in d.texts("error")


def test_an_engine_lost_while_all_tasks_got_done_does_not_matter() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    d.finishes(0)
    d.exits(0)
    assert over(d) is Ending.COMPLETE and not d.core.left


def test_after_a_reconnect_what_was_lost_on_the_way_down_is_a_new_attempt() -> None:
    d = Driver()
    d.engine(slots=3)
    d.lists(*map(task, range(3)))
    d.hello(slots=3, demand=3, held=((1, 1),))
    assert d.assigned()[3:] == [(0, 2), (2, 2)]
    d.finishes(0, attempt=1, demand=3)
    assert d.rows == []
    d.finishes(0, attempt=2, demand=3)
    assert [r.task_id for r in d.rows] == [0]


def test_reports_that_come_again_in_a_hello_count_once_and_are_not_given_back() -> None:
    d = Driver()
    d.engine(slots=2)
    d.lists(task(0), task(1))
    first, second = d.report(0, 0), d.report(0, 1)
    d.up(demand=2, reports=(first,))
    d.hello(slots=2, demand=2, reports=(first, second))
    assert [r.task_id for r in d.rows] == [0, 1]
    assert d.assigned() == [(0, 1), (1, 1)]
    assert d.last_ack() == 2
    assert d.stops() == ["finish"]


def test_what_comes_over_an_older_connection_is_dropped_whole() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0), task(1))
    d.now_s = 1.0
    d.hello(demand=1, held=((0, 1),))
    report = d.report(0, 0)
    d.now_s = 0.5  # the engine's own time, when it said that
    d.up(demand=50, reports=(report,), ep=1)
    d.now_s = 1.0
    assert d.rows == [] and d.core.fleet.engines[0].demand == 1
    d.up(demand=1, reports=(report,))
    assert len(d.rows) == 1


@pytest.mark.parametrize("changes", [{"ep": 1}, {"ep": 0}])
def test_a_hello_of_an_older_connection_is_refused(changes: dict[str, int]) -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    d.hello(demand=5, **changes)
    assert "refused" in d.notes()
    assert d.core.fleet.engines[0].ep == 1 and len(d.assigned()) == 1


def test_after_a_reconnect_setup_and_stop_are_said_again() -> None:
    """They may have been lost with the old connection; an engine that has them ignores the repetition."""
    d = Driver()
    d.engine(demand=0)
    d.lists(per_engine("START", 0), task(0))
    before = len(d.sent)
    d.hello(demand=0)
    setups = [m.setup for m in d.sent if m.setup]
    assert len(setups) == 2 and setups[0] == setups[1] and len(d.sent) == before + 1
    d.happens(INT)
    before = len(d.sent)
    d.hello(demand=0)
    assert [m.stop for m in d.sent[before:]] == ["finish"]


def test_bye_gives_back_what_was_still_on_its_way() -> None:
    d = Driver()
    d.engine(0)
    d.engine(1, demand=0)
    d.lists(task(0))
    d.up(0, demand=0, bye="a START failed")
    d.up(1, demand=1)
    assert d.assigned(1) == [(0, 2)]


def test_returned_tasks_go_out_first_and_in_order() -> None:
    d = Driver()
    d.engine(0, slots=1, demand=3)
    d.lists(*map(task, range(5)))
    assert len(d.assigned(0)) == 3
    d.up(0, demand=0, returned=((1, 1), (2, 1)))
    d.engine(1, slots=4)
    assert d.assigned(1) == [(1, 2), (2, 2), (3, 1), (4, 1)]


# -- resume


def judge_with(verdicts: dict[int, Verdict]):
    def judge(what: Task) -> tuple[Verdict, Place | None]:
        verdict = verdicts.get(what.task_id, Verdict.RUN)
        return verdict, None if verdict is Verdict.RUN else Place(0, what.task_id)

    return judge


def test_skipped_tasks_are_written_again_in_their_place_and_not_run() -> None:
    d = Driver(judge=judge_with({0: Verdict.SKIP_DONE, 2: Verdict.SKIP_FAILED}))
    d.engine()
    d.lists(*map(task, range(3)))
    assert d.assigned() == [(1, 1)]
    d.finishes(1)
    assert [row if isinstance(row, Place) else row.task_id for row in d.rows] == [Place(0, 0), Place(0, 2), 1]
    counts = d.core.ledger
    assert (counts.done, counts.skipped, counts.skipped_failed) == (1, 2, 1)


def test_what_is_copied_from_earlier_runs_comes_no_faster_than_the_disk_takes_it() -> None:
    d = Driver(judge=lambda what: (Verdict.SKIP_DONE, Place(0, what.task_id)), writes=False)
    given = 0
    while d.core.wants and given < 3 * MOST_WAITING:
        what = [task(task_id) for task_id in range(given, given + d.core.wants)]
        d.happens(ItemsCame(what))
        given += len(what)
    assert MOST_WAITING <= given < MOST_WAITING + LOOKAHEAD
    d.write()
    assert d.core.wants == LOOKAHEAD


def test_skipped_failures_count_for_check() -> None:
    d = Driver(judge=judge_with({0: Verdict.SKIP_FAILED}))
    d.engine()
    d.happens(ItemsCame([task(0), barrier(1, check=True), task(2)]))
    d.up(demand=0, bye="over")
    assert over(d) is Ending.CHECK and d.assigned() == []


def test_everything_skipped_is_complete() -> None:
    d = Driver(judge=judge_with({0: Verdict.SKIP_DONE}))
    d.engine()
    d.lists(task(0), barrier(1))
    d.up(demand=0, bye="over")
    assert over(d) is Ending.COMPLETE and len(d.rows) == 2


def test_a_mismatch_in_a_stream_is_like_a_bad_line() -> None:
    def judge(what: Task) -> tuple[Verdict, Place | None]:
        if what.task_id == 1:
            raise StatusFileError("task 1 is not the task that the status file records")
        return Verdict.RUN, None

    d = Driver(judge=judge)
    d.engine()
    d.lists(*map(task, range(3)), end=False)
    assert "task 1 is not" in d.texts("error")
    d.finishes(0, demand=0) if d.assigned() else None
    d.up(demand=0, bye="over")
    assert over(d) is Ending.BAD_LIST and d.core.left


# -- what viewers see


def test_the_counts_of_a_snapshot() -> None:
    d = Driver(judge=judge_with({0: Verdict.SKIP_DONE}))
    d.engine(0, slots=2, demand=4)
    d.engine(1, slots=3, demand=0)
    d.lists(*map(task, range(10)), barrier(10))
    d.finishes(1, 3, demand=4)
    s = d.core.snapshot(2.0, 10)
    assert (s.done, s.failed, s.skipped, s.running, s.ready, s.total) == (0, 1, 1, 2, 6, 10)
    assert (s.finished, s.state, s.barrier, s.slots) == (2, "running", "#DISBATCH BARRIER", 5)
    assert not s.detail and not s.engines and not s.tasks


def test_slots_are_those_of_engines_that_take_tasks() -> None:
    d = Driver()
    for rank, slots in enumerate((1, 2, 4, 8)):
        d.engine(rank, slots=slots)
    for rank, slots in ((4, 16), (5, 32)):
        d.happens(EngineLaunched(rank, f"node{rank}", slots, "SSH0"))
    d.lists(*map(task, range(20)), end=False)
    d.up(0, demand=0, bye="told to")
    d.happens(EngineExited(4, "exit code 9"))
    assert d.core.snapshot(1.0, None).slots == 2 + 4 + 8 + 32


def test_a_report_that_needs_no_line_is_acknowledged_with_the_lines_before_it() -> None:
    """Else its engine waits for that, and sends no more."""
    d = Driver(writes=False)
    d.engine(0, 2)
    d.lists(task(0), task(1))
    d.finishes(0)
    d.finishes(1, attempt=7)
    assert d.last_ack(0) == 0
    d.write()
    assert d.last_ack(0) == 2

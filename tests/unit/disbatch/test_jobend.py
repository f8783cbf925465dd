"""The end of a Slurm job: what is asked, what answers mean, when draining begins, how much grace there is."""

import pytest
from disbatch_builders import Driver, barrier, task

from disbatch.contexts import jobend
from disbatch.core.driver_events import DrainCame, Ending, SignalCame
from disbatch.core.errors import UsageError

# ---- what Slurm says


@pytest.mark.parametrize(
    ("printed", "end"),
    [
        ("1795403350\n", 1795403350.0),
        ("1795403350\n1795403000\n", 1795403000.0),  # a heterogeneous job
        ("NONE\n", None),
        ("N/A\n", None),
        ("Unknown\n1795403350\n", 1795403350.0),
        ("", None),
    ],
)
def test_the_end_of_a_job(printed: str, end: float | None) -> None:
    assert jobend.end_time(printed) == end


def test_a_job_of_an_array_is_asked_for_by_its_own_name() -> None:
    environ = {"SLURM_JOB_ID": "6", "SLURM_ARRAY_JOB_ID": "6", "SLURM_ARRAY_TASK_ID": "2"}
    assert "6_2" in jobend.end_question(environ)
    assert "7" in jobend.end_question({"SLURM_JOB_ID": "7"})


@pytest.mark.parametrize(
    ("end", "now", "wait"),
    [
        (None, 0.0, 30.0),  # no limit; one may come
        (1000.0, 0.0, 30.0),
        (1000.0, 890.0, 10.0),
        (1000.0, 900.0, 0.0),
        (1000.0, 2000.0, 0.0),
    ],
)
def test_when_to_look_again(end: float | None, now: float, wait: float) -> None:
    assert jobend.look_again_s(end, 100.0, now, 30.0) == wait


@pytest.mark.parametrize(
    ("printed", "seconds"),
    [
        ("KeepAliveTime = x\nKillOnBadExit           = 0\nKillWait                = 10 sec\n", 10.0),
        ("KillWait=30\n", 30.0),
        ("KillWait =\n", None),
        ("", None),
    ],
)
def test_kill_wait(printed: str, seconds: float | None) -> None:
    assert jobend.kill_wait_s(printed) == seconds


def test_a_grace_ends_before_slurms_own_kill() -> None:
    assert jobend.bounded_grace(5.0, None, given=True) == (5.0, "")
    assert jobend.bounded_grace(25.0, 30.0, given=True) == (25.0, "")
    seconds, warning = jobend.bounded_grace(60.0, 30.0, given=True)
    assert seconds == 25.0 and "--grace 60" in warning and "30 s" in warning and "25 s" in warning
    assert jobend.bounded_grace(5.0, 8.0, given=False) == (3.0, "")
    assert jobend.bounded_grace(5.0, 2.0, given=False) == (1.0, "")


def test_draining_needs_a_job() -> None:
    jobend.check_drain(None, {})
    jobend.check_drain(10.0, {"SLURM_JOB_ID": "7"})
    with pytest.raises(UsageError, match="no Slurm job"):
        jobend.check_drain(10.0, {})


# ---- what the driver makes of it


def draining(d: Driver) -> None:
    d.happens(DrainCame(60.0))


def leaves(d: Driver) -> Ending:
    d.up(demand=0, bye="the run is over")
    assert d.over is not None
    return d.over.ending


def test_what_runs_may_finish_and_the_rest_is_left() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0), task(1))
    draining(d)
    assert d.stops() == ["finish"] and "waiting for 1 running task" in d.texts()
    d.finishes(0, demand=0)
    assert d.assigned() == [(0, 1)]
    assert leaves(d) is Ending.DRAINED and d.core.left
    assert Ending.DRAINED.exit_code == 3


def test_when_all_was_running_already_the_run_is_complete() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    draining(d)
    d.finishes(0, demand=0)
    assert leaves(d) is Ending.COMPLETE and d.core.ending is Ending.COMPLETE and not d.core.left


def test_what_stands_behind_a_barrier_is_left() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0), barrier(1), task(2), end=False)
    draining(d)
    d.finishes(0, demand=0)
    assert leaves(d) is Ending.DRAINED and d.core.left


def test_a_run_that_ends_already_is_not_drained() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0), task(1))
    d.happens(SignalCame(Ending.SIGTERM))
    draining(d)
    assert d.stops() == ["kill"]
    d.up(demand=0, returned=((0, 1),))
    assert leaves(d) is Ending.SIGTERM


def test_term_stops_what_a_drained_run_still_waits_for() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0), task(1))
    draining(d)
    d.happens(SignalCame(Ending.SIGTERM))
    assert d.stops() == ["finish", "kill"]
    d.up(demand=0, returned=((0, 1),))
    assert leaves(d) is Ending.SIGTERM

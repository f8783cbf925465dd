"""Engines and guards that are killed or stopped, on this machine: their tasks die first and run again soon."""

import os
import signal
import time

import pytest
from disbatch_runs import Bench, Run, observed

# A lock that goes with its holder: a second task beside it leaves a file. The first attempt never ends.
TASK = (
    "exec 8>lock.$DISBATCH_TASKID; flock -n 8 || echo $DISBATCH_TASKID >> twins; "
    "echo x >> begun.$DISBATCH_TASKID; [ $(wc -l < begun.$DISBATCH_TASKID) = 1 ] && exec sleep 1000; true"
)
LEASE_S = 5.0


def running(bench: Bench, *options: str, slots: int = 2) -> Run:
    """A run whose tasks run, and whose engine has shown a pace."""
    run = bench.start_here(slots, *options, tasks=f"#DISBATCH REPEAT {slots} {TASK}\n")
    run.until(
        lambda: (
            all((bench.path / f"begun.{i}").exists() for i in range(slots)) and len(bench.task_pids()) >= 0
        ),
        "the tasks run",
    )
    return run


def completes(bench: Bench, run: Run, slots: int = 2, seconds: float = 30.0) -> None:
    result = run.end(seconds)
    assert result.code == 0, result.err
    assert bench.done() == list(range(slots)) and all(row.returncode == 0 for row in bench.rows())
    assert not (bench.path / "twins").exists()


@pytest.mark.parametrize("which", [("guard",), ("engine",), ("guard", "engine"), ("engine", "guard")])
def test_killed_and_its_tasks_run_again_within_five_seconds(bench: Bench, which: tuple[str, ...]) -> None:
    run = running(bench)
    pids = dict(zip(("guard", "engine"), run.engine_pids(), strict=True))
    for name in which:
        os.kill(pids[name], signal.SIGKILL)
    began = time.monotonic()
    run.until(lambda: bench.read("begun.0").count("x") == 2, "task 0 runs again", seconds=20)
    assert (
        observed(f"{' and '.join(which)} killed", began) < 5 or os.getloadavg()[0] > 4
    )  # a promise for a machine that has time
    completes(bench, run)


@pytest.mark.parametrize("which", [("engine",), ("guard", "engine")])
def test_stopped_and_its_tasks_run_again_within_the_lease(bench: Bench, which: tuple[str, ...]) -> None:
    """A stopped engine is killed by its guard; where that is stopped as well, by the sweep of the node."""
    run = running(bench, "--lease", str(LEASE_S))
    pids = dict(zip(("guard", "engine"), run.engine_pids(), strict=True))
    for name in which:
        os.kill(pids[name], signal.SIGSTOP)
    began = time.monotonic()
    run.until(lambda: bench.read("begun.0").count("x") == 2, "task 0 runs again", seconds=30)
    seconds = observed(f"{' and '.join(which)} stopped, lease {LEASE_S:g} s", began)
    assert seconds < LEASE_S + 4 or os.getloadavg()[0] > 4
    completes(bench, run)
    assert "lost" in run.err()


def test_a_stopped_guard_harms_nobody(bench: Bench) -> None:
    run = bench.start_here(1, "--lease", "3", tasks="touch 0.runs; sleep 4\n")
    run.until_exists("0.runs")
    guard, _ = run.engine_pids()
    os.kill(guard, signal.SIGSTOP)
    run.until(lambda: bench.done() == [0], "the task has ended")
    os.kill(guard, signal.SIGCONT)
    assert run.end().code == 0 and "lost" not in run.err()


def test_a_short_stop_costs_nothing(bench: Bench) -> None:
    run = bench.start_here(1, "--lease", "10", tasks="touch 0.runs; sleep 2\n")
    run.until_exists("0.runs")
    _, engine = run.engine_pids()
    os.kill(engine, signal.SIGSTOP)
    began = time.monotonic()
    run.until(lambda: time.monotonic() - began > 1.0, "it is stopped for a second")
    os.kill(engine, signal.SIGCONT)
    assert run.end().code == 0 and "lost" not in run.err()


def test_on_lost_fail_runs_nothing_again(bench: Bench) -> None:
    run = running(bench, "--on-lost", "fail", "-e")
    os.kill(run.engine_pids()[1], signal.SIGKILL)
    result = run.end()
    assert result.code == 1, result.err
    assert {(row.pid, row.returncode) for row in bench.rows()} == {(-1, -100)}
    assert all(bench.read(f"begun.{i}") == "x\n" for i in range(2))
    resumed = bench.run("-s", "localhost:2", "-p", "next", "-r", "run_status.txt", "Tasks")
    assert resumed.code == 0 and [r.returncode for r in bench.rows("next_status.txt")] == [0, 0]


def test_a_background_process_of_a_lost_engine_is_killed_too(bench: Bench) -> None:
    task = "[ -e first ] && exit 0; touch first; (setsid sleep 1000 &) ; touch 0.runs; sleep 1002\n"
    run = bench.start_here(1, tasks=task)
    run.until_exists("0.runs")
    for pid in run.engine_pids():
        os.kill(pid, signal.SIGKILL)
    assert run.end().code == 0
    assert bench.left_running() == []


@pytest.mark.parametrize("value", ["1", "0", "-5", "soon"])
def test_a_lease_that_is_too_short_is_refused(bench: Bench, value: str) -> None:
    result = bench.here(1, "--lease", value, tasks="true\n")
    assert result.code == 2 and "--lease" in result.err and len(result.err.strip().splitlines()) == 1


def test_a_stopped_engine_does_not_hold_up_who_wants_to_end_at_once(bench: Bench) -> None:
    """What it ran is killed when the run is resumed, as the info file tells of it."""
    run = bench.start_here(1, tasks=f"{TASK}\n")
    run.until(lambda: bench.task_pids() or (bench.path / "begun.0").exists(), "the task runs")
    for pid in run.engine_pids():
        os.kill(pid, signal.SIGSTOP)
    run.signal(signal.SIGTERM)
    run.until(lambda: "stopping" in run.err(), "it has taken the first signal")
    run.signal(signal.SIGTERM)
    assert run.end(25).code == 143
    again = bench.run("-s", "localhost:1", "-p", "next", "-r", "run_status.txt", "Tasks")
    assert again.code == 0, again.err
    assert not (bench.path / "twins").exists()

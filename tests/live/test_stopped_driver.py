"""A driver that is stopped (SIGSTOP, Ctrl-Z) for longer than the lease: the engines on its machine wait for it."""

import os
import signal
import time

import pytest
from disbatch_runs import Bench, Run

LEASE_S = 2.0
STOP_S = 5.0


def stopped_for(run: Run, seconds: float) -> None:
    run.signal(signal.SIGSTOP)
    until = time.monotonic() + seconds
    run.until(lambda: time.monotonic() > until, "it was stopped for longer than the lease", seconds + 30)
    run.signal(signal.SIGCONT)


def test_tasks_on_its_machine_go_on(bench: Bench) -> None:
    task = "echo x >> begun.$DISBATCH_TASKID; sleep 6; echo y >> ended"
    run = bench.start_here(2, "--lease", str(LEASE_S), tasks=f"{task}\n" * 2 + "true\n" * 4)
    run.until_exists("begun.0", "begun.1")
    stopped_for(run, STOP_S)
    result = run.end()
    assert result.code == 0 and bench.read("begun.0") == bench.read("begun.1") == "x\n"
    assert bench.read("ended") == "y\ny\n" and bench.done() == [*range(6)]
    assert "lost" not in result.err and "killed" not in bench.read(f"run_{os.uname().nodename}_engine.txt")


@pytest.mark.parametrize("stopped_first", [True, False])
def test_an_engine_that_is_killed_beside_it_is_replaced_when_it_goes_on(
    bench: Bench, stopped_first: bool
) -> None:
    task = "echo x >> begun; [ $(wc -l < begun) = 2 ] || sleep 1000"
    run = bench.start_here(1, "--lease", str(LEASE_S), tasks=f"{task}\n")
    run.until_exists("begun")
    _, engine = run.engine_pids()
    if stopped_first:
        run.signal(signal.SIGSTOP)
    os.kill(engine, signal.SIGKILL)
    stopped_for(run, LEASE_S + 0.5)
    assert run.end().code == 0 and bench.read("begun") == "x\nx\n"
    assert bench.row(0).returncode == 0


def test_what_waits_for_a_stopped_driver_ends_with_it(bench: Bench) -> None:
    """Its lifeline says so at once; the look behind the test waits for the last process."""
    run = bench.start_here(1, "--lease", str(LEASE_S), tasks="touch begun; sleep 1000; true\n")
    run.until_exists("begun")
    run.signal(signal.SIGSTOP)
    until = time.monotonic() + LEASE_S + 1
    run.until(lambda: time.monotonic() > until, "it was stopped for longer than the lease")
    assert bench.task_pids()
    run.kill()
    deadline = time.monotonic() + 5
    while bench.task_pids():
        assert time.monotonic() < deadline

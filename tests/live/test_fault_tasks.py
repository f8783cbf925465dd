"""Tasks that end the engine which runs them: only they are given up, and what ended an engine is said."""

import os
import re
import signal

import pytest
from disbatch_runs import Bench

SLEEPERS = "sleep 0.3\n"


def codes(bench: Bench) -> dict[int, int]:
    return {row.task_id: row.returncode for row in bench.rows() if row.flags[3] != "P"}


@pytest.mark.parametrize("killer", ["kill -9 $PPID; sleep 100", "sleep 0.5; kill -9 $PPID; sleep 100"])
def test_of_eight_slots_only_the_task_that_kills_its_engine_is_given_up(bench: Bench, killer: str) -> None:
    result = bench.here(8, tasks=SLEEPERS * 3 + killer + "\n" + SLEEPERS * 10)
    assert result.code == 0, result.err
    assert codes(bench) == {**dict.fromkeys(range(14), 0), 3: -100}
    assert "runs alone" in result.err and "(3 times)" in bench.row(3).err


def test_two_engines_and_a_task_that_kills_them(bench: Bench) -> None:
    tasks = SLEEPERS * 5 + "sleep 0.1; kill -9 $PPID; sleep 100\n" + SLEEPERS * 20
    result = bench.run("-s", "localhost:4,127.0.0.1:4", "-p", "run", "--lost-limit", "2", tasks=tasks)
    assert result.code == 0, result.err
    assert codes(bench) == {**dict.fromkeys(range(26), 0), 5: -100}


def test_two_of_twenty_tasks_kill_their_engine(bench: Bench) -> None:
    lines = [SLEEPERS] * 20
    lines[2] = lines[17] = "kill -9 $PPID; sleep 100\n"
    result = bench.here(8, "--lost-limit", "2", tasks="".join(lines))
    assert result.code == 0, result.err
    assert codes(bench) == {**dict.fromkeys(range(20), 0), 2: -100, 17: -100}


def test_a_task_that_sends_its_engine_sigterm_is_named_and_the_others_run_again(bench: Bench) -> None:
    killer = "kill $PPID; sleep 100"
    result = bench.here(4, "--lost-limit", "2", tasks=f"sleep 0.2\n{killer}\n" + SLEEPERS * 6)
    assert result.code == 0, result.err
    assert codes(bench) == {**dict.fromkeys(range(8), 0), 1: -100}
    assert "was lost: it got SIGTERM from task 1, process " in result.err
    assert "another engine is started" in result.err


def test_a_child_of_a_task_that_sends_its_engine_sigterm(bench: Bench) -> None:
    killer = 'setsid bash -c "kill $PPID; sleep 50"; sleep 100'
    result = bench.here(1, "--lost-limit", "1", tasks=f"{killer}\ntrue\n")
    assert result.code == 0, result.err
    assert codes(bench) == {0: -100, 1: 0}
    assert re.search(r"it got SIGTERM from task 0, process \d+ \(", result.err)


def test_sigterm_of_somebody_else_costs_no_task_an_attempt(bench: Bench) -> None:
    task = "touch begun; [ -e go ] || sleep 100"
    run = bench.start_here(1, "--lost-limit", "1", tasks=f"{task}\ntrue\n")
    run.until_exists("begun")
    bench.file("go", "")
    os.kill(run.engine_pids()[1], signal.SIGTERM)
    result = run.end()
    assert result.code == 0 and codes(bench) == {0: 0, 1: 0}
    assert f"it got SIGTERM from process {os.getpid()} (" in result.err


@pytest.mark.parametrize("name", ["INT", "HUP"])
def test_signals_of_a_terminal_do_not_end_an_engine(bench: Bench, name: str) -> None:
    result = bench.here(1, tasks=f"kill -{name} $PPID; sleep 0.1\ntrue\n")
    assert result.code == 0 and codes(bench) == {0: 0, 1: 0} and "lost" not in result.err


@pytest.mark.parametrize("name", ["USR1", "USR2", "ALRM"])
def test_other_signals_are_named(bench: Bench, name: str) -> None:
    result = bench.here(1, "--lost-limit", "1", tasks=f"kill -{name} $PPID; sleep 100\ntrue\n")
    assert result.code == 0 and codes(bench) == {0: -100, 1: 0}
    assert f"killed by SIG{name}" in result.err

"""Stopping and dying: signals, --fail-fast, a killed driver, a killed engine. Nothing stays, everything can go on."""

import os
import signal
from pathlib import Path

import pytest
from disbatch_runs import Bench, Run, children, processes_of, read_environ, wait_until

WAIT = "touch $DISBATCH_TASKID.runs; until [ -e go ]; do sleep 0.02; done"
# Tests beside these, in other processes, have other tasks.
JOB = f"J{os.getpid()}"
STUBBORN = "trap '' TERM; touch $DISBATCH_TASKID.runs; while true; do sleep 0.05; done"


def with_job_id(job_id: str) -> list[int]:
    """The tasks of this run: what their driver was given for its id is left in their environment."""
    found = processes_of(f"DISBATCH_SSH_JOBID={job_id}\0")
    return [pid for pid in found if b"\0DISBATCH_TASKID=" in read_environ(pid)]


def waiting_run(bench: Bench, *arguments: str, tasks: str = f"{WAIT}\n" * 5) -> Run:
    """A run on two slots whose first two tasks wait for the file `go`."""
    run = bench.start_here(2, *arguments, tasks=tasks, env={"DISBATCH_SSH_JOBID": JOB})
    run.until_exists("0.runs", "1.runs")
    assert len(with_job_id(JOB)) >= 2
    return run


def completes(bench: Bench, command: str, *ids: int) -> None:
    """The resume command runs what was left, and nothing else, to the end."""
    bench.file("go", "")
    result = bench.shell(command)
    assert result.code == 0, result.err
    assert bench.done("run_status.txt") == list(ids)


def test_one_sigint_waits_for_what_runs(bench: Bench) -> None:
    run = waiting_run(bench)
    run.signal(signal.SIGINT)
    run.until(
        lambda: "interrupted" in run.err() and "task 0" in run.err() and "task 1" in run.err(),
        "it says what runs",
    )
    assert "task 2" not in run.err()
    bench.file("go", "")
    result = run.end()
    assert result.code == 130, result.err
    assert bench.done() == [0, 1] and not (bench.path / "2.runs").exists()
    assert [bench.row(i).returncode for i in (0, 1)] == [0, 0]
    assert with_job_id(JOB) == []
    completes(bench, result.resume, 0, 1, 2, 3, 4)
    assert [bench.row(i, "run_status.txt").flags for i in (0, 1, 2)] == ["   S", "   S", "    "]


def test_two_sigints_stop_what_runs(bench: Bench) -> None:
    run = waiting_run(bench)
    run.signal(signal.SIGINT)
    run.until(lambda: "interrupted" in run.err(), "the first is heard")
    run.signal(signal.SIGINT)
    result = run.end(10)
    assert result.code == 130
    assert bench.done() == [] and with_job_id(JOB) == []
    completes(bench, result.resume, *range(5))


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_sigterm_stops_what_runs(bench: Bench, signum: int, code: int) -> None:
    run = waiting_run(bench)
    run.signal(signum)
    result = run.end(10)
    assert result.code == code
    assert bench.done() == [] and with_job_id(JOB) == []
    completes(bench, result.resume, *range(5))


def test_term_comes_first_and_a_task_may_clean_up(bench: Bench) -> None:
    tidy = "trap 'echo tidied > tidy; exit 0' TERM; touch 0.runs; while true; do sleep 0.02; done"
    run = bench.start_here(1, tasks=tidy)
    run.until_exists("0.runs")
    run.signal(signal.SIGTERM)
    assert run.end(10).code == 143
    assert bench.read("tidy") == "tidied\n" and bench.rows() == []


def test_a_whole_process_group_gets_the_term(bench: Bench) -> None:
    tasks = "(trap 'touch child; exit' TERM; touch 0.runs; while true; do sleep 0.02; done) & wait"
    run = bench.start_here(1, tasks=tasks)
    run.until_exists("0.runs")
    run.signal(signal.SIGTERM)
    assert run.end(10).code == 143
    assert (bench.path / "child").exists()


def test_what_ignores_term_is_killed_after_the_grace_time(bench: Bench) -> None:
    run = bench.start_here(1, tasks=STUBBORN, env={"DISBATCH_SSH_JOBID": JOB})
    run.until_exists("0.runs")
    run.signal(signal.SIGTERM)
    assert run.end(15).code == 143
    assert bench.rows() == [] and with_job_id(JOB) == []


def test_one_more_signal_kills_at_once(bench: Bench) -> None:
    run = bench.start_here(1, tasks=STUBBORN)
    run.until_exists("0.runs")
    run.signal(signal.SIGTERM)
    run.until(lambda: "stopping" in run.err(), "the first is heard")
    run.signal(signal.SIGTERM)
    assert run.end(4).code == 143
    assert bench.rows() == []


def test_stop_commands_run_when_a_run_is_stopped(bench: Bench) -> None:
    run = bench.start_here(1, tasks=f"#DISBATCH PERENGINE STOP touch stopped\n{WAIT}\n")
    run.until_exists("0.runs")
    run.signal(signal.SIGTERM)
    assert run.end(10).code == 143
    assert (bench.path / "stopped").exists()


def test_what_is_done_before_a_signal_keeps_its_line(bench: Bench) -> None:
    run = bench.start_here(2, tasks=f"false\n{WAIT}\n")
    run.until(
        lambda: (bench.path / "run_status.txt").exists() and bench.done() == [0],
        "the first task has its line",
    )
    run.until_exists("1.runs")
    run.signal(signal.SIGTERM)
    result = run.end(10)
    assert result.code == 143 and bench.done() == [0]
    completes(bench, result.resume, 0, 1)
    assert bench.row(0, "run_status.txt").flags == "R  S"


def test_a_signal_while_a_barrier_waits(bench: Bench) -> None:
    run = bench.start_here(1, tasks=f"{WAIT}\n#DISBATCH BARRIER\ntrue\n")
    run.until_exists("0.runs")
    run.signal(signal.SIGINT)
    run.until(lambda: "interrupted" in run.err(), "the signal is heard")
    bench.file("go", "")
    result = run.end()
    assert result.code == 130 and bench.done() == [0]
    assert [row.flags for row in bench.rows()] == ["    "]
    assert bench.shell(result.resume).code == 0
    assert [row.flags for row in bench.rows("run_status.txt")] == ["   S", "B    ", "    "]


def test_a_signal_during_a_repeat_of_millions(bench: Bench) -> None:
    run = bench.start_here(2, tasks="#DISBATCH REPEAT 10000000 true")
    run.until(
        lambda: (bench.path / "run_status.txt").exists() and len(bench.read("run_status.txt")) > 5000,
        "tasks run",
    )
    run.signal(signal.SIGINT)
    result = run.end(10)
    assert result.code == 130
    done = bench.done()
    assert done == list(range(len(done))) or len(set(done)) == len(done)
    assert " -r " in result.resume


# -- --fail-fast and -e


def test_e_gives_exit_code_1_when_a_task_failed(bench: Bench) -> None:
    assert bench.here(1, tasks="true\nfalse\ntrue\n").code == 0
    assert bench.here(1, "-e", tasks="true\nfalse\ntrue\n").code == 1
    assert bench.done("run_status.txt") == [0, 1, 2]
    assert bench.here(1, "--exit-code", tasks="true\n").code == 0


def test_fail_fast_kills_what_runs_and_starts_nothing_more(bench: Bench) -> None:
    tasks = f"{WAIT}\nuntil [ -e 0.runs ]; do sleep 0.02; done; exit 5\ntouch never\n"
    run = bench.start_here(2, "-f", tasks=tasks, env={"DISBATCH_SSH_JOBID": JOB})
    result = run.end(10)
    assert result.code == 1
    assert bench.done() == [1] and bench.row(1).returncode == 5
    assert not (bench.path / "never").exists() and with_job_id(JOB) == []
    bench.file("Tasks", tasks)
    bench.file("go", "")
    again = bench.shell(result.resume)
    assert "-R" in result.resume and again.code == 1  # the failed task is tried again, and fails again


# -- processes that die


def test_when_the_driver_is_killed_its_engine_and_tasks_end(bench: Bench) -> None:
    run = waiting_run(bench, tasks=f"{WAIT}\n{STUBBORN}\n")
    assert len(run.engine_pids()) == 2
    run.kill()
    wait_until(lambda: bench.left_running() == [], "engine and tasks are gone", seconds=5, logs=bench.logs)
    bench.file("go", "")
    bench.file("Tasks", f"{WAIT}\ntrue\n")
    assert bench.here(2, "-r", "run_status.txt", "--force-resume", "Tasks").code == 0


@pytest.mark.parametrize("which", ["guard", "engine"])
def test_when_an_engine_is_killed_another_one_does_its_tasks(bench: Bench, which: str) -> None:
    run = waiting_run(bench)
    guard, engine = run.engine_pids()
    first = bench.task_pids()
    os.kill(guard if which == "guard" else engine, signal.SIGKILL)
    run.until(lambda: bench.task_pids() - first, "the tasks run again", seconds=5)
    assert not first & bench.task_pids()
    bench.file("go", "")
    result = run.end(10)
    assert result.code == 0, result.err
    assert "lost" in result.err and "SIGKILL" in result.err
    assert bench.done() == list(range(5)) and len(bench.rows()) == 5


def test_an_engine_that_is_lost_behind_the_last_task_does_not_matter(bench: Bench) -> None:
    """Killed by the last STOP command, when everything is done."""
    tasks = "#DISBATCH PERENGINE STOP kill -9 $PPID\ntrue\n"
    result = bench.here(1, tasks=tasks)
    assert result.code == 0 and bench.done() == [0]


def test_a_task_that_kills_its_engine(bench: Bench) -> None:
    result = bench.here(1, "--lost-limit", "2", tasks="kill -9 $PPID; sleep 100\ntrue\n")
    assert result.code == 0 and bench.done() == [0, 1]
    assert (bench.row(0).pid, bench.row(0).returncode) == (-1, -100)
    assert bench.row(1).returncode == 0 and "engine was lost" in result.out


def test_a_task_that_leaves_many_processes_is_killed_with_all_of_them(bench: Bench) -> None:
    many = "touch 0.runs; for i in $(seq 40); do (trap '' TERM; setsid sleep 1000) & done; wait"
    run = bench.start_here(1, tasks=many)
    run.until_exists("0.runs")
    run.signal(signal.SIGTERM)
    assert run.end(12).code == 143
    assert bench.left_running() == []


def test_the_driver_has_no_thread_for_each_task(bench: Bench) -> None:
    run = bench.start_here(40, tasks=f"#DISBATCH REPEAT 40 {WAIT}")
    run.until_exists(*(f"{i}.runs" for i in range(40)))
    guard, engine = run.engine_pids()
    for pid in (run.pid, guard, engine):
        assert len(os.listdir(f"/proc/{pid}/task")) <= 6
    assert children(run.pid) == [guard]  # and nobody waits to be reaped
    assert len(children(engine)) == 40
    assert len(os.listdir(f"/proc/{engine}/fd")) < 40 * 2 + 30
    bench.file("go", "")
    assert run.end().code == 0


def test_processor_time_while_nothing_happens_is_next_to_nothing(bench: Bench) -> None:
    """No polling interval: two seconds of waiting cost less than a twentieth of one processor."""

    def ticks() -> int:
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        return sum(int(f[11]) + int(f[12]) for f in fields)

    run = bench.start_here(1, tasks="touch 0.runs; sleep 3; touch later")
    run.until_exists("0.runs")
    pids = [run.pid, *run.engine_pids()]
    run.until(lambda: run.process.poll() is None and (bench.path / "0.runs").stat().st_mtime, "it runs")
    before = ticks()
    run.until(lambda: (bench.path / "later").exists() or None, "three seconds later")
    assert ticks() - before < 15  # hundredths of a second, the end of the task included
    assert run.end().code == 0

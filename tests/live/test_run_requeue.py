"""Going on more than once: after an early end of a resumed run, and by itself in a job that was requeued."""

import signal

import pytest
from disbatch_runs import Bench

# The first tasks wait for `go`, those behind them are quick and say that they ran.
WAITING = 70
QUICK = 150
LIST = "until [ -e go ]; do sleep 0.05; done\n" * WAITING + "echo >> $DISBATCH_TASKID.ran\n" * QUICK


def ran_once(bench: Bench) -> bool:
    return all(bench.read(f"{number}.ran") == "\n" for number in range(WAITING, WAITING + QUICK))


def test_a_resumed_run_that_ends_before_it_has_read_all_of_the_list(bench: Bench) -> None:
    """What only the first status file knows is not lost to the third run."""
    first = bench.start_here(WAITING + 2, tasks=LIST)
    first.until_exists("run_status.txt")
    first.until(lambda: len(bench.done()) == QUICK, "the quick tasks are recorded")
    first.signal(signal.SIGTERM)
    assert first.end().code == 143
    second = bench.start("-s", "localhost:1", "-p", "run", "-r", "run_status.txt", "Tasks")
    log = bench.path / "run_driver.txt"
    second.until_exists("run.1_driver.txt")
    second.until(lambda: log.exists() and "has signed in" in log.read_text(), "the engine is there")
    second.signal(signal.SIGTERM)
    done = second.end()
    assert done.code == 143
    assert len(bench.done()) < QUICK  # else this test shows nothing
    bench.file("go", "")
    command = done.out.splitlines()[-1].split(": ", 1)[1]
    assert command.count(" -r ") == 2
    third = bench.shell(command.replace("localhost:1", "localhost:4"))
    assert third.code == 0, third.err
    assert bench.done() == list(range(WAITING + QUICK)) and ran_once(bench)


JOB = {"SLURM_JOB_ID": "77"}
AGAIN = JOB | {"SLURM_RESTART_COUNT": "1"}
SHORT = "echo >> 0.ran\necho >> 1.ran; [ -e go ]\nuntil [ -e go ]; do sleep 0.05; done\n"


def killed(bench: Bench, *arguments: str, env: dict[str, str]) -> None:
    run = bench.start("-s", "localhost:3", *arguments, tasks=SHORT, env=env)
    name = "run_status.txt" if "-p" in arguments else "Tasks_77_status.txt"
    run.until(lambda: (bench.path / name).exists() and len(bench.done(name)) == 2, "two tasks are done")
    run.kill()


def test_a_requeued_job_goes_on_from_its_own_status_file(bench: Bench) -> None:
    killed(bench, env=JOB)
    bench.file("go", "")
    done = bench.run("-s", "localhost:3", "Tasks", env=AGAIN)
    assert done.code == 0
    assert "job 77 was requeued (restart 1): it goes on from ./Tasks_77_status.txt" in done.err
    rows = bench.rows("Tasks_77.2_status.txt")
    assert [row.flags for row in sorted(rows, key=lambda row: row.task_id)] == ["   S", "R  S", "    "]
    assert bench.read("0.ran") == "\n" and bench.read("1.ran") == "\n"
    third = bench.run("-s", "localhost:3", "Tasks", env=AGAIN | {"SLURM_RESTART_COUNT": "2"})
    assert third.code == 0 and "./Tasks_77_status.txt, ./Tasks_77.2_status.txt" in third.err
    assert {row.flags[3] for row in bench.rows("Tasks_77.3_status.txt")} == {"S"}


@pytest.mark.parametrize("logfile", [(), ("--logfile", "log")], ids=["own log", "one log for all"])
def test_only_the_files_of_this_job_are_taken(bench: Bench, logfile: tuple[str, ...]) -> None:
    """With -p, files of the same prefix may be another job's, about the same list."""
    killed(bench, "-p", "run", *logfile, env={"SLURM_JOB_ID": "76"})
    bench.file("go", "")
    done = bench.run("-s", "localhost:3", "-p", "run", *logfile, "Tasks", env=AGAIN)
    assert done.code == 0 and "requeued" not in done.err
    assert bench.read("0.ran") == "\n\n"
    for number in (2, 3):
        again = bench.run("-s", "localhost:3", "-p", "run", *logfile, "Tasks", env=AGAIN)
        assert again.code == 0 and "(restart 1): it goes on from " in again.err
        own = ["run.2_status.txt", "run_status.txt"] if number == 3 else ["run_status.txt"]
        assert f"it goes on from {', '.join(own)}\n" in again.err
    assert bench.read("0.ran") == "\n\n"
    assert {row.flags[3] for row in bench.rows()} == {"S"}


def test_a_job_that_was_not_requeued_begins_anew(bench: Bench) -> None:
    killed(bench, env=JOB)
    bench.file("go", "")
    done = bench.run("-s", "localhost:3", "Tasks", env=JOB | {"SLURM_RESTART_COUNT": "0"})
    assert done.code == 0 and "requeued" not in done.err
    assert bench.read("0.ran") == "\n\n"

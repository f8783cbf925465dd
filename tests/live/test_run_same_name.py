"""One name for run after run, as scripts have it: the newest has it plain, and resumes from the one before by that name."""

import signal

from disbatch_runs import Bench

LIST = "echo >> 0.ran\necho >> 1.ran; [ -e go ]\nuntil [ -e go ]; do sleep 0.05; done; echo >> 2.ran\n"
FIXED = ("-s", "localhost:3", "-p", "run", "-r", "run_status.txt", "Tasks")


def ran(bench: Bench) -> list[int]:
    return [
        len(bench.read(f"{number}.ran")) if (bench.path / f"{number}.ran").exists() else 0
        for number in range(3)
    ]


def stopped(bench: Bench) -> None:
    run = bench.start_here(3, tasks=LIST)
    run.until_exists("run_status.txt")
    run.until(lambda: len(bench.done()) == 2, "two tasks are done")
    run.signal(signal.SIGTERM)
    assert run.end().code == 143
    bench.file("go", "")


def test_a_script_that_runs_its_list_twice(bench: Bench) -> None:
    for number in range(3):
        done = bench.here(2, "-e", tasks=f"echo {number} >> order; exit {number}")
        assert done.code == (number > 0) and bench.row(0).returncode == number
        assert ("the files of the earlier run run are run." in done.err) == (number > 0)
    assert (
        bench.row(0, "run.1_status.txt").returncode == 0 and bench.row(0, "run.2_status.txt").returncode == 1
    )
    for name in ("driver.txt", "dbUtil.sh", "usage.txt"):
        assert all((bench.path / f"{prefix}_{name}").exists() for prefix in ("run", "run.1", "run.2"))


def test_a_script_that_always_resumes_from_the_plain_name(bench: Bench) -> None:
    stopped(bench)
    again = bench.run(*FIXED)
    assert again.code == 0, again.err
    assert ran(bench) == [1, 1, 1] and [row.flags for row in sorted(bench.rows())] == ["    ", "   S", "R  S"]
    assert bench.run(*FIXED, "-R").code == 0
    assert ran(bench) == [1, 2, 1] and bench.row(1).returncode == 0 and not bench.row(1).flags.strip()


def test_the_command_that_is_printed_names_the_renamed_file(bench: Bench) -> None:
    """When the second run ends before it has read its whole list, the third needs the first one's lines as well."""
    tasks = "until [ -e go ]; do sleep 0.05; done\n" * 70 + "echo >> $DISBATCH_TASKID.ran\n" * 30
    first = bench.start_here(72, tasks=tasks)
    first.until_exists("run_status.txt")
    first.until(lambda: len(bench.done()) == 30, "the quick tasks are recorded")
    first.signal(signal.SIGTERM)
    assert first.end().code == 143
    second = bench.start("-s", "localhost:1", "-p", "run", "-r", "run_status.txt", "Tasks")
    second.until_exists("run.1_driver.txt")
    log = bench.path / "run_driver.txt"
    second.until(lambda: log.exists() and "has signed in" in log.read_text(), "the engine is there")
    second.signal(signal.SIGTERM)
    done = second.end()
    assert done.code == 143 and "-r run.1_status.txt -r run_status.txt" in done.resume
    bench.file("go", "")
    third = bench.shell(done.resume.replace("localhost:1", "localhost:4"))
    assert third.code == 0, third.err
    assert bench.done() == list(range(100)) and all(
        bench.read(f"{number}.ran") == "\n" for number in range(70, 100)
    )


def test_a_run_of_that_name_that_goes_on_is_left_alone(bench: Bench) -> None:
    run = bench.start_here(1, tasks=LIST.splitlines()[2])
    run.until_exists("run_kvsinfo.txt")
    refused = bench.run("-s", "localhost:1", "-p", "run", str(bench.file("Other", "echo >> other\n")))
    assert refused.code == 2 and not (bench.path / "other").exists()
    assert f"-p run: the run of that name is not over (process {run.pid} on " in refused.err
    bench.file("go", "")
    assert run.end().code == 0 and bench.done() == [0]


def test_a_killed_run_makes_room_and_can_be_resumed_under_its_new_name(bench: Bench) -> None:
    run = bench.start_here(3, tasks=LIST)
    run.until_exists("run_status.txt")
    run.until(lambda: len(bench.done()) == 2, "two tasks are done")
    run.kill()
    bench.file("go", "")
    assert bench.run("-s", "localhost:1", "-p", "run", "-").code == 0
    again = bench.run("-s", "localhost:3", "-p", "next", "-r", "run.1_status.txt", "Tasks")
    assert again.code == 0 and "the run that wrote run.1_status.txt has crashed" in again.err
    assert ran(bench) == [1, 1, 1]

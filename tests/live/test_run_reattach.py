"""--reattach: a driver dies, the same command is given again, and the engines that others have added go on as if nothing
had been."""

import fcntl
import os
import signal

import pytest
from disbatch_runs import PYTHON, Bench, Run, wait_until

SCRIPT = ["./run_dbUtil.sh"]
# what a task has done is seen by its files: how often it was begun, and by which process
TASK = "echo $$ >> $DISBATCH_TASKID.begun; until [ -e go$((DISBATCH_TASKID / 4)) ]; do sleep 0.02; done; exit $((DISBATCH_TASKID % 3))"
COMMAND = ("-S", "--reattach", "-p", "run")


def begin(bench: Bench, tasks: str, *arguments: str) -> Run:
    run = bench.start(*COMMAND, *arguments, tasks=tasks)
    run.until_exists("run_kvsinfo.txt", "run_dbUtil.sh")
    return run


def again(bench: Bench, *arguments: str) -> Run:
    return bench.start(*COMMAND, *arguments, "Tasks")


def took_over(bench: Bench, *arguments: str) -> Run:
    """The same command, when it has begun to serve."""
    run = again(bench, *arguments)
    run.until(
        lambda: "going on with the run" in run.err() and "waiting for machines" in run.err(), "it has begun"
    )
    return run


def join(bench: Bench, *arguments: str) -> Run:
    return bench.start(*arguments, program=SCRIPT)


def begun(bench: Bench) -> dict[int, list[str]]:
    found = {}
    for path in bench.path.glob("*.begun"):
        if pids := path.read_text().split():  # else it is about to write
            found[int(path.stem)] = pids
    return found


def test_running_tasks_run_on_and_results_that_waited_are_recorded(bench: Bench) -> None:
    run = begin(bench, f"{TASK}\n" * 12)
    first, second = join(bench, "-s", "localhost:2"), join(bench, "-s", "localhost:2", "-l", "mine")
    run.until(lambda: len(begun(bench)) == 4, "all slots are busy")
    pids = begun(bench)
    run.kill()
    with open(bench.path / "run_status.txt", "ab") as status:
        status.write(b" O  \t11\t12\t-1\tnode")  # what a death in the middle of a write leaves
    first.until(lambda: "waiting for another one" in first.err(), "a context has noticed")
    assert bench.task_pids() == {int(pid) for (pid,) in pids.values()}
    bench.file("go0", "")
    wait_until(lambda: not bench.task_pids(), "the tasks have ended, and nobody was there to hear it")
    new = took_over(bench)
    assert "2 contexts may have engines" in new.err()
    new.until(lambda: len(bench.done()) == 4, "their results are recorded")
    assert {bench.row(i).pid for i in range(4)} == {int(pid) for (pid,) in pids.values()}
    assert [bench.row(i).returncode for i in range(4)] == [0, 1, 2, 0]
    new.until(lambda: len(begun(bench)) == 8, "and they are given more")
    for name in ("go1", "go2"):
        bench.file(name, "")
    assert new.end().code == 0, new.err()
    assert first.end().code == second.end().code == 0
    assert bench.done() == list(range(12)) and all(len(pids) == 1 for pids in begun(bench).values())
    assert "the list, and" not in new.err() and not (bench.path / "run.1_status.txt").exists()


def test_what_runs_is_never_given_out_twice_and_ends_with_the_new_driver(bench: Bench) -> None:
    run = begin(bench, f"{TASK}\n" * 8)
    pool = join(bench, "-s", "localhost:4")
    run.until(lambda: len(begun(bench)) == 4, "all slots are busy")
    run.kill()
    new = took_over(bench)
    other = join(bench, "-s", "localhost:4")
    new.until(lambda: "is back with 1 engine" in new.err(), "the context is back")
    new.until(lambda: len(begun(bench)) == 8, "what was not begun is handed out at once")
    for name in ("go0", "go1"):
        bench.file(name, "")
    assert new.end().code == 0
    pool.end(), other.end()
    assert bench.done() == list(range(8)) and all(len(pids) == 1 for pids in begun(bench).values())


def test_barriers_and_engine_commands_are_not_repeated(bench: Bench) -> None:
    head = (
        "#DISBATCH PERENGINE START echo x >> started\n#DISBATCH PERENGINE STOP echo x >> stopped\n"
        "true\ntrue\n#DISBATCH BARRIER\n"
    )
    run = begin(bench, head + f"{TASK}\n" * 2 + "#DISBATCH BARRIER CHECK\ntrue\n")
    pool = join(bench, "-s", "localhost:2")
    run.until(lambda: len(begun(bench)) == 2, "the first barrier was met")
    run.kill()
    new = took_over(bench)
    new.until(lambda: "is back" in new.err(), "the context is back")
    bench.file("go0", "")
    bench.file("go1", "")
    assert new.end().code == 1, new.err()  # task 4 exits with 1
    pool.end()
    assert bench.read("started") == "x\n" and bench.read("stopped") == "x\n"
    rows = bench.rows()
    assert [r.flags[0] for r in rows if r.flags[0] in "BC"] == ["B", "C"]
    assert sum(r.flags[3] == "P" for r in rows) == 2


def test_engines_of_a_dead_context_are_not_waited_for_longer_than_the_lease(bench: Bench) -> None:
    run = begin(bench, f"{TASK}\n" * 4, "--lease", "6")
    pool = join(bench, "-s", "localhost:2")
    run.until(lambda: len(begun(bench)) == 2, "all slots are busy")
    run.kill()
    pool.process.kill()
    pool.process.wait()
    wait_until(lambda: not bench.task_pids(), "engines end with whoever started them")
    bench.file("go0", "")
    new = took_over(bench, "--lease", "6")
    other = join(bench, "-s", "localhost:2")
    result = new.end(30)
    assert result.code == 0, result.err
    other.end()
    assert bench.done() == [0, 1, 2, 3] and [len(begun(bench)[i]) for i in range(4)] == [2, 2, 1, 1]


def test_between_one_lease_and_two_the_machines_are_there_and_their_tasks_begin_anew(bench: Bench) -> None:
    run = begin(bench, f"{TASK}\n" * 4, "--lease", "6")
    pool = join(bench, "-s", "localhost:2")
    run.until(lambda: len(begun(bench)) == 2, "all slots are busy")
    run.kill()
    wait_until(lambda: not bench.task_pids(), "the lease is over, and what ran is killed", seconds=20)
    assert pool.process.poll() is None, "the machine waits for another lease"
    bench.file("go0", "")
    new = took_over(bench, "--lease", "6")
    result = new.end(30)
    assert result.code == 0, result.err
    assert pool.end().code == 0, "the same engine has done it"
    assert bench.done() == [0, 1, 2, 3] and [len(begun(bench)[i]) for i in range(4)] == [2, 2, 1, 1]


def test_after_two_leases_without_a_driver_the_machines_leave(bench: Bench) -> None:
    run = begin(bench, f"{TASK}\n" * 2, "--lease", "2")
    pool = join(bench, "-s", "localhost:2")
    run.until(lambda: len(begun(bench)) == 2, "all slots are busy")
    run.kill()
    assert pool.end(30).code == 3
    assert not bench.task_pids()


def test_a_context_that_the_new_driver_does_not_know_ends(bench: Bench) -> None:
    run = begin(bench, f"{TASK}\n")
    pool = join(bench, "-s", "localhost:1")
    run.until(lambda: len(begun(bench)) == 1, "its task runs")
    run.kill()
    info = bench.path / "run_kvsinfo.txt"
    lines = [line for line in info.read_text().splitlines(True) if not line.startswith("context ")]
    info.write_text("".join(lines))
    new = took_over(bench)
    ended = pool.end()
    assert ended.code == 3 and "is not taken back" in ended.err, ended.err
    new.signal(signal.SIGTERM)
    assert new.end().code == 143


def test_a_new_run_says_that_it_is_one(bench: Bench) -> None:
    run = begin(bench, "true\n")
    run.until(lambda: f"nothing to go on with, {bench.path}/run is a new run" in run.err(), "it is said")
    pool = join(bench, "-s", "localhost:1")
    assert run.end().code == pool.end().code == 0


def test_a_living_driver_is_not_replaced(bench: Bench) -> None:
    run = begin(bench, f"{TASK}\n")
    pool = join(bench, "-s", "localhost:1")
    run.until(lambda: len(begun(bench)) == 1, "its task runs")
    run.signal(signal.SIGSTOP)
    refused = again(bench).end()
    assert refused.code == 2 and "is not over" in refused.err and refused.err.count("\n") == 1
    run.signal(signal.SIGCONT)
    bench.file("go0", "")
    assert run.end().code == 0 and pool.end().code == 0
    assert not os.path.exists(bench.path / "run_kvsinfo.txt")
    fresh = again(bench)  # nothing is left to go on with: a run of its own
    fresh.until(lambda: "the files of the earlier run run are run.1_… now" in fresh.err(), "it begins anew")
    fresh.signal(signal.SIGTERM)
    fresh.end()


def test_another_list_or_two_drivers_at_once_are_refused(bench: Bench) -> None:
    run = begin(bench, "true\n")
    run.kill()
    bench.file("Tasks", "false\n")
    refused = again(bench).end()
    assert refused.code == 2 and "is not as it was" in refused.err and refused.err.count("\n") == 1
    bench.file("Tasks", "true\n")
    with open(bench.path / "run_status.txt", "ab") as status:
        fcntl.flock(status, fcntl.LOCK_EX)  # as whoever was quicker, and is not in the info file yet
        refused = again(bench).end()
    assert refused.code == 2 and "another driver goes on" in refused.err and refused.err.count("\n") == 1
    new = took_over(bench)
    new.signal(signal.SIGTERM)
    new.end()


def test_another_folder_is_refused(bench: Bench) -> None:
    run = begin(bench, "true\n")
    run.kill()
    elsewhere = bench.path / "else where"
    elsewhere.mkdir()
    prefix, tasks = str(bench.path / "run"), str(bench.path / "Tasks")
    refused = bench.start(
        "-S", "--reattach", "-p", prefix, tasks, program=["/usr/bin/env", "-C", str(elsewhere), *PYTHON]
    ).end()
    assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
    assert f"was started in {bench.path}, not in {elsewhere}" in refused.err
    new = bench.start(
        "-S", "--reattach", "-p", prefix, tasks
    )  # other words for the same files are no other run
    new.until(lambda: "going on with the run" in new.err(), "it has begun")
    new.signal(signal.SIGTERM)
    new.end()


def test_a_run_that_was_not_made_for_it_is_refused(bench: Bench) -> None:
    run = bench.start("-S", "-p", "run", tasks="true\n")
    run.until_exists("run_kvsinfo.txt")  # at its first moment it says who wrote it
    run.kill()
    result = again(bench).end()
    assert result.code == 2 and "without --reattach" in result.err and "-r run_status.txt" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reattach", "-p", "run", "-s", "localhost:1"], "needs -S"),
        (["--reattach", "-S"], "needs -p"),
        (["--reattach", "-S", "-p", "run", "-"], "needs a task file"),
    ],
)
def test_what_makes_no_sense_is_one_line(bench: Bench, arguments: list[str], words: str) -> None:
    bench.file("Tasks", "true\n")
    last = [] if arguments[-1] == "-" else ["Tasks"]
    result = bench.run(*arguments, *last)
    assert result.code == 2 and words in result.err and result.err.count("\n") == 1

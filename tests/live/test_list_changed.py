"""A task file that somebody changes during the run: nothing that was read afterwards is run, and the run says so and ends."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from disbatch_runs import PYTHON, Bench, Result, Run, wait_until

SLOTS = 2
GATE = "touch $DISBATCH_TASKID.runs; until [ -e go ]; do sleep 0.02; done"
# long lines, so that the list has several blocks and few tasks
LINES = [f"{GATE} # {i}" for i in range(SLOTS)] + [f"true # {i:04d} {'x' * 4000}" for i in range(SLOTS, 400)]
CONTENT = "\n".join(LINES)  # the last line has no end

Change = Callable[[Path], None]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_in_a_line(path: Path) -> None:
    os.truncate(path, len(CONTENT) - 1000)


def append(path: Path) -> None:
    with open(path, "a") as file:
        file.write("\ntrue # one more\n")


def go_on_with_the_last_line(path: Path) -> None:
    with open(path, "a") as file:
        file.write("; exit 99\n")


def overwrite(path: Path) -> None:
    path.write_text("exit 99\n" * 10_000)


def overwrite_with_as_much(path: Path) -> None:
    path.write_text(CONTENT.replace("true", "exit"))


def overwrite_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    overwrite_with_as_much(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


NOTICED: dict[Change, str] = {
    empty: "it shrank from",
    cut_in_a_line: "it shrank from",
    append: "it grew from",
    go_on_with_the_last_line: "it grew from",
    overwrite: "it shrank from",
    overwrite_with_as_much: "it was overwritten in place",
    overwrite_and_set_the_time_back: "bytes 262,144 to 524,288 were overwritten",
}


def begun(bench: Bench, *arguments: str, **more: object) -> Run:
    """The first tasks run; the others wait for their slots."""
    bench.file("Tasks", CONTENT)
    run = bench.start_here(SLOTS, *arguments, **more)
    run.until_exists(*(f"{i}.runs" for i in range(SLOTS)))
    return run


def ended_early(bench: Bench, result: Result, what: str, name: str = "Tasks") -> None:
    assert result.code == 3, result.err
    assert f"{name} changed while it was read: {what}" in result.err
    assert "The run ended early: the task file changed while it was read." in result.out
    assert "Traceback" not in result.err
    rows = bench.rows()
    # each command is one of the list that was checked, whole
    assert all(row.command == LINES[row.task_id] and row.returncode == 0 for row in rows)
    done = {row.task_id for row in rows}
    # what ran was let finish
    assert set(range(SLOTS)) <= done and len(done) < len(LINES)
    assert " -r " in result.resume


@pytest.mark.parametrize("change", NOTICED)
def test_a_list_that_is_changed_in_place_ends_the_run(bench: Bench, change: Change) -> None:
    run = begun(bench, "Tasks")
    change(bench.path / "Tasks")
    bench.file("go", "")
    ended_early(bench, run.end(), NOTICED[change])


def test_the_run_can_be_resumed_with_the_list_as_it_was(bench: Bench) -> None:
    run = begun(bench, "Tasks")
    cut_in_a_line(bench.path / "Tasks")
    bench.file("go", "")
    result = run.end()
    ended_early(bench, result, "it shrank from")
    bench.file("Tasks", CONTENT)
    again = bench.shell(result.resume)
    assert again.code == 0, again.err
    assert bench.done("run_status.txt") == list(range(len(LINES)))


def test_another_list_renamed_to_its_name_does_no_harm(bench: Bench) -> None:
    run = begun(bench, "Tasks")
    bench.file("other", "exit 99\n").replace(bench.path / "Tasks")
    bench.file("go", "")
    result = run.end()
    assert result.code == 0, result.err
    assert [row.command for row in sorted(bench.rows(), key=lambda row: row.task_id)] == LINES


def test_standard_input_redirected_from_a_list_that_changes(bench: Bench) -> None:
    bench.file("Tasks", CONTENT)
    with open(bench.path / "Tasks", "rb") as file:
        run = begun(bench, "-", stdin=file)
    cut_in_a_line(bench.path / "Tasks")
    bench.file("go", "")
    ended_early(bench, run.end(), "it shrank from", "standard input")


def test_behind_a_barrier(bench: Bench) -> None:
    """What was read together with the barrier waits for it, and is not run when the list has changed meanwhile."""
    bench.file("Tasks", f"{GATE}\n#DISBATCH BARRIER\n" + "true\n" * 1000)
    run = bench.start_here(SLOTS, "Tasks")
    run.until_exists("0.runs")
    empty(bench.path / "Tasks")
    bench.file("go", "")
    result = run.end()
    assert result.code == 3 and "it shrank from" in result.err
    assert 0 in bench.done() and len(bench.done()) < 200


def test_a_driver_that_took_over_notices_as_well(bench: Bench) -> None:
    bench.file("Tasks", CONTENT)
    command = ("-S", "--reattach", "-p", "run", "Tasks")
    first = bench.start(*command)
    first.until_exists("run_kvsinfo.txt", "run_dbUtil.sh")
    context = bench.start("-s", f"localhost:{SLOTS}", program=["./run_dbUtil.sh"])
    first.until_exists(*(f"{i}.runs" for i in range(SLOTS)))
    first.kill()
    context.until(lambda: "waiting for another one" in context.err(), "the context has noticed")
    second = bench.start(*command)
    second.until(lambda: "going on with the run" in second.err(), "another driver has begun")
    wait_until(
        lambda: "has signed in" in bench.read("run_driver.txt").rpartition("begins")[2],
        "its engine is back",
        logs=second.logs,
    )
    cut_in_a_line(bench.path / "Tasks")
    bench.file("go", "")
    ended_early(bench, second.end(), "it shrank from")
    assert context.end().code is not None


def test_a_list_that_is_still_being_written_at_the_start(bench: Bench) -> None:
    """Whoever writes it is slower than the run."""
    bench.file("Tasks", f"{GATE}\n" * SLOTS + "true\n" * 200 + "true # only ha")
    run = bench.start_here(SLOTS, "Tasks")
    run.until_exists(*(f"{i}.runs" for i in range(SLOTS)))
    with open(bench.path / "Tasks", "a") as file:
        file.write("lf of this\n")
    bench.file("go", "")
    result = run.end()
    assert result.code == 3 and "it grew from" in result.err
    assert all(not row.command.endswith("ha") for row in bench.rows())


def test_the_example_of_a_list_that_is_emptied(bench: Bench) -> None:
    """Forty thousand tasks, of which a part has run."""
    script = (
        "seq 1 40000 | sed 's/.*/true # & padding padding padding/' > L; "
        '(until [ -s run_status.txt ]; do sleep 0.01; done; : > L) & "$@"; code=$?; wait; exit $code'
    )
    argv = ["/bin/bash", "-c", script, "x"]
    done = bench.run(*PYTHON, "-s", "localhost:2", "-p", "run", "L", program=argv)
    assert done.code == 3 and "L changed while it was read: it shrank" in done.err, done
    assert 0 < len(bench.rows()) < 40_000

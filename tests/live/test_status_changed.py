"""Another program empties, shortens, overwrites or writes to the files of a run: it is said, and no row is missing at the end."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from disbatch_runs import Bench, Run

BEFORE = 20  # tasks that have their rows when it happens
BEHIND = 20
GATE = "touch gate; until [ -e go ]; do sleep 0.02; done"
FIRST = f"{GATE}\n" + "true # before\n" * BEFORE
TASKS = FIRST + "#DISBATCH BARRIER\n" + "true # behind\n" * BEHIND
COUNT = 1 + BEFORE + BEHIND

Change = Callable[[Path], None]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_in_a_row(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 20)


def overwrite(path: Path) -> None:
    path.write_text("something else\n")


def overwrite_with_more(path: Path) -> None:
    path.write_text("something else\n" * 1000)


def begun(bench: Bench, *arguments: str, tasks: str = TASKS, rows: int = BEFORE) -> Run:
    """One task runs, and those before it have their rows."""
    run = bench.start_here(2, *arguments, tasks=tasks)
    run.until_exists("gate", "run_status.txt")
    run.until(lambda: bench.read("run_status.txt").count("\n") == rows, "the first ones have rows")
    return run


def ids(bench: Bench, name: str = "run_status.txt") -> list[int]:
    """Of all rows, the barrier's as well."""
    return sorted(row.task_id for row in bench.rows(name))


@pytest.mark.parametrize("change", [empty, cut_in_a_row, overwrite, overwrite_with_more])
def test_rows_that_were_taken_off_are_written_again(bench: Bench, change: Change) -> None:
    run = begun(bench)
    before = (bench.path / "run_status.txt").read_bytes()
    change(bench.path / "run_status.txt")
    bench.file("go", "")
    result = run.end()
    assert result.code == 0, result.err
    assert "run_status.txt was " in result.err and "by another program" in result.err
    assert "what it had lost was written again" in result.err
    assert (bench.path / "run_status.txt").read_bytes().startswith(before)
    assert ids(bench) == list(range(COUNT + 1))


def test_the_last_task_empties_it(bench: Bench) -> None:
    result = bench.here(1, tasks="true\ntrue\n: > run_status.txt\n")
    assert result.code == 0 and "was shortened from" in result.err, result
    assert ids(bench) == [0, 1, 2]


@pytest.mark.parametrize("foreign", [b"whole\n", b"hal"])
def test_another_program_appends_to_it(bench: Bench, foreign: bytes) -> None:
    run = begun(bench)
    with open(bench.path / "run_status.txt", "ab") as status:
        status.write(foreign)
    bench.file("go", "")
    result = run.end()
    assert result.code == 0 and "that another program has appended" in result.err, result
    lines = (bench.path / "run_status.txt").read_bytes().splitlines(keepends=True)
    ours = [line for line in lines if len(line.split(b"\t")) == 15]
    assert len(ours) == COUNT + 1 and [line for line in lines if line not in ours] == [
        foreign.rstrip() + b"\n"
    ]


def test_more_rows_are_gone_than_are_kept(bench: Bench) -> None:
    """The run goes on, and what it has lost is told: it can be resumed."""
    long, count = "x" * 30_000, 350
    tasks = f"#DISBATCH SUFFIX # {long}\n#DISBATCH REPEAT {count} true \n{GATE} \n"
    run = begun(bench, tasks=tasks, rows=count)
    empty(bench.path / "run_status.txt")
    bench.file("go", "")
    result = run.end()
    assert result.code == 3, result.err
    missing = sorted(set(range(count + 1)) - set(ids(bench)))
    assert 0 < len(missing) < count
    assert f"at least {len(missing)} of its lines are lost" in result.err
    assert "The run ended early: lines of the status file are lost." in result.out
    again = bench.shell(result.resume)
    assert again.code == 0, again.err
    rows = bench.rows("run_status.txt")
    assert sorted(row.task_id for row in rows) == list(range(count + 1))
    assert sorted(row.task_id for row in rows if row.flags[3] != "S") == missing


def test_a_usage_file_that_is_emptied(bench: Bench) -> None:
    run = begun(bench)
    usage = bench.path / "run_usage.txt"
    run.until(lambda: usage.exists() and usage.read_bytes().count(b"\n") >= BEFORE, "it has lines")
    before = usage.read_bytes()
    empty(usage)
    bench.file("go", "")
    result = run.end()
    assert result.code == 0 and "run_usage.txt was shortened" in result.err, result
    assert usage.read_bytes().startswith(before)
    assert usage.read_bytes().count(b"\ntask\t") == COUNT


def test_a_status_file_that_is_moved_away_at_the_end(bench: Bench) -> None:
    """By the last task, whose own row comes later."""
    result = bench.here(1, tasks="true\nmv run_status.txt elsewhere\n")
    assert result.code == 0, result.err
    assert ids(bench) == [0, 1]


@pytest.mark.parametrize("change", [empty, overwrite_with_more])
def test_the_status_file_of_an_earlier_run_is_changed_while_its_rows_are_copied(
    bench: Bench, change: Change
) -> None:
    """What was read of it holds: nothing runs twice. But its rows are nowhere, and that is told."""
    bench.file("go", "")
    tasks = f"{GATE}\n#DISBATCH BARRIER\n#DISBATCH REPEAT 300 echo >> ran\n"
    assert bench.run("-s", "localhost:2", "-p", "first", tasks=tasks).code == 0
    (bench.path / "go").unlink()
    (bench.path / "gate").unlink()
    first = bench.path / "first_status.txt"
    # the task in front is to be run again
    first.write_bytes(b"".join(first.read_bytes().splitlines(keepends=True)[1:]))
    run = bench.start_here(2, "-r", "first_status.txt", "Tasks")
    run.until_exists("gate")
    change(first)
    bench.file("go", "")
    result = run.end()
    assert result.code == 3, result.err
    assert "first_status.txt was changed by another program since it was read" in result.err
    assert "Traceback" not in result.err and " -r " in result.resume
    assert bench.read("ran").count("\n") == 300 and bench.done() == [0]


def test_the_status_file_of_an_earlier_run_may_be_touched(bench: Bench) -> None:
    bench.file("go", "")
    tasks = f"{GATE}\n#DISBATCH BARRIER\n#DISBATCH REPEAT 300 true\n"
    assert bench.run("-s", "localhost:2", "-p", "first", tasks=tasks).code == 0
    (bench.path / "go").unlink()
    (bench.path / "gate").unlink()
    first = bench.path / "first_status.txt"
    first.write_bytes(b"".join(first.read_bytes().splitlines(keepends=True)[1:]))
    run = bench.start_here(2, "-r", "first_status.txt", "Tasks")
    run.until_exists("gate")
    os.utime(first)
    with open(first, "ab") as file:
        file.write(b"one more line\n")
    bench.file("go", "")
    assert run.end().code == 0 and len(bench.done()) == 301

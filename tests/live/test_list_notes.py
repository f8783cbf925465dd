"""What is said of a task list that is good and probably not meant as it stands: at the start, and by --dry-run."""

import shlex

import pytest
from disbatch_runs import PYTHON, Bench

TASKS = "echo a \\\necho b \\\n#DISBATCH SUFFIX  > $DISBATCH_TASKID.out\necho c # why\n"
SAID = (
    "2 lines (the first is line 1) end in a backslash",
    "line 4 has a comment at the end, and the SUFFIX behind it is a part of it",
)


def test_a_run_says_it_at_the_start_and_once(bench: Bench) -> None:
    done = bench.here(1, tasks=TASKS)
    assert done.code == 0
    for note in SAID:
        assert done.err.count(note) == 1 and note in bench.read("run_driver.txt")


@pytest.mark.parametrize("command", ["{program} Tasks", "cat Tasks | {program} -"])
def test_a_dry_run_says_it_and_counts(bench: Bench, command: str) -> None:
    bench.file("Tasks", TASKS)
    done = bench.shell(command.format(program=shlex.join([*PYTHON, "-s", "localhost:1", "--dry-run"])))
    assert done.code == 0, done.err
    for note in SAID:
        assert done.out.count(f"note: {note}") == 1
    assert "localhost: 1 slot (1 core)\n" in done.out


def test_line_ends_of_an_old_mac_are_named(bench: Bench) -> None:
    bench.file("Tasks", b"echo a > a\recho b > b\r")
    done = bench.run("-s", "localhost:1", "--dry-run", "Tasks")
    assert "line ends of an old Mac" in done.out and "Tasks: 1 task\n" in done.out

"""Errors and notes that name what was meant: for slips that look like something else."""

import os
import shlex

import pytest
from disbatch_runs import PYTHON, Bench

BOM = b"\xef\xbb\xbf"
HERE = ("-s", "localhost:1", "-p", "run")


def refused(bench: Bench, *arguments: str) -> str:
    done = bench.run("-s", "localhost:1", *arguments)
    assert done.code == 2 and len(done.err.splitlines()) == 1 and done.out == ""
    return done.err


def test_each_status_file_wants_its_own_option(bench: Bench) -> None:
    bench.file("Tasks", "true\n")
    said = refused(bench, "-r", "a_status.txt", "b_status.txt", "Tasks")
    assert "unrecognized arguments: Tasks (each status file wants its own -r, as in -r OLD -r NEW; " in said
    assert "wants its own" not in refused(bench, "-r", "a_status.txt", "Tasks", "--mailtoo", "x")
    assert "wants its own" not in refused(bench, "Tasks", "more")


@pytest.mark.parametrize("line", ["#DISBATCH REPEAT 5 echo hi", "  #DISBATCH BARRIER"])
def test_a_line_of_a_list_in_place_of_its_file(bench: Bench, line: str) -> None:
    said = refused(bench, line)
    assert "a line of a task list goes to standard input, with - in place of the file" in said
    assert "standard input" not in refused(bench, "no-such-file")


@pytest.mark.parametrize("option", ["--kvsserver", "--insecure-kvs"])
def test_an_option_that_has_taken_the_task_file(bench: Bench, option: str) -> None:
    bench.file("Tasks", "true\n")
    assert (
        f"; {option} has taken Tasks for its address: put the task file first, as in disBatch Tasks {option}"
        in (refused(bench, option, "Tasks"))
    )
    assert "has taken" not in refused(bench, option, "host:7000")


def test_a_status_file_with_a_byte_order_mark(bench: Bench) -> None:
    assert bench.here(1, "--no-usage", tasks="true\nfalse\n").code == 0
    plain = (bench.path / "run_status.txt").read_bytes()
    bench.file("marked_status.txt", BOM + plain)
    done = bench.run("-s", "localhost:1", "-p", "next", "-r", "marked_status.txt", "-R", "Tasks")
    assert done.code == 0 and "marked_status.txt begins with a byte-order mark" in done.err
    (skipped,) = [row for row in bench.rows("next_status.txt") if row.flags[3] == "S"]
    assert skipped.task_id == 0 and skipped.command == "true"
    shown = bench.run("marked_status.txt", "--json", program=[*PYTHON[:2], "disbatch.report"])
    same = bench.run("run_status.txt", "--json", program=[*PYTHON[:2], "disbatch.report"])
    assert shown.code == same.code == 0, shown.err
    assert shown.out.replace("marked_status", "run_status") == same.out


@pytest.mark.parametrize("fifo", [False, True])
def test_a_list_from_a_pipe_has_to_be_given_again(bench: Bench, fifo: bool) -> None:
    program = shlex.join([*PYTHON, *HERE])
    if fifo:
        os.mkfifo(bench.path / "list")
        done = bench.shell(f"echo false > list & {program} list")
    else:
        done = bench.shell(f"{program} <(echo false)")
    assert done.last.startswith("To run the failed tasks again (with the same tasks again: ")
    name = "list" if fifo else "/dev/fd/"
    assert f"again: {name}" in done.last and " was a pipe): " in done.last
    assert "was a pipe" not in bench.run("-s", "localhost:1", tasks="false\n").last


def test_a_wrong_root_is_warned_about(bench: Bench) -> None:
    done = bench.here(1, tasks="true\n", env={"DISBATCH_ROOT": "/nowhere/disbatch"})
    assert (
        done.code == 0
        and "DISBATCH_ROOT is /nowhere/disbatch, where this machine has no disBatch" in done.err
    )
    right = bench.run("-s", "localhost:1", tasks="true\n", env={"DISBATCH_ROOT": bench.env["PYTHONPATH"]})
    assert "DISBATCH_ROOT" not in right.err


@pytest.mark.parametrize("arguments", [["--status"], ["--stop-engine", "0"], ["-s", "localhost:1"]])
def test_a_driver_that_has_died_is_said_to_be_dead(bench: Bench, arguments: list[str]) -> None:
    run = bench.start(*HERE, tasks="touch on; sleep 100; true\n")
    run.until_exists("on")
    run.kill()
    run.until_ended()
    done = bench.run("run", *arguments, program=[*PYTHON[:2], "disbatch.ctl"])
    assert done.code == 3 and len(done.err.splitlines()) == 1
    prefix = bench.path / "run"
    assert f"the driver of the run {prefix} is dead: process {run.pid} has ended without a word" in done.err
    assert f"-r {prefix}_status.txt" in done.err and "refused" not in done.err


def test_without_a_gpu_every_line_is_disbatchs(bench: Bench) -> None:
    done = bench.here(1, "-g", tasks="true\n")
    assert done.code == 3 and "-g was given, but" in done.err
    assert all(line.startswith("disBatch: ") for line in done.err.splitlines())

"""Saying never prevents doing: terminals that are closed, stopped or simple, pipes whose reader is gone, full devices."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disbatch_runs import PYTHON, Bench, children, processes_of, wait_until
from terminals import CTRL_C, CTRL_Q, CTRL_S, CTRL_Z, HIDE_CURSOR, SHOW_CURSOR, Terminal

WAIT = 'touch "$DISBATCH_TASKID.runs"; until [ -e go ]; do sleep 0.02; done'
ON_ONE = ("-s", "localhost:1", "-p", "run")
ON_TWO = ("-s", "localhost:2", "-p", "run")

Opener = Callable[..., Terminal]


@pytest.fixture
def terminal(bench: Bench) -> Iterator[Opener]:
    """Opens terminals that are closed after the test."""
    opened: list[Terminal] = []

    def make(*argv: str, **more: str) -> Terminal:
        opened.append(Terminal(bench, *argv, **more))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_stopped(pid: int) -> bool:
    return state_of(pid) == "T"


def dead_pipe() -> int:
    """The writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


# -- a terminal that is closed


def test_a_closed_terminal_ends_the_run_in_order(bench: Bench, terminal: Opener) -> None:
    bench.file("Tasks", f"true\n{WAIT}\n{WAIT}\ntouch never\n")
    t = terminal(*PYTHON, *ON_TWO, "Tasks")
    t.until(lambda: bench.path.joinpath("2.runs").exists(), "tasks run")
    t.until_seen("1/4")
    t.hang_up()
    wait_until(t.ended, "the run ends", seconds=10, logs=bench.logs)
    assert t.process.returncode == 129, bench.logs()
    assert bench.done() == [0] and not bench.path.joinpath("never").exists()
    log = bench.read("run_driver.txt")
    assert "nothing more is printed" in log and "Traceback" not in log
    bench.file("go", "")
    done = bench.shell(log.rpartition("To go on from here: ")[2].splitlines()[0])
    assert done.code == 0, done.err


def test_a_terminal_that_closes_is_nothing_to_a_run_under_nohup(bench: Bench, terminal: Opener) -> None:
    bench.file("Tasks", f"{WAIT}\ntrue\n")
    t = terminal("/bin/sh", "-c", "trap '' HUP; exec " + " ".join([*PYTHON, *ON_ONE, "Tasks"]))
    t.until(lambda: bench.path.joinpath("0.runs").exists(), "the task runs")
    t.hang_up()
    bench.file("go", "")
    wait_until(t.ended, "the run ends", seconds=10, logs=bench.logs)
    assert t.process.returncode == 0 and bench.done() == [0, 1]


def test_sighup_ends_with_129(bench: Bench) -> None:
    run = bench.start_here(1, tasks=f"{WAIT}\n")
    run.until_exists("0.runs")
    run.signal(signal.SIGHUP)
    assert run.end(10).code == 129


# -- a reader that is gone


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_a_run_that_nobody_listens_to(bench: Bench, signum: int) -> None:
    bench.file("Tasks", f"{WAIT}\n{WAIT}\ntouch never\n")
    pipe = dead_pipe()
    process = subprocess.Popen(
        [*PYTHON, *ON_TWO, "Tasks"], cwd=bench.path, env=bench.env, stdout=pipe, stderr=pipe
    )
    os.close(pipe)
    try:
        wait_until(lambda: bench.path.joinpath("1.runs").exists(), "tasks run", logs=bench.logs)
        process.send_signal(signum)
        if signum == signal.SIGINT:
            bench.file("go", "")
        wait_until(lambda: process.poll() is not None, "the run ends", seconds=10, logs=bench.logs)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + signum and not bench.path.joinpath("never").exists()
    assert bench.done() == ([0, 1] if signum == signal.SIGINT else [])


def test_ctrl_c_through_a_pipe_to_tee(bench: Bench, terminal: Opener) -> None:
    bench.file("Tasks", f"{WAIT}\n{WAIT}\ntouch never\n")
    command = " ".join([*PYTHON, *ON_TWO, "Tasks", "2>&1 | tee log"])
    t = terminal("/bin/bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}")
    t.until(lambda: bench.path.joinpath("1.runs").exists(), "tasks run")
    t.type(CTRL_C)
    bench.file("go", "")
    wait_until(t.ended, "the run ends", seconds=10, logs=bench.logs)
    assert bench.done() == [0, 1] and not bench.path.joinpath("never").exists()


def test_a_lost_engine_is_replaced_although_nobody_reads_of_it(bench: Bench) -> None:
    kill_once = "[ -e killed ] || { touch killed; kill -9 $PPID; sleep 9; }; true"
    bench.file("Tasks", f"{kill_once}\ntrue\ntrue\n")
    command = " ".join([*PYTHON, *ON_ONE, "Tasks", "2>&1 | true"])
    done = bench.shell(f"{command}; exit ${{PIPESTATUS[0]}}")
    assert done.code == 0 and bench.done() == [0, 1, 2], bench.logs()


# -- a terminal that takes nothing for a while


def test_ctrl_s_stops_the_screen_and_not_the_run(bench: Bench, terminal: Opener) -> None:
    """The lease would end while the terminal is stopped."""
    sleeper = 'touch "$DISBATCH_TASKID.runs"; sleep 0.3'
    bench.file("Tasks", f"{sleeper}\n" * 12 + f"{WAIT}\n")
    t = terminal(*PYTHON, "--lease", "2", *ON_ONE, "Tasks")
    t.until_seen("1/13")
    t.type(CTRL_S)
    t.until_blind(lambda: bench.path.joinpath("12.runs").exists(), "all tasks are started")
    assert "\r" not in bench.read("run_driver.txt")
    t.type(CTRL_Q)
    bench.file("go", "")
    t.until(t.ended, "the run ends")
    t.read()
    assert t.process.returncode == 0 and bench.done() == list(range(13))
    assert "13 tasks: 13 ok, 0 failed" in t.text
    assert "lease" not in bench.read("run_driver.txt")


def test_a_run_ends_although_its_terminal_stays_stopped(bench: Bench, terminal: Opener) -> None:
    bench.file("Tasks", f"{WAIT}\n")
    t = terminal(*PYTHON, *ON_ONE, "Tasks")
    t.until_seen("1 running")
    t.type(CTRL_S)
    bench.file("go", "")
    t.until_blind(t.ended, "the run ends", 20)
    assert t.process.returncode == 0
    assert "1 tasks:" in bench.read("run_driver.txt") or "1 task: 1 ok" in bench.read("run_driver.txt")


def test_a_stopped_terminal_does_not_keep_a_run_from_stopping(bench: Bench, terminal: Opener) -> None:
    bench.file("Tasks", f"{WAIT}\n{WAIT}\n")
    t = terminal(*PYTHON, *ON_TWO, "Tasks")
    t.until_seen("2 running")
    t.type(CTRL_S)
    os.kill(t.process.pid, signal.SIGTERM)
    t.until_blind(lambda: bench.task_pids() == set(), "tasks are stopped", 5)
    t.until_blind(t.ended, "the run ends", 20)
    assert t.process.returncode == 143


def test_a_pipe_that_is_full_holds_nothing_up(bench: Bench) -> None:
    """Its reader sleeps: all that can be said waits, and the run goes on."""
    bench.file("Tasks", "true\n" * 20)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    process = subprocess.Popen(
        [*PYTHON, *ON_ONE, "-t", "9", "Tasks"], cwd=bench.path, env=bench.env, stdout=writer, stderr=writer
    )
    try:
        wait_until(
            lambda: bench.path.joinpath("run_status.txt").exists() and len(bench.done()) == 20, "all is done"
        )
        wait_until(lambda: process.poll() is not None, "the run ends", seconds=20)
    finally:
        process.kill()
        process.wait()
        os.close(reader)
        os.close(writer)
    assert process.returncode == 0
    assert "-t 9 is more than" in bench.read("run_driver.txt")


# -- nothing that cannot be printed changes an exit code


@pytest.mark.parametrize("where", ["2>/dev/full", ">/dev/full", ">/dev/full 2>&1", "2>&1 | true", ">&- 2>&-"])
@pytest.mark.parametrize("what", ["-t 4 Tasks", "--dry-run Tasks", "--help"])
def test_exit_codes_where_nothing_can_be_printed(bench: Bench, what: str, where: str) -> None:
    bench.file("Tasks", "true\nfalse\n")
    command = " ".join([*PYTHON, *ON_ONE, what, where])
    done = bench.shell(f"{command}; exit ${{PIPESTATUS[0]}}")
    assert done.code == 0 and "Traceback" not in done.err + done.out
    if "-t 4" in what:
        assert bench.done() == [0, 1]


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&1 | true"])
def test_errors_keep_their_codes_where_nothing_can_be_printed(bench: Bench, where: str) -> None:
    bench.file("Tasks", "#DISBATCH NOPE\n")
    command = " ".join([*PYTHON, *ON_ONE, "Tasks", where])
    done = bench.shell(f"{command}; exit ${{PIPESTATUS[0]}}")
    assert done.code == 2 and "Traceback" not in done.err + done.out


@pytest.mark.parametrize("where", [">/dev/full", "| true", ">&-"])
def test_looks_at_a_run_that_nobody_reads(bench: Bench, where: str) -> None:
    run = bench.start_here(1, tasks=f"{WAIT}\n")
    run.until_exists("0.runs", "run_kvsinfo.txt")
    python = PYTHON[0]
    commands = (
        f"{python} -m disbatch.ctl run --status",
        f"{python} -m disbatch.ctl run --status --json",
        f"{python} -m disbatch.report run_status.txt",
        f"{python} -m disbatch.report --json run_status.txt",
    )
    for command in commands:
        done = bench.shell(f"{command} {where}; exit ${{PIPESTATUS[0]}}")
        assert (done.code, done.err) == (0, ""), command
    bench.file("go", "")
    assert run.end().code == 0


# -- job control


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(bench: Bench, terminal: Opener) -> None:
    bench.file("Tasks", f"true\n{WAIT}\n")
    t = terminal("/bin/bash", "--norc", "-i")
    t.until_seen("$ ")
    t.type(" ".join([*PYTHON, *ON_ONE, "Tasks"]).encode() + b"\n")
    t.until_seen("1/2")
    assert t.seen.rfind(HIDE_CURSOR) > t.seen.rfind(SHOW_CURSOR)
    (driver,) = [
        pid for pid in children(t.process.pid) if b"disbatch" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    t.type(CTRL_Z)
    t.until(lambda: is_stopped(driver), "the driver is stopped")
    t.until_seen("Stopped")
    assert t.seen.rfind(SHOW_CURSOR) > t.seen.rfind(HIDE_CURSOR)
    before = len(t.seen)
    t.type(b"fg\n")
    t.until(lambda: HIDE_CURSOR in t.seen[before:] and "1/2" in t.seen[before:], "the bar is back")
    bench.file("go", "")
    t.until(lambda: "2 tasks: 2 ok" in t.seen[before:], "the run ends")
    assert t.seen.rfind(SHOW_CURSOR) > t.seen.rfind(HIDE_CURSOR)
    assert bench.done() == [0, 1] and "2 tasks: 2 ok" in t.text


def test_a_background_job_draws_no_bar(bench: Bench, terminal: Opener) -> None:
    bench.file("Tasks", f"true\n{WAIT}\n")
    t = terminal("/bin/bash", "--norc", "-i")
    t.until_seen("$ ")
    # a terminal on which writing stops background jobs
    t.type(b"stty tostop; " + " ".join([*PYTHON, *ON_ONE, "-t", "3", "Tasks"]).encode() + b" &\n")
    t.until_seen("-t 3 is more than")
    t.until(lambda: bench.path.joinpath("1.runs").exists(), "the task runs")
    # long enough for a bar to be drawn
    t.read(0.8)
    assert HIDE_CURSOR not in t.seen and "1/2" not in t.text
    t.type(b"fg\n")
    t.until_seen("1/2")
    bench.file("go", "")
    t.until_seen("2 tasks: 2 ok")
    assert bench.done() == [0, 1]


@pytest.mark.parametrize("term", ["dumb", "", "no-such-terminal"])
def test_a_terminal_that_cannot_redraw_gets_plain_lines(bench: Bench, terminal: Opener, term: str) -> None:
    bench.file("Tasks", f"true\n{WAIT}\n")
    t = terminal(*PYTHON, *ON_ONE, "-t", "3", "Tasks", term=term)
    t.until(lambda: bench.path.joinpath("1.runs").exists(), "the task runs")
    # long enough for a bar to be drawn
    t.read(0.8)
    bench.file("go", "")
    t.until(t.ended, "the run ends")
    t.read()
    assert "\x1b" not in t.seen and "-t 3 is more than" in t.seen and "2 tasks: 2 ok" in t.seen


def test_a_context_outlives_the_reader_of_its_words(bench: Bench) -> None:
    run = bench.start("-S", "-p", "run", tasks=f"{WAIT}\ntrue\n")
    run.until_exists("run_kvsinfo.txt", "run_dbUtil.sh")
    pipe = dead_pipe()
    context = subprocess.Popen(
        ["./run_dbUtil.sh", "-s", "localhost:1"], cwd=bench.path, env=bench.env, stdout=pipe, stderr=pipe
    )
    os.close(pipe)
    try:
        run.until_exists("0.runs")
        bench.file("go", "")
        assert run.end().code == 0 and bench.done() == [0, 1]
        wait_until(lambda: context.poll() is not None, "the context ends")
    finally:
        context.kill()
        context.wait()
    assert context.returncode == 0 and not processes_of(str(bench.path.parent))

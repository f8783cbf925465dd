"""What a person sees: the bar on a terminal, plain text elsewhere, the digest, --quiet, --dry-run."""

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest
from disbatch_runs import DEADLINE_S, PYTHON, Bench, wait_until

ESCAPE = "\x1b"


def on_a_terminal(bench: Bench, *arguments: str, until: str, then: str) -> tuple[int, str]:
    """Runs disBatch on a pseudo-terminal; creates the file `then` once `until` has been seen. (exit code, text)."""
    master, slave = pty.openpty()
    env = bench.env | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    process = subprocess.Popen(
        [*PYTHON, *arguments],
        cwd=bench.path,
        env=env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen, deadline, told = "", time.monotonic() + DEADLINE_S, False
    try:
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            seen += data.decode("utf-8", "replace")
            if until in seen and not told:
                told = True
                bench.file(then, "")
        assert told, f"{until!r} was not seen:\n{seen}"
        wait_until(lambda: process.poll() is not None, "disBatch ends")
        return process.returncode, seen
    finally:
        os.close(master)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def test_a_bar_on_a_terminal(bench: Bench) -> None:
    bench.file(
        "Tasks", "true\nfalse\nuntil [ -e go ]; do sleep 0.02; done\nuntil [ -e go ]; do sleep 0.02; done\n"
    )
    code, seen = on_a_terminal(bench, "-s", "localhost:2", "-p", "run", "Tasks", until="2/4", then="go")
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert "1 failed" in plain and "2 running" in plain and "/s" in plain
    assert "4 tasks: 3 ok, 1 failed" in plain and "run_status.txt" in plain


def test_a_message_beside_the_bar(bench: Bench) -> None:
    bench.file("Tasks", "false\n#DISBATCH BARRIER CHECK\n")
    bench.file("Slow", "until [ -e go ]; do sleep 0.02; done; false\n#DISBATCH BARRIER CHECK\ntrue\n")
    code, seen = on_a_terminal(bench, "-s", "localhost:2", "-p", "run", "Slow", until="1 running", then="go")
    assert code == 1 and "BARRIER CHECK" in seen


def test_no_escape_codes_where_there_is_no_terminal(bench: Bench) -> None:
    result = bench.here(2, tasks="sleep 0.6\nfalse\n")
    assert ESCAPE not in result.out + result.err and "\r" not in result.out + result.err
    assert result.err == ""  # one line every 30 s at most


def test_quiet_prints_nothing_but_warnings(bench: Bench) -> None:
    result = bench.here(2, "--quiet", tasks="true\nfalse\n")
    assert (result.code, result.out, result.err) == (0, "", "")
    result = bench.here(2, "--quiet", "-t", "9", tasks="true\n")
    assert result.out == "" and "-t 9" in result.err
    result = bench.here(2, "--quiet", tasks="#DISBATCH NOPE\n")
    assert result.code == 2 and "NOPE" in result.err


def test_the_digest(bench: Bench) -> None:
    tasks = "".join(
        f"{command}\n"
        for command in ["echo noise >&2; echo no such thing >&2; exit 3"] * 4
        + ["exit 9", "kill -9 $$", "true"]
    )
    result = bench.here(2, tasks=tasks)
    assert (
        "7 tasks: 1 ok, 6 failed" in result.out and "tasks/s" in result.out and "run_status.txt" in result.out
    )
    assert (
        "4 x exit code 3: no such thing" in result.out
        and "1 x exit code 9" in result.out
        and "SIGKILL" in result.out
    )
    again = bench.shell(result.resume)
    assert "1 of them ended in earlier runs" in again.out


def test_dry_run_shows_and_runs_nothing(bench: Bench) -> None:
    tasks = """#DISBATCH PREFIX touch
#DISBATCH SUFFIX  never9
#DISBATCH PERENGINE START  never0
 never1
#DISBATCH REPEAT 100 start 7
#DISBATCH BARRIER
#DISBATCH BARRIER CHECK
 never3"""
    result = bench.here(3, "--dry-run", tasks=tasks)
    assert result.code == 0, result.err
    for part in (
        "3 slots",
        "102 tasks",
        "BARRIER: 1",
        "BARRIER CHECK: 1",
        "PERENGINE START: 1",
        "touch never1 never9",
        "touch never3 never9",
    ):
        assert part in result.out
    assert "task 0 " in result.out and "task 103 " in result.out and "task 50 " not in result.out
    assert [path.name for path in bench.path.iterdir()] == ["Tasks"]


def test_dry_run_of_a_resume(bench: Bench) -> None:
    bench.here(1, tasks="true\nfalse\n")
    result = bench.here(1, "--dry-run", "-r", "run_status.txt", tasks="true\nfalse\ntouch never\n")
    assert result.code == 0 and "3 tasks" in result.out and "2" in result.out
    result = bench.here(1, "--dry-run", "-r", "run_status.txt", tasks="true\ntrue\n")
    assert result.code == 2 and "task 1" in result.err
    assert not (bench.path / "run.1_status.txt").exists() and not (bench.path / "never").exists()


def test_dry_run_of_a_pipe(bench: Bench) -> None:
    run = bench.start_here(1, "--dry-run", "-", stdin=subprocess.PIPE)
    run.feed("touch never\n#DISBATCH REPEAT 5\n")
    result = run.end()
    assert result.code == 0 and "6 tasks" in result.out and not (bench.path / "never").exists()


def test_dry_run_of_ten_million_tasks_is_ends(bench: Bench) -> None:
    result = bench.run(
        "-s", "localhost:1", "--dry-run", tasks="#DISBATCH REPEAT 1000000 x$DISBATCH_REPEAT_INDEX"
    )
    assert result.code == 0 and "1000000 tasks" in result.out and "task 999999" in result.out


@pytest.mark.parametrize("where", ["Nowhere", "Tasks"])
def test_no_traceback_ever_reaches_the_user(bench: Bench, where: str) -> None:
    bench.file("Tasks", "kill -9 $PPID\n")
    result = bench.here(1, where)
    assert "Traceback" not in result.out + result.err


def test_a_reader_of_standard_output_that_goes_away(bench: Bench) -> None:
    bench.file("Tasks", "true\nfalse\n")
    result = bench.run(
        f"{sys.executable} -m disbatch -s localhost:1 -p run Tasks | true", program=["/bin/bash", "-c"]
    )
    assert "Traceback" not in result.err and bench.done() == [0, 1]

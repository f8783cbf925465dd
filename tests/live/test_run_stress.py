"""Engines under stress: whatever a machine runs out of, and whatever a task does, the task suffers and not the engine."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disbatch_runs import PYTHON, Bench, processes_of, wait_until

PROGRAM = shlex.join(PYTHON)
NOBODY = 47_011  # a user id that nobody else has: limits of processes count those of a user

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as another user")


# This user may read what root may: the interpreter can stand in a folder that is root's alone.
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]


@pytest.fixture
def open_bench() -> Iterator[Bench]:
    """A bench of the user NOBODY. The test's own folder is closed to others."""
    with tempfile.TemporaryDirectory(prefix="disbatch-stress-") as name:
        os.chmod(name, 0o755)
        bench = Bench(Path(name))
        os.chown(bench.path, NOBODY, NOBODY)
        yield bench
        bench.close()
        wait_until(lambda: not processes_of(name), "no process of this test is left")


@needs_root
def test_a_limit_of_processes_makes_tasks_wait(open_bench: Bench) -> None:
    bench = open_bench
    bench.file("Tasks", "sleep 0.2\n" * 60)
    script = f"ulimit -u 24; exec {PROGRAM} -s localhost:30 -p run Tasks"
    result = bench.run("bash", "-c", script, program=AS_NOBODY, env={"HOME": str(bench.path)})
    assert result.code == 0, result.err + bench.logs()
    assert bench.done() == list(range(60))
    failed = [row for row in bench.rows() if row.returncode]
    assert failed == []
    assert "cannot start more tasks now: Resource temporarily unavailable" in result.err
    assert bench.rows()[0].node in result.err


def test_a_limit_of_descriptors_makes_tasks_wait(bench: Bench) -> None:
    bench.file("Tasks", "sleep 0.2\n" * 40)
    script = f"ulimit -n 40; exec {PROGRAM} -s localhost:40 -p run Tasks"
    result = bench.run("-c", script, program=["/bin/bash"])
    assert result.code == 0, result.err
    assert [row.returncode for row in bench.rows()] == [0] * 40
    assert "cannot start more tasks now: Too many open files" in result.err


def test_tasks_that_wait_are_stopped_with_the_run(bench: Bench) -> None:
    bench.file("Tasks", "touch on; sleep 1000\n" * 40)
    run = bench.start(
        "-c", f"ulimit -n 40; exec {PROGRAM} -s localhost:40 -p run Tasks", program=["/bin/bash"]
    )
    run.until(lambda: "they wait" in run.err(), "some tasks wait")
    run.signal(signal.SIGTERM)
    result = run.end(10)
    assert result.code == 143 and bench.rows() == []


def test_no_room_in_tmp(bench: Bench, tmp_path: Path) -> None:
    """Bash keeps long here-documents in TMPDIR; a long command must not need it."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    long = ": " + "x" * 200_000 + "; exit 5"
    bench.file(
        "Tasks",
        f"touch $TMPDIR/file\ncat <<< $(head -c 200000 /dev/zero | tr '\\0' x) > /dev/null\n{long}\ntrue\n",
    )
    script = (
        f"mount -t tmpfs -o size=4k,nr_inodes=1 none {folder}; export TMPDIR={folder}; "
        f"exec {PROGRAM} -s localhost:2 -p run Tasks"
    )
    result = bench.run("--mount", "bash", "-c", script, program=["unshare"])
    assert result.code == 0, result.err
    assert {row.task_id: row.returncode for row in bench.rows()} == {0: 1, 1: 1, 2: 5, 3: 0}
    assert "No space left" in bench.row(0).err


def test_kill_0_hits_the_task_alone(bench: Bench) -> None:
    result = bench.here(2, tasks="kill -9 0\nkill 0; sleep 5\nkill -HUP 0; sleep 5\ntrue\n")
    assert result.code == 0, result.err
    assert [bench.row(i).returncode for i in range(4)] == [-9, -15, -1, 0]


def test_a_task_that_stops_itself_holds_its_slot_and_nothing_else(bench: Bench) -> None:
    tidy = "trap 'touch tidy; exit 0' TERM; touch 0.runs; kill -STOP $$; while true; do sleep 0.02; done"
    run = bench.start_here(2, tasks=tidy + "\n" + "true\n" * 20 + "touch last\n")
    run.until_exists("0.runs", "last")
    run.until(lambda: bench.done() == list(range(1, 22)), "the others are done")
    run.signal(signal.SIGTERM)
    result = run.end(10)
    assert result.code == 143 and bench.done() == list(range(1, 22))
    assert (bench.path / "tidy").exists()  # it was woken to hear the TERM


def test_millions_of_leaked_lines_hold_nobody_up(bench: Bench) -> None:
    flood = "until [ -e go ]; do yes | head -n 1000000; done"
    result = bench.here(2, tasks=flood + "\n" + "true\n" * 50 + "touch go\n")
    assert result.code == 0
    rows = {row.task_id: row for row in bench.rows()}
    assert len(rows) == 52 and rows[0].out_bytes >= 2_000_000 and rows[0].out_bytes % 2_000_000 == 0
    assert rows[0].out == repr("y\n" * 20 + "..." + "y\n" * 20)
    assert max(row.elapsed_s for row in rows.values() if row.task_id) < 2.0


CLOCK = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && access(CHANGED, F_OK) == 0)
        now->tv_sec += BY;
    return result;
}
"""


@pytest.fixture
def other_clock(bench: Bench, request: pytest.FixtureRequest) -> dict[str, str]:
    """An environment in which the time of day jumps by so many seconds once the file `changed` is there.

    Below everything that asks the C library: driver, engine and their tasks. The clocks that nobody can set go on.
    """
    if not shutil.which("gcc"):
        pytest.skip("there is no gcc")
    library = bench.io("clock.so")
    source = bench.file("clock.c", CLOCK)
    flags = ["-shared", "-fPIC", f"-DBY={request.param}", f'-DCHANGED="{bench.path}/changed"']
    subprocess.run(["gcc", *flags, "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


@pytest.mark.parametrize("other_clock", [-3600, 3600], indirect=True)
def test_a_clock_that_is_set_by_an_hour(bench: Bench, other_clock: dict[str, str]) -> None:
    """Durations are right, and nobody's lease is over, or longer than it was."""
    tasks = "touch changed; sleep 2.5\ndate +%s > date\n#DISBATCH BARRIER\nsleep 0.1\n"
    before = time.time()
    result = bench.here(1, "--lease", "2", tasks=tasks, env=other_clock)
    assert result.code == 0 and "lost" not in result.err, result.err
    by = 3600 if int(bench.read("date")) > before + 1800 else -3600
    rows = {row.task_id: row for row in bench.rows()}
    assert abs(rows[0].start_s - before) < 30 and abs(rows[3].start_s - before - by) < 60
    assert rows[0].elapsed_s >= 2.5 and 0.1 <= rows[3].elapsed_s < 5
    for row in rows.values():
        assert 0 <= row.elapsed_s < 30 and abs(row.finish_s - row.start_s - row.elapsed_s) < 0.0021


@pytest.mark.parametrize("other_clock", [-3600], indirect=True)
def test_a_stopped_engine_is_lost_in_time_whatever_the_clock_says(
    bench: Bench, other_clock: dict[str, str]
) -> None:
    task = "touch $DISBATCH_TASKID.runs; [ -e changed ] || sleep 1000\n"
    run = bench.start_here(1, "--lease", "3", tasks=task, env=other_clock)
    run.until_exists("0.runs")
    os.kill(run.engine_pids()[1], signal.SIGSTOP)
    bench.file("changed", "")
    began = time.monotonic()
    run.until(lambda: "was lost" in run.err(), "it is lost", seconds=3 + 4)
    assert time.monotonic() - began > 1
    assert run.end().code == 0 and bench.row(0).returncode == 0


def test_a_task_that_kills_the_group_of_its_engine(bench: Bench) -> None:
    """Engine and guard are gone at once, and nothing else: it is named, and the others run."""
    killer = "touch bad; kill -9 -- -$(ps -o pgid= -p $PPID | tr -d ' '); sleep 100"
    result = bench.here(1, "--lost-limit", "1", tasks=f"{killer}\n" + "true\n" * 3)
    assert result.code == 0, result.err
    assert {row.task_id: row.returncode for row in bench.rows()} == {0: -100, 1: 0, 2: 0, 3: 0}
    assert "its engine was lost" in bench.row(0).err and "SIGKILL" in result.err


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A control group whose processes may have 300 MB together."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = {line.split(":")[1]: line.split(":")[2] for line in lines}
    if "memory" in own:
        parent, limit = Path("/sys/fs/cgroup/memory" + own["memory"]), "memory.limit_in_bytes"
    else:
        parent, limit = Path("/sys/fs/cgroup" + own.get("", "/")), "memory.max"
    group = parent / f"disbatch-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        if not (group / limit).exists():
            pytest.skip("control groups have no limit of memory here")
        (group / limit).write_text(str(300 << 20))
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "it is empty", seconds=10)
        group.rmdir()


def test_a_task_that_takes_all_memory(bench: Bench, little_memory: Path) -> None:
    """The kernel kills the largest, which is the task."""
    eats = f"{shlex.quote(sys.executable)} -c 'x = bytearray(1 << 30)'"
    bench.file("Tasks", f"exec {eats}\n" + "sleep 0.05\n" * 20)
    script = f"echo $$ > {little_memory}/cgroup.procs; exec {PROGRAM} -s localhost:2 -p run Tasks"
    result = bench.run("-c", script, program=["/bin/bash"])
    assert result.code == 0, result.err
    assert {row.task_id: row.returncode for row in bench.rows()} == {0: -9} | dict.fromkeys(range(1, 21), 0)
    assert "lost" not in result.err

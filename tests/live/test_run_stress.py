"""Engines under stress: whatever a machine runs out of, and whatever a task does, the task suffers and not the engine."""

import os
import shlex
import signal
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


def test_a_clock_that_is_set_back_by_an_hour(bench: Bench, tmp_path: Path) -> None:
    """The clock of the whole run, driver and engine, goes back when the file `back` appears."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nreal = time.time\ntime.time = lambda: real() - 3600 * os.path.exists('back')\n"
    )
    tasks = "touch back; sleep 0.3\ntrue\n#DISBATCH BARRIER\nsleep 0.1\n"
    before = time.time()
    result = bench.here(1, tasks=tasks, env={"PYTHONPATH": f"{tmp_path}:{bench.env['PYTHONPATH']}"})
    assert result.code == 0, result.err
    rows = {row.task_id: row for row in bench.rows()}
    assert rows[0].start_s >= before - 1 and rows[3].start_s < before - 3000
    assert rows[0].elapsed_s >= 0.3 and 0.1 <= rows[3].elapsed_s < 5
    for row in rows.values():
        assert 0 <= row.elapsed_s < 30 and abs(row.finish_s - row.start_s - row.elapsed_s) < 0.0021

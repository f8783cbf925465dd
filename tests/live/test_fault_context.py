"""The process of a context that has joined: killed, or stopped, while its engine works."""

import os
import signal
import time

from disbatch_runs import Bench, Run, observed

SCRIPT = ["./run_dbUtil.sh"]
# The first task runs here and ends with the file `free`; the second runs in the context, and ends at once where it runs again.
TASKS = (
    "touch 0.runs; until [ -e free ]; do sleep 0.01; done\n"
    "echo x >> begun; [ $(wc -l < begun) = 1 ] || exit 0; until [ -e go ]; do sleep 0.01; done\n"
)


def joined(bench: Bench, *options: str) -> tuple[Run, Run]:
    """A run with a free slot, and a context whose only slot has a task."""
    run = bench.start_here(1, *options, tasks=TASKS)
    run.until_exists("run_dbUtil.sh", "0.runs")
    context = bench.start("-s", "localhost:1", program=SCRIPT)
    run.until_exists("begun")
    bench.file("free", "")
    run.until(lambda: bench.done() == [0], "a slot is free")
    return run, context


def test_killed_and_its_task_runs_again_within_five_seconds(bench: Bench) -> None:
    run, context = joined(bench)
    began = time.monotonic()
    context.kill()
    run.until(lambda: bench.read("begun").count("x") == 2, "it runs again", seconds=20)
    assert observed("process of a context killed", began) < 5 or os.getloadavg()[0] > 4
    result = run.end()
    assert result.code == 0 and bench.done() == [0, 1]
    assert result.err.count("has stopped its tasks and left, as what had launched it is gone") == 1
    assert bench.row(1).returncode == 0


def test_stopped_and_nobody_notices(bench: Bench) -> None:
    run, context = joined(bench, "--lease", "2")
    context.signal(signal.SIGSTOP)
    began = time.monotonic()
    run.until(lambda: time.monotonic() - began > 3, "longer than a lease")
    bench.file("go", "")
    result = run.end()
    observed("process of a context stopped: nothing noticed, and the run has ended", began)
    assert result.code == 0 and bench.done() == [0, 1] and bench.read("begun") == "x\n"
    assert "lost" not in result.err
    context.signal(signal.SIGCONT)
    assert context.end().code == 0

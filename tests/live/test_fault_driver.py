"""A driver that is killed: its engines end, in whatever order they notice that its pipe and its connections are closed."""

import contextlib
import ctypes
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disbatch_runs import AFTER_A_KILL_S, Bench, Run, observed, wait_until

from disbatch.core.messages import ORPHANED

SYS_PIDFD_GETFD = 438
# A task that TERM does not impress.
STUBBORN = "trap '' TERM; touch $DISBATCH_TASKID.runs; while true; do sleep 0.05; done\n"


def sockets_of(pid: int) -> list[socket.socket]:
    """Copies of the TCP sockets of a process: while one is open, its connection does not end."""
    copies = []
    pidfd = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    for name in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
            fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
            if fd < 0:
                pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
            copy = socket.socket(fileno=fd)
            if copy.family == socket.AF_UNIX:
                copy.close()
            else:
                copies.append(copy)
    os.close(pidfd)
    return copies


@contextlib.contextmanager
def dead_with_open_connections(run: Run) -> Iterator[None]:
    copies = sockets_of(run.pid)
    assert len(copies) >= 2  # one listens, one is the engine's
    run.kill()
    try:
        yield
    finally:
        for copy in copies:
            copy.close()


def test_an_engine_that_sees_the_end_of_its_pipe_first_ends_as_quickly(bench: Bench) -> None:
    run = bench.start_here(2, "--lease", "100", tasks=STUBBORN * 2)
    run.until_exists("0.runs", "1.runs")
    run.until(lambda: len(run.engine_pids()) == 2, "there are a guard and an engine")
    log = next(Path(bench.path).glob("run_*_engine.txt"))
    with dead_with_open_connections(run):
        wait_until(lambda: "running tasks get TERM" in log.read_text(), "the engine knows", logs=run.logs)
    began = time.monotonic()
    wait_until(lambda: not bench.left_running(), "nothing is left", seconds=AFTER_A_KILL_S, logs=run.logs)
    observed("driver killed: nothing is left on its host, once its connections are closed", began)
    assert "its host refuses the connection" in log.read_text()


def test_an_engine_without_a_driver_starts_nothing_more(bench: Bench) -> None:
    """Although it holds tasks ahead of its slot, and its connection seems to be whole."""
    run = bench.start_here(1, tasks="#DISBATCH REPEAT 100000 echo >> begun\n")
    begun = bench.path / "begun"
    run.until(lambda: begun.exists() and begun.stat().st_size >= 300, "tasks run")
    log = next(Path(bench.path).glob("run_*_engine.txt"))
    with dead_with_open_connections(run):
        wait_until(lambda: ORPHANED in log.read_text(), "the engine knows", logs=run.logs)
        count = begun.stat().st_size
    wait_until(lambda: not bench.left_running(), "nothing is left", seconds=AFTER_A_KILL_S, logs=run.logs)
    assert begun.stat().st_size <= count + 1  # one that had just begun

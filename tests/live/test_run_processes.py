"""Tasks as processes where the kernel refuses something: their pipes cannot be watched, their exit codes are gone."""

import os
import select
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from disbatch.core.model import Outcome
from disbatch.runtime import processes
from disbatch.runtime.certificate import CertificateMaker
from disbatch.runtime.processes import ProcessTable

DEADLINE_S = 20.0


class Epoll:
    """A real one that has no room for the first so many descriptors."""

    def __init__(self, epoll: select.epoll, refusals: int) -> None:
        self._epoll = epoll
        self._refusals = refusals

    def register(self, fd: int, mask: int) -> None:
        if self._refusals:
            self._refusals -= 1
            raise OSError(28, "No space left on device")
        self._epoll.register(fd, mask)

    def __getattr__(self, name: str) -> object:
        return getattr(self._epoll, name)


class Table:
    """A table, and the timers that it asks for."""

    def __init__(self) -> None:
        self.due: list[object] = []
        self.table = ProcessTable(lambda _, function: self.due.append(function))

    def until_ended(self) -> Outcome:
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            due, self.due = self.due, []
            for function in due:
                function()  # type: ignore[operator]
            self.table.drain()
            # other threads of pytest take the SIGCHLD of a task that ends: this one is for the thread that waits
            signal.pthread_kill(threading.get_ident(), signal.SIGCHLD)
            for _, outcome in self.table.reap():
                return outcome
            select.select([self.table.signal_fd, self.table.output_fd], [], [], 0.01)
        raise AssertionError("the task has not ended")


@pytest.fixture
def made() -> Iterator[Table]:
    table = Table()
    yield table
    table.table.close()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


@pytest.mark.parametrize("refusals", [1, 2, 3, 1000])
def test_what_a_task_prints_is_kept_where_its_pipes_cannot_be_watched(
    made: Table, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    monkeypatch.setattr(made.table, "_epoll", Epoll(made.table._epoll, refusals))
    assert made.table.spawn(0, b"echo first; sleep 0.2; echo last >&2", os.environb) is None
    outcome = made.until_ended()
    assert (outcome.returncode, outcome.out_snippet, outcome.err_snippet) == (0, "first\n", "last\n")


def test_exit_codes_that_nobody_can_tell_are_an_error(made: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise ChildProcessError(10, "No child processes")

    assert made.table.spawn(0, b"true", os.environb) is None
    with monkeypatch.context() as patch:
        patch.setattr(processes.os, "wait4", gone)
        with pytest.raises(ChildProcessError):
            made.until_ended()
    os.waitpid(-1, 0)


def test_the_driver_makes_its_certificate_where_the_process_that_should_is_killed() -> None:
    maker = CertificateMaker()
    os.kill(maker._pid, signal.SIGKILL)
    assert b"CERTIFICATE" in maker.result().certificate_pem
    maker.close()


def test_no_descriptor_is_left_where_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    open_before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("os.fork", refuse)
    with pytest.raises(BlockingIOError):
        CertificateMaker()
    assert len(os.listdir("/proc/self/fd")) == open_before

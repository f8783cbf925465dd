"""disBatch as a process of its own: started, listened to, waited for."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import disbatch
from disbatch.api.said import Said

# Like `python -m disbatch`, but from where this program has its disbatch.
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from disbatch.programs import below; below()"
_ROOT = str(Path(disbatch.__file__).resolve().parents[1])


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: `returncode` as subprocess has it (negative for a signal), None where that is not known; `said` has
    the last lines of its output. `what` says instead how this program comes to believe that it has ended."""

    returncode: int | None
    said: str
    what: str = ""

    @property
    def text(self) -> str:
        """In words, without a subject."""
        said = "".join(f"\n    {line}" for line in self.said.splitlines())
        if self.what:
            return self.what + said
        if self.returncode is None:
            return f"disBatch has ended, with an exit code that is not known{said}"
        if self.returncode < 0:
            return f"disBatch was killed by {signal_name(-self.returncode)}{said}"
        return f"disBatch has ended with exit code {self.returncode}{said}"


def driver_command(folder: str, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs disBatch, and removes the folder at its end if this process has ended before."""
    return [sys.executable, "-P", "-c", _START, _ROOT, str(os.getpid()), folder, *arguments]


class Program:
    """Runs from the constructor on, in a session of its own: a Ctrl-C at the terminal is for the program that uses it.

    What it says is read by `said`. `pidfd` can be read when it has ended.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.said = Said()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self.said.writer,
                stderr=self.said.writer,
                start_new_session=True,
            )
            self.pidfd = _pidfd_of(self._process.pid)
        except BaseException:
            self.said.close()
            raise
        self.said.started()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return not poll.poll(0)

    def descriptors(self) -> tuple[int, ...]:
        """What a forked child of this process has no use for."""
        return self.said.descriptor, self.pidfd

    def signal(self, signum: int) -> None:
        """Harmless when it has ended."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.pidfd, signum)

    def reap(self) -> Ended:
        """Waits for it, and forgets it. The exit code is not known where this program ignores SIGCHLD, or waits for any
        child that ends."""
        returncode = None
        with contextlib.suppress(ChildProcessError, OSError):
            found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            if found is not None:
                exited = found.si_code == os.CLD_EXITED
                returncode = found.si_status if exited else -found.si_status
        self._process.returncode = returncode or 0  # so that subprocess does not look after it
        ended = Ended(returncode, self.said.close())
        os.close(self.pidfd)
        return ended


def _pidfd_of(pid: int) -> int:
    """Return a descriptor that can be read when the process has ended."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:  # it has, and is reaped: this program ignores SIGCHLD
        return os.eventfd(1, os.EFD_CLOEXEC)


def signal_name(number: int) -> str:
    """Return the name of a signal, SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

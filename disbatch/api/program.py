"""disBatch as a process of its own: started, listened to, waited for."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import disbatch

LAST_LINES = 12  # of what disBatch said: an error and the words around it
_LAST_BYTES = 4096

# Like `python -m disbatch`, but from where this program has its disbatch.
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from disbatch.programs import disbatch; disbatch()"
_ROOT = str(Path(disbatch.__file__).resolve().parents[1])


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: `returncode` as subprocess has it (negative for a signal), None where only the connection to it is
    known; `said` has the last lines of its output."""

    returncode: int | None
    said: str

    @property
    def text(self) -> str:
        """In words, without a subject."""
        said = "".join(f"\n    {line}" for line in self.said.splitlines())
        if self.returncode is None:
            return f"the connection to disBatch is gone{said}"
        if self.returncode < 0:
            return f"disBatch was killed by {_signal_name(-self.returncode)}{said}"
        return f"disBatch has ended with exit code {self.returncode}{said}"


class Program:
    """Runs from the constructor on, in a session of its own: a Ctrl-C at the terminal is for the program that uses it.

    What it says goes into memory that has no name on any disk.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._output = os.memfd_create("disbatch output")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, _ROOT, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
            )
            self.pidfd = os.pidfd_open(self._process.pid)
        except BaseException:
            os.close(self._output)
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, signum: int) -> None:
        """Harmless when it has ended."""
        self._process.send_signal(signum)

    def reap(self) -> Ended:
        """Waits for it, and forgets it."""
        returncode = self._process.wait()
        size = os.fstat(self._output).st_size
        said = os.pread(self._output, _LAST_BYTES, max(0, size - _LAST_BYTES)).decode("utf-8", "replace")
        os.close(self._output)
        os.close(self.pidfd)
        return Ended(returncode, "\n".join(said.splitlines()[-LAST_LINES:]))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

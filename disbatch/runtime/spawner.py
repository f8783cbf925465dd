"""Starts commands, and does not fail one for want of something that others hold: processes, descriptors, memory.

The slot of such a command waits until another has ended, or tries again after a while. Only when nothing else runs here and
it still cannot be started has it failed; so a node that is short of something slows down, and does not run through
the task list with one failure after the other.
"""

import errno
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from disbatch.core.engine_events import Job
from disbatch.core.model import NOT_STARTED, Outcome
from disbatch.runtime.processes import Ends

TEMPORARY = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
AGAIN_S = 0.2
GIVE_UP_S = (
    10.0  # with nothing else running: whoever holds what is missing is none of ours, and may not let go of it
)


class Table(Protocol):
    def spawn(self, slot: int, command: bytes, env: Mapping[bytes, bytes]) -> Outcome | None: ...

    def __len__(self) -> int: ...


class _Waiting(NamedTuple):
    job: Job
    since_s: float


class Spawner:
    """`failed(ends)` tells of commands that could not be started. `short(text)` is told once for each time that something is
    missing. `call_later` and `now` are the loop's."""

    def __init__(
        self,
        table: Table,
        environment: Callable[[int, Job], Mapping[bytes, bytes]],
        call_later: Callable[[float, Callable[[], None]], object],
        failed: Callable[[Ends], None],
        short: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._environment = environment
        self._call_later = call_later
        self._tell_failed = failed
        self._tell_short = short
        self._now = now
        self._waiting: dict[int, _Waiting] = {}  # by slot
        self._failed: Ends = []
        self._telling = False
        self._retrying = False

    def start(self, slot: int, job: Job) -> None:
        outcome = self._table.spawn(slot, job.command, self._environment(slot, job))
        if outcome is None:
            return
        if outcome.returncode not in TEMPORARY:
            self._fail(slot, outcome)
            return
        if not self._waiting:
            why = (
                "this machine cannot start more tasks now"
                if len(self._table)
                else "this machine cannot start tasks"
            )
            self._tell_short(f"{why}: {outcome.err_snippet.rpartition(': ')[2]}; they wait")
        self._waiting[slot] = _Waiting(job, self._now())
        self._retry_later()

    def retry(self) -> None:
        """Something may have become free."""
        for slot, waiting in [*self._waiting.items()]:
            job = waiting.job
            outcome = self._table.spawn(slot, job.command, self._environment(slot, job))
            if outcome is None:
                del self._waiting[slot]
            elif outcome.returncode not in TEMPORARY or (
                len(self._table) == 0 and self._now() - waiting.since_s > GIVE_UP_S
            ):
                del self._waiting[slot]
                self._fail(slot, outcome)
            else:
                return  # what is missing for one is missing for all

    def drop(self, signum: int) -> None:
        """Those that wait are stopped as if they ran."""
        for slot in self._waiting:
            now = time.time()
            self._fail(slot, Outcome(NOT_STARTED, -signum, 0.0, now, now, 0, "", 0, "", 0.0, 0))
        self._waiting.clear()

    def forget(self) -> None:
        """Everything was killed, and nobody waits for a word of it."""
        self._waiting.clear()
        self._failed.clear()

    def _retry_later(self) -> None:
        if not self._retrying:
            self._retrying = True
            self._call_later(AGAIN_S, self._again)

    def _again(self) -> None:
        self._retrying = False
        self.retry()
        if self._waiting:
            self._retry_later()

    def _fail(self, slot: int, outcome: Outcome) -> None:
        self._failed.append((slot, outcome))
        if not self._telling:
            # in a later turn: the connection has to be heard between thousands of spawns that fail
            self._telling = True
            self._call_later(0.0, self._tell)

    def _tell(self) -> None:
        self._telling = False
        failed, self._failed = self._failed, []
        if failed:
            self._tell_failed(failed)

"""The commands of one executor: which of them disBatch has, which wait and can be cancelled, and how they ended.

`Executor` is what the program holds; this is what the session's thread works with, so that an executor that nobody holds
any more can be noticed.
"""

import time
import warnings
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from threading import RLock
from typing import Any

from disbatch.api.errors import RunFailed, TaskFailed
from disbatch.api.handover import Handover
from disbatch.api.program import Ended
from disbatch.api.result import Record, TaskResult, result_from
from disbatch.api.session import OwnSession

STARTING = "starting"


class Job:
    """A command line that was submitted. `settled`: its future was told that it is cancelled."""

    __slots__ = ("check", "command", "future", "settled")

    def __init__(self, command: bytes, check: bool) -> None:
        self.command = command
        self.check = check
        self.future: Future[TaskResult] = Future()
        self.settled = False


@dataclass(frozen=True, slots=True)
class ExecutorSnapshot:
    """How an executor's run is now. Counts are of tasks; those that are not named below wait.

    `running`, `slots` (of all machines) and `rate` (tasks per second, over the last seconds) are what disBatch has told
    last, a second ago at most. `done` have ended with 0, `failed` with another exit code or by a signal. `state` is
    "starting", "running", or how the run ends or has ended.
    """

    submitted: int
    running: int
    done: int
    failed: int
    cancelled: int
    slots: int
    rate: float
    elapsed_s: float
    state: str

    @property
    def waiting(self) -> int:
        """Tasks that have not begun, or whose end is not known yet."""
        return max(0, self.submitted - self.running - self.done - self.failed - self.cancelled)


class Jobs:
    """The session's listener. `begin` tells it the session; `submit`, `shutdown` and `snapshot` are for any thread."""

    def __init__(self, *, prefetch: bool = True) -> None:
        # Reentrant: an executor that nobody holds is noticed wherever memory is collected, in here as well.
        self._lock = RLock()
        self._pending: deque[Job] = deque()
        self.closed = False
        self._failure: str | None = None  # how the run ended
        self.over: Future[None] = Future()
        self._began = time.monotonic()
        # Of the session's thread alone:
        self._running: dict[int, Job] = {}  # task id -> what disBatch has
        self._next_id = 0  # disBatch counts what it gets, from 0
        self._handover = Handover(prefetch=prefetch)
        self._said_done = False
        self._done = self._failed = self._cancelled = 0
        self._submitted = 0
        self._status: dict[str, Any] = {}

    def begin(self, session: OwnSession) -> None:
        """To be called before anything is submitted."""
        self._session = session
        session.call(self._hand_over)

    def submit(self, job: Job) -> None:
        """Raises RuntimeError after `shutdown`, RunFailed when disBatch has ended."""
        self._session.check_own()
        with self._lock:
            if self.closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._failure is not None:
                raise RunFailed(self._failure)
            self._pending.append(job)
            self._submitted += 1
        job.future.add_done_callback(lambda future: self._maybe_cancelled(job))
        self._session.call(self._hand_over)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Executor.shutdown`."""
        if self._session.foreign:
            return
        with self._lock:
            self.closed = True
            cancelled = list(self._pending) if cancel_futures else []
        for job in cancelled:
            job.future.cancel()
        self._session.call(self._hand_over)
        if wait:
            try:
                self._session.wait()
            except BaseException:
                self._session.stop()
                raise

    def terminate(self) -> None:
        """As `Executor.terminate`."""
        if not self._session.foreign:
            with self._lock:
                self.closed = True
            self._session.stop()

    def unreferenced(self) -> None:
        """Nobody holds the executor any more. What was submitted is done, and then disBatch ends."""
        if not (self.closed or self._session.foreign):
            text = "an Executor was not shut down: use it in a `with` block, or call shutdown()"
            warnings.warn(text, ResourceWarning, stacklevel=2)
            self.shutdown(wait=False)

    def snapshot(self) -> ExecutorSnapshot:
        """As `Executor.snapshot`."""
        status = self._status
        with self._lock:
            state = self._failure or status.get("state", STARTING)
        return ExecutorSnapshot(
            submitted=self._submitted,
            running=0 if self.over.done() else min(status.get("running", 0), len(self._running)),
            done=self._done,
            failed=self._failed,
            cancelled=self._cancelled,
            slots=0 if self.over.done() else self._handover.slots,
            rate=status.get("rate", 0.0),
            elapsed_s=time.monotonic() - self._began,
            state=state,
        )

    # -- the session's listener, in its thread

    def record_came(self, record: Record) -> None:
        result = result_from(record)
        self._handover.saw_task(result.elapsed)
        job = self._running.pop(result.task_id, None)
        if job is None:
            return
        if result.returncode:
            self._failed += 1
        else:
            self._done += 1
        self._hand_over()  # first: a callback of the future may take its time
        if job.check and result.returncode:
            job.future.set_exception(TaskFailed(result))
        else:
            job.future.set_result(result)

    def status_came(self, snapshot: dict[str, Any]) -> None:
        self._status = snapshot
        self._handover.saw_status(snapshot)
        self._hand_over()

    def run_ended(self, ended: Ended) -> None:
        failure = f"the task did not finish: {ended.text}"
        with self._lock:
            self._failure = ended.text
            rest, self._pending = self._pending, deque()
        open_jobs = [*self._running.values(), *(job for job in rest if self._begin(job))]
        self._running.clear()
        left: BaseException | None = None
        for job in open_jobs:
            try:
                job.future.set_exception(RunFailed(failure))
            except (
                BaseException
            ) as error:  # sys.exit in a callback: the other futures have to hear of the end as well
                left = error
        self.over.set_result(None)
        if left is not None:
            raise left

    def _hand_over(self) -> None:
        """Gives disBatch what it can use, and the word for the end behind the last."""
        while (job := self._next()) is not None:
            if self._begin(job):
                self._running[self._next_id] = job
                self._next_id += 1
                self._session.put_task(job.command)
        with self._lock:
            ends = self.closed and not self._pending and not self._said_done
        if ends:
            self._said_done = True
            self._session.put_task(self._session.keys.done)

    def _next(self) -> Job | None:
        """The oldest that waits here, if disBatch can use it. Cancelled ones hold up nothing."""
        with self._lock:
            while self._pending and self._pending[0].future.cancelled():
                self._settle(self._pending.popleft())
            if self._pending and len(self._running) < self._handover.limit:
                return self._pending.popleft()
            return None

    def _begin(self, job: Job) -> bool:
        """From here on the future cannot be cancelled; False when it was."""
        if not job.settled and job.future.set_running_or_notify_cancel():
            return True
        self._count_cancelled(job)
        return False

    def _maybe_cancelled(self, job: Job) -> None:
        if job.future.cancelled():
            self._session.call(self._settle, job)

    def _settle(self, job: Job) -> None:
        """Tells `wait` and `as_completed` of a cancelled future, before its turn would have come."""
        if not job.settled:
            self._count_cancelled(job)
            job.future.set_running_or_notify_cancel()

    def _count_cancelled(self, job: Job) -> None:
        if not job.settled:
            job.settled = True
            self._cancelled += 1

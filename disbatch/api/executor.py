"""`Executor`: command lines in, futures of their results out, as `concurrent.futures` has it."""

import shlex
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor as BaseExecutor
from concurrent.futures import Future
from secrets import token_hex
from threading import Lock
from types import TracebackType
from typing import Any

from disbatch.api.errors import RunFailed, TaskFailed
from disbatch.api.handover import Handover
from disbatch.api.program import Ended
from disbatch.api.result import Record, TaskResult, result_from
from disbatch.api.session import OwnSession, at_exit
from disbatch.contexts.ssh import parse_hosts
from disbatch.core.taskfile import is_directive, is_idle


class _Job:
    """A command line that was submitted. `settled`: its future was told that it is cancelled."""

    __slots__ = ("check", "command", "future", "settled")

    def __init__(self, command: bytes, check: bool) -> None:
        self.command = command
        self.check = check
        self.future: Future[TaskResult] = Future()
        self.settled = False


class Executor(BaseExecutor):
    """Runs command lines on `hosts` ("localhost:4": four cores of this machine; HOST:COUNT with commas between).

    `prefix` is where disBatch's files go and how their names begin (`-p`); without it they are in a temporary folder
    that is removed at the end. `args` are further options of disBatch, such as `("-c", "2")`. `hosts=None` leaves the
    resources to `args` and the environment. disBatch runs as a process below this one, and ends with it.

    At most as many tasks as can run, and some more when they are short, are handed to disBatch; a future whose task is
    not among them can be cancelled. Raises UsageError for hosts that are none, OSError when nothing can be started.
    """

    def __init__(self, hosts: str | None, prefix: str | None = None, args: Sequence[str] = ()) -> None:
        if hosts is not None:
            parse_hosts([hosts], "hosts")
        self._lock = Lock()
        self._pending: deque[_Job] = deque()
        self._closed = False
        self._failure: str | None = None  # how the run ended
        # Of the session's thread alone:
        self._running: dict[int, _Job] = {}  # task id -> what disBatch has
        self._next_id = 0  # disBatch counts what it gets, from 0
        self._handover = Handover()
        self._said_done = False
        self.over: Future[None] = Future()
        where = [] if hosts is None else ["-s", hosts]
        to = [] if prefix is None else ["-p", prefix]
        arguments = ["--quiet", *where, *to, *args]
        self._session = OwnSession(f"Executor {token_hex(4)}", arguments, self, private_files=prefix is None)
        at_exit(self._session, self.shutdown)

    def submit(self, command: str, /, *args: object, check: bool = False) -> Future[TaskResult]:  # type: ignore[override]
        """A future of the command's result. Further arguments are added to the command line as words, quoted.

        A non-zero exit code is a result; with `check` it raises TaskFailed in the future. When disBatch ends before
        the task has, the future raises RunFailed. Raises ValueError for what is no single command (a line break, a NUL,
        a comment, a blank, a directive), RuntimeError after `shutdown`, RunFailed when disBatch has ended.
        """
        job = _Job(command_line(command, args), check)
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._failure is not None:
                raise RunFailed(self._failure)
            self._pending.append(job)
        job.future.add_done_callback(lambda future: self._maybe_cancelled(job))
        self._session.call(self._hand_over)
        return job.future

    def map(  # type: ignore[override]
        self,
        commands: str | Iterable[str],
        /,
        *iterables: Iterable[object],
        timeout: float | None = None,
        chunksize: int = 1,
        check: bool = False,
    ) -> Iterator[TaskResult]:
        """Results in the order of submission. Either `map(commands)` for an iterable of command lines, or
        `map(command, words, …)`, where each call adds one word of each iterable. `chunksize` has no meaning here.

        The iterator raises TimeoutError when a result is not there `timeout` seconds after this call; what is still
        pending when it ends early is cancelled.
        """
        end = None if timeout is None else time.monotonic() + timeout
        if isinstance(commands, str):
            calls: Iterable[tuple[object, ...]] = zip(*iterables, strict=False)
            futures = [self.submit(commands, *words, check=check) for words in calls]
        elif iterables:
            raise TypeError("an iterable of command lines goes alone; words go with a single command")
        else:
            futures = [self.submit(line, check=check) for line in commands]
        return _results(futures, end)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more will come. Waits, unless told not to, until everything submitted has finished, disBatch has ended and
        its files are settled. `cancel_futures` cancels what was not handed over yet. A KeyboardInterrupt during the wait
        ends disBatch and all that it runs."""
        with self._lock:
            self._closed = True
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
        """Ends disBatch and all that it runs, at once. Futures that are not done raise RunFailed. Does not wait."""
        with self._lock:
            self._closed = True
        self._session.stop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """After a KeyboardInterrupt and the like nothing more is begun; what runs is waited for."""
        self.shutdown(cancel_futures=error is not None and not isinstance(error, Exception))

    # -- the session's listener, in its thread

    def record_came(self, record: Record) -> None:
        result = result_from(record)
        self._handover.saw_task(result.elapsed)
        job = self._running.pop(result.task_id, None)
        if job is None:
            return
        self._hand_over()  # first: a callback of the future may take its time
        if job.check and result.returncode:
            job.future.set_exception(TaskFailed(result))
        else:
            job.future.set_result(result)

    def status_came(self, snapshot: dict[str, Any]) -> None:
        self._handover.saw_status(snapshot)
        self._hand_over()

    def run_ended(self, ended: Ended) -> None:
        failure = f"the task did not finish: {ended.text}"
        with self._lock:
            self._failure = ended.text
            rest, self._pending = self._pending, deque()
        for job in self._running.values():
            job.future.set_exception(RunFailed(failure))
        for job in rest:
            if self._begin(job):
                job.future.set_exception(RunFailed(failure))
        self.over.set_result(None)

    def _hand_over(self) -> None:
        """Gives disBatch what it can use, and the word for the end behind the last."""
        while (job := self._next()) is not None:
            if self._begin(job):
                self._running[self._next_id] = job
                self._next_id += 1
                self._session.put_task(job.command)
        with self._lock:
            ends = self._closed and not self._pending and not self._said_done
        if ends:
            self._said_done = True
            self._session.put_task(self._session.keys.done)

    def _next(self) -> _Job | None:
        """The oldest that waits here, if disBatch can use it. Cancelled ones hold up nothing."""
        with self._lock:
            while self._pending and self._pending[0].future.cancelled():
                self._settle(self._pending.popleft())
            if self._pending and len(self._running) < self._handover.limit:
                return self._pending.popleft()
            return None

    def _begin(self, job: _Job) -> bool:
        """From here on the future cannot be cancelled; False when it was."""
        if job.settled or not job.future.set_running_or_notify_cancel():
            job.settled = True
            return False
        return True

    def _maybe_cancelled(self, job: _Job) -> None:
        if job.future.cancelled():
            self._session.call(self._settle, job)

    def _settle(self, job: _Job) -> None:
        """Tells `wait` and `as_completed` of a cancelled future, before its turn would have come."""
        if not job.settled:
            job.settled = True
            job.future.set_running_or_notify_cancel()


def _results(futures: list[Future[TaskResult]], end: float | None) -> Iterator[TaskResult]:
    """What `map` returns; holds no future longer than it must."""
    futures.reverse()
    try:
        while futures:
            left_s = None if end is None else end - time.monotonic()
            yield futures.pop().result(left_s)
    finally:
        for future in futures:
            future.cancel()


def command_line(command: str, args: Iterable[object] = ()) -> bytes:
    """The command with quoted words behind it. Raises TypeError, and ValueError for what is no single command."""
    if not isinstance(command, str):
        raise TypeError(f"a command line is a str, not {type(command).__name__}: {command!r:.100}")
    text = " ".join([command, *(shlex.quote(str(word)) for word in args)])
    line = text.encode("utf-8", "surrogateescape")
    for character, name in ((b"\n", "a line break"), (b"\0", "a NUL character")):
        if character in line:
            raise ValueError(f"a command line cannot have {name}: {text!r:.200}")
    if is_directive(line):
        raise ValueError(f"a directive is no command (use DisBatcher for directives): {text!r:.200}")
    if is_idle(line):
        raise ValueError(f"a blank line or a comment is no command: {text!r:.200}")
    return line

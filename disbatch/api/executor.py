"""`Executor`: command lines in, futures of their results out, as `concurrent.futures` has it."""

import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor as BaseExecutor
from concurrent.futures import Future
from secrets import token_hex
from types import TracebackType

from disbatch.api.arguments import PathText, checked_hosts, checked_options, folder_for, run_options
from disbatch.api.command import command_line
from disbatch.api.jobs import ExecutorSnapshot, Job, Jobs
from disbatch.api.live import at_exit
from disbatch.api.result import TaskResult
from disbatch.api.session import OwnSession


class Executor(BaseExecutor):
    """Runs command lines on `hosts` ("localhost:4": four cores of this machine; HOST:COUNT with commas between).

    `prefix` is where disBatch's files go and how their names begin (`-p`). Without it they are in a temporary folder that
    is removed at the end, and made in the current folder where other machines have to see it. `args` are further options
    of disBatch, such as `("-c", "2")`. `hosts=None` leaves the resources to `args` and the environment. disBatch runs as a process below this
    one, and ends with it.

    At most as many tasks as can run, and some more when they are short, are handed to disBatch; a future whose task is
    not among them can be cancelled. Without `prefetch` none is handed over for which there is no slot. What disBatch says goes to `logging.getLogger("disbatch")`. Raises TypeError,
    UsageError for hosts that are none, OSError when nothing can be started.
    """

    def __init__(
        self,
        hosts: str | None,
        prefix: PathText | None = None,
        args: Sequence[PathText] = (),
        *,
        prefetch: bool = True,
    ) -> None:
        arguments = ["--quiet", *run_options(hosts, prefix, args)]
        self._jobs = Jobs(prefetch=prefetch)
        name = f"Executor {token_hex(4)}"
        private = None if prefix is not None else folder_for(hosts)
        self._session = OwnSession(name, arguments, self._jobs, private_files_in=private)
        self._jobs.begin(self._session)
        at_exit(self._session, self._jobs.shutdown)
        weakref.finalize(self, self._jobs.unreferenced).atexit = False

    @property
    def over(self) -> Future[None]:
        """Done when disBatch has ended and every future is done."""
        return self._jobs.over

    def submit(  # type: ignore[override]
        self,
        command: str,
        /,
        *args: object,
        check: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: PathText | None = None,
        stdin: PathText | None = None,
    ) -> Future[TaskResult]:
        """A future of the command's result. Further arguments are added to the command line as words, quoted.

        `env` adds variables to those of the task, `cwd` is the folder in which it runs, `stdin` the file that it reads;
        relative paths are those of this process, and the machine that runs the task has to see them. They become a part
        of the command line.

        A non-zero exit code is a result; with `check` it raises TaskFailed in the future. When disBatch ends before
        the task has, the future raises RunFailed. Raises TypeError, ValueError for what is no single command (a line
        break, a NUL, a comment, a blank, a directive, more than 16 MiB), RuntimeError after `shutdown` and in a process
        that was forked, RunFailed when disBatch has ended.
        """
        job = Job(command_line(command, args, env=env, cwd=cwd, stdin=stdin), check)
        self._jobs.submit(job)
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

        The iterator raises TimeoutError when a result is not there `timeout` seconds after this call; that call, and what
        else is still pending when it ends early, is cancelled.
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

    def add(self, hosts: str, args: Sequence[PathText] = ()) -> None:
        """Add machines to the run, as `PREFIX_dbUtil.sh -s HOSTS` does; `args` are further options of that, such as
        `("-c", "2")`. Does not wait for them: what becomes of them goes to `logging.getLogger("disbatch")`, and
        `snapshot().slots` counts them. Raises TypeError, UsageError for hosts that are none, RuntimeError after `shutdown`.
        """
        options = ["-s", checked_hosts(hosts), *checked_options(args)]
        self._session.check_own()
        if self._jobs.closed or self.over.done():
            raise RuntimeError("cannot add machines after shutdown")
        self._session.add_machines(options)

    def snapshot(self) -> ExecutorSnapshot:
        """How the run is now, for a progress bar. Does not wait."""
        return self._jobs.snapshot()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more will come. Waits, unless told not to, until everything submitted has finished, disBatch has ended and
        its files are settled. `cancel_futures` cancels what was not handed over yet. A KeyboardInterrupt during the wait
        ends disBatch and all that it runs. Without effect in a process that was forked."""
        self._jobs.shutdown(wait, cancel_futures=cancel_futures)

    def terminate(self) -> None:
        """Ends disBatch and all that it runs, at once. Futures that are not done raise RunFailed. Does not wait."""
        self._jobs.terminate()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """After a KeyboardInterrupt and the like nothing more is begun; what runs is waited for."""
        self.shutdown(cancel_futures=error is not None and not isinstance(error, Exception))


def _results(futures: list[Future[TaskResult]], end: float | None) -> Iterator[TaskResult]:
    """What `map` returns; holds no future longer than it must."""
    futures.reverse()
    try:
        while futures:
            left_s = None if end is None else end - time.monotonic()
            yield _result(futures.pop(), left_s)
    finally:
        for future in futures:
            future.cancel()


def _result(future: Future[TaskResult], left_s: float | None) -> TaskResult:
    try:
        return future.result(left_s)
    finally:
        future.cancel()  # the call that has timed out; without effect on one that is done

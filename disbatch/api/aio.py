"""`AsyncExecutor`: the executor for programs that live in asyncio."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TypedDict, Unpack

from disbatch.api.arguments import PathText, run_options
from disbatch.api.executor import Executor
from disbatch.api.jobs import ExecutorSnapshot
from disbatch.api.result import TaskResult


class TaskOptions(TypedDict, total=False):
    """What `Executor.submit` takes by name."""

    check: bool
    env: Mapping[str, str] | None
    cwd: PathText | None
    stdin: PathText | None


class AsyncExecutor:
    """`async with AsyncExecutor("localhost:4") as ex: result = await ex.run("cmd")`. Arguments as for Executor.

    The end of the block waits for everything that was submitted. Where an exception leaves it, what has not begun is
    cancelled and what runs is waited for; cancelled once more while it waits, it ends disBatch and its tasks.
    """

    def __init__(
        self,
        hosts: str | None,
        prefix: PathText | None = None,
        args: Sequence[PathText] = (),
        *,
        prefetch: bool = True,
    ) -> None:
        run_options(hosts, prefix, args)  # raises at once
        self._make = partial(Executor, hosts, prefix, args, prefetch=prefetch)
        self._executor: Executor | None = None

    async def __aenter__(self) -> "AsyncExecutor":
        starting = asyncio.get_running_loop().run_in_executor(None, self._make)
        try:
            self._executor = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_give_up)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        executor = self._entered()
        executor.shutdown(wait=False, cancel_futures=error is not None)
        try:
            await asyncio.shield(asyncio.wrap_future(executor.over))
        except asyncio.CancelledError:
            executor.terminate()
            await asyncio.shield(asyncio.wrap_future(executor.over))
            raise
        finally:
            if executor.over.done():
                executor.shutdown()  # what is left takes no time

    def submit(
        self, command: str, /, *args: object, **options: Unpack[TaskOptions]
    ) -> "asyncio.Future[TaskResult]":
        """A future of the result, as `Executor.submit`. Cancelling it keeps the task from being begun, if it can still
        be; a task that runs goes on, unheard."""
        return asyncio.wrap_future(self._entered().submit(command, *args, **options))

    async def run(self, command: str, /, *args: object, **options: Unpack[TaskOptions]) -> TaskResult:
        """The result of the command. Cancellation as for `submit`; raises as `Executor.submit` and its futures."""
        return await self.submit(command, *args, **options)

    def add(self, hosts: str, args: Sequence[PathText] = ()) -> None:
        """Add machines to the run, as `Executor.add`."""
        self._entered().add(hosts, args)

    def snapshot(self) -> ExecutorSnapshot:
        """How the run is now, as `Executor.snapshot`."""
        return self._entered().snapshot()

    def _entered(self) -> Executor:
        if self._executor is None:
            raise RuntimeError("an AsyncExecutor works inside its `async with` block")
        return self._executor


def _give_up(starting: "asyncio.Future[Executor]") -> None:
    """Nobody waits for the executor that was being started."""
    if not starting.cancelled() and starting.exception() is None:
        starting.result().terminate()

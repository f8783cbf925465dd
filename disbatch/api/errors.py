"""What a program that uses disBatch may have to catch. A task with a non-zero exit code is a result, not an error,
unless the program asked for one."""

from concurrent.futures import BrokenExecutor

from disbatch.api.program import signal_name
from disbatch.api.result import TaskResult
from disbatch.core.errors import DisBatchError, MachineError


class RunFailed(MachineError, BrokenExecutor):
    """disBatch has ended, or its server is gone, while something was still expected of it. The text says how, and
    shows the last lines of what disBatch said."""


class TaskFailed(DisBatchError):
    """A task that was submitted with `check=True` has a non-zero exit code. `result` is its TaskResult."""

    def __init__(self, result: TaskResult) -> None:
        # the argument is what pickling hands to the constructor again
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        r = self.result
        how = f"killed by {signal_name(-r.returncode)}" if r.returncode < 0 else f"exit code {r.returncode}"
        said = f"\n    {r.err_snippet.rstrip()}" if r.err_snippet else ""
        return f"task {r.task_id}: {how}: {r.command}{said}"

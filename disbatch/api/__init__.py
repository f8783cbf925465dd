"""disBatch from Python programs: `DisBatcher`, as ever, and an `Executor` of `concurrent.futures`.

Only names belong here; each is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from disbatch.api.aio import AsyncExecutor
    from disbatch.api.batcher import DisBatcher
    from disbatch.api.errors import RunFailed, TaskFailed
    from disbatch.api.executor import Executor
    from disbatch.api.jobs import ExecutorSnapshot
    from disbatch.api.result import TaskResult

_HOMES = {
    "AsyncExecutor": "aio",
    "DisBatcher": "batcher",
    "Executor": "executor",
    "ExecutorSnapshot": "jobs",
    "RunFailed": "errors",
    "TaskFailed": "errors",
    "TaskResult": "result",
}

__all__ = [
    "AsyncExecutor",
    "DisBatcher",
    "Executor",
    "ExecutorSnapshot",
    "RunFailed",
    "TaskFailed",
    "TaskResult",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)

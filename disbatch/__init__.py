"""disBatch: run a long list of shell commands on whatever machines there are.

This file stays nearly empty: every start of the program, of an engine and of a viewer pays for it. What Python programs
use (`DisBatcher`, `Executor`, …) is loaded when it is first asked for.
"""

# Not from `typing`: nothing is imported here, as the programs put the import path in order only after this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from disbatch.api import (
        AsyncExecutor,
        DisBatcher,
        Executor,
        ExecutorSnapshot,
        RunFailed,
        TaskFailed,
        TaskResult,
    )

__version__ = "4.0.0"
__all__ = [
    "AsyncExecutor",
    "DisBatcher",
    "Executor",
    "ExecutorSnapshot",
    "RunFailed",
    "TaskFailed",
    "TaskResult",
    "__version__",
]


def __getattr__(name: str) -> "Any":
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.api"), name)

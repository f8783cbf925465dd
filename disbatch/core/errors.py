"""Every exception of the package, divided by who has to act. A failing *task* is data, never an exception."""

from disbatch.core.printable import BREAK


class DisBatchError(Exception):
    """Root of all. `exit_code` is what the program ends with when nobody handles the error."""

    exit_code = 3


class UsageError(DisBatchError):
    """The user has to act: options or environment that make no sense."""

    exit_code = 2


class PackageMissingError(UsageError):
    """The user has to install something. `module` is what cannot be imported; the text ends before that is said."""

    def __init__(self, text: str, module: str) -> None:
        super().__init__(f"{text} is not installed")
        self.module = module


class TaskFileError(DisBatchError):
    """The user has to act: a line of the task list that disBatch cannot accept."""

    exit_code = 2

    def __init__(self, source: str, line_no: int, line: bytes, why: str) -> None:
        shown = line[:200].decode("utf-8", "replace") + ("…" if len(line) > 200 else "")
        super().__init__(f"{source}, line {line_no}: {why}{BREAK}{shown}")
        self.line_no = line_no


class ListChangedError(DisBatchError):
    """The user has to act: the task list is not what it was when it was checked. `what` tells the difference."""

    def __init__(self, source: str, what: str) -> None:
        super().__init__(
            f"{source} changed while it was read: {what}. Nothing that was read after that is run. Restore the list "
            "before you resume; to change a list during a run, replace it by rename (mv NEW OLD)"
        )


class StatusFileError(DisBatchError):
    """The user has to act: a status file that cannot be read, or does not belong to this task list."""

    exit_code = 2


class PeerError(DisBatchError):
    """A program at the other end of a connection broke the protocol."""


class MachineError(DisBatchError):
    """The machine has to be looked at: a process, a disk or a connection failed."""


class IllegalMoveError(AssertionError):
    """A defect of disBatch: a task or an engine was about to change into a state that its table forbids."""

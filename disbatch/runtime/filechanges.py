"""What is said of files of the run that another program has changed.

Each kind of change is told once for each file: a program that does it again and again must not fill the terminal. Lines that
are lost are always told.
"""

from collections.abc import Callable

from disbatch.core.driver_events import Level
from disbatch.runtime.appendfile import FileChange

RESTORED = "; what it had lost was written again, and the run goes on"
GOES_ON = "The run goes on, and will end with exit code 3; resuming runs the tasks that have no line"
LEFT = "; they were left there, and the run goes on behind them"


class FileChanges:
    """`rows_lost` is told of lines of the status file that are lost, `tell` of everything else."""

    def __init__(
        self, status: str, rows_lost: Callable[[str], None], tell: Callable[[str, Level], None]
    ) -> None:
        self._status = status
        self._rows_lost = rows_lost
        self._tell = tell
        self._told: set[tuple[str, str]] = set()

    def happened(self, change: FileChange) -> None:
        path, what, lost = change
        if not lost:
            appended = what.startswith("has")
            kind = (path, "appended" if appended else "lost")
            if kind not in self._told:
                self._told.add(kind)
                self._tell(f"{path} {what}{LEFT if appended else RESTORED}", "warning")
            return
        text = f"{path} {what}, and at least {lost:,} of its lines are lost: more than are kept in memory"
        if path == self._status:
            self._rows_lost(f"{text}. {GOES_ON}")
        else:
            self._tell(f"{text}. The run goes on without them", "warning")

    def not_copied(self, path: str) -> None:
        """Lines of a status file that the run resumes from are lost."""
        if (path, "copied") not in self._told:
            self._told.add((path, "copied"))
            self._rows_lost(
                f"{path} was changed by another program since it was read, and lines of it are lost. {GOES_ON}"
            )

"""Failures grouped by exit code and last error line: three causes, not three thousand rows. Memory is bounded."""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from disbatch.core.model import Outcome, Task

MAX_GROUPS = 1000  # a command that prints a fresh number each time must not grow the driver; the rest is counted as one
MAX_RECENT = 50  # single failures kept for viewers, the newest
_SHOWN_CHARS = 72
_COMMAND_BYTES = 1000  # kept of a command; some are megabytes long


class FailedTask(NamedTuple):
    """One failure as it is kept; what viewers are shown is made of it when they look."""

    task_id: int
    line_no: int
    repeat_index: int
    node: str
    rank: int
    returncode: int
    elapsed_s: float
    finish_s: float
    err_snippet: str
    command: bytes  # its beginning


@dataclass(slots=True)
class FailureGroup:
    returncode: int
    last_line: str
    count: int
    task_id: int  # one example


class FailureGroups:
    def __init__(self) -> None:
        self._groups: dict[tuple[int, str], FailureGroup] = {}
        self._others: FailureGroup | None = None
        self.recent: deque[FailedTask] = deque(maxlen=MAX_RECENT)

    def remember(self, task: Task, node: str, rank: int, outcome: Outcome) -> None:
        """Keeps this failure among the last ones."""
        o = outcome
        ids = (task.task_id, task.line_no, task.repeat_index, node, rank)
        how = (o.returncode, o.elapsed_s, o.finish_s, o.err_snippet)
        self.recent.append(FailedTask(*ids, *how, task.command[:_COMMAND_BYTES]))

    def add(self, task_id: int, returncode: int, err_snippet: str) -> None:
        """Counts one failed task; `err_snippet` as in the status file."""
        key = (returncode, last_line(err_snippet))
        group = self._groups.get(key)
        if group is not None:
            group.count += 1
        elif len(self._groups) < MAX_GROUPS:
            self._groups[key] = FailureGroup(*key, 1, task_id)
        elif self._others is None:
            self._others = FailureGroup(returncode, "(other messages)", 1, task_id)
        else:
            self._others.count += 1

    def largest(self) -> list[FailureGroup]:
        """All groups, the most frequent first, then by exit code and example."""
        groups = [*self._groups.values()] + ([self._others] if self._others else [])
        return sorted(groups, key=lambda g: (-g.count, g.returncode, g.task_id))


def last_line(snippet: str) -> str:
    """The last line with something on it, cut to what fits on a terminal."""
    lines = [line.strip() for line in snippet.splitlines() if line.strip()]
    text = "".join(c if c.isprintable() else "?" for c in lines[-1]) if lines else ""
    return text if len(text) <= _SHOWN_CHARS else "…" + text[1 - _SHOWN_CHARS :]

"""Failures grouped by exit code and last error line, numbers in it aside: three causes, not three thousand rows. Memory
is bounded."""

import re
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from disbatch.core.model import Outcome, Task
from disbatch.core.printable import printable
from disbatch.core.status import SNIPPET_END

MAX_GROUPS = (
    1000  # a command that prints a fresh word each time must not grow the driver; the rest is counted as one
)
OTHER = "(other messages)"
MAX_RECENT = 50  # single failures kept for viewers, the newest
_SHOWN_CHARS = 72
_COMMAND_BYTES = 1000  # kept of a command; some are megabytes long
_NUMBER = re.compile("[0-9]+")
_GAP = "..."  # in a snippet, between its two ends
_DOTS = re.compile(r"\.{3,}")
_TAIL = SNIPPET_END + len(_GAP)


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
    last_line: str  # of the example
    count: int
    task_id: int  # one example
    cause: str  # what the last lines of all of them have in common, as `cause_of` has it


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
        self.add_cause(task_id, returncode, cause_of(err_snippet), err_snippet)

    def add_cause(self, task_id: int, returncode: int, cause: str, err_snippet: str = "") -> None:
        """Count one failed task whose cause is known, as `cause_of` has it."""
        group = self._groups.get((returncode, cause))
        if group is not None:
            group.count += 1
        elif len(self._groups) < MAX_GROUPS:
            line = last_line(err_snippet)
            self._groups[returncode, cause] = FailureGroup(returncode, line, 1, task_id, cause)
        elif self._others is None:
            self._others = FailureGroup(returncode, OTHER, 1, task_id, OTHER)
        else:
            self._others.count += 1

    def largest(self) -> list[FailureGroup]:
        """All groups, the most frequent first, then by exit code and example."""
        groups = [*self._groups.values()] + ([self._others] if self._others else [])
        return sorted(groups, key=lambda g: (-g.count, g.returncode, g.task_id))


def last_line(snippet: str) -> str:
    """The last line with something on it, cut to what fits on a terminal."""
    return _cut(_whole_line(snippet))


def cause_of(snippet: str) -> str:
    """The last line, in which process ids, sample numbers and the like are all alike. Of a cause it is the same cause."""
    # three dots would be a gap for whoever reads this again: a cause has none
    return _cut(_DOTS.sub("…", _NUMBER.sub("0", _fixed(_whole_line(snippet)))))


def _whole_line(snippet: str) -> str:
    lines = [line.strip() for line in _joined(snippet).splitlines() if line.strip()]
    return printable(lines[-1]) if lines else ""


def _joined(snippet: str) -> str:
    """Without its gap where nothing is left out there: of what is no longer than two ends, both ends are all of it."""
    data = snippet.encode("utf-8", "replace")
    if data[SNIPPET_END:_TAIL] != _GAP.encode() or len(data) >= SNIPPET_END + _TAIL:
        return snippet
    return (data[:SNIPPET_END] + data[_TAIL:]).decode("utf-8", "replace")


def _fixed(line: str) -> str:
    """Of a line with a gap what doesn't move when numbers in it get longer: up to the first one, and from the last one on."""
    head, gap, tail = line.partition(_GAP)
    if not gap:
        return line
    first, last = _NUMBER.search(head), [*_NUMBER.finditer(tail)]
    return (head[: first.end()] if first else head) + gap + (tail[last[-1].start() :] if last else tail)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else "…" + text[1 - _SHOWN_CHARS :]

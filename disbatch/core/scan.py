"""Quick passes over a whole task file, in chunks of whole lines: is every directive good, how many tasks are there.

They look for the few lines that matter instead of parsing each one, so that a file of ten million lines is checked
before its first task starts, and that start is not delayed. What a line means is decided in `taskfile` alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from disbatch.core.taskfile import (
    BLANKS,
    LATE_PERENGINE,
    MARK,
    DirectiveError,
    PerEngineLine,
    Repeat,
    parse_directive,
)

_FIRST_TASK = re.compile(rb"^[ \t\r\v\f]*[^# \t\r\v\f\n]", re.MULTILINE)
_IDLE_LINE = re.compile(rb"^[ \t\r\v\f]*(?:#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that would stop the run later on. `offset` counts bytes from the start of the chunk."""

    offset: int
    line: bytes
    why: str


class DirectiveCheck:
    """Feed it the chunks of a file in order, each of whole lines; it names the first bad line, or nothing."""

    def __init__(self) -> None:
        self._item_seen = False

    def feed(self, chunk: bytes) -> BadLine | None:
        nul = chunk.find(b"\0")
        for offset, line in _directives(chunk):
            if 0 <= nul < offset:
                break
            try:
                directive = parse_directive(line)
            except DirectiveError as error:
                return BadLine(offset, line, str(error))
            if isinstance(directive, PerEngineLine):
                if self._item_seen or _FIRST_TASK.search(chunk, 0, offset):
                    return BadLine(offset, line, LATE_PERENGINE)
            elif not self._item_seen and not _is_affix(line):
                self._item_seen = True
        if nul >= 0:
            start = chunk.rfind(b"\n", 0, nul) + 1
            end = chunk.find(b"\n", nul)
            line = chunk[start : end if end >= 0 else len(chunk)]
            return BadLine(start, line, "a NUL byte cannot be part of a command")
        self._item_seen = self._item_seen or _FIRST_TASK.search(chunk) is not None
        return None


def count_tasks(chunk: bytes) -> int:
    """The number of tasks in a chunk of whole lines, all of whose directives are good."""
    if not chunk:
        return 0
    lines = chunk.count(b"\n") + (not chunk.endswith(b"\n"))
    idle = sum(1 for match in _IDLE_LINE.finditer(chunk) if match.start() < len(chunk))
    repeated = 0
    for _, line in _directives(chunk):
        directive = parse_directive(line)
        if isinstance(directive, Repeat):
            repeated += directive.count
    return lines - idle + repeated


def _directives(chunk: bytes) -> Iterator[tuple[int, bytes]]:
    """Offset and text of every line of the chunk that is a directive."""
    at = chunk.find(MARK)
    while at >= 0:
        start = chunk.rfind(b"\n", 0, at) + 1
        end = chunk.find(b"\n", at)
        if end < 0:
            end = len(chunk)
        if not chunk[start:at].strip(BLANKS):
            yield start, chunk[start:end].removesuffix(b"\r")
        at = chunk.find(MARK, end)


def _is_affix(line: bytes) -> bool:
    return line.split(None, 2)[1].upper() in (b"PREFIX", b"SUFFIX")

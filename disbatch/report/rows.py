"""The rows of status files as flat columns, and which row decides the fate of a task. No files here: see `reader`.

A column costs eight bytes a row at most, so that a million lines stay far below what a person's laptop has.
"""

import ast
from array import array
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from itertools import product

from disbatch.core.errors import StatusFileError
from disbatch.core.failures import OTHER, cause_of
from disbatch.core.model import NOT_STARTED
from disbatch.core.resume import Fate, row_fate
from disbatch.core.status import FIELDS, parse_record

MAX_REASONS = (
    100_000  # distinct error lines kept; a command that prints a fresh one each time must not fill the memory
)
LATEST_S = 1e11  # year 5138: a time beyond it, or one that is no number, is no time of a run
_QUOTES = (b"'", b'"')
_EMPTY = (b"''", b'""')


class Kind(IntEnum):
    TASK = 0
    SKIPPED = 1  # copied from an earlier run: its time was not spent in this one
    LATE = 2  # a report that came when nobody waited for it: time was spent, the task's fate is another row's
    SETUP = 3  # a per-engine command
    BARRIER = 4


def _kind(flags: bytes) -> Kind:
    for letter, kind in (
        (b"B", Kind.BARRIER),
        (b"C", Kind.BARRIER),
        (b"P", Kind.SETUP),
        (b"S", Kind.SKIPPED),
    ):
        if letter in flags:
            return kind
    return Kind.LATE if b"Z" in flags else Kind.TASK


_KINDS = {flags: _kind(flags) for flags in map(b"".join, product(*([b" ", x] for x in (b"R", b"O", b"E")), [b" ", b"P", b"S", b"Z"]))}  # fmt: skip
_KINDS |= {flags: Kind.BARRIER for flags in (b"B    ", b"C    ")}


class Rows:
    """Columns over all rows of all files, in the order of reading. `run` is the number of the file, from 0.

    With `several` files a task is known by its command as well as its number, so that lists do not get mixed up.
    """

    def __init__(self, *, several: bool = False) -> None:
        self._several = several
        self.kind = bytearray()
        self.fate = bytearray()  # as `core.resume.row_fate` has it; UNKNOWN for what is no task's own row
        self.run, self.offset = array("L"), array("q")
        self.task, self.line, self.repeat = array("q"), array("q"), array("q")
        self.code, self.node = array("q"), array("q")
        self.elapsed, self.start, self.finish = array("d"), array("d"), array("d")
        self.out, self.err = array("q"), array("q")
        self.reason = array("q")  # index into `reasons`; 0, the empty one, for what did not fail
        self.key = array("q")  # with several files: what task this is
        self.nodes: list[str] = []
        self.reasons: list[str] = [""]
        self._node_index: dict[bytes, int] = {}
        self._reason_index: dict[str, int] = {"": 0}
        self.reason_of = lru_cache(4096)(self._reason_of)

    def __len__(self) -> int:
        return len(self.kind)

    def add(self, line: bytes, run: int, offset: int, where: tuple[str, int]) -> None:
        """Takes in one complete line without its end; `where` is file and line number. Raises StatusFileError."""
        fields = line.split(b"\t", FIELDS - 1)
        try:
            flags, task, line_no, repeat, node, pid, code, elapsed, start, finish, out, o, err, e, command = (
                fields
            )
            kind = _KINDS[flags]
            if o[:1] not in _QUOTES or e[:1] not in _QUOTES:
                raise ValueError
            numbers = (int(task), int(line_no), int(repeat), int(code), int(out), int(err), int(pid))
            self._append(kind, flags, numbers, node, (float(elapsed), float(start), float(finish)), e)
        except (ValueError, KeyError, OverflowError, SyntaxError):
            if not self._odd(line, fields, where):
                return
            command = fields[-1]
        self.run.append(run)
        self.offset.append(offset)
        if self._several:
            self.key.append(hash((self.task[-1], self.repeat[-1], command.removesuffix(b"\r"))))

    def _odd(self, line: bytes, fields: list[bytes], where: tuple[str, int]) -> bool:
        """A line that the quick way stumbled over. False for a header; StatusFileError for what is no status line."""
        text = f"{where[0]}, line {where[1]}"
        record = parse_record(line, text)
        if record is None:
            return False
        flags = record.flags.encode("ascii")
        numbers = (record.task_id, record.line_no, record.repeat_index, record.returncode, record.out_bytes, record.err_bytes, record.pid)  # fmt: skip
        times = (record.elapsed_s, record.start_s, record.finish_s)
        try:
            self._append(_kind(flags), flags, numbers, fields[4], times, fields[13])
        except (ValueError, OverflowError) as error:
            raise StatusFileError(f"{text}: not a status line: {error}") from None
        return True

    def _append(
        self,
        kind: Kind,
        flags: bytes,
        numbers: tuple[int, int, int, int, int, int, int],
        node: bytes,
        times: tuple[float, float, float],
        err_snippet: bytes,
    ) -> None:
        elapsed, start, finish = times
        if not (elapsed < LATEST_S and 0 <= start < LATEST_S and 0 <= finish < LATEST_S):
            raise ValueError(f"times that cannot be: {elapsed:g}, {start:g}, {finish:g}")
        task, line_no, repeat, code, out, err, pid = numbers
        node_index, reason = self._node_of(node), self.reason_of(err_snippet) if code else 0
        self.fate.append(row_fate(flags, pid, code) if code else _DONE[kind])
        self.kind.append(kind)
        self.task.append(task)
        self.line.append(line_no)
        self.repeat.append(repeat)
        self.code.append(code)
        self.out.append(out)
        self.err.append(err)
        # a clock that was set back shows in the predecessor's files; a process that never was took no time
        real = kind is Kind.BARRIER or pid != NOT_STARTED
        self.elapsed.append(max(elapsed, 0.0) if real else 0.0)
        self.start.append(start if real else 0.0)
        self.finish.append(max(finish, start) if real else 0.0)
        self.node.append(node_index)
        self.reason.append(reason)

    def _node_of(self, name: bytes) -> int:
        index = self._node_index.get(name)
        if index is None:
            index = self._node_index[name] = len(self.nodes)
            self.nodes.append(name.decode("utf-8", "replace"))
        return index

    def _reason_of(self, snippet: bytes) -> int:
        """The number of the cause that a snippet tells of."""
        value = "" if snippet in _EMPTY else ast.literal_eval(snippet.decode("utf-8", "replace"))
        if not isinstance(value, str):
            raise ValueError("a snippet that is no quoted text")
        text = cause_of(value)
        if text not in self._reason_index and len(self.reasons) >= MAX_REASONS:
            text = OTHER
        if text not in self._reason_index:
            self._reason_index[text] = len(self.reasons)
            self.reasons.append(text)
        return self._reason_index[text]

    def timed(self, run: int | None = None) -> Iterator[int]:
        """Rows of tasks that took time in one of the runs (or in this one)."""
        kinds, starts, runs = self.kind, self.start, self.run
        wanted = (Kind.TASK, Kind.LATE)
        for row, kind in enumerate(kinds):
            if kind in wanted and starts[row] > 0 and (run is None or runs[row] == run):
                yield row

    def of_kind(self, kind: Kind, run: int | None = None) -> Iterator[int]:
        """Rows of one kind, of all runs or of one."""
        row = self.kind.find(kind)
        while row >= 0:
            if run is None or self.run[row] == run:
                yield row
            row = self.kind.find(kind, row + 1)

    @property
    def keys(self) -> "array[int]":
        """By row: what task it speaks of."""
        return self.key if self._several else self.task

    def final(self) -> dict[int, int]:
        """For each task the row that tells how it ended: a success wins, then a row of the run itself, then the later."""
        best: dict[int, int] = {}
        ranks, keys = self.fate, self.keys
        for row, kind in enumerate(self.kind):
            if not ranks[row]:
                continue
            other = best.setdefault(keys[row], row)
            if other != row and self._rank(row, kind) >= self._rank(other, self.kind[other]):
                best[keys[row]] = row
        return best

    def _rank(self, row: int, kind: int) -> tuple[int, bool, float]:
        return self.fate[row], kind != Kind.SKIPPED, self.finish[row]


_DONE = [Fate.DONE, Fate.DONE, Fate.UNKNOWN, Fate.UNKNOWN, Fate.UNKNOWN]  # by kind: what exit code 0 says

"""What earlier runs did: which tasks to skip, which to run again, and which do not belong to this task list.

Memory is for ten million lines: for each task id a digest, and in one number its fate and where its line is, in flat arrays.
Reading the files belongs to `runtime.resume`. Source of the rules: docs/status.md.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from disbatch.core.errors import StatusFileError
from disbatch.core.model import LOST, NOT_STARTED, Task
from disbatch.core.status import command_text, unquoted_command

NO_TASK_FLAGS = frozenset("PBCZ")  # rows that never stand for a task
DENSE_FLOOR = (
    1_000_000  # ids up to here, or up to four times the rows read, live in flat arrays: one odd id must not
)
# allocate gigabytes, so what is far out lives in a dictionary
OFFSET_BITS = 44
FILE_BITS = 17  # so that two are left for the fate, and one for the sign
NOTHING = (0, 0)


class Fate(IntEnum):
    """What the status files say of a task id; a larger one wins when several lines speak of it."""

    UNKNOWN = 0
    LOST = 1
    FAILED = 2
    DONE = 3


class Verdict(Enum):
    RUN = "run"
    SKIP_DONE = "skip, it succeeded"
    SKIP_FAILED = "skip, it failed and is not to be retried"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands: number of the file among those read, byte offset of the line."""

    file_no: int
    offset: int


# line number, repeat index and command text of the line at a place
LineOf = Callable[[Place], tuple[int, int, str]]


@dataclass(slots=True)
class Rows:
    """What some lines say of tasks, each column in their order."""

    task_ids: Sequence[int]
    weights: Sequence[int]
    digests: Sequence[int]


def row_fate(flags: bytes, pid: int, returncode: int) -> Fate:
    """What one row says; UNKNOWN for rows that are not a task's own (per-engine, barrier, late report)."""
    if NO_TASK_FLAGS & set(flags.decode("ascii", "replace")):
        return Fate.UNKNOWN
    if returncode == LOST and pid == NOT_STARTED:
        return Fate.LOST
    return Fate.FAILED if returncode else Fate.DONE


def weight(fate: Fate, file_no: int, offset: int) -> int:
    """Fate and place of a line in one number: of several lines for a task, the one with the largest counts."""
    return (fate << FILE_BITS | file_no) << OFFSET_BITS | offset


def _unweighted(value: int) -> tuple[Fate, Place]:
    which, offset = divmod(value, 1 << OFFSET_BITS)
    fate, file_no = divmod(which, 1 << FILE_BITS)
    return Fate(fate), Place(file_no, offset)


def digest(line_no: int, repeat_index: int, command: bytes) -> int:
    """64 bits that stand for a task's line, repeat index and command (as in the file). Valid in this process alone."""
    return hash((b"%d\t%d" % (line_no, repeat_index), command))


class ResumeTable:
    """Filled row by row with `add`, then asked task by task with `judge`."""

    def __init__(self, *, retry_failed: bool, by_id_only: bool) -> None:
        self._retry_failed = retry_failed
        self._by_id_only = by_id_only
        self._weights = array("q")  # 0 where nothing is known
        self._digests = array("q")
        self._sparse: dict[int, tuple[int, int]] = {}  # the same of ids far out
        self._rows = 0
        self.last_task_id = -1
        self.moved = 0  # tasks judged so far that stand on another line than they did

    def add(self, rows: Rows) -> None:
        """Takes in task rows; among several for one task the better fate wins, then the later row."""
        columns = zip(rows.task_ids, rows.weights, rows.digests, strict=True)
        largest = max(rows.task_ids)
        self._rows += len(rows.task_ids)
        self.last_task_id = max(self.last_task_id, largest)
        limit = max(DENSE_FLOOR, 4 * self._rows)
        if largest >= limit:
            self._add_sparse(columns, limit)
            return
        if largest >= len(self._weights):
            self._grow(largest)
        weights, digests = self._weights, self._digests
        for task_id, value, row_digest in columns:
            if value > weights[task_id]:
                weights[task_id] = value
                digests[task_id] = row_digest

    def _add_sparse(self, rows: Iterable[tuple[int, int, int]], limit: int) -> None:
        for task_id, value, row_digest in rows:
            if task_id < limit:
                self._rows -= 1
                self.add(Rows([task_id], [value], [row_digest]))
            elif value > self._sparse.get(task_id, NOTHING)[0]:
                self._sparse[task_id] = (value, row_digest)

    def knows(self, task_id: int) -> bool:
        """Whether some row speaks of this task."""
        return self._known(task_id) != NOTHING

    def has(self, task_id: int, value: int, row_digest: int) -> bool:
        """Whether a row of this task, with this weight and this digest, is the one that counts."""
        return self._known(task_id) == (value, row_digest)

    def judge(self, task: Task, line_of: LineOf) -> tuple[Verdict, Place | None]:
        """What to do with a task, and where its line is when it is skipped.

        `line_of` reads the line at a place: for a mismatch, an older form, or a task that has moved.
        Raises StatusFileError when the files speak of another task under this id.
        """
        value, row_digest = self._known(task.task_id)
        if not value:
            return Verdict.RUN, None
        fate, place = _unweighted(value)
        text = command_text(task.command)
        if row_digest != digest(task.line_no, task.repeat_index, _as_written(text)):
            line_no, repeat_index, recorded = line_of(place)
            if not self._by_id_only:
                self._compare(task, text, repeat_index, recorded)
            self.moved += line_no != task.line_no
        if fate is Fate.DONE:
            return Verdict.SKIP_DONE, place
        if fate is Fate.LOST or self._retry_failed:
            return Verdict.RUN, None
        return Verdict.SKIP_FAILED, place

    def _compare(self, task: Task, text: str, repeat_index: int, recorded: str) -> None:
        # surrogates, so that bytes that are no UTF-8 compare as they stand in the file
        if repeat_index == task.repeat_index and text in (recorded, unquoted_command(recorded)):
            return
        repeated = f" (repeat index {task.repeat_index})" if task.repeat_index != -1 else ""
        was_repeated = f" (repeat index {repeat_index})" if repeat_index != -1 else ""
        raise StatusFileError(
            f"task {task.task_id} (line {task.line_no}) is not the task that the status file records\n"
            f"    now:      {text}{repeated}\n"
            f"    recorded: {recorded}{was_repeated}\n"
            "    Give the task file of that run, or --force-resume to go by task ids alone"
        )

    def _known(self, task_id: int) -> tuple[int, int]:
        far = self._sparse.get(task_id, NOTHING)
        if task_id >= len(self._weights):
            return far
        return max(far, (self._weights[task_id], self._digests[task_id]))

    def _grow(self, task_id: int) -> None:
        # in proportion, so that growing stays linear in all; an eighth, as there may be ten million
        more = task_id + 1024 + (task_id >> 3) - len(self._weights)
        for column in (self._weights, self._digests):
            column.frombytes(bytes(column.itemsize * more))


def _as_written(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

"""What earlier runs did: which tasks to skip, which to run again, and which do not belong to this task list.

Memory is for ten million lines: for each task id a digest, the place of its line and one byte, in flat arrays.
Reading the files belongs to `runtime.resume`. Source of the rules: the team's format rules ("Resume").
"""

from array import array
from collections.abc import Callable
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


@dataclass(slots=True)
class _Entry:
    fate: Fate
    digest: int
    line_no: int
    place: Place


def row_fate(flags: bytes, pid: int, returncode: int) -> Fate:
    """What one row says; UNKNOWN for rows that are not a task's own (per-engine, barrier, late report)."""
    if NO_TASK_FLAGS & set(flags.decode("ascii", "replace")):
        return Fate.UNKNOWN
    if returncode == LOST and pid == NOT_STARTED:
        return Fate.LOST
    return Fate.FAILED if returncode else Fate.DONE


def digest(repeat_index: int, command: bytes) -> int:
    """64 bits that stand for a task's repeat index and command (as in the file). Valid in this process alone."""
    return hash((repeat_index, command))


class ResumeTable:
    """Filled row by row with `add`, then asked task by task with `judge`."""

    def __init__(self, *, retry_failed: bool, by_id_only: bool) -> None:
        self._retry_failed = retry_failed
        self._by_id_only = by_id_only
        self._fates = bytearray()
        self._digests = array("q")
        self._offsets = array("q")
        self._lines = array("L")
        self._files = bytearray()
        self._sparse: dict[int, _Entry] = {}
        self._rows = 0
        self.last_task_id = -1
        self.moved = 0  # tasks judged so far that stand on another line than they did

    def add(self, task_id: int, line_no: int, fate: Fate, row_digest: int, file_no: int, offset: int) -> None:
        """Takes in one task row; among several for one task the better fate wins, then the later row."""
        self._rows += 1
        if task_id > self.last_task_id:
            self.last_task_id = task_id
        if task_id >= len(self._fates) or file_no > 255:
            if task_id >= max(DENSE_FLOOR, 4 * self._rows) or file_no > 255:
                self._add_sparse(task_id, _Entry(fate, row_digest, line_no, Place(file_no, offset)))
                return
            self._grow(task_id)
        if fate >= self._fates[task_id]:
            self._fates[task_id] = fate
            self._digests[task_id] = row_digest
            self._lines[task_id] = line_no
            self._offsets[task_id] = offset
            self._files[task_id] = file_no

    def judge(self, task: Task, line_of: Callable[[Place], tuple[int, str]]) -> tuple[Verdict, Place | None]:
        """What to do with a task, and where its line is when it is skipped.

        `line_of` reads (repeat index, command text) of the line at a place: for a mismatch only, or an older form.
        Raises StatusFileError when the files speak of another task under this id.
        """
        entry = self._entry(task.task_id)
        if entry is None:
            return Verdict.RUN, None
        text = command_text(task.command)
        if not self._by_id_only and entry.digest != digest(task.repeat_index, _as_written(text)):
            self._compare(task, text, *line_of(entry.place))
        self.moved += entry.line_no != task.line_no
        if entry.fate is Fate.DONE:
            return Verdict.SKIP_DONE, entry.place
        if entry.fate is Fate.LOST or self._retry_failed:
            return Verdict.RUN, None
        return Verdict.SKIP_FAILED, entry.place

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
            "Give the task file of that run, or --force-resume to go by task ids alone"
        )

    def _entry(self, task_id: int) -> _Entry | None:
        far = self._sparse.get(task_id) if self._sparse else None
        fate = self._fates[task_id] if task_id < len(self._fates) else Fate.UNKNOWN
        if far is not None and far.fate >= fate:
            return far
        if fate == Fate.UNKNOWN:
            return None
        place = Place(self._files[task_id], self._offsets[task_id])
        return _Entry(Fate(fate), self._digests[task_id], self._lines[task_id], place)

    def _grow(self, task_id: int) -> None:
        # in proportion, so that growing stays linear in all; an eighth, as there may be ten million
        more = task_id + 1024 + (task_id >> 3) - len(self._fates)
        self._fates.extend(bytes(more))
        self._files.extend(bytes(more))
        for column in (self._digests, self._offsets, self._lines):
            column.frombytes(bytes(column.itemsize * more))

    def _add_sparse(self, task_id: int, entry: _Entry) -> None:
        known = self._sparse.get(task_id)
        if known is None or entry.fate >= known.fate:
            self._sparse[task_id] = entry


def _as_written(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

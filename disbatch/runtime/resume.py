"""Reads status files of earlier runs into a `ResumeTable`, and their lines again when they are copied as skipped."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from disbatch.core.columns import rows_of
from disbatch.core.errors import StatusFileError
from disbatch.core.model import Task
from disbatch.core.resume import FILE_BITS, Fate, Place, ResumeTable, Rows, Verdict, digest, row_fate, weight
from disbatch.core.status import BOM, FIELDS, FLAGS, as_skipped, parse_record
from disbatch.runtime.settings import LINE_LIMIT
from kvsstcp.trustedfile import open_trusted

STATUS_LINE_LIMIT = (
    4 * LINE_LIMIT
)  # a PREFIX, a command and a SUFFIX of LINE_LIMIT each, and the other fields
BLOCK = 1 << 15  # small, so that its lines, in pieces, stay in the processor's cache
QUOTES = (b"'", b'"')


class ResumeFiles:
    """The status files given with -r. `judge` is what the driver core asks for each task."""

    def __init__(
        self, paths: tuple[str, ...], *, retry_failed: bool, by_id_only: bool, own: str | None = None
    ) -> None:
        self.earlier = paths
        self.paths = paths if own is None else (*paths, own)
        self.own = own
        self.barriers: set[int] = set()  # task ids of those that have a line in `own`
        self.commands: set[tuple[str, int]] = set()  # node and PID of PERENGINE commands that have one
        # in the file that is written on, every line is final, and none is copied
        self._done_here = ResumeTable(retry_failed=False, by_id_only=by_id_only)
        self.notes: list[str] = []
        self._table = ResumeTable(retry_failed=retry_failed, by_id_only=by_id_only)
        self._files: list[BinaryIO] = []
        self._stamps: list[tuple[int, int]] = []  # of each file, when it was read
        try:
            for path in self.paths:
                self._read(path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing more will be copied from the files."""
        for file in self._files:
            file.close()

    @property
    def last_task_id(self) -> int:
        """The largest task id in the files, -1 when they have none."""
        return max(self._table.last_task_id, self._done_here.last_task_id)

    @property
    def last_own_task_id(self) -> int:
        """The largest task id in `own`, -1 when it has none."""
        return self._done_here.last_task_id

    def has_line(self, task_id: int) -> bool:
        """Whether this task has one in `own`."""
        return self._done_here.knows(task_id)

    @property
    def moved(self) -> int:
        """How many of the tasks judged so far stand on another line than in the files."""
        return self._table.moved + self._done_here.moved

    def judge(self, task: Task) -> tuple[Verdict, Place | None]:
        """Whether to run the task, and the line to copy when not. Raises StatusFileError when the files speak of another
        one."""
        if self.own:
            verdict, _ = self._done_here.judge(task, self._identity)
            if verdict is not Verdict.RUN:
                return verdict, None
        return self._table.judge(task, self._identity)

    def skipped_lines(self, places: Sequence[Place]) -> list[bytes]:
        """The lines at these places, with their ends, marked as skipped. Empty for one that is there no longer, as its file has
        been changed since it was read."""
        lines = [self._line_or_nothing(place) for place in places]
        # after the lines were read, so that no change in between is missed
        changed = {number for number, file in enumerate(self._files) if _stamp(file) != self._stamps[number]}
        if changed:
            pairs = zip(lines, places, strict=True)
            lines = [
                line if place.file_no not in changed or self._is_line_of(line, place) else b""
                for line, place in pairs
            ]
        return [as_skipped(line) if line else b"" for line in lines]

    def follow(self, renamed: str) -> None:
        """A file that may be one of these has this path now."""
        with contextlib.suppress(OSError):
            now = os.stat(renamed)
            same = [os.path.samestat(os.fstat(file.fileno()), now) for file in self._files]
            self.paths = tuple([renamed if it else path for path, it in zip(self.paths, same, strict=True)])
            self.earlier = self.paths if self.own is None else self.paths[:-1]

    def name_of(self, place: Place) -> str:
        """The path of the file that a line is in."""
        return self.paths[place.file_no]

    def _line_or_nothing(self, place: Place) -> bytes:
        with contextlib.suppress(StatusFileError, OSError):
            return self._line(place)
        return b""

    def _is_line_of(self, line: bytes, place: Place) -> bool:
        """Whether this is the line that was read at this place."""
        with contextlib.suppress(ValueError, IndexError):
            fields = line.split(b"\t", FIELDS - 1)
            fate = row_fate(fields[0], int(fields[5]), int(fields[6]))
            row = digest(int(fields[2]), int(fields[3]), fields[FIELDS - 1].removesuffix(b"\r"))
            return self._table.has(int(fields[1]), weight(fate, place.file_no, place.offset), row)
        return False

    def _identity(self, place: Place) -> tuple[int, int, str]:
        fields = self._line(place).removesuffix(b"\r").split(b"\t", FIELDS - 1)
        try:
            return int(fields[2]), int(fields[3]), fields[FIELDS - 1].decode("utf-8", "surrogateescape")
        except (ValueError, IndexError):
            raise StatusFileError(f"{self.name_of(place)} was overwritten while it was read") from None

    def _line(self, place: Place) -> bytes:
        fd = self._files[place.file_no].fileno()
        size, data = 4096, b""
        while b"\n" not in data:
            data = os.pread(fd, size, place.offset)
            if len(data) < size and b"\n" not in data:
                raise StatusFileError(f"{self.paths[place.file_no]} has become shorter while it was read")
            size *= 4
        return data[: data.index(b"\n")]

    def _read(self, path: str) -> None:
        try:
            # stays open: skipped lines are copied from it later
            file = os.fdopen(open_trusted(path), "rb", buffering=0)
        except OSError as error:
            raise StatusFileError(f"cannot read the status file {path}: {error.strerror}") from None
        file_no = len(self._files)
        self._files.append(file)
        self._stamps.append(_stamp(file))
        if file_no >= 1 << FILE_BITS:
            raise StatusFileError(f"{path}: more than {1 << FILE_BITS} status files")
        offset, number, own = 0, 1, self._is_own(file_no)
        for block in _blocks(file.fileno(), path):
            if not offset and block.startswith(BOM):
                block, offset = block[len(BOM) :], len(BOM)
                self.notes.append(f"{path} begins with a byte-order mark: it is passed over")
            if not block.endswith(b"\n"):
                self.notes.append(f"{path}, line {number}: the last line is torn off, it is ignored")
                break
            rows = rows_of(block, file_no, offset, Fate.FAILED if own else Fate.LOST)
            if rows is None:
                number += self._lines(block, file_no, offset, number)
            else:
                (self._done_here if own else self._table).add(rows)
                number += len(rows.task_ids)
            offset += len(block)

    def _is_own(self, file_no: int) -> bool:
        return self.own is not None and file_no == len(self.paths) - 1

    def _lines(self, block: bytes, file_no: int, offset: int, first: int) -> int:
        lines = block[:-1].split(b"\n")
        for number, line in enumerate(lines, first):
            self._row(line, file_no, offset, number)
            offset += len(line) + 1
        return len(lines)

    def _row(self, line: bytes, file_no: int, offset: int, number: int) -> None:
        """One complete line, without its end. The quick way for what we write ourselves; what is odd is looked at closely."""
        path = self.paths[file_no]
        fields = line.split(b"\t", FIELDS - 1)
        try:
            flags, command = fields[0], fields[14]
            task_id, line_no, repeat = int(fields[1]), int(fields[2]), int(fields[3])
            pid, code = int(fields[5]), int(fields[6])
            float(fields[7]), float(fields[8]), float(fields[9]), int(fields[10]), int(fields[12])
            quick = fields[11][:1] in QUOTES and fields[13][:1] in QUOTES and not flags.translate(None, FLAGS)
        except (ValueError, IndexError):
            quick = False
        if not quick:
            record = parse_record(line, f"{path}, line {number}")
            if record is None:
                return
            flags, command = record.flags.encode("ascii"), fields[14]
            task_id, line_no, repeat, pid, code = (
                record.task_id,
                record.line_no,
                record.repeat_index,
                record.pid,
                record.returncode,
            )
        if task_id < 0 or not 0 <= line_no < 1 << 63:
            raise StatusFileError(f"{path}, line {number}: not a status line: task {task_id}, line {line_no}")
        fate = row_fate(flags, pid, code)
        table = self._table
        if self._is_own(file_no):
            table, fate = self._done_here, Fate.FAILED if fate is Fate.LOST else fate
            if not fate and flags[:1] in (b"B", b"C"):
                self.barriers.add(task_id)
            elif not fate:
                self.commands.add((fields[4].decode("utf-8", "replace"), pid))
        if fate:
            row = digest(line_no, repeat, command.removesuffix(b"\r"))
            table.add(Rows([task_id], [weight(fate, file_no, offset)], [row]))


def _stamp(file: BinaryIO) -> tuple[int, int]:
    """What changes when it is written to: its size, and the time of the last write."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _blocks(fd: int, path: str) -> Iterator[bytes]:
    """Complete lines, some at a time. What the last line has without its end comes last, by itself. Raises StatusFileError
    for a line that no run can have written."""
    offset, parts = 0, list[bytes]()
    while data := os.pread(fd, BLOCK, offset):
        end = data.rfind(b"\n") + 1
        offset += end or len(data)
        if not end:
            parts.append(data)
            if len(parts) * BLOCK > STATUS_LINE_LIMIT:
                limit = f"{STATUS_LINE_LIMIT >> 20} MiB"
                raise StatusFileError(f"{path}: a line of more than {limit}; is this a status file?")
        elif parts:
            yield b"".join((*parts, data[:end]))
            parts.clear()
        else:
            yield data[:end]
    if parts:
        yield b"".join(parts)

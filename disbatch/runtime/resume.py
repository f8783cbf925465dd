"""Reads status files of earlier runs into a `ResumeTable`, and their lines again when they are copied as skipped."""

import os
from collections.abc import Iterator
from typing import BinaryIO

from disbatch.core.errors import StatusFileError
from disbatch.core.model import Task
from disbatch.core.resume import Fate, Place, ResumeTable, Verdict, digest, row_fate
from disbatch.core.status import FLAGS, as_skipped, parse_record

BLOCK = 1 << 20
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

    def skipped_line(self, place: Place) -> bytes:
        """The line at a place, with its end, marked as skipped."""
        return as_skipped(self._line(place))

    def _identity(self, place: Place) -> tuple[int, str]:
        record = parse_record(self._line(place), self.paths[place.file_no])
        assert record is not None
        return record.repeat_index, record.command

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
            file = open(path, "rb", buffering=0)  # noqa: SIM115 - stays open: skipped lines are copied from it later
            if os.path.isdir(path):
                raise IsADirectoryError(21, "it is a folder")
        except OSError as error:
            raise StatusFileError(f"cannot read the status file {path}: {error.strerror}") from None
        file_no = len(self._files)
        self._files.append(file)
        offset = 0
        for number, line in enumerate(_blocks_of_lines(file.fileno()), 1):
            if not line.endswith(b"\n"):
                self.notes.append(f"{path}, line {number}: the last line is torn off, it is ignored")
                break
            self._row(line, file_no, offset, path, number)
            offset += len(line)

    def _row(self, line: bytes, file_no: int, offset: int, path: str, number: int) -> None:
        """One complete line. The quick way for what we write ourselves; anything odd is looked at closely."""
        fields = line[:-1].split(b"\t", 14)
        try:
            flags, command = fields[0], fields[14]
            task_id, line_no, repeat = int(fields[1]), int(fields[2]), int(fields[3])
            pid, code = int(fields[5]), int(fields[6])
            float(fields[7]), float(fields[8]), float(fields[9]), int(fields[10]), int(fields[12])
            quick = fields[11][:1] in QUOTES and fields[13][:1] in QUOTES and not flags.translate(None, FLAGS)
        except (ValueError, IndexError):
            quick = False
        if not quick:
            record = parse_record(line[:-1], f"{path}, line {number}")
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
        if path == self.own and file_no == len(self.paths) - 1:
            table, fate = self._done_here, Fate.FAILED if fate is Fate.LOST else fate
            if not fate and flags[:1] in (b"B", b"C"):
                self.barriers.add(task_id)
            elif not fate:
                self.commands.add((fields[4].decode("utf-8", "replace"), pid))
        if fate:
            row = digest(repeat, command.removesuffix(b"\r"))
            table.add(task_id, line_no, fate, row, file_no, offset)


def _blocks_of_lines(fd: int) -> Iterator[bytes]:
    """Lines with their ends; the last may have none."""
    offset, rest = 0, b""
    while data := os.pread(fd, BLOCK, offset):
        offset += len(data)
        start = 0
        data = rest + data
        while (end := data.find(b"\n", start)) >= 0:
            yield data[start : end + 1]
            start = end + 1
        rest = data[start:]
    if rest:
        yield rest

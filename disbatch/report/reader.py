"""Reads status files into `Rows`, and single lines of them again when a report shows a command."""

import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from typing import BinaryIO

from disbatch.core.errors import StatusFileError
from disbatch.core.status import BOM, FLAGS, StatusRecord, parse_record
from disbatch.report.rows import Rows

BLOCK = 1 << 22
MAX_LINE = 1 << 24  # many times what a command line may have: what goes on longer is no status file
_HEADER = b"ROE["


class StatusFiles:
    """Some status files, read once; stays open so that lines can be fetched. Use as a context manager.

    `paths` are those that were read: a file that was given twice counts once. `notes` are remarks for the user.
    Raises StatusFileError for what is no status file.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths: list[str] = []
        self.notes: list[str] = []
        self._files: list[BinaryIO] = []
        self.rows = Rows(several=len(paths) > 1)
        seen: set[tuple[int, int]] = set()
        try:
            for path in paths:
                file = _open(path)
                self._files.append(file)
                about = os.fstat(file.fileno())
                if (about.st_dev, about.st_ino) in seen:
                    self.notes.append(f"{path} was given twice: it is read once")
                    self._files.pop().close()
                    continue
                seen.add((about.st_dev, about.st_ino))
                self.paths.append(path)
                self._read(path, file)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "StatusFiles":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """No more lines will be fetched."""
        for file in self._files:
            file.close()

    def record(self, row: int) -> StatusRecord:
        """The whole record of a row, read from its file again."""
        path, offset = self.paths[self.rows.run[row]], self.rows.offset[row]
        fd = self._files[self.rows.run[row]].fileno()
        size, data = 4096, b""
        while b"\n" not in data:
            data = os.pread(fd, size, offset)
            if len(data) < size and b"\n" not in data:
                raise StatusFileError(f"{path} has become shorter while it was read")
            size *= 4
        record = parse_record(data[: data.index(b"\n")], path)
        if record is None:
            raise StatusFileError(f"{path} has changed while it was read")
        return record

    def _read(self, path: str, file: BinaryIO) -> None:
        add, run, number, offset, rest = self.rows.add, len(self.paths) - 1, 0, 0, b""
        while data := file.read(BLOCK):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            if not number and lines and lines[0].startswith(BOM):
                lines[0], offset = lines[0][len(BOM) :], len(BOM)
            for line in lines:
                number += 1
                add(line, run, offset, (path, number))
                offset += len(line) + 1
            if len(rest) > MAX_LINE:
                raise StatusFileError(f"{path}, line {number + 1}: not a status line: it does not end")
        if rest:
            self._torn(rest, path, number + 1)

    def _torn(self, rest: bytes, path: str, number: int) -> None:
        """A last line without its end is ignored, unless it cannot be the beginning of a status line."""
        flags = rest.split(b"\t", 1)[0]
        if not flags.startswith(_HEADER) and (flags.translate(None, FLAGS) or len(flags) > 5):
            shown = rest[:60].decode("utf-8", "replace")
            raise StatusFileError(f"{path}, line {number}: not a status line: {shown!r}")
        self.notes.append(f"{path}, line {number}: the last line is not complete (yet), it is ignored")


def _open(path: str) -> BinaryIO:
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - stays open: lines are fetched from it later
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        with file:  # a pipe: lines are fetched from a copy
            copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            shutil.copyfileobj(file, copy, BLOCK)
            copy.seek(0)
            return copy
    except OSError as error:
        hint = ""
        if os.path.exists(path + "_status.txt"):
            hint = f"; there is {path}_status.txt"
        raise StatusFileError(f"cannot read the status file {path}: {error.strerror}{hint}") from None

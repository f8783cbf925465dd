"""The driver's rows on their way to the disk, and who is told when they are there: results, observers, the core.

Also what is done when they cannot be written.
"""

import asyncio
import contextlib
import queue
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from disbatch.core.driver_events import DiskGivenUp, Event, Level, Record, RowsLost, Written
from disbatch.core.resume import Place
from disbatch.core.status import StatusRecord, format_record, parse_record
from disbatch.runtime.appendfile import AppendFile, FileChange
from disbatch.runtime.charges import ChargesFile
from disbatch.runtime.filechanges import FileChanges
from disbatch.runtime.files import RunFiles
from disbatch.runtime.observers import Observers
from disbatch.runtime.results import ResultPublisher
from disbatch.runtime.resume import ResumeFiles
from disbatch.runtime.statusfile import StatusWriter
from disbatch.runtime.usagefile import UsageFile

T = TypeVar("T")


class Happened(Protocol):
    def __call__(self, *events: Event) -> None: ...


class Recording:
    """`happened` takes events for the core, `tell` what the user has to know. Belongs to the loop in which it is made."""

    def __init__(
        self,
        status_fd: int,
        files: RunFiles,
        resume: ResumeFiles | None,
        observers: Observers,
        happened: Happened,
        tell: Callable[[str, Level], None],
        fsync: str,
    ) -> None:
        self.results: ResultPublisher | None = None  # for a program that feeds tasks
        self._files = files
        self._resume = resume
        self._observers = observers
        self._happened = happened
        self._tell = tell
        self._fails = False
        self._in_a_hurry = False
        self._loop = asyncio.get_running_loop()
        self._changes = FileChanges(files.status, lambda text: happened(RowsLost(text)), tell)
        self._changed = queue.SimpleQueue[FileChange]()  # what the thread has seen
        self._writer = StatusWriter(
            AppendFile(status_fd, files.status, self._saw_change),
            lambda batches: self._from_thread(self._wrote, batches),
            lambda reason: self._from_thread(self._trouble, reason),
            UsageFile(
                files.usage,
                lambda reason: self._from_thread(self._usage_trouble, reason),
                self._saw_change,
            ),
            fsync,
            ChargesFile(files.limits, self._saw_change),
        )

    def record(self, effect: Record) -> None:
        """Appends a batch; the core is told once it is on disk."""
        rows = effect.rows
        if self._observers:
            self._observers.remember(effect.batch, rows)
        lines = self._lines(rows)
        if self.results:
            pairs = zip(rows, lines, strict=True)
            self.results.remember(effect.batch, [self._record_of(row, line) for row, line in pairs if line])
        usage = "".join(effect.usage).encode("utf-8", "surrogateescape")
        charges = "".join(effect.charges).encode("ascii")
        self._writer.append(effect.batch, b"".join(lines), usage, charges)

    def hurry(self) -> None:
        """The run has to stop: a disk that fails, now or later, is not waited for."""
        self._in_a_hurry = True
        if self._fails:
            self._give_up()

    def close(self, seconds: float) -> None:
        """Writes what is left, for so long at most. The core is told when that did not do, or when lines are lost."""
        self._writer.close(seconds)
        self._tell_changes()
        if not self._writer.complete:
            self._happened(DiskGivenUp())

    def _lines(self, rows: Sequence[StatusRecord | Place]) -> list[bytes]:
        """The lines of these rows; an empty one for what cannot be copied."""
        places = [row for row in rows if isinstance(row, Place)]
        if not places:
            return [format_record(row) for row in rows if isinstance(row, StatusRecord)]
        assert self._resume is not None
        copied = self._resume.skipped_lines(places)
        for path in {self._resume.name_of(p) for p, line in zip(places, copied, strict=True) if not line}:
            # not now: the core is waiting for its effects to be carried out
            self._loop.call_soon(self._changes.not_copied, path)
        rest = iter(copied)
        return [next(rest) if isinstance(row, Place) else format_record(row) for row in rows]

    def _record_of(self, row: StatusRecord | Place, line: bytes) -> StatusRecord:
        if isinstance(row, StatusRecord):
            return row
        record = parse_record(line.rstrip(b"\n"), self._files.status)
        assert record is not None
        return record

    def _from_thread(self, function: Callable[[T], None], argument: T) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
            self._loop.call_soon_threadsafe(function, argument)

    def _saw_change(self, change: FileChange) -> None:
        self._changed.put(change)
        self._from_thread(lambda _: self._tell_changes(), None)

    def _tell_changes(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._changes.happened(self._changed.get_nowait())

    def _wrote(self, batches: list[int]) -> None:
        for batch in batches:
            if self.results:
                self.results.written(batch)
            if self._observers:
                self._observers.written(batch)
        self._happened(*[Written(batch) for batch in batches])

    def _trouble(self, reason: str) -> None:
        self._fails = bool(reason)
        path = self._files.status
        if not reason:
            self._tell(f"{path} can be written again; the run goes on", "error")
            return
        self._tell(
            f"cannot write {path}: {reason}. Results are kept, nothing more is started until it can be written",
            "error",
        )
        if self._in_a_hurry:
            self._give_up()

    def _usage_trouble(self, reason: str) -> None:
        self._tell(f"cannot write {self._files.usage}: {reason}. The run goes on without it", "warning")

    def _give_up(self) -> None:
        self._writer.give_up()
        self._happened(DiskGivenUp())

"""The one writer of the status file: a thread, so that a file system that hangs never stops the event loop.

A second thread syncs: on a busy disk that takes a second, and results must not wait for it.

Lines of a batch are appended whole (`appendfile`). A write that fails (disk full, quota, a folder that is gone) is tried again
until it succeeds or the run gives up. At the end it is looked whether all lines are still there.
"""

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from disbatch.runtime.appendfile import AppendFile
from disbatch.runtime.settings import FSYNC_S, WRITE_RETRY_S

Written = Callable[[list[int]], None]
Trouble = Callable[[str], None]


class Beside(Protocol):
    """A file that is written with it, in the same thread, and that nobody waits for."""

    def append(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Before(Protocol):
    """A file whose lines have to be there first; what cannot be written to it is tried again likewise."""

    def append(self, data: bytes) -> None: ...

    def sync(self) -> None: ...


class StatusWriter:
    """Appends batches of lines in order. `written(batches)` and `trouble(text)` are called in the writer's thread.

    `trouble` gets the reason when writing begins to fail, and an empty text when it works again. With `fsync` always, a batch
    is written once it is on the disk, and not before.
    """

    def __init__(
        self,
        file: AppendFile,
        written: Written,
        trouble: Trouble,
        beside: Beside | None = None,
        fsync: str = "interval",
        before: Before | None = None,
    ) -> None:
        self._file = file
        self._fsync = fsync  # none, interval, always: see --fsync
        self._beside = beside
        self._before = before
        self._written = written
        self._trouble = trouble
        self._queue: queue.SimpleQueue[tuple[int, bytes, bytes, bytes] | None] = queue.SimpleQueue()
        self._give_up = threading.Event()
        self._failing = ""
        self._dirty = False  # written since the last sync
        self.complete = False  # at the end all lines were seen to be in the file
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status writer", daemon=True)
        self._thread.start()
        threading.Thread(target=self._sync_often, name="status syncer", daemon=True).start()

    def append(self, batch: int, data: bytes, beside: bytes = b"", before: bytes = b"") -> None:
        """Queues whole lines; `written` will name the batch once they are in the file. `beside` and `before` are for the
        others."""
        self._queue.put((batch, data, beside, before))

    def close(self, timeout_s: float) -> bool:
        """Writes what is queued, syncs, closes. False when that was not done in time: the rest is given up."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        done = not self._thread.is_alive()
        if not done:
            self.give_up()
        return done

    def give_up(self) -> None:
        """No more tries: the run has to end although the disk is full."""
        self._give_up.set()

    def _run(self) -> None:
        ended = False
        try:
            while not ended:
                batches, data, beside, before, ended = self._collect()
                if before and self._before and not self._write(self._before.append, before):
                    return
                if data and not self._write(self._file.append, data):
                    return
                self._dirty = self._dirty or bool(data)
                if self._fsync == "always":
                    self._sync()
                if batches:
                    self._written(batches)
                if beside and self._beside:
                    self._beside.append(beside)
            # what is acknowledged is in no other place: it has to be there when the run says how it ended
            self.complete = self._try(lambda: self._file.settle(all_kept=True))
            self._sync()
        finally:
            if self._beside:
                self._beside.close()
            self._ended.set()

    def _sync_often(self) -> None:
        while not self._ended.wait(FSYNC_S):
            self._sync()
        os.close(self._file.fd)

    def _collect(self) -> tuple[list[int], bytes, bytes, bytes, bool]:
        """All that is queued now (waiting for a first one): batch numbers, their lines, those for the files beside and
        before, whether it was the last."""
        found: list[tuple[int, bytes, bytes, bytes]] = []
        entry = self._queue.get()
        with contextlib.suppress(queue.Empty):
            while entry is not None:
                found.append(entry)
                entry = self._queue.get_nowait()
        lines = b"".join([data for _, data, _, _ in found])
        beside = b"".join([data for _, _, data, _ in found])
        before = b"".join([data for _, _, _, data in found])
        return [batch for batch, _, _, _ in found], lines, beside, before, entry is None

    def _write(self, append: Callable[[bytes], None], data: bytes) -> bool:
        return self._try(lambda: append(data))

    def _try(self, what: Callable[[], None]) -> bool:
        """Does it as often as it takes. False when the run has given up before."""
        while True:
            try:
                what()
                if self._failing:
                    self._failing = ""
                    self._trouble("")
                return True
            except OSError as error:
                reason = error.strerror or str(error)
                if reason != self._failing:
                    self._failing = reason
                    self._trouble(reason)
                if self._give_up.wait(WRITE_RETRY_S):
                    return False

    def _sync(self) -> None:
        if not self._dirty or self._fsync == "none":
            return
        self._dirty = False  # before the sync: what is written during it is for the next one
        with contextlib.suppress(OSError):
            if self._before:
                self._before.sync()
        with contextlib.suppress(OSError):  # not every file system can; the lines are written all the same
            os.fsync(self._file.fd)

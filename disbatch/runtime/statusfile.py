"""The one writer of the status file: a thread, so that a file system that hangs never stops the event loop.

A second thread syncs: on a busy disk that takes a second, and results must not wait for it.

Lines of a batch are appended whole (`appendfile`). A write that fails (disk full, quota, a folder that is gone) is tried again
until it succeeds or the run gives up.
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
    ) -> None:
        self._file = file
        self._fsync = fsync  # none, interval, always: see --fsync
        self._beside = beside
        self._written = written
        self._trouble = trouble
        self._queue: queue.SimpleQueue[tuple[int, bytes, bytes] | None] = queue.SimpleQueue()
        self._give_up = threading.Event()
        self._failing = ""
        self._dirty = False  # written since the last sync
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status writer", daemon=True)
        self._thread.start()
        threading.Thread(target=self._sync_often, name="status syncer", daemon=True).start()

    def append(self, batch: int, data: bytes, beside: bytes = b"") -> None:
        """Queues whole lines; `written` will name the batch once they are in the file. `beside` is for the other one."""
        self._queue.put((batch, data, beside))

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
                batches, data, beside, ended = self._collect()
                if data and not self._write(data):
                    return
                self._dirty = self._dirty or bool(data)
                if self._fsync == "always":
                    self._sync()
                if batches:
                    self._written(batches)
                if beside and self._beside:
                    self._beside.append(beside)
            self._sync()
        finally:
            if self._beside:
                self._beside.close()
            self._ended.set()

    def _sync_often(self) -> None:
        while not self._ended.wait(FSYNC_S):
            self._sync()
        os.close(self._file.fd)

    def _collect(self) -> tuple[list[int], bytes, bytes, bool]:
        """All that is queued now (waiting for a first one): batch numbers, their lines, those for the file beside, whether
        it was the last."""
        batches: list[int] = []
        parts: list[bytes] = []
        beside: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            entry = self._queue.get()
            while entry is not None:
                batches.append(entry[0])
                parts.append(entry[1])
                beside.append(entry[2])
                entry = self._queue.get_nowait()
            return batches, b"".join(parts), b"".join(beside), True
        return batches, b"".join(parts), b"".join(beside), False

    def _write(self, data: bytes) -> bool:
        while True:
            try:
                self._file.append(data)
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
        with contextlib.suppress(OSError):  # not every file system can; the lines are written all the same
            os.fsync(self._file.fd)

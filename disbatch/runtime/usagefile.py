"""PREFIX_usage.txt, written by the thread that writes the status file, after it. The run never waits for it."""

import os
from collections.abc import Callable

from disbatch.core.usage import HEADER
from disbatch.runtime.appendfile import AppendFile, FileChange
from kvsstcp.ownfile import open_to_append

KEPT_BYTES = 1 << 20  # some 15,000 lines: it is less precious than the status file


class UsageFile:
    """Created with the first lines. `trouble(text)` is called once, when it cannot be written; it is left alone then.
    `changed` is told what other programs have done to it (`appendfile`)."""

    def __init__(
        self,
        path: str,
        trouble: Callable[[str], None],
        changed: Callable[[FileChange], None] = lambda change: None,
    ) -> None:
        self._path = path
        self._trouble = trouble
        self._changed = changed
        self._file: AppendFile | None = None
        self._failed = False

    def append(self, data: bytes) -> None:
        """Appends whole lines, or nothing."""
        if self._failed:
            return
        try:
            if self._file is None:
                # the prefix is the run's: a file that is there already is of the driver before this one
                fd = open_to_append(self._path, os.O_RDWR)
                self._file = AppendFile(fd, self._path, self._changed, KEPT_BYTES)
                data = data if os.fstat(fd).st_size else HEADER + data
            self._file.append(data)
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        if self._file is None:
            return
        try:
            if not self._failed:
                self._file.settle(all_kept=True)
        except OSError as error:
            self._fail(error)
        os.close(self._file.fd)
        self._file = None

    def _fail(self, error: OSError) -> None:
        self._failed = True
        self._trouble(error.strerror or str(error))

"""PREFIX_usage.txt, written by the thread that writes the status file, after it. The run never waits for it."""

import contextlib
import os
from collections.abc import Callable

from disbatch.core.usage import HEADER


class UsageFile:
    """Created with the first lines. `trouble(text)` is called once, when it cannot be written; it is left alone then."""

    def __init__(self, path: str, trouble: Callable[[str], None]) -> None:
        self._path = path
        self._trouble = trouble
        self._fd = -1
        self._size = 0
        self._failed = False

    def append(self, data: bytes) -> None:
        """Appends whole lines, or nothing."""
        if self._failed:
            return
        try:
            if self._fd < 0:
                # the prefix is the run's: a file that is there already is of the driver before this one
                self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
                self._size = os.fstat(self._fd).st_size
                data = data if self._size else HEADER + data
            done = 0
            while done < len(data):
                done += os.write(self._fd, memoryview(data)[done:])
            self._size += done
        except OSError as error:
            self._failed = True
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self._size)
            self._trouble(error.strerror or str(error))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

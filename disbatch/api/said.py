"""What disBatch says, read from a pipe: its last lines for errors, its messages for `logging.getLogger("disbatch")`."""

import contextlib
import logging
import os
import re

LAST_LINES = 12  # of what disBatch said: an error and the words around it
_LAST_BYTES = 4096
_READ_BYTES = 65536
_LINE_MAX = 65536  # a longer line is cut in pieces: nobody reads it, and memory is bounded

_MESSAGE = re.compile(r"disBatch: (?:(?P<level>warning|error): )?|(?P<other>disbatch-ctl: error: )")
_LEVELS = {"warning": logging.WARNING, "error": logging.ERROR}

log = logging.getLogger("disbatch")


class Said:
    """The output of one process. `descriptor` is to be watched by a loop that calls `read`; `writer` is the process's end."""

    def __init__(self) -> None:
        self.descriptor, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.descriptor, False)
        self._last = b""
        self._rest = b""
        self._message: list[str] = []
        self._level = logging.INFO

    def started(self) -> None:
        """The process has its end of the pipe."""
        os.close(self.writer)
        self.writer = -1

    def read(self) -> bool:
        """Take in what is there. Return False when nothing more can come."""
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return True
        self._last = (self._last + data)[-_LAST_BYTES:]
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _LINE_MAX or not data:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._line(line.decode("utf-8", "replace"))
        if not self._rest:
            self._tell()
        return bool(data)

    def close(self) -> str:
        """Read the rest, which does not wait for processes that still have the pipe. Return the last lines."""
        if self.writer >= 0:
            self.started()
        before = None
        while before != self._last and self.read():
            before = self._last
        self._line(self._rest.decode("utf-8", "replace"))
        self._tell()
        with contextlib.suppress(OSError):
            os.close(self.descriptor)
        return "\n".join(self._last.decode("utf-8", "replace").splitlines()[-LAST_LINES:])

    def _line(self, line: str) -> None:
        found = _MESSAGE.match(line)
        if found:
            self._tell()
            self._level = logging.ERROR if found["other"] else _LEVELS.get(found["level"], logging.INFO)
            line = line[found.end() :]
        if line.strip():
            self._message.append(line)

    def _tell(self) -> None:
        if self._message:
            log.log(self._level, "%s", "\n".join(self._message))
        self._message.clear()
        self._level = logging.INFO

"""The logs of driver and engines: for people, one line an event, never anything secret."""

import logging
from io import TextIOWrapper
from types import TracebackType

from disbatch.core.printable import BREAK, printable_message
from kvsstcp.ownfile import open_named, open_to_append


class _LogFile(logging.FileHandler):
    """Writes into nobody else's file; only a name that the user has given may be a link or a device."""

    def __init__(self, path: str, *, named: bool) -> None:
        self._open_file = open_named if named else open_to_append
        super().__init__(path, encoding="utf-8", errors="surrogateescape")

    def _open(self) -> TextIOWrapper:
        return open(self._open_file(self.baseFilename), "w", encoding=self.encoding, errors=self.errors)


def open_log(path: str, level: str, name: str, *, named: bool = False) -> logging.Logger:
    """A logger that appends to `path`, which the user has `named`, or which follows from the prefix. Raises OSError when
    the file cannot be opened, or is somebody else's."""
    logging.raiseExceptions = (
        False  # a log on a full disk is no reason for a traceback on the user's terminal
    )
    handler = _LogFile(path, named=named)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger = logging.getLogger(name)
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    return logger


class _Formatter(logging.Formatter):
    """Begins a line at its first column for each event, and for nothing else: a name cannot forge one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable_message(record.message)
        return super().formatMessage(record)

    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        lines = super().formatException(ei).split("\n")
        return "    " + printable_message(BREAK.join(lines))

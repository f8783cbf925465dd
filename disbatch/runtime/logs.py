"""The logs of driver and engines: for people, one line an event, never anything secret."""

import logging
from io import TextIOWrapper

from disbatch.core.printable import printable_message
from disbatch.runtime.unexpected import in_one_line
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
    handler.setFormatter(_LineFormatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger = logging.getLogger(name)
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    return logger


def quiet_libraries() -> None:
    """What libraries report where nobody has asked for it is not printed: hashlib does, with a traceback, when one of its
    parts cannot be loaded. For programs; in a process of somebody else that is their decision."""
    logging.getLogger().addHandler(logging.NullHandler())


class _LineFormatter(logging.Formatter):
    """Begins a line at its first column for each event, and for nothing else: a name cannot forge one. An error stands on the
    line of its event."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.message = f"{record.getMessage()}: {in_one_line(error)}"
            record.msg, record.args, record.exc_info = record.message, (), None
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable_message(record.message)
        return super().formatMessage(record)

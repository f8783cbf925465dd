"""What the command line programs of this package say on standard error: it never raises, and never waits for a terminal."""

import logging
import os
import select
from collections import deque

STDERR = 2
# lines that wait for a terminal that was stopped
KEPT_LINES = 1000


def say_error(text: str) -> None:
    """Print one line on standard error, if it can be printed."""
    line = (text + "\n").encode("utf-8", "backslashreplace")
    try:
        os.write(STDERR, line)
    except OSError:
        pass


class TerminalLog(logging.Handler):
    """Logs to standard error. A server must not stand still because its terminal does: lines wait, the oldest go first."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._poll = select.poll()
        self._poll.register(STDERR, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        try:
            while self._lines and self._poll.poll(0):
                os.write(STDERR, self._lines.popleft())
        except OSError:
            self._lines.clear()

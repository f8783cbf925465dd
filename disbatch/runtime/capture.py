"""What is kept of the output of a task: how much there was, its beginning and its end."""

import os

from disbatch.core.status import SNIPPET_END

# One read for each descriptor and turn: a task that prints without end must not hold the others up.
READ_BYTES = 65536


class Capture:
    """Counts what comes out of one pipe and keeps its first and last bytes."""

    __slots__ = ("count", "head", "tail")

    def __init__(self) -> None:
        self.count = 0
        self.head = b""
        self.tail = b""

    def feed(self, chunk: bytes) -> None:
        if len(self.head) < SNIPPET_END:
            self.head += chunk[: SNIPPET_END - len(self.head)]
        self.count += len(chunk)
        self.tail = (self.tail + chunk)[-SNIPPET_END:]

    def snippet(self) -> str:
        """Up to 40 bytes whole; of more the first 40, `...` and the last min(n - 40, 40); cut first, then decoded."""
        data = self.head
        if self.count > SNIPPET_END:
            data += b"..." + self.tail[-min(self.count - SNIPPET_END, SNIPPET_END) :]
        return data.decode("utf-8", "replace")


def read_pipe(fd: int, count: int) -> bytes:
    """What can be read; a pipe that fails has ended."""
    try:
        return os.read(fd, count)
    except OSError:
        return b""

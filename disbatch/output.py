"""What a program of disBatch prints: nothing here raises, and nothing waits for a terminal or a reader.

A terminal can be closed, or stopped with Ctrl-S; the reader of a pipe can end, or sleep. The work must not notice. An
`OutputStream` is for programs with an event loop: a thread of its own writes. `protect_streams` is for all that is
printed by `print`: it may wait for a slow reader, as any program does, but an error that it meets is dropped.
"""

import contextlib
import io
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Text that waits for a reader. Beyond it sentences are dropped and counted: they are in the log.
LIMIT_BYTES = 1 << 20
# One write without a thread: a terminal or pipe that can be written at all takes as much.
PIECE_BYTES = 256
# How long the end of a program waits for a terminal that does not take its last words.
END_WAIT_S = 5.0
# for one that does
MOMENT_S = 0.1
# between two tries to write where no thread can be started
LOOK_S = 0.05
ERASE_LINE = b"\r\x1b[2K"
HIDE_CURSOR = b"\x1b[?25l"
SHOW_CURSOR = b"\x1b[?25h"


class OutputStream:
    """Writes sentences, and a status line below them that is drawn again and again, to a descriptor.

    All methods return at once and never raise. A frame of the status line that was not written yet is replaced by the
    next one. After the first error nothing more is written, and `on_failure` is called once with the reason.
    Before `use_thread` was called, only what the descriptor takes without waiting is written: a process with a
    second thread must not fork.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.failure = ""
        self._on_failure: Callable[[str], None] | None = None
        self._threaded = False
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        # what is to be shown below the sentences, and whether a line is on the screen now
        self._status = b""
        self._drawn = False
        self._dirty = False
        self._busy = False

    def use_thread(self, on_failure: Callable[[str], None] | None = None) -> None:
        """From now on a thread writes; it starts with the first text. `on_failure` is called in that thread."""
        self._threaded = True
        self._on_failure = on_failure
        if self.failure and on_failure:
            on_failure(self.failure)
        elif self._lines:
            self._wake()

    def say(self, text: str) -> None:
        """Write `text` as a line of its own, or several."""
        data = text.encode("utf-8", "backslashreplace") + b"\n"
        with self._changed:
            if self.failure:
                return
            if self._waiting_bytes + len(data) > LIMIT_BYTES:
                self._dropped += 1
                return
            self._lines.append(data)
            self._waiting_bytes += len(data)
        self._wake()

    def draw(self, frame: str) -> None:
        """Show `frame`, which fits on one line of the terminal, as the status line. An empty one takes it away."""
        data = frame.encode("utf-8", "backslashreplace")
        with self._changed:
            if self.failure or data == self._status or not self._threaded:
                return
            self._status = data
            self._dirty = True
        self._wake()

    def keep_status(self) -> None:
        """Leave the last frame on the screen; what follows comes below it."""
        with self._changed:
            frame, self._status = self._status, b""
            if not frame or self.failure:
                return
            self._dirty = True
            self._lines.appendleft(frame + b"\n")
        self._wake()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written; return False where that was not possible in time."""
        until = time.monotonic() + timeout_s
        if not self._threaded:
            self._write_without_waiting()
            self._threaded = bool(self._lines)
        while self._pending() and time.monotonic() < until:
            if self._thread is None:
                self._wake()
            with self._changed:
                left_s = until - time.monotonic()
                self._changed.wait_for(self._settled, left_s if self._thread else min(left_s, LOOK_S))
        return not (self.failure or self._pending())

    def _pending(self) -> bool:
        with self._changed:
            return not self._settled()

    def _settled(self) -> bool:
        return bool(self.failure) or not (self._lines or self._dirty or self._busy or self._dropped)

    def _wake(self) -> None:
        if self._threaded and self._thread is None:
            thread = threading.Thread(target=self._run, name="output", daemon=True)
            # where no thread is to be had, the next text tries again
            with contextlib.suppress(RuntimeError), _signals_blocked():
                thread.start()
                self._thread = thread
        if self._thread is None:
            self._write_without_waiting()
        else:
            with self._changed:
                self._changed.notify_all()

    def _run(self) -> None:
        while not self.failure:
            with self._changed:
                while not (self._lines or self._dirty or self._dropped):
                    self._changed.wait()
                data = self._take()
                self._busy = True
            try:
                _write_all(self.fd, data)
            except OSError as error:
                self._fail(error.strerror or str(error))
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _take(self) -> bytes:
        """Return the bytes that bring the screen up to date."""
        parts = [ERASE_LINE] if self._drawn else []
        parts += self._lines
        if self._dropped:
            parts.append(b"disBatch: %d messages were not shown here\n" % self._dropped)
        if bool(self._status) != self._drawn:
            parts.append(HIDE_CURSOR if self._status else SHOW_CURSOR)
        parts.append(self._status)
        self._drawn = bool(self._status)
        self._lines.clear()
        self._waiting_bytes = self._dropped = 0
        self._dirty = False
        return b"".join(parts)

    def _write_without_waiting(self) -> None:
        if data := self._take():
            self._lines.append(data)
            self._waiting_bytes = len(data)
        try:
            while self._lines and _takes_more(self.fd):
                line = self._lines.popleft()
                with _signals_blocked():
                    done = os.write(self.fd, line[:PIECE_BYTES])
                self._waiting_bytes -= done
                if done < len(line):
                    self._lines.appendleft(line[done:])
        except BlockingIOError:
            self._lines.appendleft(line)
        except OSError as error:
            self._fail(error.strerror or str(error))

    def _fail(self, why: str) -> None:
        with self._changed:
            self.failure = why
            self._lines.clear()
            self._dirty = False
            self._dropped = 0
            self._changed.notify_all()
        if self._on_failure:
            self._on_failure(why)


def leave_with(main: Callable[[], int]) -> NoReturn:
    """End the process with what `main` returns, without the interpreter's tidying up, which a short run would notice."""
    protect_streams()
    try:
        code = main()
    except SystemExit as leaving:
        # argparse, after --help and the like
        code = leaving.code if isinstance(leaving.code, int) else 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def print_last(fd: int, lines: list[str], timeout_s: float = END_WAIT_S) -> None:
    """Print the last words of a program. Wait for a reader that sleeps no longer than `timeout_s`."""
    stream = OutputStream(fd)
    for line in lines:
        stream.say(line)
    stream.flush(max(timeout_s, MOMENT_S))


def protect_streams() -> None:
    """Make sure that 0, 1 and 2 are open, or files would take their numbers, and that printing never raises."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _protected(1, sys.stdout), _protected(2, sys.stderr)


def _protected(fd: int, stream: object) -> io.TextIOWrapper:
    """A text stream on `fd` that takes any text and drops what cannot be written."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    lines = fd == 2 or os.isatty(fd)
    raw = io.BufferedWriter(_ForgivingFile(fd))
    return io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=lines)


class _ForgivingFile(io.RawIOBase):
    """A descriptor to write to. After the first error everything is dropped."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._failed = False

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        view = memoryview(data)
        if not self._failed:
            try:
                _write_all(self._fd, bytes(view))
            except OSError:
                self._failed = True
        return view.nbytes


def _write_all(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            # somebody who shares the terminal has made it non-blocking
            select.select([], [fd], [], 1.0)


def _takes_more(fd: int) -> bool:
    """Return True if a short write would not wait. An error is left to the write."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """No signal is handled here, and none is raised: a background job that writes to its terminal would be stopped by
    SIGTTOU where the terminal is set so. A thread that is started here inherits this."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

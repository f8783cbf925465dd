"""Where task lines come from: a regular file, read lazily and checked beforehand, or a stream, read as it comes.

Both are iterators of items, with a byte-order mark and CRLF line ends taken off.
"""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from disbatch.core.errors import MachineError, TaskFileError, UsageError
from disbatch.core.model import Item
from disbatch.core.oddities import Oddities
from disbatch.core.scan import DirectiveCheck, count_tasks
from disbatch.core.status import BOM
from disbatch.core.taskfile import TaskStream, is_directive
from disbatch.runtime.listfile import ListFile
from disbatch.runtime.settings import LINE_LIMIT

CHUNK = 1 << 20
BLOCKS_A_CHUNK = 4  # a file is read in smaller blocks: the first task waits for the lines of one of them
SHOWN_BYTES = 200  # of a line that is too long to be a task
STREAM_BUFFER_LINES = 10_000  # read ahead from a pipe; what writes to it waits beyond that


def open_task_list(path: str) -> BinaryIO:
    """The task list, open for reading. Raises UsageError that says why not."""
    try:
        return (
            os.fdopen(0, "rb", buffering=0, closefd=False) if path == "-" else open(path, "rb", buffering=0)
        )
    except OSError as error:
        hint = ""
        if is_directive(os.fsencode(path)):
            hint = "; a line of a task list goes to standard input, with - in place of the file: echo '#DISBATCH …' | disBatch … -"
        raise UsageError(f"cannot read the task file {path}: {error.strerror}{hint}") from None


def is_regular(file: BinaryIO) -> bool:
    """Whether it can be read more than once: a file, also one that standard input was redirected from."""
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


class Cleaner:
    """Takes a byte-order mark and carriage returns off, and remembers that it did."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._crlf = False
        self._first = True

    def clean(self, line: bytes) -> bytes:
        if line.endswith(b"\r"):
            line = line[:-1]
            if not self._crlf:
                self._crlf = True
                self.notes.append("the task file has CRLF line ends: the carriage returns are taken off")
        if self._first:
            self._first = False
            if line.startswith(BOM):
                line = line[len(BOM) :]
                self.notes.append("the task file begins with a byte-order mark: it is taken off")
        return line


class FileSource:
    """The items of a regular file. `check` first; it costs a look at each directive, not at each line.

    Whatever reads the file raises ListChangedError if it has changed since it was opened (`runtime.listfile`), and MachineError
    if it cannot be read.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.cleaner = Cleaner()
        self.stream = TaskStream(name)  # of the last reading
        self._odd: list[str] = []  # what `check` has found that may not be meant
        self._file = ListFile(file, name, CHUNK // BLOCKS_A_CHUNK)

    def verify(self) -> None:
        """Before items are handed out: raise if the file has changed since it was opened."""
        self._file.verify()

    def check(self) -> None:
        """Raises TaskFileError for the first bad line of the file."""
        check, oddities = DirectiveCheck(), Oddities()
        lines_before = 0
        for chunk in self._chunks():
            oddities.feed(chunk)
            bad = check.feed(chunk)
            if bad is not None:
                line_no = lines_before + chunk.count(b"\n", 0, bad.offset) + 1
                raise TaskFileError(self.name, line_no, bad.line.rstrip(b"\r"), bad.why)
            lines_before += chunk.count(b"\n")
        self._odd = oddities.news()

    def count(self) -> int:
        """The number of tasks; some seconds for ten million lines, so for those who have the time."""
        return sum(count_tasks(chunk) for chunk in self._chunks())

    def fingerprint(self) -> str:
        """The same for the same contents, and for no others."""
        found = hashlib.blake2b(digest_size=16)
        for data in self._contents():
            found.update(data)
        return found.hexdigest()

    def items(self) -> Iterator[Item]:
        """All items from the start, lazily. Raises TaskFileError while iterating."""
        self.cleaner = Cleaner()
        self.cleaner.notes += self._odd
        self.stream = stream = TaskStream(self.name, self.cleaner.notes)
        clean = self.cleaner.clean
        for line in _lines(self._file, stream):
            yield from stream.feed(clean(line))

    def _contents(self) -> Iterator[bytes]:
        """The blocks of the file, without a byte-order mark."""
        blocks = self._file.blocks()
        yield next(blocks, b"").removeprefix(BOM)
        yield from blocks

    def _chunks(self) -> Iterator[bytes]:
        """The file in pieces of whole lines; the first without its byte-order mark."""
        rest = b""
        for data in self._contents():
            cut = data.rfind(b"\n") + 1
            if cut:
                yield rest + data[:cut]
                rest = data[cut:]
            else:
                rest += data
                if len(rest) > LINE_LIMIT:
                    return  # `items` names the line when it comes there
        if rest:
            yield rest


def _lines(file: ListFile, stream: TaskStream) -> Iterator[bytes]:
    """The lines of a regular file, without their \\n. One without a \\n is the last: it is taken when the end was seen."""
    rest = b""
    for data in file.blocks():
        lines = (rest + data).split(b"\n")  # splitlines would also cut at a carriage return inside a command
        rest = lines.pop()
        yield from lines
        if len(rest) > LINE_LIMIT:
            raise _too_long(stream, rest)
    if rest:
        yield rest


def _too_long(stream: TaskStream, start: bytes) -> TaskFileError:
    why = f"a line of more than {LINE_LIMIT >> 20} MiB; is this a task file?"
    return TaskFileError(stream.source, stream.line_no + 1, start, why)


class PushedSource:
    """What streams and feeding programs share: lines that have come wait here until somebody takes their items."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cleaner = Cleaner()
        self.ended = False  # nothing more will come
        self.stream = TaskStream(name, self.cleaner.notes)
        self._lines: deque[tuple[bytes, bool]] = (
            deque()
        )  # and whether the line shares the number of the one before
        self._current: Iterator[Item] | None = None  # of the line that is being expanded
        self._error: TaskFileError | None = None  # of the line behind the items that were just taken

    def take(self, count: int) -> list[Item]:
        """Up to `count` items of what has come. Raises TaskFileError, once the items before the bad line are taken."""
        if self._error is not None:
            raise self._error
        taken: list[Item] = []
        while len(taken) < count:
            if self._current is None:
                if not self._lines:
                    break
                line, is_part = self._lines.popleft()
                line = self.cleaner.clean(line)
                try:
                    if len(line) > LINE_LIMIT:
                        raise _too_long(self.stream, line[:SHOWN_BYTES])
                    self._current = self.stream.feed_part(line) if is_part else self.stream.feed(line)
                except TaskFileError as error:
                    if not taken:
                        raise
                    self._error = error
                    break
            taken += islice(self._current, count - len(taken))
            if len(taken) < count:
                self._current = None
        return taken

    @property
    def drained(self) -> bool:
        """Nothing more will come, and `take` has given all that there was."""
        return self.ended and not self._lines and self._current is None and self._error is None


class StreamSource(PushedSource):
    """The items of a pipe, terminal or socket, as they come. It is read only when the loop says that it can be."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        super().__init__(name)
        self._file = file
        self._rest = b""
        self._oddities = Oddities()

    def take(self, count: int) -> list[Item]:
        self.cleaner.notes += self._oddities.news()
        return super().take(count)

    def fileno(self) -> int:
        return self._file.fileno()

    @property
    def full(self) -> bool:
        """Enough has been read ahead: let the writer wait."""
        return len(self._lines) >= STREAM_BUFFER_LINES

    def read(self) -> None:
        """One read of what is there; blocks when nothing is, so only after the loop has said so. Raises TaskFileError for a
        line that is too long, MachineError when it cannot be read."""
        try:
            data = os.read(self.fileno(), CHUNK >> 4)
        except OSError as error:
            raise MachineError(f"cannot read the tasks from {self.name} any more: {error.strerror}") from None
        if not data:
            self.ended = True
            if self._rest:
                self._oddities.feed(self._rest)
                self._lines.append((self._rest, False))
                self._rest = b""
            return
        data = self._rest + data
        self._oddities.feed(data[: data.rfind(b"\n") + 1])
        lines = data.split(b"\n")
        self._rest = lines.pop()
        self._lines.extend((line, False) for line in lines)
        if len(self._rest) > LINE_LIMIT:
            raise _too_long(self.stream, self._rest)


class Stranger(NamedTuple):
    """What a program has said that signs in behind the first one, in the order of `KvsSource.SIGN_IN`."""

    name: bytes
    done_task: bytes
    result_key: bytes
    task_key: bytes

    @property
    def shown_name(self) -> str:
        return self.name.decode("utf-8", "replace")


class KvsSource(PushedSource):
    """The items that a program puts into the KVS. It says first who it is and which keys it uses."""

    SIGN_IN = (
        b"task source name",
        b"task source done task",
        b"task source result key",
        b"task source task key",
    )

    def __init__(self) -> None:
        super().__init__("the feeding program")
        self.failure = ""  # why it ended too early
        self.late = 0  # values that came behind the text that ends the list
        self._said: dict[int, bytes] = {}
        self._others: list[deque[bytes]] = [deque() for _ in self.SIGN_IN]

    def introduce(self, number: int, data: bytes) -> bool:
        """What came under `SIGN_IN[number]`; whether it was the last that was missing."""
        if number in self._said:
            self._others[number].append(data)
            return False
        self._said[number] = data
        if number == 0:
            self.name = self.stream.source = data.decode("utf-8", "replace")
        return len(self._said) == len(self.SIGN_IN)

    def take_stranger(self) -> Stranger | None:
        """The next program that has said all of the four behind the first one."""
        if len(self._said) < len(self.SIGN_IN) or not all(self._others):
            return None
        return Stranger(*[values.popleft() for values in self._others])

    @property
    def done_task(self) -> bytes:
        return self._said[1]

    @property
    def result_key(self) -> bytes:
        return self._said[2]

    @property
    def task_key(self) -> bytes:
        return self._said[3]

    def push(self, coding: bytes, data: bytes) -> None:
        """One value: a task, a directive, several lines of them (one line number for all), or the word for the end."""
        if self.ended:
            self.late += data != self.done_task
            return
        if data == self.done_task:
            self.ended = True
            return
        if coding != b"ASTR":
            self.break_off(
                f"{self.name} sent a value that is no text (coding {coding.decode('ascii', 'replace')})"
            )
            return
        for number, line in enumerate(data.removesuffix(b"\n").split(b"\n")):
            self._lines.append((line, number > 0))

    def break_off(self, failure: str) -> None:
        """No more will come, and it should have: what has come is all the same done."""
        self.ended = True
        self.failure = failure

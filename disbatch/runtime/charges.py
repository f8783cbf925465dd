"""PREFIX_limits.txt: which task counts for which context with a task limit (-C), for a driver that takes over (--reattach).

Status lines do not say it, and an engine that could is gone by then, it may be. So it is noted before the status line is
written; what has no status line does not count. It is there while the run is.
"""

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable

from disbatch.core.errors import MachineError
from disbatch.runtime.appendfile import AppendFile, FileChange
from kvsstcp.ownfile import open_to_append
from kvsstcp.trustedfile import open_trusted

KEPT_BYTES = 1 << 20  # some 70,000 lines


class ChargesFile:
    """Made with the first lines. Belongs to the thread that writes the status file; another one may `sync`. `changed` is told
    what other programs have done to it (`appendfile`)."""

    def __init__(self, path: str, changed: Callable[[FileChange], None] = lambda change: None) -> None:
        self._path = path
        self._changed = changed
        self._file: AppendFile | None = None

    def append(self, data: bytes) -> None:
        """All of these lines, or nothing and an OSError that names the file."""
        try:
            self._file = self._file or self._open()
            self._file.append(data)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror or error} ({self._path})") from None

    def sync(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fd)

    def _open(self) -> AppendFile:
        descriptor = open_to_append(self._path, os.O_RDWR)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")  # what the death of the driver before has torn stays by itself
            return AppendFile(descriptor, self._path, self._changed, KEPT_BYTES)
        except BaseException:
            os.close(descriptor)
            raise


def read_charges(path: str, has_line: Callable[[int], bool], last_task_id: int) -> Counter[str]:
    """How many tasks with a status line each context (by id) has run. `last_task_id` is the largest that has one. Raises
    MachineError."""
    try:
        with os.fdopen(open_trusted(path), "rb") as file:
            return count_charges(file, has_line, last_task_id)
    except FileNotFoundError:
        return Counter()
    except OSError as error:
        raise MachineError(f"--reattach: cannot read {path}: {error.strerror}") from None


def count_charges(lines: Iterable[bytes], has_line: Callable[[int], bool], last_task_id: int) -> Counter[str]:
    """The same of such lines. Of several for one task the last counts: the result of the one before was lost."""
    numbers: dict[str, int] = {"": 0}
    owners = array("I", bytes(4 * (last_task_id + 1)))
    for line in lines:
        task, _, cid = line.decode("ascii", "replace").partition(" ")
        if line.endswith(b"\n") and cid.strip() and task.isdecimal() and int(task) <= last_task_id:
            owners[int(task)] = numbers.setdefault(cid.strip(), len(numbers))
    cids = [*numbers]
    return Counter([cids[owner] for task_id, owner in enumerate(owners) if owner and has_line(task_id)])

"""A regular task file: it is read block by block, more than once, and has to stay as it was when it was opened.

Size and time of the last write are compared with every block, and so is the checksum of a block that is read again. The
checksum finds what the times do not show: they advance in steps of some milliseconds, can be set back (`touch -r`), do
not follow a write to mapped memory at once, and are some seconds old on a network file system.

The file is known by its descriptor. Another file that was renamed to its name is none of its business.
"""

import os
import time
from array import array
from collections.abc import Iterator
from itertools import count
from typing import BinaryIO
from zlib import crc32

from disbatch.core.errors import ListChangedError, MachineError


class ListFile:
    """`block_bytes` is how much is read at once. The checksums of the first reading are what later ones are compared
    with; four bytes per block."""

    def __init__(self, file: BinaryIO, name: str, block_bytes: int) -> None:
        self._name = name
        self._block_bytes = block_bytes
        self._file = file  # keeps the descriptor open
        self._fd = file.fileno()
        self._opened = os.fstat(self._fd)
        self._checksums = array("I")

    def verify(self) -> None:
        """Raise ListChangedError if the file was written to since it was opened, MachineError if it cannot be told."""
        try:
            now = os.fstat(self._fd)
        except OSError as error:
            raise self._unreadable(error) from None
        if now.st_size != self._opened.st_size or now.st_mtime_ns != self._opened.st_mtime_ns:
            raise ListChangedError(self._name, self._difference(now))

    def blocks(self) -> Iterator[bytes]:
        """Yield the contents from the start. Raises as `verify`; a block is yielded only if it was read before any change."""
        offset = 0
        for number in count():
            data = self._read(offset)
            # after the read, so that a block that was read during a change is not used
            self.verify()
            if not data:
                break
            self._compare(number, offset, data)
            yield data
            offset += len(data)
        if offset < self._opened.st_size:
            raise ListChangedError(
                self._name, f"it ends after {offset:,} bytes instead of {self._opened.st_size:,}"
            )

    def _read(self, offset: int) -> bytes:
        """One block, shorter only at the end of the file. By positioned reads: the descriptor's offset may be shared."""
        parts, wanted = list[bytes](), self._block_bytes
        try:
            while wanted and (part := os.pread(self._fd, wanted, offset)):
                parts.append(part)
                wanted -= len(part)
                offset += len(part)
        except OSError as error:
            raise self._unreadable(error) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _compare(self, number: int, offset: int, data: bytes) -> None:
        checksum = crc32(data)
        if number == len(self._checksums):
            self._checksums.append(checksum)
        elif checksum != self._checksums[number]:
            raise ListChangedError(
                self._name,
                f"bytes {offset:,} to {offset + len(data):,} were overwritten, and its time was set back or has not advanced",
            )

    def _difference(self, now: os.stat_result) -> str:
        before = self._opened
        written = f"last written {_clock(now.st_mtime_ns)}, before that {_clock(before.st_mtime_ns)}"
        if now.st_size > before.st_size:
            return f"it grew from {before.st_size:,} to {now.st_size:,} bytes ({written})"
        if now.st_size < before.st_size:
            return f"it shrank from {before.st_size:,} to {now.st_size:,} bytes ({written})"
        return f"it was overwritten in place, {now.st_size:,} bytes as before ({written})"

    def _unreadable(self, error: OSError) -> MachineError:
        return MachineError(f"cannot read the task file {self._name} any more: {error.strerror}")


def _clock(time_ns: int) -> str:
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{rest_ns // 1_000_000:03d}"

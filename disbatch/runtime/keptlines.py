"""The last lines of a file that is appended to, kept in memory up to a bound, so that they can be written once more.

Of what was written before them, and is kept no more, the checksum and the number of lines are known.
"""

import os
from collections import deque
from zlib import crc32

BLOCK = 1 << 20
TAIL = 4096  # bytes at the end by which a file is known


class KeptLines:
    """`start` and `end` are offsets in the file: what is between them is kept."""

    def __init__(self, descriptor: int, bound_bytes: int) -> None:
        """Keep the end of what the file has now, and read the rest of it once."""
        self.end = os.fstat(descriptor).st_size
        self.start = max(0, self.end - bound_bytes)
        self._bound_bytes = bound_bytes
        self._parts = deque[bytes]()
        self._dropped_checksum, self._dropped_lines = _survey(descriptor, self.start)
        # in pieces, as the oldest is dropped whole
        for at in range(self.start, self.end, BLOCK):
            self._parts.append(os.pread(descriptor, min(BLOCK, self.end - at), at))
        self.tail = self.since(self.start)[-TAIL:]

    def add(self, data: bytes) -> None:
        """This was appended."""
        self._parts.append(data)
        self.end += len(data)
        self.tail = (self.tail + data[-TAIL:])[-TAIL:]
        while self.end - self.start > self._bound_bytes and len(self._parts) > 1:
            dropped = self._parts.popleft()
            self.start += len(dropped)
            self._dropped_checksum = crc32(dropped, self._dropped_checksum)
            self._dropped_lines += dropped.count(b"\n")

    def since(self, offset: int) -> bytes:
        """What is kept from this offset in the file on."""
        return b"".join(self._parts)[offset - self.start :]

    def ends_as(self, descriptor: int) -> bool:
        """Return True if the file has the last lines where they were written."""
        return os.pread(descriptor, len(self.tail), self.end - len(self.tail)) == self.tail

    def common(self, descriptor: int) -> int:
        """Return the offset up to which the file has what is kept, whole lines only. `start` if it has nothing of it."""
        if self._is_whole(descriptor):
            return self.end
        kept = self.since(self.start)
        found = os.pread(descriptor, len(kept), self.start)
        return self.start + kept.rfind(b"\n", 0, _common_length(found, kept)) + 1

    def _is_whole(self, descriptor: int) -> bool:
        """Whether the file has all that is kept. By the block: a second and a third copy would cost memory at each end."""
        at, block = self.start, bytearray()
        for part in self._parts:
            block += part
            if len(block) >= BLOCK:
                if os.pread(descriptor, len(block), at) != block:
                    return False
                at, block = at + len(block), bytearray()
        return os.pread(descriptor, len(block), at) == block

    def dropped_is_there(self, descriptor: int) -> bool:
        """Return True if the file has what is kept no more. Reads all of that."""
        there = os.fstat(descriptor).st_size >= self.start
        return there and _survey(descriptor, self.start)[0] == self._dropped_checksum

    def accept_loss(self, descriptor: int) -> int:
        """Give up what is kept no more as far as the file has lost it. What the file has instead, up to its last whole line,
        stands before what is kept from now on. Return how many lines are lost, at least."""
        size = os.fstat(descriptor).st_size
        there = _whole_lines(descriptor, min(size, self.start))
        checksum, lines = _survey(descriptor, there)
        # what a shortened file has is taken for the beginning of what was written
        lost = self._dropped_lines - (lines if size < self.start else 0)
        self._dropped_checksum, self._dropped_lines = checksum, lines
        length = self.end - self.start
        self.start, self.end = there, there + length
        self.tail = self.tail[max(0, len(self.tail) - length) :]
        return max(lost, 1)


def _survey(descriptor: int, end: int) -> tuple[int, int]:
    """Checksum and number of lines of the first `end` bytes."""
    checksum = lines = 0
    for at in range(0, end, BLOCK):
        data = os.pread(descriptor, min(BLOCK, end - at), at)
        checksum = crc32(data, checksum)
        lines += data.count(b"\n")
    return checksum, lines


def _common_length(one: bytes, other: bytes) -> int:
    """How many bytes at the beginning are the same, by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _whole_lines(descriptor: int, size: int) -> int:
    """The length of the first `size` bytes up to their last line end."""
    while size > 0:
        at = max(0, size - BLOCK)
        found = os.pread(descriptor, size - at, at).rfind(b"\n")
        if found >= 0:
            return at + found + 1
        size = at
    return 0

"""A file to which whole batches of lines are appended, and which has to stay where its name says, whatever becomes of the disk.

A batch that cannot be written whole is taken off again. A file that has vanished with its folder, or whose file system came back
without its last lines, is completed from the descriptor, through which all that was written can still be read.
"""

import contextlib
import errno
import os

REOPEN = (errno.ESTALE, errno.EROFS, errno.EIO)  # a descriptor may stay so when its file can be written again
CHUNK = 1 << 20
TAIL = 4096  # bytes by which a file is known whose descriptor can no longer be read


class AppendFile:
    """Takes over a descriptor that is open for reading and appending. `append` may be called again after an OSError."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.fd = descriptor  # the same number for good, whatever it stands for
        self._path = os.path.abspath(path)
        self._size = os.fstat(descriptor).st_size
        self._tail = b""
        self._place = self._place_of(descriptor)
        self._torn = False  # there may be more in the file than was written whole
        self._reopen = False

    def append(self, data: bytes) -> None:
        """All of it, or nothing and an OSError."""
        if self._reopen or not self._is_there():
            self._come_back()
        if self._torn:
            os.ftruncate(self.fd, self._size)
        done = 0
        self._torn = True
        try:
            while done < len(data):
                done += os.write(self.fd, memoryview(data)[done:])
        except OSError as error:
            self._reopen = error.errno in REOPEN
            with contextlib.suppress(OSError):  # then it is done before the next try
                os.ftruncate(self.fd, self._size)
                self._torn = False
            raise
        self._torn = False
        self._size += len(data)
        self._tail = (self._tail + data[-TAIL:])[-TAIL:]

    @staticmethod
    def _place_of(file: int | str) -> tuple[int, int]:
        found = os.stat(file)
        return found.st_dev, found.st_ino

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError):
            return self._place_of(self._path) == self._place
        return False

    def _come_back(self) -> None:
        """Opens what is there under the name, or makes it, and completes it."""
        fresh = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            place = self._place_of(fresh)
            if place != self._place:
                self._complete(fresh)
            os.dup2(fresh, self.fd, inheritable=False)
        finally:
            os.close(fresh)
        self._place, self._reopen = place, False

    def _complete(self, fresh: int) -> None:
        have = os.fstat(fresh).st_size
        if not self._is_beginning(fresh, have):
            raise OSError(errno.EEXIST, "another file has taken its place")
        while have < self._size:
            part = os.pread(self.fd, min(CHUNK, self._size - have), have)
            if not part:
                raise OSError(errno.EIO, "its earlier lines cannot be read any more")
            have += os.write(fresh, part)
        os.fsync(fresh)

    def _is_beginning(self, fresh: int, have: int) -> bool:
        """Whether what is there is what was written, or the beginning of it."""
        if have > self._size:
            return False
        try:
            for at in range(0, have, CHUNK):
                count = min(CHUNK, have - at)
                if os.pread(fresh, count, at) != os.pread(self.fd, count, at):
                    return False
        except OSError:  # ours cannot be read: it has to be whole then
            return have == self._size and os.pread(fresh, TAIL, max(0, have - TAIL)).endswith(self._tail)
        return True

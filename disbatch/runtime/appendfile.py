"""A file to which whole batches of lines are appended, and which has to stay where its name says and as it was written,
whatever becomes of the disk, and whoever else writes to it.

A batch that cannot be written whole is taken off again. A file that has vanished with its folder, or whose file system came back
without its last lines, is completed from the descriptor, through which all that was written can still be read. One that another
program has emptied, shortened or overwritten is completed from memory, as far as its lines are kept there (`keptlines`).
"""

import contextlib
import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from disbatch.core.plural import noun
from disbatch.runtime.keptlines import TAIL, KeptLines
from kvsstcp.ownfile import open_to_append

REOPEN = (errno.ESTALE, errno.EROFS, errno.EIO)  # a descriptor may stay so when its file can be written again
CHUNK = 1 << 20
KEPT_BYTES = 8 << 20  # some 50,000 lines of a status file


class FileChange(NamedTuple):
    """What another program has done to a file that is appended to. Lines that it took off were written once more, but for
    `lost_lines` at least, which were no longer kept."""

    path: str
    what: str  # goes on after the path
    lost_lines: int = 0


class AppendFile:
    """Takes over a descriptor that is open for reading and appending. `append` may be called again after an OSError.

    `changed` is told once what was done to the file has been mended.
    """

    def __init__(
        self,
        descriptor: int,
        path: str,
        changed: Callable[[FileChange], None] = lambda change: None,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self.fd = descriptor  # the same number for good, whatever it stands for
        self._name = path
        self._path = os.path.abspath(path)
        self._changed = changed
        self._kept = KeptLines(descriptor, kept_bytes)
        self._uid = os.fstat(descriptor).st_uid
        self._place = self._place_of(descriptor)
        self._torn = False  # there may be more in the file than was written whole
        self._reopen = False
        self._changes: list[FileChange] = []  # to be told when the file is mended

    def append(self, data: bytes) -> None:
        """All of it, or nothing and an OSError."""
        self.settle()
        self._torn = True
        try:
            self._write(data)
        except OSError as error:
            self._note_failure(error)
            with contextlib.suppress(OSError):  # then it is done before the next try
                self._take_torn_off()
            raise
        self._torn = False
        self._kept.add(data)

    def settle(self, *, all_kept: bool = False) -> None:
        """Make sure that the file has what was written to it: that its name leads to it, its length, and its end; with
        `all_kept`, every line that is kept. Raises OSError when it cannot be made so."""
        try:
            away = self._reopen or not self._is_there()
            if not self._reopen:
                # before the descriptor is given up: from here on the file may have to be completed from it
                self._mend(all_kept=all_kept)
            if away:
                self._come_back()
                self._mend(all_kept=all_kept)
        except OSError as error:
            self._note_failure(error)
            raise
        while self._changes:
            self._changed(self._changes.pop(0))

    def _write(self, data: bytes) -> None:
        done = 0
        while done < len(data):
            done += os.write(self.fd, memoryview(data)[done:])

    def _note_failure(self, error: OSError) -> None:
        self._reopen = self._reopen or error.errno in REOPEN

    def _take_torn_off(self) -> None:
        # never make it longer: another program may have shortened it
        if os.fstat(self.fd).st_size > self._kept.end:
            os.ftruncate(self.fd, self._kept.end)
        self._torn = False

    # -- what other programs have done to it

    def _mend(self, *, all_kept: bool) -> None:
        if self._torn:
            self._take_torn_off()
        kept = self._kept
        size = os.fstat(self.fd).st_size
        intact = size >= kept.end and kept.ends_as(self.fd)
        if not intact or (all_kept and kept.common(self.fd) < kept.end):
            self._restore(size)
        elif size > kept.end:
            self._take_in(size)

    def _restore(self, size: int) -> None:
        """Write again what the file has lost. Where lines of ours have stood, nothing else stays."""
        kept, before = self._kept, self._kept.end
        if size < before:
            what = f"was shortened from {before:,} to {size:,} bytes by another program"
        else:
            what = "was overwritten by another program"
        lost = 0
        if size < kept.start or not kept.dropped_is_there(self.fd):
            lost = kept.accept_loss(self.fd)
        change = FileChange(self._name, what, lost)
        # a full disk may let this fail half-way: the loss is told then when the rest succeeds
        if lost or change not in self._changes:
            self._changes.append(change)
        whole = kept.common(self.fd)
        os.ftruncate(self.fd, whole)
        self._write(kept.since(whole))

    def _take_in(self, size: int) -> None:
        """Another program has appended something: it stays, and what we write goes on behind it, on a line of its own."""
        before = self._kept.end
        if os.pread(self.fd, 1, size - 1) != b"\n":
            self._write(b"\n")
            size += 1
        for at in range(before, size, CHUNK):
            self._kept.add(os.pread(self.fd, min(CHUNK, size - at), at))
        self._changes.append(
            FileChange(
                self._name,
                f"has {size - before:,} {noun(size - before, 'byte')} that another program has appended",
            )
        )

    # -- where it is

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
        fresh = open_to_append(self._path, os.O_RDWR, known_uid=self._uid)
        try:
            place = self._place_of(fresh)
            if place != self._place:
                self._complete(fresh)
            os.dup2(fresh, self.fd, inheritable=False)
        finally:
            os.close(fresh)
        self._place, self._reopen = place, False

    def _complete(self, fresh: int) -> None:
        have, size = os.fstat(fresh).st_size, self._kept.end
        if not self._is_beginning(fresh, have):
            raise OSError(errno.EEXIST, "another file has taken its place")
        while have < size:
            part = os.pread(self.fd, min(CHUNK, size - have), have)
            if not part:
                raise OSError(errno.EIO, "its earlier lines cannot be read any more")
            have += os.write(fresh, part)
        os.fsync(fresh)

    def _is_beginning(self, fresh: int, have: int) -> bool:
        """Whether what is there is what was written, or the beginning of it."""
        size = self._kept.end
        if have > size:
            return False
        try:
            for at in range(0, have, CHUNK):
                count = min(CHUNK, have - at)
                if os.pread(fresh, count, at) != os.pread(self.fd, count, at):
                    return False
        except OSError:  # ours cannot be read: it has to be whole then
            return have == size and os.pread(fresh, TAIL, max(0, have - TAIL)).endswith(self._kept.tail)
        return True

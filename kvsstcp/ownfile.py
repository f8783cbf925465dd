"""Files that are written under names which anybody can guess: no symbolic link, and nobody else's file, is written into.

Errors are OSErrors whose `strerror` says what is in the way. What is read belongs into `kvsstcp.trustedfile`.
"""

import contextlib
import errno
import os
import stat
from typing import IO

from kvsstcp.errors import UntrustedFile
from kvsstcp.trustedfile import check_own, explained, owner_of

MODE = 0o664
"""Less the umask. Never writable by others, whatever the umask is: such a file would not be believed (`trustedfile`)."""


def create_file(path: str, mode: int = MODE, flags: int = os.O_WRONLY) -> int:
    """Create a file that is not there yet and return its descriptor. Raises FileExistsError, also for a dangling link."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, _in_the_way(path), path) from None


def open_to_append(path: str, flags: int = os.O_WRONLY, *, known_uid: int | None = None) -> int:
    """Return a descriptor for appending to a regular file of this user, which is created unless it is there.

    `known_uid`: who owned the file when this process, or one whose place it takes, wrote it. File systems of other
    machines may show another user than the one who created it. Without it, a file with a second name is refused as well, as
    it may be anything that belongs to this user.
    """
    with contextlib.suppress(FileExistsError):
        # what is created here needs no check, whomever the file system makes its owner
        return create_file(path, flags=flags | os.O_APPEND)
    descriptor = _open(path, flags | os.O_APPEND | os.O_NOFOLLOW)
    try:
        about = os.fstat(descriptor)
        if known_uid is None or about.st_uid != known_uid or not stat.S_ISREG(about.st_mode):
            check_own(about, path)
        if about.st_nlink > 1 and known_uid is None:
            raise UntrustedFile(
                errno.EPERM,
                "it has a second name (a hard link), and may be any file of yours; remove this name, or put a copy in its place",
                path,
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_named(path: str, flags: int = os.O_APPEND) -> int:
    """Return a descriptor for writing to what the user has named in so many words: also a device, a pipe, or, by a link
    of the user's or of root's, something elsewhere. Nobody else's link or file is written to."""
    try:
        descriptor = _open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flags)
    except UntrustedFile:
        if os.lstat(path).st_uid not in (0, os.geteuid()):
            raise
        descriptor = _open(path, os.O_WRONLY | os.O_CREAT | flags)
    try:
        about = os.fstat(descriptor)
        if stat.S_ISREG(about.st_mode):
            check_own(about, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_named(path: str) -> IO[str]:
    """The same, as a text file that is emptied first. What is a file belongs to the user alone afterwards."""
    file = os.fdopen(open_named(path, 0), "w", encoding="utf-8")
    try:
        about = os.fstat(file.fileno())
        if stat.S_ISREG(about.st_mode):
            os.fchmod(file.fileno(), stat.S_IMODE(about.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
            os.ftruncate(file.fileno(), 0)
    except BaseException:
        file.close()
        raise
    return file


def check_replaceable(path: str) -> None:
    """Raises OSError when something is there that is no regular file of this user: by a rename it would vanish."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(about.st_mode):
        raise UntrustedFile(errno.EEXIST, _in_the_way(path), path)
    check_own(about, path)


def remove_own(path: str) -> None:
    """Remove a regular file of this user, if there is one. Raises as check_replaceable."""
    check_replaceable(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _open(path: str, flags: int) -> int:
    # O_NONBLOCK: opening a pipe that nobody reads would never return
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, MODE)
    except OSError as error:
        found = explained(error, path) if flags & os.O_NOFOLLOW else error
        if found is error and error.errno == errno.EACCES and flags & os.O_NOFOLLOW:
            _name_the_stranger(path)
        raise found from None
    try:
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _name_the_stranger(path: str) -> None:
    """Raises UntrustedFile where the reason for EACCES may be that Linux keeps the files of others, in a folder that all
    may write, from being opened like this (`fs.protected_regular`)."""
    try:
        about = os.lstat(path)
    except OSError:
        return
    check_own(about, path)


def _in_the_way(path: str) -> str:
    try:
        about = os.lstat(path)
    except OSError:
        return os.strerror(errno.EEXIST)
    what = "a symbolic link" if stat.S_ISLNK(about.st_mode) else "something"
    return f"{what} of {owner_of(about)} is in its place; remove it, or choose another name"

"""Files that are believed when they are read: those that only this user, or root, can have written.

What such a file says decides which commands run, on which hosts, and which processes are killed. Everything is checked
on the open descriptor, so that nothing can be exchanged between the check and the use. What is written belongs into
`kvsstcp.ownfile`.
"""

import errno
import os
import stat

from kvsstcp.errors import UntrustedFile

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_trusted(path: str | os.PathLike[str], *, private: bool = False, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor for reading (or what `flags` say) a regular file of this user or of root. A symbolic link is not followed.

    Others must not be able to write the file. With `private`, its group must not either: that is for files with a secret,
    which are made with mode 0600. Other files have what the umask leaves, and 002 is usual where each user is a group.
    Raises UntrustedFile with the reason, and OSError when the file cannot be opened.
    """
    name = os.fspath(path)
    # O_NONBLOCK: opening a pipe without a writer would never return
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags)
    except OSError as error:
        raise explained(error, name) from None
    try:
        _check_trusted(descriptor, name, private=private)
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_trusted(descriptor: int, path: str, *, private: bool) -> None:
    """Raises UntrustedFile."""
    about = os.fstat(descriptor)
    check_own(about, path)
    others = stat.S_IWOTH | (stat.S_IWGRP if private else 0)
    if about.st_mode & others:
        whose = "others" if about.st_mode & stat.S_IWOTH else "its group"
        letters = "go-w" if private else "o-w"
        raise UntrustedFile(
            errno.EPERM,
            f"it belongs to {owner_of(about)}, but {whose} can write it, so that it may say anything; "
            f"see that it is as it should be, then chmod {letters}",
            path,
        )


def check_own(about: os.stat_result, path: str) -> None:
    """Raises UntrustedFile for what is no regular file, or belongs neither to this user nor to root."""
    kind = stat.S_IFMT(about.st_mode)
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "something else")
        raise UntrustedFile(
            errno.EPERM, f"it is {what} of {owner_of(about)}; a regular file is needed here", path
        )
    if about.st_uid not in (0, os.geteuid()):
        raise UntrustedFile(
            errno.EPERM,
            f"it belongs to {owner_of(about)}, not to you (user id {os.geteuid()}); remove it, or, if you trust what "
            "it says, use a copy, which is yours",
            path,
        )


def explained(error: OSError, path: str) -> OSError:
    """The error to raise where a file was opened with O_NOFOLLOW: UntrustedFile when a symbolic link was the reason.

    Linux may say EACCES for one in a folder that all may write (`fs.protected_symlinks`).
    """
    if error.errno not in (errno.ELOOP, errno.EACCES):
        return error
    try:
        about = os.lstat(path)
    except OSError:
        return error
    if not stat.S_ISLNK(about.st_mode):
        return error
    return UntrustedFile(
        errno.EPERM,
        f"it is a symbolic link of {owner_of(about)}, which is not followed; "
        "give the name of the file itself, or remove the link",
        path,
    )


def owner_of(about: os.stat_result) -> str:
    """Who owns a file: name and number, as the number alone is right on file systems of other machines."""
    import pwd  # only a refusal needs it

    try:
        return f"{pwd.getpwuid(about.st_uid).pw_name} (user id {about.st_uid})"
    except KeyError:
        return f"user id {about.st_uid}"

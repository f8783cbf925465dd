"""Giving the plain name of `-p DIR/NAME` to the newest run: files of an earlier one are renamed to `NAME.1_…`, `NAME.2_…`.

Whoever renames holds a lock on the status file that is there; a run holds one on its own until it ends. The status file
is replaced last, and its name leads to one file or the other at every moment. So of several commands that are given at
once, one goes on; and after a crash in the middle the next one finds the status file where it was, and completes the
renaming with the same number.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterable

from disbatch.core.errors import MachineError, UsageError
from disbatch.core.lease import heartbeat_s, margin_s
from disbatch.runtime.crashed import Crashed, look
from disbatch.runtime.files import INFO, STATUS, files_of_run, list_folder, numbers_of
from kvsstcp.errors import UntrustedFile
from kvsstcp.ownfile import check_replaceable, create_file, remove_own

MAX_TRIES = 20  # others that start at the same moment may come first, each of them once
NEW = STATUS + ".new"
_FLAGS = os.O_RDWR | os.O_APPEND
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def claim_name(prefix: str, requeued_id: str = "") -> tuple[str, int]:
    """Take this prefix for a new run. Return the prefix that the files of the earlier one have now, empty when there was
    none, and the new status file, open and locked.

    `requeued_id` is the id of a Slurm job that was started again: what it ran before is over. Raises UsageError when the
    earlier run is not over, MachineError when something cannot be renamed or created.
    """
    try:
        for _ in range(MAX_TRIES):
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                found = _claim_once(prefix, requeued_id)
                if found is not None:
                    return found
    except UntrustedFile as error:
        raise UsageError(f"-p {prefix}: {error.filename} is in the way: {error.strerror}") from None
    except OSError as error:
        raise MachineError(
            f"cannot give the name {prefix} to a new run: {error.filename or prefix}: {error.strerror}; "
            "give another with -p"
        ) from None
    raise MachineError(f"{prefix}: others take this name again and again; give another with -p")


def _claim_once(prefix: str, requeued_id: str) -> tuple[str, int] | None:
    """None, or a FileNotFoundError or FileExistsError, when somebody else was quicker. Raises as claim_name, and OSError."""
    status = prefix + STATUS
    earlier = _open_earlier(status)
    try:
        if earlier is not None and not (_lock(earlier, prefix) and _leads_to(status, earlier)):
            return None
        _refuse_unfinished(prefix, requeued_id)
        if earlier is not None:
            return _rename_all(prefix)
        fresh = create_file(status, flags=_FLAGS)
        try:
            if _lock(fresh, prefix) and _leads_to(status, fresh):
                return _rename_strays(prefix), fresh
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(status)
            os.close(fresh)
            raise
        os.close(fresh)
        return None
    finally:
        if earlier is not None:
            os.close(earlier)


def _open_earlier(status: str) -> int | None:
    """The status file that is there, to be locked: nothing is read from it."""
    with contextlib.suppress(FileNotFoundError):
        check_replaceable(status)
        flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(status, flags | os.O_RDWR)  # some file systems lock only what can be written
        except PermissionError:
            return os.open(status, flags | os.O_RDONLY)
    return None


def _lock(descriptor: int, prefix: str) -> bool:
    """Raises UsageError when a run has it. True also where the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        crashed = look(prefix)
        who = f" (process {crashed.pid} on {crashed.host})" if crashed else ""
        raise _unfinished(prefix, who) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _leads_to(path: str, descriptor: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    return False


def _refuse_unfinished(prefix: str, requeued_id: str) -> None:
    crashed = look(prefix)
    if crashed is None or (requeued_id and crashed.job_id.partition(".")[0] == requeued_id):
        return
    if crashed.alive():
        raise _unfinished(prefix, f" (process {crashed.pid} on {crashed.host})")
    left_s = _may_live_until(crashed) - time.time()
    if left_s > 0:
        why = (
            "its engines wait for a driver (--reattach)" if crashed.reattach else "its driver does not answer"
        )
        raise _unfinished(prefix, f" on {crashed.host}: {why}, for {left_s:.0f} s more")


def _may_live_until(crashed: Crashed) -> float:
    """Until when, by the clock, something of a run may go on whose driver is not seen to be alive."""
    seen, lease_s = crashed.touched(), crashed.lease_s
    if crashed.reattach:
        return seen + heartbeat_s(lease_s) + lease_s + margin_s(lease_s)
    if crashed.host != os.uname().nodename:
        return seen + 2 * heartbeat_s(lease_s) + margin_s(lease_s)
    return 0.0


def _unfinished(prefix: str, who: str) -> UsageError:
    return UsageError(
        f"-p {prefix}: the run of that name is not over{who}; wait for its end, or stop it, or give another name with -p"
    )


def _rename_all(prefix: str) -> tuple[str, int]:
    """The earlier run's files, then a new status file in the place of its one."""
    folder, base = os.path.split(prefix)
    names = list_folder(folder or ".")
    own = files_of_run(names, base)
    _check_all(folder, own)
    aside = f"{prefix}.{_number(folder, base, names, own)}"
    status, target = prefix + STATUS, aside + STATUS
    # its second name is what nobody else can take: the number is this run's from here on
    linked = _link(status, target)
    _rename_rest(prefix, aside, [name for name in own if name != base + STATUS])
    if not linked:
        _rename(status, target)
        fresh = create_file(status, flags=_FLAGS)
        _lock(fresh, prefix)
        return aside, fresh
    remove_own(prefix + NEW)  # of somebody who was killed here
    fresh = create_file(prefix + NEW, flags=_FLAGS)
    try:
        _lock(fresh, prefix)
        os.rename(prefix + NEW, status)
    except BaseException:
        os.close(fresh)
        raise
    return aside, fresh


def _rename_strays(prefix: str) -> str:
    """Files of a run that has no status file any more. Return the new prefix, empty when there are none."""
    folder, base = os.path.split(prefix)
    names = list_folder(folder or ".")
    own = [name for name in files_of_run(names, base) if name != base + STATUS]
    if not own:
        return ""
    _check_all(folder, own)
    aside = f"{prefix}.{_number(folder, base, names, own)}"
    _rename_rest(prefix, aside, own)
    return aside


def _rename_rest(prefix: str, aside: str, names: list[str]) -> None:
    folder, base = os.path.split(prefix)
    # the info file as the last one: with it, whoever resumes sees that the run has crashed
    for name in sorted(names, key=lambda name: name == base + INFO):
        source, target = os.path.join(folder, name), aside + name[len(base) :]
        if _link(source, target):
            os.unlink(source)
        else:
            _rename(source, target)


def _check_all(folder: str, names: Iterable[str]) -> None:
    for name in names:
        check_replaceable(os.path.join(folder, name))


def _number(folder: str, base: str, names: list[str], own: list[str]) -> int:
    """The next one; the last one where it was not completed."""
    last = max(numbers_of(names, base), default=0)
    if not last:
        return 1
    taken = [f"{base}.{last}{name[len(base) :]}" for name in own]
    unfinished = f"{base}.{last}{STATUS}" not in names or base + STATUS in own
    for name, target in zip(own, taken, strict=True):
        if target in names and not _same(os.path.join(folder, name), os.path.join(folder, target)):
            unfinished = False
    return last if unfinished else last + 1


def _same(path: str, other: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.lstat(path), os.lstat(other))
    return False


def _link(source: str, target: str) -> bool:
    """Give a file a second name, if it has not got it yet; nothing is ever overwritten. Return False where the file system has
    no second names."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        if not _same(source, target):
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _rename(source: str, target: str) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target)

"""File descriptors: how many this process may have, how many it needs; commands get the limit that the user had.

The soft limit is raised to the hard one. It is lowered again for the moment in which a command is started, since it is
inherited: programs that use select(2) work with descriptors below 1024 only.
"""

import os
import resource
import sys
from types import TracebackType

from disbatch.runtime.contextsettings import ContextSettings
from kvsstcp.limits import Limits, limits_for

# Of a driver or context, beside what its engines need: standard streams, libraries of the interpreter while they are
# loaded, task list, status and log file, event loop, KVS, certificate, pipes of a command that is just started.
BASE = 32
# An engine that a command starts: the pipes to and from that command, its pidfd; and the engine's connection to the driver.
PER_LAUNCHER = 3
PER_CONNECTION = 1
# An engine that the driver forks: its pidfd.
PER_FORK = 1
# A task: its output and its error output.
PER_TASK = 2
# Of an engine, beside its tasks: pipes of background processes that outlive their task (`processes.MAX_LINGERING`), and the
# same as above.
ENGINE_BASE = BASE + 256

# Connections to a web page, known or not: no more than these, and than this part of all descriptors.
PAGE_MOST = 300
PAGE_SHARE = 5
# A command is given no more of them: input, output, error output, a text to read.
_LOW = 4

_KIND = resource.RLIMIT_NOFILE
_users: tuple[int, int] | None = None  # what the user has set, where this process has changed it
_raised: tuple[int, int] | None = None  # what it was changed to


def raise_limit(wanted: int | None = None) -> None:
    """Raise the soft limit to `wanted`, or as far as it goes."""
    global _users, _raised
    soft, hard = resource.getrlimit(_KIND)
    if resource.RLIM_INFINITY in (soft, hard):
        # No number that the kernel would accept is known.
        return
    new = hard if wanted is None else min(hard, wanted)
    if new > soft and users_limit.reserve():
        resource.setrlimit(_KIND, (new, hard))
        _users, _raised = (soft, hard), (new, hard)


def raise_limit_of_engine(slots: int) -> None:
    """Raise it no further than these slots need: most engines keep the user's limit, and nothing is done for each task."""
    global _users, _raised
    if _users is not None:
        # A driver that has forked this engine has raised it.
        resource.setrlimit(_KIND, _users)
        _users = _raised = None
        users_limit.release()
    raise_limit(ENGINE_BASE + PER_TASK * slots)


class _UsersLimit:
    """`with users_limit:` around `posix_spawn`: the command gets the limit that the user has set.

    The C library refuses to hand on a descriptor that is not below the limit, so `low(fd)` stands for it there.
    """

    def __init__(self) -> None:
        self._low: list[int] = []
        self._used = 0

    def reserve(self) -> bool:
        """Take the numbers that descriptors get for the moment of a start; returns False where there are too few."""
        try:
            self._low.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            while len(self._low) <= _LOW:
                self._low.append(os.dup(self._low[0]))
        except OSError:
            self.release()
            return False
        return True

    def release(self) -> None:
        for fd in self._low:
            os.close(fd)
        self._low.clear()

    def low(self, fd: int) -> int:
        """Return a number for this descriptor that is good until the end of the `with`."""
        if _users is None:
            return fd
        self._used += 1
        return os.dup2(fd, self._low[self._used], inheritable=False)

    def __enter__(self) -> None:
        if _users is not None:
            resource.setrlimit(_KIND, _users)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _raised is not None:
            resource.setrlimit(_KIND, _raised)
            while self._used:
                os.dup2(self._low[0], self._low[self._used], inheritable=False)
                self._used -= 1


users_limit = _UsersLimit()


def with_users_limit(*argv: str | bytes) -> tuple[str | bytes, ...]:
    """Return a command that runs this one with the limit that the user has set, for where it is started by asyncio."""
    if _users is None:
        return argv
    return ("/bin/bash", "-c", f'ulimit -Sn {_users[0]} && exec "$@"', "bash", *argv)


def kvs_limits(context: ContextSettings, *, page: bool) -> Limits:
    """Return the bounds of a driver's KVS: connections take what engines, launchers, files and the web page leave."""
    return limits_for(current_limit(), reserve(context) + (page_connections() if page else 0))


def page_connections() -> int:
    """Return how many connections a web page may have."""
    return min(PAGE_MOST, current_limit() // PAGE_SHARE)


def reserve(context: ContextSettings) -> int:
    """Return how many descriptors a driver keeps free of connections."""
    nodes = context.allocation.nodes
    here = sum(context.scheduler.is_local(node.name) for node in nodes)
    return BASE + here * PER_FORK + (len(nodes) - here) * PER_LAUNCHER


def current_limit() -> int:
    """Return how many descriptors this process may have."""
    soft = resource.getrlimit(_KIND)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft

"""The sessions of this process: what becomes of them when the interpreter ends, and in a process that is forked."""

import atexit
import os
import signal
import traceback
import weakref
from collections.abc import Callable
from typing import Protocol


class Live(Protocol):
    """What has to be looked after."""

    def descriptors(self) -> list[int]:
        """Sockets and pipes that belong to this process alone."""

    def abandon(self) -> None:
        """The process ends now: leave no secret behind."""


_sessions: "weakref.WeakSet[Live]" = weakref.WeakSet()
_closers: dict[Live, Callable[[], None]] = {}


def began(session: Live) -> None:
    """The session has descriptors from now on."""
    _sessions.add(session)


def at_exit(session: Live, close: Callable[[], None]) -> None:
    """Has `close` called when the interpreter ends, unless `over` was called before."""
    _closers[session] = close


def over(session: Live) -> None:
    """Nothing of the session is left."""
    _closers.pop(session, None)
    _sessions.discard(session)


def _close_all() -> None:
    """One that fails, or is interrupted, keeps no other from being closed."""
    while _closers:
        session = next(iter(_closers))
        close = _closers.pop(session)
        try:
            close()
        except KeyboardInterrupt:
            # nobody waits any longer: the server ends with this process, and disBatch with the server
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            for each in (session, *_closers):
                each.abandon()
            _closers.clear()
            raise
        except BaseException:
            traceback.print_exc()


def _forked() -> None:
    """In a child: it must not keep the run of its parent alive, or listen in its place.

    The numbers stay taken, by a descriptor of nothing: objects that the child has inherited still hold them.
    """
    _closers.clear()
    sessions = list(_sessions)
    _sessions.clear()
    if not sessions:
        return
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for session in sessions:
        for descriptor in session.descriptors():
            if descriptor >= 0:
                os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


os.register_at_fork(after_in_child=_forked)
atexit.register(_close_all)

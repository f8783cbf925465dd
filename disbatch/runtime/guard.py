"""No orphans: the process that stands over an engine, and the killing of whatever tasks have left running.

An engine is two processes. The guard waits for the engine proper and, when that dies of whatever cause, kills all
that it left; the engine notices the guard's death by a pipe and does the same. Both are subreapers, so nothing that a
task started escapes by detaching itself.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
PR_SET_PDEATHSIG = 1
KILL_ROUNDS = 200  # a kill loop against something that forks faster than it is killed has to end some day
ROUND_S = 0.005


def become_subreaper() -> None:
    """Orphaned descendants become children of this process, and so can be found and reaped."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def run_guarded(engine: Callable[[int], int]) -> int:
    """Forks; the child runs `engine(guard_fd)` and exits with what it returns, this process guards it.

    `guard_fd` is readable (end of file) once the guard is dead. Returns the engine's exit code (negative: the signal
    that killed it). To be called before any thread or event loop exists.
    """
    become_subreaper()
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(write_end)
        code = 70
        try:
            _prctl(PR_SET_CHILD_SUBREAPER, 1)  # it is not inherited
            code = engine(read_end)
        finally:
            os._exit(code)
    os.close(read_end)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # the driver decides; the engine obeys it or loses it
    status = 0
    while True:
        try:
            found, status = os.waitpid(-1, 0)
        except InterruptedError:
            continue
        if found == pid:
            break
    kill_descendants()
    return os.waitstatus_to_exitcode(status)


def kill_descendants() -> None:
    """SIGKILL to everything below this process until nothing is left to wait for."""
    for _ in range(KILL_ROUNDS):
        if not _reap_children():
            return
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(ROUND_S)


def _descendants() -> list[int]:
    import psutil  # 40 ms, and only needed when a task has left something behind

    with contextlib.suppress(psutil.Error):
        return [p.pid for p in psutil.Process().children(recursive=True)]
    return []


def _reap_children() -> bool:
    """Reaps what has ended; whether any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")

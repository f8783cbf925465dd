"""No orphans: the process that stands over an engine, and the killing of whatever tasks have left running.

An engine is two processes. The guard waits for the engine proper and, when that dies of whatever cause, kills all
that it left; the engine notices the guard's death by a pipe and does the same. Both are subreapers, so nothing that a
task started escapes by detaching itself. The guard also keeps the engine's deadline: an engine that was stopped, or
hangs, when its lease ends cannot kill its tasks by itself.
"""

import contextlib
import ctypes
import os
import select
import signal
import struct
import time
from collections.abc import Callable

from disbatch.runtime.unexpected import say_end

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
PR_SET_NAME = 15
CLOCK_BOOTTIME = 7  # linux/time.h; goes on while a machine is suspended
TFD_TIMER_ABSTIME = 1  # linux/timerfd.h
KILL_ROUNDS = 200  # a kill loop against something that forks faster than it is killed has to end some day
ROUND_S = 0.005
LEASE_OVER = 75  # exit code of a guard that had to kill its engine at the end of the lease
_DEADLINE = struct.Struct("d")


def become_subreaper() -> None:
    """Orphaned descendants become children of this process, and so can be found and reaped."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def run_guarded(engine: Callable[[int, int], int], name: bytes) -> int:
    """Forks; the child runs `engine(guard_fd, deadline_fd)` and exits with what it returns, this process guards it.

    `guard_fd` is readable (end of file) once the guard is dead; `deadline_fd` is for `tell_deadline`. `name` is what
    both processes are called. Returns the engine's exit code (negative: the signal that killed it; LEASE_OVER). A guard
    that cannot do its work kills the engine. To be called before any thread or event loop exists.
    """
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # of a terminal, or of a task: the driver decides
    try:
        return _run_guarded(engine, name)
    except Exception as error:
        # the top of this process
        code = say_end(error, "the guard of an engine cannot work")
        kill_descendants()
        return code


def _run_guarded(engine: Callable[[int, int], int], name: bytes) -> int:
    become_subreaper()
    _prctl(PR_SET_NAME, ctypes.create_string_buffer(name))
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    deadlines, deadlines_w = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(write_end)
        os.close(deadlines)
        code = 70
        try:
            _prctl(PR_SET_CHILD_SUBREAPER, 1)  # it is not inherited
            code = engine(read_end, deadlines_w)
        except Exception as error:
            # the top of that process, before it has a log
            code = say_end(error, "an engine cannot work")
        finally:
            os._exit(code)
    os.close(read_end)
    os.close(deadlines_w)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the driver decides; the engine obeys it or loses it
    over = _watch(pid, deadlines)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    kill_descendants()
    return LEASE_OVER if over else code


def tell_deadline(deadline_fd: int, at_s: float | None) -> None:
    """To the guard: kill everything at this moment of CLOCK_BOOTTIME, unless another one is told before."""
    with contextlib.suppress(OSError):  # the guard is dead: this process learns of it by its other pipe
        os.write(deadline_fd, _DEADLINE.pack(at_s or 0.0))


def _watch(pid: int, deadlines: int) -> bool:
    """Returns when the engine has ended (not reaped yet); True when that was our doing, as its lease was over."""
    timer = _Timer()
    engine = os.pidfd_open(pid)
    poll = select.poll()
    for fd in (engine, deadlines, timer.fd):
        poll.register(fd, select.POLLIN)
    over = False
    while True:
        ready = dict(poll.poll())
        if engine in ready:
            return over
        if deadlines in ready:
            data = os.read(deadlines, 65536 - 65536 % _DEADLINE.size)
            if data:
                timer.set(_DEADLINE.unpack(data[-_DEADLINE.size :])[0])
            else:
                poll.unregister(deadlines)
        elif timer.fd in ready:
            over = True
            poll.unregister(timer.fd)
            os.kill(pid, signal.SIGKILL)  # first of all: it must start nothing more


class _Timer:
    """A timerfd: `select` counts a clock that stands still while the machine is suspended."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(CLOCK_BOOTTIME, os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, at_s: float) -> None:
        """Rings at that moment, at once when it is past; never for 0."""
        seconds = int(at_s)
        moment = (ctypes.c_long * 4)(0, 0, seconds, int((at_s - seconds) * 1e9))
        if self._libc.timerfd_settime(self.fd, TFD_TIMER_ABSTIME, ctypes.byref(moment), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")


def kill_descendants(after_s: float = 0.0) -> None:
    """SIGKILL to everything below this process until nothing is left to wait for; what ends by itself within `after_s`
    is left in peace."""
    until = time.monotonic() + after_s
    while time.monotonic() < until and _reap_children():
        time.sleep(ROUND_S)
    for _ in range(KILL_ROUNDS):
        if not _reap_children():
            return
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(ROUND_S)


def _descendants() -> list[int]:
    found, open_ends = [], [os.getpid()]
    while open_ends:
        pid = open_ends.pop()
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children") as file:
                    below = [int(child) for child in file.read().split()]
                found += below
                open_ends += below
    return found


def _reap_children() -> bool:
    """Reaps what has ended; whether any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _prctl(option: int, value: "int | ctypes.Array[ctypes.c_char]") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value) if isinstance(value, int) else value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")

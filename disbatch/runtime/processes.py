"""Tasks as processes: spawn bash, keep its pipes drained, reap it, kill what is left. The hot path of the engine.

What was learned by measuring (own CPU a task, beside some 1.1 ms that bash itself costs):
* `posix_spawn` (vfork) for the start; no other subprocess call may be made in this process, as `wait4(-1)` would
  take its exit code.
* SIGCHLD comes through a signalfd: no Python signal handler, no wake-up byte, and many ends are one event.
* The pipes of a task enter the epoll only when it has run for `WATCH_AFTER_S`. What a shorter one printed still
  waits in the pipe (64 KB) when it is reaped; this saves four system calls and two wake-ups of the loop a task.
* All watched pipes are in one nested epoll, a single descriptor for the event loop. The signalfd stands beside it:
  within it, every end of a task would cost one more system call.
"""

import contextlib
import fcntl
import os
import resource
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from disbatch.core.model import NOT_STARTED, Outcome
from disbatch.runtime.affinity import Affinity
from disbatch.runtime.capture import READ_BYTES, Capture, read_pipe
from disbatch.runtime.descriptors import users_limit
from disbatch.runtime.sender import open_signalfd

if TYPE_CHECKING:
    from resource import struct_rusage

BASH = b"/bin/bash"
MAX_ARG = 128 * 1024 - 1  # the kernel takes no longer single argument (MAX_ARG_STRLEN, with its final NUL)
# A longer command is read by the same bash from an anonymous file that it closes before the command starts.
_LONG_FD = 9
_FROM_FD = b'eval "exec 9<&-; $(</dev/fd/9)"'
WATCH_AFTER_S = 0.02
# Until it becomes bash, the child of a vfork has the memory of this process, and ru_maxrss keeps that as its peak. On machines
# with many CPUs the kernel's counts of pages are estimates: what is close to our own peak is not believed to be the task's.
PEAK_MARGIN = 17 / 16
MAX_LINGERING = (
    256  # pipes that background processes hold open after their task's end; the oldest is closed beyond
)
# Ignored by Python, or by the engine, which leaves such decisions to the driver; a task must have them as usual.
_RESET_SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class _Child:
    """A running command: its slot, its pipes (read ends, -1 when closed), and when it started by both clocks."""

    __slots__ = ("captures", "fds", "pid", "slot", "start_mono", "start_wall", "watched")

    def __init__(self, slot: int, pid: int, fds: list[int], start_wall: float, start_mono: float) -> None:
        self.slot = slot
        self.pid = pid
        self.fds = fds
        self.captures: list[Capture | None] = [None, None]
        self.start_wall = start_wall
        self.start_mono = start_mono
        self.watched = False


class _Watched(NamedTuple):
    child: _Child
    which: int  # 0 output, 1 error output


Ends = list[tuple[int, Outcome]]


class ProcessTable:
    """The commands that run on this engine, at most one a slot.

    `signal_fd` is readable when one may have ended: call `reap()`. `output_fd` is readable when one has printed: call
    `drain()`. `call_later(seconds, function)` is the loop's; asked at most once per `WATCH_AFTER_S` while tasks start.
    Without `affinity` the kernel decides where tasks run.
    """

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], object],
        affinity: Affinity | None = None,
    ) -> None:
        self._call_later = call_later
        self._affinity = affinity
        self._epoll = select.epoll()
        self.signal_fd = open_signalfd(signal.SIGCHLD)
        self.output_fd = self._epoll.fileno()
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._children: dict[int, _Child] = {}  # by pid
        self._watched: dict[int, _Watched] = {}  # by descriptor
        self._lingering: dict[int, None] = {}  # descriptors without a task, oldest first
        self._unwatched: list[_Child] = []
        self._sweep_due = False

    def __len__(self) -> int:
        return len(self._children)

    # -- starting

    def spawn(self, slot: int, command: bytes, env: Mapping[bytes, bytes]) -> Outcome | None:
        """Starts `/bin/bash -c command` in a session of its own. An outcome when it could not."""
        start_wall, start_mono = time.time(), time.monotonic()
        fds: list[int] = []
        bound = self._affinity is not None and self._affinity.enter(slot)
        try:
            out, out_w = os.pipe2(os.O_CLOEXEC)
            fds += (out, out_w)
            err, err_w = os.pipe2(os.O_CLOEXEC)
            fds += (err, err_w)
            pid = self._spawn(command, env, out_w, err_w, fds)
        except OSError as error:
            for fd in fds:
                os.close(fd)
            text = f"disBatch: the task could not be started: {error.strerror}"
            code = error.errno or -1
            return Outcome(NOT_STARTED, code, 0.0, start_wall, start_wall, 0, "", 0, text, 0.0, 0)
        finally:
            if bound and self._affinity:
                self._affinity.leave()
        for fd in fds:
            if fd != out and fd != err:
                os.close(fd)
        child = _Child(slot, pid, [out, err], start_wall, start_mono)
        self._children[pid] = child
        self._unwatched.append(child)
        if not self._sweep_due:
            self._sweep_due = True
            self._call_later(WATCH_AFTER_S, self._watch_older)
        return None

    def _spawn(
        self, command: bytes, env: Mapping[bytes, bytes], out_w: int, err_w: int, fds: list[int]
    ) -> int:
        text = -1
        if len(command) > MAX_ARG:
            text = os.memfd_create("command", os.MFD_CLOEXEC)
            fds.append(text)
            _write_all(text, command)
            os.lseek(text, 0, os.SEEK_SET)
            command = _FROM_FD
        with users_limit:
            low = users_limit.low
            actions = [
                (os.POSIX_SPAWN_DUP2, low(self._null), 0),
                (os.POSIX_SPAWN_DUP2, low(out_w), 1),
                (os.POSIX_SPAWN_DUP2, low(err_w), 2),
            ]
            if text >= 0:
                actions.append((os.POSIX_SPAWN_DUP2, low(text), _LONG_FD))
            return os.posix_spawn(
                BASH,
                [BASH, b"-c", command],
                env,
                file_actions=actions,
                setsid=True,
                setsigmask=[],
                setsigdef=_RESET_SIGNALS,
            )

    def _watch_older(self) -> None:
        """The pipes of tasks that still run after a while are watched from now on."""
        self._sweep_due = False
        still_new: list[_Child] = []
        now = time.monotonic()
        for child in self._unwatched:
            if child.pid not in self._children or self._children[child.pid] is not child:
                continue
            if now - child.start_mono < WATCH_AFTER_S * 0.9:
                still_new.append(child)
                continue
            if self._affinity:
                self._affinity.runs_long(child.slot, child.pid)
            if not self._watch_pipes(child):
                still_new.append(child)
        self._unwatched = still_new
        if still_new:
            self._sweep_due = True
            self._call_later(WATCH_AFTER_S, self._watch_older)

    def _watch_pipes(self, child: _Child) -> bool:
        """Return False where the kernel has no room for it now: what a pipe holds waits there, and it is tried again."""
        with contextlib.suppress(OSError):
            for which, fd in enumerate(child.fds):
                if fd >= 0 and fd not in self._watched:
                    self._watch(fd, _Watched(child, which))
            child.watched = True
        return child.watched

    def _watch(self, fd: int, watched: _Watched) -> None:
        self._epoll.register(fd, select.EPOLLIN)
        self._watched[fd] = watched

    # -- while they run, and their end

    def drain(self) -> None:
        """Takes what has been printed, one read a pipe."""
        for fd, _ in self._epoll.poll(0):
            self._drain(fd)

    def _drain(self, fd: int) -> None:
        chunk = read_pipe(fd, READ_BYTES)
        child, which = self._watched[fd]
        if not chunk:
            self._forget(fd)
            if fd not in self._lingering:
                child.fds[which] = -1
            self._lingering.pop(fd, None)
            os.close(fd)
        elif fd not in self._lingering:
            capture = child.captures[which]
            if capture is None:
                capture = child.captures[which] = Capture()
            capture.feed(chunk)

    def _forget(self, fd: int) -> None:
        del self._watched[fd]
        with contextlib.suppress(OSError):
            # it is closed next, and so leaves the epoll in any case
            self._epoll.unregister(fd)

    def reap(self) -> Ends:
        """(slot, outcome) of all that has ended.

        All pipe events come first: a descriptor that is closed by a reap may be given to a new pipe at once.
        """
        if self._watched:
            self.drain()
        try:
            os.read(self.signal_fd, 1280)
        except BlockingIOError:
            return []
        ends: Ends = []
        # What a task reports begins with the size that this process had when it started the task.
        floor_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_MARGIN
        while True:
            ended = self._wait()
            if ended is None:
                break
            pid, status, usage = ended
            child = self._children.pop(pid, None)
            if child is None:
                continue  # an orphan of some task: this process is their subreaper
            elapsed = time.monotonic() - child.start_mono
            if self._affinity:
                self._affinity.ended(child.slot, elapsed)
            self._finish_pipes(child)
            out, err = child.captures
            outcome = Outcome(
                pid,
                os.waitstatus_to_exitcode(status),
                elapsed,
                child.start_wall,
                child.start_wall + elapsed,
                out.count if out else 0,
                out.snippet() if out else "",
                err.count if err else 0,
                err.snippet() if err else "",
                usage.ru_utime + usage.ru_stime,
                usage.ru_maxrss,
                usage.ru_maxrss > floor_kib,
            )
            ends.append((child.slot, outcome))
        return ends

    def _wait(self) -> "tuple[int, int, struct_rusage] | None":
        """A process that has ended, if any. Raises ChildProcessError when tasks are gone and nobody can say how they ended."""
        for last in (False, True):
            try:
                ended = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                if last and self._children:
                    raise
            else:
                return ended if ended[0] else None
        return None

    def _finish_pipes(self, child: _Child) -> None:
        """Takes what is in the pipes; closes those that nobody writes to any more, drains the others from now on."""
        open_fds = [fd for fd in child.fds if fd >= 0]
        if not open_fds:
            return
        poll = select.poll()
        for fd in open_fds:
            poll.register(fd, select.POLLIN)
        state = dict(poll.poll(0))
        for which, fd in enumerate(child.fds):
            if fd < 0:
                continue
            events = state.get(fd, 0)
            if events & select.POLLIN:
                self._take_rest(child, which, fd)
            if events & select.POLLHUP:
                if fd in self._watched:
                    self._forget(fd)
                os.close(fd)
            else:
                self._linger(child, which, fd)
            child.fds[which] = -1

    def _take_rest(self, child: _Child, which: int, fd: int) -> None:
        # as much as is there now, and no more: a background process may go on writing for ever
        left = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0]
        capture = child.captures[which]
        if capture is None:
            capture = child.captures[which] = Capture()
        while left > 0 and (chunk := read_pipe(fd, min(left, READ_BYTES))):
            capture.feed(chunk)
            left -= len(chunk)

    def _linger(self, child: _Child, which: int, fd: int) -> None:
        """A process that the task left in the background holds the pipe: read on, or it would die of SIGPIPE."""
        if fd not in self._watched:
            try:
                self._watch(fd, _Watched(child, which))
            except OSError:
                os.close(fd)
                return
        self._lingering[fd] = None
        if len(self._lingering) > MAX_LINGERING:
            oldest = next(iter(self._lingering))
            del self._lingering[oldest]
            self._forget(oldest)
            os.close(oldest)

    def slot_of(self, pid: int) -> int | None:
        """The slot of this process, which is the bash of a command that has not been reaped."""
        child = self._children.get(pid)
        return child.slot if child else None

    # -- killing

    def kill(self, signum: int) -> None:
        """Signals the process group of every task that runs. One that has stopped itself has to go on to hear a TERM."""
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signum)
                if signum != signal.SIGKILL:
                    os.killpg(pid, signal.SIGCONT)

    def forget(self) -> None:
        """Everything was killed and reaped: what is left of it here are descriptors."""
        watched = [*self._watched]
        for fd in watched:
            self._forget(fd)
            os.close(fd)
        for child in self._children.values():
            for fd in child.fds:
                if fd >= 0 and fd not in watched:
                    os.close(fd)
        self._children.clear()
        self._lingering.clear()
        self._unwatched.clear()

    def close(self) -> None:
        """Closes every descriptor. What still runs is not waited for: see `kill_descendants`."""
        self.forget()
        for fd in (self.signal_fd, self._null):
            os.close(fd)
        self._epoll.close()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

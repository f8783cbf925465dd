"""The processes that stand for engines on the driver's side: the guard of a forked engine, or ssh and its like.

Launchers are started a few dozen at a time, what they say is kept for the user, and every end is told at once.
"""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from disbatch.contexts import launchwords
from disbatch.runtime.guard import LEASE_OVER

AT_ONCE = (
    32  # launchers that have not brought their engine in yet; more would overload the host that starts them
)
SIGN_IN_S = 60.0  # an engine that has not signed in by then never will
SAID_BYTES = 4000  # of what a launcher prints, the end is kept
SHOWN_LINES = 3  # of that, where no engine has come up; an engine that is lost later has one line
END_S = 5.0  # for engines to go when all is over


@dataclass(frozen=True, slots=True)
class Launched:
    """An engine that has been forked: its rank, node, slots, and the process that stands for it here."""

    rank: int
    node: str
    slots: int
    label: str
    pid: int


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """An engine that is to be started by a command."""

    rank: int
    node: str
    slots: int
    label: str
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    session: str  # what a sweep finds the engine and its tasks by


class _Process:
    """One launcher. Its standard input is the engine's lifeline: it closes with the driver, whatever happens to that."""

    def __init__(self, rank: int, node: str, pid: int, stdin: int = -1, output: int = -1) -> None:
        self.rank = rank
        self.node = node
        self.pid = pid
        self.stdin = stdin
        self.output = output
        self.said = b""
        self.signed_in = stdin < 0
        self.late: asyncio.TimerHandle | None = None
        self.too_late = False


class Launches:
    """`exited(rank, why)` is called for each process that is gone."""

    def __init__(self, exited: Callable[[int, str], None]) -> None:
        self._exited = exited
        self.codes: dict[int, int] = {}  # exit codes of processes that have ended, by rank
        self._processes: dict[int, _Process] = {}  # by rank
        self._waiting: deque[LaunchOrder] = deque()
        self._starting = 0
        self._all_gone: asyncio.Event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def adopt(self, launched: Launched) -> None:
        """Watches an engine that has been forked."""
        self._watch(_Process(launched.rank, launched.node, launched.pid))

    def order(self, order: LaunchOrder) -> None:
        """Starts a launcher as soon as not too many others are at it."""
        self._waiting.append(order)
        self._start_more()

    def signed_in(self, rank: int) -> None:
        """The engine has said hello: its launcher has done its work."""
        process = self._processes.get(rank)
        if process is not None and not process.signed_in:
            self._settled(process)
            self._start_more()

    async def finish(self) -> None:
        """Waits until all are gone; what does not go is killed, and engines kill what they left."""
        self._waiting.clear()
        for process in self._processes.values():
            self._close_stdin(process)
        if not self._processes:
            return
        self._all_gone.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_gone.wait(), END_S)
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def _start_more(self) -> None:
        while self._waiting and self._starting < AT_ONCE:
            self._start(self._waiting.popleft())

    def _start(self, order: LaunchOrder) -> None:
        stdin, stdin_w = os.pipe2(os.O_CLOEXEC)
        output, output_w = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.posix_spawnp(
                order.argv[0],
                order.argv,
                order.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stdin, 0),
                    (os.POSIX_SPAWN_DUP2, output_w, 1),
                    (os.POSIX_SPAWN_DUP2, output_w, 2),
                ],
                setsid=True,  # a Ctrl-C at the terminal is for the driver alone
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError as error:
            os.close(stdin_w)
            os.close(output)
            why = f"cannot start {order.argv[0]}: {error.strerror}"
            self._loop.call_soon(self._exited, order.rank, why)
            return
        finally:
            os.close(stdin)
            os.close(output_w)
        process = _Process(order.rank, order.node, pid, stdin_w, output)
        process.late = self._loop.call_later(SIGN_IN_S, self._too_late, process)
        self._starting += 1
        self._loop.add_reader(output, self._said, process)
        self._watch(process)

    def _watch(self, process: _Process) -> None:
        self._processes[process.rank] = process
        pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(pidfd, self._gone, process, pidfd)

    def _gone(self, process: _Process, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        code = self.codes[process.rank] = os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])
        if process.output >= 0:
            self._said(process)
        self._close_stdin(process)
        lines = 1 if process.signed_in else SHOWN_LINES
        self._settled(process)
        del self._processes[process.rank]
        how = f"no engine has signed in within {SIGN_IN_S:.0f} s" if process.too_late else how_it_ended(code)
        words = launchwords.why(process.said.decode("utf-8", "replace"), lines)
        self._exited(process.rank, f"{words} ({how})" if words else how)
        self._start_more()
        if not self._processes:
            self._all_gone.set()

    def _settled(self, process: _Process) -> None:
        if not process.signed_in:
            process.signed_in = True
            self._starting -= 1
        if process.late is not None:
            process.late.cancel()

    def _too_late(self, process: _Process) -> None:
        process.too_late = True
        os.kill(process.pid, signal.SIGKILL)

    def _said(self, process: _Process) -> None:
        data = os.read(process.output, 65536) if _readable(process.output) else b""
        if data:
            process.said = (process.said + data)[-SAID_BYTES:]
        else:
            self._loop.remove_reader(process.output)
            os.close(process.output)
            process.output = -1

    def _close_stdin(self, process: _Process) -> None:
        if process.stdin >= 0:
            os.close(process.stdin)
            process.stdin = -1


def _readable(fd: int) -> bool:
    import select

    return bool(select.select([fd], [], [], 0)[0])


def how_it_ended(code: int) -> str:
    """An exit code, or what `fork_engine` makes of a signal, in words."""
    if code == LEASE_OVER:
        return "it did not move when its lease ended, and its guard killed it"
    number = -code if code < 0 else code - 128
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(number).name}"
    return f"exit code {code}"

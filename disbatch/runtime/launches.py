"""The processes that stand for engines on the driver's side: the guard of a forked engine, or ssh and its like.

Launchers are started a few dozen at a time, what they say is kept for the user, and every end is told at once.
"""

import asyncio
import contextlib
import os
import select
import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from disbatch.contexts import launchwords
from disbatch.contexts.base import some
from disbatch.runtime.descriptors import users_limit
from disbatch.runtime.guard import LEASE_OVER
from disbatch.runtime.spawner import TEMPORARY

AT_ONCE = (
    32  # launchers that have not brought their engine in yet; more would overload the host that starts them
)
SIGN_IN_S = 60.0  # an engine that has not signed in by then never will
LATE_S = 10.0  # an engine that has not signed in by then is named: people may know what the matter is with its host
DISMISS_S = 1.0  # for a launcher whose engine is not wanted any more to end by itself
SAID_BYTES = 4000  # of what a launcher prints, the end is kept
SHOWN_LINES = 3  # of that, where no engine has come up; an engine that is lost later has one line
END_S = 5.0  # for engines to go when all is over
AGAIN_S = 1.0  # until a launcher is started for which no descriptor or process was to be had
TOGETHER_S = 1.0  # nodes whose launchers have begun within this time are named together
GIVE_UP_S = 60.0  # what has failed for so long for want of these has failed
_REACHED = launchwords.REACHED.encode()


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
    logs_in: bool = False  # it begins a login, which says `launchwords.REACHED` when it comes to the command


class _Process:
    """One launcher. Its standard input is the engine's lifeline: it closes with the driver, whatever happens to that."""

    def __init__(self, rank: int, node: str, pid: int, stdin: int = -1, output: int = -1) -> None:
        self.rank = rank
        self.node = node
        self.pid = pid
        self.program = ""
        self.started_s = 0.0
        self.begun = True  # what it is to run there, as far as is known
        self.stdin = stdin
        self.output = output
        self.said = b""
        self.signed_in = stdin < 0
        self.timers: list[asyncio.TimerHandle] = []
        self.late = False
        self.too_late = False
        self.dismissed = False


class _Pipes:
    """Of a launcher that is about to start: (its end, ours) for its input, (ours, its end) for its output."""

    def __init__(self) -> None:
        self.stdin, self.stdin_w = os.pipe2(os.O_CLOEXEC)
        try:
            self.output, self.output_w = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(self.stdin)
            os.close(self.stdin_w)
            raise

    def close_its(self) -> None:
        os.close(self.stdin)
        os.close(self.output_w)

    def close_ours(self) -> None:
        os.close(self.stdin_w)
        os.close(self.output)


class Launches:
    """`exited(rank, why)` is called for each process that is gone; `why` is empty where `finish` has ended it before its
    engine had come. `tell(text)` is told when nothing can be started for want of descriptors or processes: once, until
    something was; and which nodes are waited for."""

    def __init__(self, exited: Callable[[int, str], None], tell: Callable[[str], None]) -> None:
        self._exited = exited
        self._tell = tell
        self._short_since: float | None = None
        self._again: asyncio.TimerHandle | None = None
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

    def let_go(self) -> None:
        """Start nothing more, and end the lifelines of what was started. Launchers whose engine has not come are ended at
        once: an engine that begins nevertheless finds its lifeline closed."""
        self._waiting.clear()
        if self._again is not None:
            self._again.cancel()
        for process in self._processes.values():
            self._close_stdin(process)
            if not process.signed_in:
                process.dismissed = True
                _kill(process, signal.SIGTERM)

    def kill(self) -> None:
        """Engines whose launcher or guard is killed kill what they left."""
        for process in self._processes.values():
            _kill(process, signal.SIGKILL)

    async def finish(self) -> None:
        """Wait until all are gone. What does not go is killed."""
        self.let_go()
        all_dismissed = all(process.dismissed for process in self._processes.values())
        await self._until_all_gone(DISMISS_S if all_dismissed else END_S)
        self.kill()

    async def _until_all_gone(self, seconds: float) -> None:
        if self._processes:
            self._all_gone.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), seconds)

    def _start_more(self) -> None:
        while self._waiting and self._starting < AT_ONCE and self._again is None:
            order = self._waiting.popleft()
            try:
                self._start(order)
            except OSError as error:
                if error.errno in TEMPORARY and self._may_wait(str(error.strerror)):
                    self._waiting.appendleft(order)
                else:
                    why = f"cannot start {order.argv[0]}: {error.strerror}"
                    self._loop.call_soon(self._exited, order.rank, why)
            else:
                self._short_since = None

    def _may_wait(self, why: str) -> bool:
        """Whether what cannot be started now is tried again; then it will be."""
        now = self._loop.time()
        if self._short_since is None:
            self._short_since = now
            self._tell(f"engines cannot be started now: {why}; this is tried again for {GIVE_UP_S:.0f} s")
        if now - self._short_since > GIVE_UP_S:
            return False
        self._again = self._loop.call_later(AGAIN_S, self._start_again)
        return True

    def _start_again(self) -> None:
        self._again = None
        self._start_more()

    def _start(self, order: LaunchOrder) -> None:
        pipes = _Pipes()
        try:
            with users_limit:  # also for the engine: srun sets there what it has here
                pid = os.posix_spawnp(
                    order.argv[0],
                    order.argv,
                    order.environ,
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, users_limit.low(pipes.stdin), 0),
                        (os.POSIX_SPAWN_DUP2, users_limit.low(pipes.output_w), 1),
                        (os.POSIX_SPAWN_DUP2, 1, 2),
                    ],
                    setsid=True,  # a Ctrl-C at the terminal is for the driver alone
                    setsigmask=[],
                    setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
                )
        except OSError:
            pipes.close_ours()
            raise
        finally:
            pipes.close_its()
        process = _Process(order.rank, order.node, pid, pipes.stdin_w, pipes.output)
        process.program = os.path.basename(order.argv[0])
        process.begun = not order.logs_in
        process.started_s = self._loop.time()
        process.timers = [
            self._loop.call_later(LATE_S, self._tell_late, process),
            self._loop.call_later(SIGN_IN_S, self._too_late, process),
        ]
        self._starting += 1
        self._loop.add_reader(pipes.output, self._said, process)
        self._watch(process)

    def _watch(self, process: _Process) -> None:
        self._processes[process.rank] = process
        try:
            pidfd = os.pidfd_open(process.pid)
        except OSError as error:
            if error.errno not in TEMPORARY:
                raise
            # It runs all the same; that it has ended is then noticed later.
            self._loop.call_later(AGAIN_S, self._watch, process)
            return
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
        self._exited(process.rank, "" if process.dismissed else _reason(process, code, lines))
        self._start_more()
        if not self._processes:
            self._all_gone.set()

    def _settled(self, process: _Process) -> None:
        if not process.signed_in:
            process.signed_in = True
            self._starting -= 1
        for timer in process.timers:
            timer.cancel()

    def _tell_late(self, process: _Process) -> None:
        """Name all nodes that were started about when this one was, at once."""
        if process.late or process.dismissed:
            return
        since_s = process.started_s + TOGETHER_S
        late = [p for p in self._processes.values() if not (p.signed_in or p.late) and p.started_s <= since_s]
        for each in late:
            each.late = True
        self._tell(f"waiting for {some([each.node for each in late])} ({process.program})")

    def _too_late(self, process: _Process) -> None:
        process.too_late = True
        os.kill(process.pid, signal.SIGKILL)

    def _said(self, process: _Process) -> None:
        data = os.read(process.output, 65536) if _readable(process.output) else b""
        if data:
            said = process.said + data
            process.begun = process.begun or _REACHED in said
            process.said = said[-SAID_BYTES:]
        else:
            self._loop.remove_reader(process.output)
            os.close(process.output)
            process.output = -1

    def _close_stdin(self, process: _Process) -> None:
        if process.stdin >= 0:
            os.close(process.stdin)
            process.stdin = -1


def _kill(process: _Process, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signum)


def _reason(process: _Process, code: int, lines: int) -> str:
    """Why there is no engine (any more): the last lines that its launcher has said, and how it has ended."""
    how = f"no engine has signed in within {SIGN_IN_S:.0f} s" if process.too_late else how_it_ended(code)
    hint = "" if process.begun else launchwords.not_begun(None if process.too_late else code)
    how = f"{how}: {hint}" if hint else how
    words = launchwords.why(process.said.decode("utf-8", "replace"), lines)
    return f"{words} ({how})" if words else how


def _readable(fd: int) -> bool:
    # Not select(2), which takes no descriptor above 1023.
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def how_it_ended(code: int) -> str:
    """An exit code, or what `fork_engine` makes of a signal, in words."""
    if code == LEASE_OVER:
        return "it did not move when its lease ended, and its guard killed it"
    number = -code if code < 0 else code - 128
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(number).name}"
    return f"exit code {code}"

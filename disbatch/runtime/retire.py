"""Giving nodes back while the run goes on: runs the command, one at a time, again when it fails, off everybody's way.

What the command is told, and when there is something to give back, is in `contexts.retirement`.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence

from disbatch.contexts.retirement import GiveBack, NodePool, leftovers
from disbatch.core.failures import last_line
from disbatch.runtime.descriptors import with_users_limit
from disbatch.runtime.launches import how_it_ended
from disbatch.runtime.processes import BASH
from disbatch.runtime.settings import RETIRE_CALL_S, RETIRE_GATHER_S, RETIRE_WAITS_S

SAID_BYTES = 4000  # of what the command prints, the end is kept
TERM_S = 0.3  # between TERM and KILL for a command whose time is up


class Retirement:
    """Of one context. `command` is run by bash; None or nothing: no node is ever given back.

    `warn` tells the user, `note` the log. Everything happens in the event loop that calls `ended`.
    """

    def __init__(
        self,
        command: str | None,
        all_nodes: Sequence[str],
        driver_node: str | None,
        warn: Callable[[str], None],
        environ: Mapping[str, str],
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._command = command or ""
        self._nodes = {node for node in all_nodes if node != driver_node}
        self._pool = NodePool(all_nodes, driver_node, environ)
        self._leftovers = leftovers(environ.get("SLURM_JOB_ID", ""))
        self._warn = warn
        self._note = note
        self._serving: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    def gives_back(self, node: str) -> bool:
        """Whether this node can be given back before the run ends."""
        return bool(self._command) and node in self._nodes

    def ended(self, node: str, code: int = 0) -> None:
        """The engine of a node has ended for good, while the run goes on. `code` is its exit code."""
        if not self._command:
            return
        self._pool.ended(node, code)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve(), name="retirement")

    async def finish(self, bound_s: float) -> None:
        """The run is over: nothing more is given back. A command that runs is waited for, but not for long."""
        if self._serving is None:
            return
        if self._process is not None and bound_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), bound_s)
        self._serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._serving

    async def _serve(self) -> None:
        """As long as there is something to give back. What ends while a call runs, or waits, goes with the next one."""
        waits = list(RETIRE_WAITS_S)
        await asyncio.sleep(RETIRE_GATHER_S)
        while (call := self._pool.due()) is not None:
            names = ",".join(call.nodes)
            problem = await self._run(call)
            if not problem:
                self._note(f"given back: {names}")
                self._pool.given_back(call.nodes)
                waits = list(RETIRE_WAITS_S)
                continue
            text = f"giving back {names} failed: {problem}"
            if not waits:
                self._warn(f"{text}; it is not tried again before another node has ended")
                return
            wait_s = waits.pop(0)
            text = f"{text}; tried again in {wait_s:.0f} s"
            first = len(waits) + 1 == len(RETIRE_WAITS_S)
            (self._warn if first else self._note)(text)  # one word for the user, the rest for the log
            await asyncio.sleep(wait_s)

    async def _run(self, call: GiveBack) -> str:
        """What went wrong, in one line, or nothing."""
        there = {name for name in self._leftovers if os.path.lexists(name)}
        try:
            said = os.memfd_create("said")  # not a pipe: what the command leaves running would hold that open
        except OSError as error:
            return f"cannot start bash: {error.strerror}"
        try:
            self._process = await asyncio.create_subprocess_exec(
                *with_users_limit(BASH, "-c", self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=call.environ,
                start_new_session=True,
            )
            code = await asyncio.wait_for(self._process.wait(), RETIRE_CALL_S)
            words = last_line(_end_of(said).decode("utf-8", "replace"))
        except TimeoutError:
            return f"the command was stopped after {RETIRE_CALL_S:.0f} s"
        except OSError as error:
            return f"cannot start bash: {error.strerror}"
        finally:
            os.close(said)
            await self._stop()
            for name in self._leftovers:
                if name not in there:
                    with contextlib.suppress(OSError):
                        os.unlink(name)
        if code == 0:
            return ""
        return f"{how_it_ended(code)}: {words}" if words else how_it_ended(code)

    async def _stop(self) -> None:
        """No command runs any more, whatever it says to that."""
        process, self._process = self._process, None
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if process is None or process.returncode is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signum)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), TERM_S)
        if process is not None:
            await _group_gone(process.pid)


async def _group_gone(pgid: int) -> None:
    """Returns when what was killed with its leader has gone as well, or does not within a second."""
    with contextlib.suppress(TimeoutError, ProcessLookupError):
        async with asyncio.timeout(1.0):
            while True:
                os.killpg(pgid, 0)
                await asyncio.sleep(0.005)


def _end_of(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, SAID_BYTES, max(0, size - SAID_BYTES))

"""The command of --on-event: an observer that runs it for events of the run, with what happened on its standard input.

What it is told is in `core.hookfacts`. It is somebody else's program: its time, its number and what is kept of its
output are bounded, and nothing that it does changes the run.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass

from disbatch.core.driver_events import EngineAside, EngineLost
from disbatch.core.failures import last_line
from disbatch.core.hookfacts import Facts, Hooked, Origin, facts
from disbatch.core.notable import BarrierMet, Batch, FirstFailure, Notable, RunEnd
from disbatch.runtime.descriptors import with_users_limit
from disbatch.runtime.folder import as_seen, working_folder
from disbatch.runtime.observers import Watched
from disbatch.runtime.processes import BASH
from disbatch.runtime.spawner import TEMPORARY

EVENT_VARIABLE = "DISBATCH_EVENT"
_AGAIN_S = (1.0, 4.0)  # where there is no descriptor or process to be had
_SAID_BYTES = 4000  # of what the command prints, the end is kept
_PATIENCE_S = 2.0  # then somebody who waits for the prompt is told what for


@dataclass(frozen=True, slots=True)
class HookLimits:
    seconds: float = 60.0  # a message is sent in one, an archive packed in a few
    at_once: int = 4
    waiting: int = 20  # a thousand engines that are lost together are no reason for a thousand programs
    warnings: int = 5  # the rest of the failures is in the log


class Hooks:
    """The observer."""

    def __init__(self, command: str, task_name: str, limits: HookLimits | None = None) -> None:
        self._command = command
        self._task_name = task_name
        self._limits = limits or HookLimits()
        self.finish_s = self._limits.seconds + 1
        self._waiting: deque[Facts] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._warnings = 0
        self._dropped = 0

    def begin(self, run: Watched) -> None:
        self._run = run
        status = as_seen(run.files.status)
        self._origin = Origin(
            run.files.job_id, self._task_name, socket.gethostname(), working_folder(), status
        )

    def written(self, batch: Batch) -> None:
        pass

    def happened(self, event: Notable) -> None:
        if not isinstance(event, FirstFailure | BarrierMet | EngineLost | EngineAside):
            return
        told = self._facts(event)
        if len(self._running) < self._limits.at_once:
            self._start(told)
        elif len(self._waiting) < self._limits.waiting:
            self._waiting.append(told)
        else:
            self._dropped += 1
            if self._dropped == 1:
                self._warn("more events than --on-event can keep up with: some are left out")

    async def finish(self, end: RunEnd) -> None:
        """Tells the end, and lets what runs come to its end, within the time of one command."""
        self._start(self._facts(end))  # beside whatever runs: this event is the one that must not be missed
        hint = asyncio.get_running_loop().call_later(_PATIENCE_S, self._tell_what_is_waited_for)
        try:
            async with asyncio.timeout(self._limits.seconds):
                while self._running:
                    await asyncio.wait(self._running)
        except TimeoutError:
            self._warn("not all commands of --on-event were done in time")
        finally:
            hint.cancel()
            if self._dropped:
                self._run.log.warning("events that were left out: %d", self._dropped)
            await self._stop_all()

    def _facts(self, event: Hooked) -> Facts:
        snapshot = event.snapshot if isinstance(event, RunEnd) else self._run.snapshot()
        return facts(event, self._origin, time.time(), snapshot)

    def _tell_what_is_waited_for(self) -> None:
        self._run.note("waiting for the command of --on-event (interrupt to stop it)")

    def _start(self, told: Facts) -> None:
        task = asyncio.create_task(self._tell(told), name=f"hook {told['event']}")
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting and not task.cancelled():
            self._start(self._waiting.popleft())

    async def _stop_all(self) -> None:
        self._waiting.clear()
        for task in [*self._running]:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _tell(self, told: Facts) -> None:
        name = str(told["event"])
        problem = await self._call_again(name, json.dumps(told).encode("ascii") + b"\n")
        if problem:
            self._warn(f"the command of --on-event failed at {name}: {problem}")
        else:
            self._run.log.info("the command of --on-event was run at %s", name)

    async def _call_again(self, name: str, text: bytes) -> str:
        """Runs the command, later where the machine has nothing left to start it with. What went wrong, or nothing."""
        for wait_s in (*_AGAIN_S, None):
            try:
                return await self._call(name, text)
            except OSError as error:
                why = f"cannot start bash: {error.strerror}"
                if error.errno not in TEMPORARY or wait_s is None:
                    return why
                self._run.log.warning("--on-event at %s: %s; tried again in %g s", name, why, wait_s)
                await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")

    async def _call(self, name: str, text: bytes) -> str:
        """Runs the command once. What went wrong in one line, or nothing."""
        tail = _Tail()
        given = -1
        try:
            given = os.memfd_create("event")  # a file, so that nobody waits for a command that does not read
            os.write(given, text)
            os.lseek(given, 0, os.SEEK_SET)
            process = await asyncio.create_subprocess_exec(
                *with_users_limit(BASH, "-c", self._command),
                stdin=given,
                stdout=tail.write_end,
                stderr=tail.write_end,
                env={**os.environ, EVENT_VARIABLE: name},
                start_new_session=True,
            )
            tail.started()
            code = await _wait(process, self._limits.seconds)
        finally:
            if given >= 0:
                os.close(given)
            said = tail.close()
        if code is None:
            return f"it was killed after {self._limits.seconds:g} s"
        if code == 0:
            return ""
        how = f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
        words = last_line(said.decode("utf-8", "replace"))
        return f"{how}: {words}" if words else how

    def _warn(self, text: str) -> None:
        self._warnings += 1
        if self._warnings <= self._limits.warnings:
            self._run.warn(text)
        else:
            self._run.log.warning(text)


async def _wait(process: asyncio.subprocess.Process, limit_s: float) -> int | None:
    """The exit code; None when its time was up. However this is left, nothing of its process group stays."""
    try:
        async with asyncio.timeout(limit_s):
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


class _Tail:
    """Drains the output of a command, keeps the end of it, and does not mind who else holds the pipe open."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)  # ours alone: the command has a right to a pipe that waits
        self._kept = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read_end, self._read)

    def started(self) -> None:
        os.close(self.write_end)
        self.write_end = -1

    def close(self) -> bytes:
        """What is there now is the end of it."""
        self._read()
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)
        if self.write_end >= 0:
            os.close(self.write_end)
        return self._kept

    def _read(self) -> None:
        try:
            data = os.read(self._read_end, 65536)
        except BlockingIOError:
            return
        self._kept = (self._kept + data)[-_SAID_BYTES:]
        if not data:
            self._loop.remove_reader(self._read_end)

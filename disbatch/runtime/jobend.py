"""Watching the end of the Slurm job that this process runs in."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

from disbatch.contexts import jobend
from disbatch.runtime.settings import DRAIN_LOOK_S

CALL_S = 30.0  # a controller that is busy answers late


class JobEnd:
    """Calls `near` once, when the job ends in less than `before_s` seconds. `note` tells the log."""

    def __init__(
        self,
        environ: Mapping[str, str],
        before_s: float,
        near: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        self._environ = {**environ, **jobend.TIME_FORMAT}
        self._question = jobend.end_question(environ)
        self._before_s = before_s
        self._near = near
        self._note = note
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="job end")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        end_s: float | None = None
        told: object = self  # what was told last; nothing has been
        while True:
            said = await self._ask()
            if said is not None:  # else what was known stands
                end_s = jobend.end_time(said)
            if told != end_s:
                told = end_s
                when = "has no time limit" if end_s is None else f"ends at {_clock(end_s)}"
                self._note(f"the job {when}; draining begins {self._before_s:g} s before its end")
            wait_s = jobend.look_again_s(end_s, self._before_s, time.time(), DRAIN_LOOK_S)
            if wait_s <= 0:
                self._near()
                return
            await asyncio.sleep(wait_s)

    async def _ask(self) -> str | None:
        """What squeue prints, None when it fails or does not answer."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._question,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._environ,
            )
        except OSError as error:
            self._note(f"cannot ask for the end of the job: {self._question[0]}: {error.strerror}")
            return None
        try:
            said, _ = await asyncio.wait_for(process.communicate(), CALL_S)
        except TimeoutError:
            said = b""
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            self._note("Slurm did not say when the job ends; it is asked again")
            return None
        return said.decode("ascii", "replace")


def _clock(epoch_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_s))

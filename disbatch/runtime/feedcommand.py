"""The command of --taskcommand: started once the KVS can be reached, watched, and waited for at the end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping

from disbatch.runtime.descriptors import users_limit
from disbatch.runtime.processes import BASH

SIGN_IN_S = 30.0  # a program that has not signed in by then is perhaps one that cannot
LAST_WORDS_S = 1.0  # what a program said before it ended may still be on its way
GRACE_S = 5.0  # between TERM and KILL
INFO_VARIABLE = "KVSSTCP_INFO"


class FeedCommand:
    """`program_ended(failure)` is called once it is gone; the failure is empty after exit code 0."""

    def __init__(
        self,
        command: str,
        environ: Mapping[str, str],
        program_ended: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self._command = command
        self._environ = environ
        self._program_ended = program_ended
        self._say = say
        self.signed_in = False
        self.returncode: int | None = None

    def start(self) -> None:
        """Spawns it in a session of its own, so that a Ctrl-C at the terminal is for disBatch alone."""
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        with users_limit:
            self._pid = os.posix_spawn(
                BASH,
                [BASH, b"-c", os.fsencode(self._command)],
                self._environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, users_limit.low(null), 0)],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        os.close(null)
        self._pidfd = os.pidfd_open(self._pid)
        self._loop.add_reader(self._pidfd, self._ended)
        self._loop.call_later(SIGN_IN_S, self._remind)

    async def finish(self, *, stop: bool) -> str:
        """Waits for its end, or brings it about. Returns what is wrong with how it ended, or nothing."""
        if stop:
            await self._terminate()
        await self._gone.wait()
        return "" if stop else self._failure()

    def kill(self) -> None:
        """Ends it at once: nobody wants to wait any longer."""
        self._signal(signal.SIGKILL)

    async def _terminate(self) -> None:
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._gone.wait(), GRACE_S)
        except TimeoutError:
            self.kill()

    def _signal(self, signum: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signum)

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._gone.set()
        self._loop.call_later(LAST_WORDS_S, self._program_ended, self._failure() or self._silence())

    def _failure(self) -> str:
        if not self.returncode:
            return ""
        return f"the feeding program ended with exit code {self.returncode}: {self._command}"

    def _silence(self) -> str:
        what = "before it said that no more tasks come" if self.signed_in else "without ever signing in"
        return f"the feeding program ended {what}: {self._command}"

    def _remind(self) -> None:
        if not self.signed_in and self.returncode is None:
            self._say(
                f"the feeding program has not signed in after {SIGN_IN_S:.0f} s: {self._command}\n"
                "    one that cannot use KVSSTCP_INFO needs --insecure-kvs"
            )

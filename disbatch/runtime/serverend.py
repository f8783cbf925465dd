"""When the KVS server of a run is gone: engines are told to go by other ways, as another server may be at its place.

An engine that reaches a new server there would wait for a driver that speaks with nobody, until its lease ends.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable

from disbatch.core.driver_events import ServerLost
from disbatch.runtime.launches import Launches

LEAVE_S = 1.0  # beyond the grace of tasks, for engines to go


class Lifeline:
    """The writing end of the pipe that tells the engines of this machine, by its end, that the driver is gone."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """May be called again."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self.fd)
            self.fd = -1


class ServerEnd:
    """Belongs to the driver's loop."""

    def __init__(
        self, happened: Callable[[ServerLost], None], launches: Launches, lifeline: Lifeline, grace_s: float
    ) -> None:
        self._happened = happened
        self._launches = launches
        self._lifeline = lifeline
        self._grace_s = grace_s

    def lost(self, why: str) -> None:
        """The server is gone, and so is every way to tell anybody anything."""
        self._happened(ServerLost(why))
        self._lifeline.close()
        self._launches.let_go()
        asyncio.get_running_loop().call_later(self._grace_s + LEAVE_S, self._kill, why)

    def _kill(self, why: str) -> None:
        self._launches.kill()
        # machines that have joined cannot be heard any more: they are not waited for
        self._happened(ServerLost(why))

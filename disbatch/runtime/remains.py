"""What the engines of a context may have left on their nodes when they died, and its end: for the context's process.

The driver orders a sweep when it holds an engine as lost; where there is no driver, the context sees to it by itself. A
context whose last engine has died stays until it was asked, as nobody else can reach that node.
"""

import asyncio
from collections.abc import Callable, Mapping

from disbatch.core.model import NodeSpec
from disbatch.runtime.contextsettings import ContextSettings
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.sweeping import sweep_node

ASKED_S = 10.0  # a driver that has not asked for a sweep by then will not: it is made all the same


class Remains:
    """`swept(rank, sid, clean)` is called when a sweep that was asked for has been made, or could not be."""

    def __init__(
        self,
        facts: RunFacts,
        settings: ContextSettings,
        nodes: Mapping[int, NodeSpec],
        swept: Callable[[int, str, bool], None],
    ) -> None:
        self._facts = facts
        self._settings = settings
        self._nodes = nodes  # by rank
        self._swept = swept
        self.sessions: dict[int, str] = {}  # by rank
        self._dirty: set[int] = set()  # engines that have not ended in order, and were not swept
        self._waiting: dict[int, asyncio.TimerHandle] = {}  # of these: for which a sweep may be ordered
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def clean(self) -> bool:
        """Whether nothing of the engines that are gone can still run."""
        return not self._dirty

    @property
    def wanted(self) -> bool:
        """Whether this process must not end yet."""
        return bool(self._waiting or self._tasks)

    def left(self, rank: int, *, at_once: bool) -> None:
        """An engine has ended, and not in order."""
        self._dirty.add(rank)
        if at_once:
            self.sweep(rank, "")
        else:
            loop = asyncio.get_running_loop()
            self._waiting[rank] = loop.call_later(ASKED_S, self._not_asked, rank)

    def sweep(self, rank: int, sid: str) -> None:
        """Kills what is left of this engine; `sid` is given back with the answer."""
        self._stop_waiting(rank)
        if rank in self.sessions:
            task = asyncio.get_running_loop().create_task(self._sweep(rank, sid))
            self._tasks.add(task)

    async def finish(self) -> None:
        """Returns when the sweeps that are under way have been made."""
        await asyncio.gather(*self._tasks)

    async def _sweep(self, rank: int, sid: str) -> None:
        try:
            clean = await sweep_node(self._facts, self._settings, self._nodes[rank], self.sessions[rank])
        finally:
            me = asyncio.current_task()
            self._tasks = {task for task in self._tasks if task is not me}
        if clean:
            self._dirty.discard(rank)
        self._swept(rank, sid, clean)

    def _not_asked(self, rank: int) -> None:
        self._stop_waiting(rank)
        self.sweep(rank, "")

    def _stop_waiting(self, rank: int) -> None:
        timer = self._waiting.pop(rank, None)
        if timer is not None:
            timer.cancel()

"""What lost engines need from whoever launched them: a word where they still listen, a sweep, another in their place."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine

from disbatch.core.driver_events import Dismiss, Event, Forget, LaunchAgain, Sweep, Swept, Tick
from disbatch.core.lease import heartbeat_s, tick_s
from disbatch.core.messages import Die
from disbatch.core.model import NodeSpec
from disbatch.runtime.bus import down_key, to_value
from disbatch.runtime.contextsettings import ContextSettings
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.hosting import launch_orders
from disbatch.runtime.kvs import Kvs
from disbatch.runtime.launches import LaunchOrder
from disbatch.runtime.sweep import session_id
from disbatch.runtime.sweeping import sweep_node


class Rescue:
    """For the engines of the driver's own context. It also has the clock by which leases end."""

    def __init__(
        self,
        facts: RunFacts,
        context: ContextSettings,
        nodes: dict[int, NodeSpec],
        kvs: Kvs,
        log: logging.Logger,
    ) -> None:
        self._facts = facts
        self._context = context
        self._nodes = nodes  # by rank
        self._kvs = kvs
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self._touching: asyncio.Future[None] | None = None

    def begin(self, tell: Callable[[Event], None], order: Callable[[LaunchOrder], None]) -> None:
        """`tell` takes what happens, `order` starts an engine."""
        self._tell = tell
        self._order = order
        self._run(self._tick(tick_s(self._facts.lease_s)))

    def carry_out(self, effect: Dismiss | Forget | Sweep | LaunchAgain) -> None:
        if isinstance(effect, Dismiss):
            self._kvs.put(down_key(effect.sid, effect.ep), to_value(Die(effect.sid)))
        elif isinstance(effect, Forget):
            self._kvs.drop(down_key(effect.sid, effect.ep))
        elif isinstance(effect, Sweep):
            self._run(self._sweep(effect))
        else:
            self._launch_again(effect)

    async def _tick(self, every_s: float) -> None:
        beat_at = 0.0
        while True:
            await asyncio.sleep(every_s)
            self._tell(Tick())
            now = asyncio.get_running_loop().time()
            if now >= beat_at and (self._touching is None or self._touching.done()):
                beat_at = now + heartbeat_s(self._facts.lease_s)
                # in a thread: a hung file system must not stop the loop that renews leases
                self._touching = asyncio.ensure_future(asyncio.to_thread(_touch, self._facts.info_path))

    def _launch_again(self, effect: LaunchAgain) -> None:
        node = self._nodes[effect.rank] = self._nodes[effect.like]
        label = self._context.label
        (order,) = launch_orders(self._facts, self._context, label, [(effect.rank, node)], by_driver=True)
        self._order(order)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep(self, effect: Sweep) -> None:
        session = session_id(self._facts.did, effect.sid)
        node = self._nodes.get(effect.rank)  # None: launched by a context that is not here
        clean = node is not None and await sweep_node(self._facts, self._context, node, session)
        self._log.info(
            "swept what was left of engine %d: %s", effect.rank, "done" if clean else "not possible"
        )
        self._tell(Swept(effect.sid, clean, effect.rank))


def _touch(path: str) -> None:
    """Whoever resumes this run after a crash sees by it how long its driver has lived."""
    with contextlib.suppress(OSError):
        os.utime(path, follow_symlinks=False)

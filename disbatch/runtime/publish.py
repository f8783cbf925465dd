"""Snapshots of the run in the KVS: the counts once a second, everything when somebody looks.

A viewer waits (`view`) on LIVE_KEY and puts anything under VIEWER_KEY: it asks for snapshots with all rows. All who wait
get the same one, one a second, until nobody has asked for WATCHED_S. So a run that nobody watches pays for the counts
alone, a viewer that died costs nothing before long, and this works with any server.

What a viewer costs the driver is one small request and one reply a second; the snapshot itself is the same for all, and
of a second's work of the driver's loop it is one turn, together with the counts.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from disbatch.core.history import History
from disbatch.core.snapshot import LIVE_KEY, STATUS_KEY, VIEWER_KEY, RunSnapshot, Sample
from disbatch.runtime.kvs import Kvs
from disbatch.runtime.settings import STATUS_KEY_S
from kvsstcp.values import Value

COST_SHARE = (
    0.01  # of the driver's time that may go into snapshots with all rows; what costs more comes less often
)
BYTES_PER_S = 300_000  # of such snapshots, for each viewer: a network has other things to do
WATCHED_S = 10.0  # after somebody has asked; viewers ask again in time
EARLY_S = 0.5  # what would be due within so much of a turn is taken with it
FIRST_LOOK_S = 0.1  # before the first one: a task file of usual length has been counted by then


class Camera(Protocol):
    """Who takes snapshots."""

    history: History

    def snapshot(self) -> RunSnapshot: ...

    def picture(self) -> RunSnapshot:
        """With all rows."""


class Publisher:
    """Belongs to the loop in which `start` is called. `looked` is called when somebody asks for the first time."""

    def __init__(self, kvs: Kvs, camera: Camera, looked: Callable[[], None]) -> None:
        self._kvs = kvs
        self._camera = camera
        self._looked: Callable[[], None] | None = looked
        self._watched_until = 0.0
        self._due = 0.0  # when the next snapshot with all rows may be taken
        self._soon: asyncio.TimerHandle | None = None  # it is taken then, out of turn
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._kvs.subscribe(VIEWER_KEY, self._ask)
        self._tick()

    def finish(self) -> None:
        """The run is over: those who wait see its last figures."""
        for timer in (self._timer, self._soon):
            if timer is not None:
                timer.cancel()
        if self._loop.time() < self._watched_until:
            self._show()

    def _tick(self) -> None:
        now = self._loop.time()
        s = self._camera.snapshot()
        self._camera.history.note(Sample(round(s.elapsed_s, 1), s.done + s.failed, s.failed, s.running))
        if now >= self._watched_until:
            self._kvs.publish(STATUS_KEY, _value(s.to_json()))
        elif now >= self._due and self._soon is None:
            self._show()
        self._timer = self._loop.call_later(STATUS_KEY_S, self._tick)

    def _ask(self, marker: Value) -> None:
        now = self._loop.time()
        if self._looked is not None:
            self._looked()
            self._looked = None
            self._due = now + FIRST_LOOK_S
        if (
            self._soon is None and now >= self._watched_until
        ):  # who has just come does not wait for the next turn
            self._soon = self._loop.call_at(max(self._due, now), self._show)
        self._watched_until = now + WATCHED_S

    def _show(self) -> None:
        self._soon = None
        begin = time.thread_time()
        value = _value(self._camera.picture().to_json())
        self._kvs.publish(STATUS_KEY, value)
        self._kvs.show(LIVE_KEY, value)
        cost_s = time.thread_time() - begin
        pause_s = max(cost_s / COST_SHARE, len(value.data) / BYTES_PER_S)
        self._due = self._loop.time() + max(0.0, pause_s - EARLY_S)


def _value(text: str) -> Value:
    return Value(b"JSON", text.encode("ascii"))

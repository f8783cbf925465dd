"""Snapshots of the run in the KVS: the counts once a second, everything when somebody looks.

A viewer waits (`view`) on LIVE_KEY and puts anything under VIEWER_KEY: it asks for one snapshot with all rows. All who
wait get the same one. So a run that nobody watches pays for the counts alone, a viewer that died costs nothing more,
and this works with any server.
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
        self._due = 0.0  # when the next snapshot with all rows may be taken
        self._asked: asyncio.TimerHandle | None = None  # somebody waits, and will be served then
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._kvs.subscribe(VIEWER_KEY, self._ask)
        self._tick()

    def finish(self) -> None:
        """The run is over: those who wait see its last figures."""
        if self._timer is not None:
            self._timer.cancel()
        if self._asked is not None:
            self._asked.cancel()
            self._show()

    def _tick(self) -> None:
        s = self._camera.snapshot()
        self._camera.history.note(Sample(round(s.elapsed_s, 1), s.done + s.failed, s.failed, s.running))
        if self._asked is None:
            self._kvs.publish(STATUS_KEY, _value(s.to_json()))
        self._timer = self._loop.call_later(STATUS_KEY_S, self._tick)

    def _ask(self, marker: Value) -> None:
        if self._looked is not None:
            self._looked()
            self._looked = None
            self._due = self._loop.time() + FIRST_LOOK_S
        if self._asked is None:
            self._asked = self._loop.call_at(max(self._due, self._loop.time()), self._show)

    def _show(self) -> None:
        self._asked = None
        begin = time.thread_time()
        text = self._camera.picture().to_json()
        self._kvs.publish(STATUS_KEY, _value(text))
        self._kvs.show(LIVE_KEY, _value(text))
        cost_s = time.thread_time() - begin
        pause_s = max(STATUS_KEY_S, cost_s / COST_SHARE, len(text) / BYTES_PER_S)
        self._due = self._loop.time() + pause_s


def _value(text: str) -> Value:
    return Value(b"JSON", text.encode("ascii"))

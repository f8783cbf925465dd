"""What happens to a command that cannot be started: it waits for what is missing, and fails only when nothing helps."""

import errno
import os
import signal
from collections.abc import Callable, Mapping

import pytest

from disbatch.core.engine_events import Job
from disbatch.core.model import NOT_STARTED, Outcome
from disbatch.runtime.processes import Ends
from disbatch.runtime.spawner import GIVE_UP_S, Spawner

JOB = Job("T", 1, 1, 1, -1, b"true")


class World:
    """A table of processes with room for some, and a clock that is moved by hand."""

    def __init__(self, room: int, code: int = errno.EAGAIN) -> None:
        self.room = room
        self.code = code
        self.running: list[int] = []
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.failed: Ends = []
        self.said: list[str] = []
        self.spawner = Spawner(
            self,
            lambda slot, job: {},
            self.call_later,
            self.failed.extend,
            self.said.append,
            lambda: self.now,
        )

    def __len__(self) -> int:
        return len(self.running)

    def spawn(self, slot: int, command: bytes, env: Mapping[bytes, bytes]) -> Outcome | None:
        if len(self.running) < self.room:
            self.running.append(slot)
            return None
        text = f"disBatch: the task could not be started: {os.strerror(self.code)}"
        return Outcome(NOT_STARTED, self.code, 0.0, 0.0, 0.0, 0, "", 0, text, 0.0, 0)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self.timers.append((self.now + seconds, function))

    def passes(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= end]:
            timer = min(due, key=lambda t: t[0])
            self.timers.remove(timer)
            self.now = timer[0]
            timer[1]()
        self.now = end


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_it_waits_while_others_run_however_long_that_is(code: int) -> None:
    world = World(2, code)
    for slot in range(4):
        world.spawner.start(slot, JOB)
    assert world.running == [0, 1]
    world.passes(100 * GIVE_UP_S)
    assert world.failed == [] and world.running == [0, 1]
    world.running.remove(0)
    world.spawner.retry()
    assert world.running == [1, 2]
    world.running.clear()
    world.passes(1.0)
    assert world.running == [3]
    assert len(world.said) == 1 and os.strerror(code) in world.said[0]


def test_with_nothing_else_running_it_fails_after_a_while() -> None:
    world = World(0)
    world.spawner.start(5, JOB)
    world.passes(GIVE_UP_S * 0.9)
    assert world.failed == []
    world.passes(GIVE_UP_S * 0.2)
    ((slot, outcome),) = world.failed
    assert (slot, outcome.pid, outcome.returncode) == (5, NOT_STARTED, errno.EAGAIN)
    world.passes(100)
    assert len(world.failed) == 1 and world.timers == []


def test_what_waiting_cannot_mend_fails_at_once() -> None:
    world = World(0, errno.E2BIG)
    world.spawner.start(0, JOB)
    world.passes(0.0)
    assert [outcome.returncode for _, outcome in world.failed] == [errno.E2BIG]
    assert world.said == []


def test_what_waits_is_stopped_like_what_runs() -> None:
    world = World(1)
    for slot in range(3):
        world.spawner.start(slot, JOB)
    world.spawner.drop(signal.SIGTERM)
    world.passes(0.0)
    assert [(slot, outcome.returncode) for slot, outcome in world.failed] == [(1, -15), (2, -15)]
    world.running.clear()
    world.passes(10.0)
    assert world.running == []

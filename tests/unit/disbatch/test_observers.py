"""The list of observers: what each is told and when, and that none of them can hold a run up."""

import asyncio
import logging
from typing import Any

import pytest
from disbatch_builders import EPOCH_S, Driver, barrier, outcome, per_engine, task

from disbatch.core.driver_events import Ending, EngineJoined, EngineLeft, EngineLost, Say
from disbatch.core.notable import BarrierMet, Batch, FirstFailure, Notable, RunEnd, is_task
from disbatch.core.resume import Place
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.status import StatusRecord, barrier_record, task_record
from disbatch.runtime import observers as module
from disbatch.runtime.files import RunFiles
from disbatch.runtime.observers import Observers, Watched

FINE = task_record(task(0), "vm", outcome())
FAILED = task_record(task(1), "vm", outcome(3))
COMMAND_FAILED = task_record(per_engine("START", 0), "vm", outcome(3))
BARRIER = barrier_record(barrier(2), "vm", 99, EPOCH_S, EPOCH_S + 1)
SNAPSHOT = RunSnapshot(1.0, 1, 1, 0, 0, 0, 2, "", "running", ())
END = RunEnd("COMPLETE", "all tasks have been done", 0, SNAPSHOT, [], False)


class Witness:
    """Keeps what it is told; raises or waits on demand."""

    def __init__(self, *, breaks: bool = False, hangs: bool = False) -> None:
        self.batches: list[Batch] = []
        self.events: list[Notable] = []
        self.ends: list[RunEnd] = []
        self.calls = 0
        self.breaks, self.hangs = breaks, hangs

    def begin(self, run: Watched) -> None:
        self.run = run

    def written(self, batch: Batch) -> None:
        self.calls += 1
        if self.breaks:
            raise ValueError("a defect")
        self.batches.append(batch)

    def happened(self, event: Notable) -> None:
        self.events.append(event)

    async def finish(self, end: RunEnd) -> None:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        self.ends.append(end)


def watched(warnings: list[str] | None = None) -> Watched:
    said = [] if warnings is None else warnings
    files = RunFiles("./run", "", "job", "run_driver.txt")
    return Watched(
        files,
        lambda: SNAPSHOT,
        lambda: SNAPSHOT,
        lambda: [],
        said.append,
        said.append,
        logging.getLogger("test"),
    )


def test_rows_are_told_once_they_are_written_and_skipped_ones_are_counted() -> None:
    witness = Witness()
    observers = Observers([witness])
    observers.remember(1, [Place(0, 0), Place(0, 99)])
    observers.remember(2, [FINE])
    assert witness.batches == []
    observers.written(1)
    observers.written(2)
    observers.written(2)
    observers.written(77)
    assert witness.batches == [Batch([], 2), Batch([FINE], 0)]


def test_first_failure_is_told_once_and_a_failed_command_is_none() -> None:
    witness = Witness()
    observers = Observers([witness])
    for number, rows in enumerate(([COMMAND_FAILED, FINE], [FINE, FAILED], [FAILED])):
        observers.remember(number, list[StatusRecord | Place](rows))
        observers.written(number)
    assert witness.events == [FirstFailure(FAILED)]


def test_barrier_is_told_by_its_row() -> None:
    witness = Witness()
    observers = Observers([witness])
    observers.remember(1, [BARRIER])
    observers.written(1)
    assert witness.events == [BarrierMet(BARRIER)]
    assert not is_task(BARRIER) and not is_task(COMMAND_FAILED) and is_task(FAILED)


def test_observer_that_raises_is_left_out_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    broken, fine = Witness(breaks=True), Witness()
    observers = Observers([broken, fine])
    for number in range(3):
        observers.remember(number, [FINE])
        observers.written(number)
    assert (broken.calls, fine.calls) == (1, 3)
    assert "Witness failed in written" in caplog.text and "a defect" in caplog.text
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1


def test_one_that_hangs_at_the_end_does_not_keep_the_others_or_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OBSERVERS_END_S", 0.02)
    hanging, fine = Witness(hangs=True), Witness()
    asyncio.run(Observers([hanging, fine]).finish(END))
    assert (hanging.ends, fine.ends) == ([], [END])


def test_the_user_may_cut_the_end_short() -> None:
    async def interrupted() -> None:
        observers = Observers([Witness(hangs=True)])
        asyncio.get_running_loop().call_later(0.01, observers.hurry)
        await observers.finish(END)

    asyncio.run(asyncio.wait_for(interrupted(), 2.0))


def test_no_observer_is_false() -> None:
    assert not Observers([])
    assert Observers([Witness()])


def told(driver: Driver, kind: type) -> list[Any]:
    return [effect for effect in driver.effects if isinstance(effect, kind)]


def test_core_tells_who_joins_who_leaves_and_who_is_lost() -> None:
    driver = Driver()
    driver.engine(0, 2, demand=0)
    driver.engine(1, 1)
    assert told(driver, EngineJoined) == [
        EngineJoined(0, "node0", "SSH0", 2),
        EngineJoined(1, "node1", "SSH0", 1),
    ]
    driver.lists(task(0))
    driver.exits(1, "killed by SIGKILL")
    assert told(driver, EngineLost) == [EngineLost(1, "node1", "SSH0", 1, "killed by SIGKILL")]
    assert told(driver, Say)
    driver.up(0, demand=0, bye="told to")
    assert told(driver, EngineLeft) == [EngineLeft(0, "node0", "SSH0", "told to")]


def test_exit_code_counts_failures_only_where_that_was_asked_for() -> None:
    driver = Driver()
    driver.engine()
    driver.lists(task(0))
    driver.finishes(0, 3)
    assert driver.core.failed == 1
    assert driver.core.exit_code(Ending.COMPLETE) == 0
    driver.core.config = driver.core.config.__class__("did", "vm", 99, False, exit_code=True)
    assert driver.core.exit_code(Ending.COMPLETE) == 1
    assert driver.core.exit_code(Ending.SIGINT) == 130

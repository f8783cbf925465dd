"""Engines that are set aside while everything else fails, too: no rule of the simulated world is broken, and each run ends."""

import random

import pytest
from faulthouse import FaultHouse
from faultplan import Plan

from disbatch.core.engine_events import Job
from disbatch.core.quarantine import Quarantine

FAILS = 0.6  # of the attempts


def code(_plan: object, job: Job) -> int:
    """An attempt fails whatever the one before did, so that engines are set aside, come back, and stay aside."""
    chance = random.Random(b"%s %d" % (job.command, job.attempt))
    return 1 if job.kind == "T" and chance.random() < FAILS else 0


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said of engines: it comes back, or it stays aside."""
    given: list[str] = []
    judge = Quarantine._judge

    def judged(self, case):
        judge(self, case)
        given.append(case.engine.aside)

    monkeypatch.setattr(Quarantine, "_judge", judged)
    monkeypatch.setattr(Plan, "code", code)
    return given


def set_limit(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all runs: a driver takes its settings from the plan, of which this is one."""
    monkeypatch.setattr(
        Plan, "quarantine", property(lambda self: limit, lambda self, value: None), raising=False
    )


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_engines_that_are_set_aside(limit: int, verdicts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    set_limit(limit, monkeypatch)
    for seed in range(30):
        FaultHouse(seed).run()
    assert {"", "bad"} <= set(verdicts)


@pytest.mark.parametrize("seed", [5, 12, 13, 138])
def test_failures_that_were_forgotten_with_a_session(
    seed: int, verdicts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limit(2, monkeypatch)
    FaultHouse(seed).run()

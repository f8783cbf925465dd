"""Runs under faults, on a virtual clock: thousands of seeds, and proof that the simulation sees what it should."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import mutants
import mutants_more
import pytest
from faulthouse import FaultHouse
from faultprofiles import LATER, PROFILES
from faults import FAULTS, freeze_driver
from faultworld import Broken

SECONDS = float(os.environ.get("DISBATCH_SIM_SECONDS", "30"))
AT_LEAST = 100  # a machine that does not get so far says nothing


def test_thousands_of_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    """For a fixed time: as many as this machine does. Long runs: long_run.py."""
    end = time.monotonic() + SECONDS
    seed = events = drivers = 0
    while time.monotonic() < end or seed < AT_LEAST:
        house = FaultHouse(seed)
        events += house.run().events
        drivers += len(house.drivers)
        seed += 1
    with capsys.disabled():
        print(f"\n[fault simulation: {seed} seeds, {drivers} drivers, {events} events] ", end="")


@pytest.mark.parametrize("seed", range(60))
def test_without_faults_everything_is_started_once_and_no_engine_is_lost(seed: int) -> None:
    house = FaultHouse(seed, calm=True)
    world = house.run()
    tasks = [p for p in world.processes.values() if p.job.kind == "T"]
    assert len(tasks) == len(world.tasks) and len(house.drivers) == 1
    assert world.given_up == set() and not house.driver.core.sessions.losses._lost_sids


@pytest.mark.parametrize("number", range(8))
def test_a_driver_that_is_stopped_loses_no_engine_beside_it(number: int) -> None:
    """However long: the engine sees that it exists, and goes on."""
    seed = 11 + 15 * number
    house = FaultHouse(seed)
    house.plan.slow, house.plan.repeats, house.plan.faults = 0.0, 0.0, [FAULTS.index(freeze_driver)]
    world = house.run()
    assert world.counts["driver stands"] > 0
    assert not house.driver.core.sessions.losses._lost_sids and len(house.drivers) == 1
    assert all(p.code is not None for p in world.processes.values() if p.job.kind == "T")


# What has failed once, by seed. A change of the plan gives a seed another story: then mutants.py, which takes away what
# was mended, says which seeds have to do with it, and that one goes here.
FOUND = {
    5157: "a guard that was stopped twice went on after the shorter time",
    30: "a context whose driver was followed by another had more tasks than its limit",
    173: "two contexts of one name, in a run and in its resumption",
    21519: "an engine that had not spoken was no longer waited for when its context died",
    331: "reports that waited for the list were kept once more on each new connection",
    415: "a list was read on, and its copied rows waited for a full disk without bound",
    7352: "an engine that claimed too late, and died, was waited for without end",
    100145: "the limit of a context did not hold for tasks that run alone",
}


@pytest.mark.parametrize("seed", FOUND, ids=lambda seed: FOUND[seed].replace(" ", "-"))
def test_what_has_failed_once(seed: int) -> None:
    FaultHouse(seed).run()


def test_a_guard_that_is_stopped_twice_goes_on_after_the_longer_time() -> None:
    house = FaultHouse(0)
    house._start_driver()
    node = next(iter(house.driver.nodes.values()))
    node.freeze_guard(5.0)
    node.freeze_guard(0.1)
    house.close()
    assert node.guard_frozen_until == house.world.now + 5.0


def fingerprint(seeds: range) -> str:
    """Of all that was done and written in these runs."""
    whole = hashlib.sha256()
    for seed in seeds:
        house = FaultHouse(seed)
        world = house.run()
        whole.update("\n".join(world.trace).encode() + repr(world.file).encode() + repr(world.now).encode())
    return whole.hexdigest()


def test_a_seed_is_the_same_run_whatever_the_hash_seed() -> None:
    code = "import test_faults; print(test_faults.fingerprint(range(25)))"
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for number in ("0", "1", "4711")
    }
    assert found == {fingerprint(range(25))}


def test_the_faults_really_happen() -> None:
    houses = [FaultHouse(seed) for seed in range(120)]
    for house in houses:
        house.run()
    counts = sum((house.world.counts for house in houses), start=houses[0].world.counts.copy())
    for fault in (
        *(each.__name__ for each in FAULTS),
        "guard's deadline",
        "reattached",
        "torn lines",
        "given up",
    ):
        assert counts[fault] > 0, fault
    assert any(len(house.drivers) > 2 for house in houses)
    assert {house.plan.focus for house in houses} == {
        "",
        *(profile.__name__ for profile in (*PROFILES, *LATER.values())),
    }
    lost = [p for h in houses for p in h.world.processes.values() if p.job.kind == "T" and p.code is None]
    assert len(lost) > 100  # attempts that were killed


QUICK = {
    mutants.no_sweep: 200,
    mutants.no_lease_check: 900,
    mutants.no_age_at_driver: 200,
    mutants.no_epoch_at_driver: 200,
    mutants.no_acknowledgement: 200,
    mutants.repeated_messages_taken: 200,
    mutants.recall_gives_all: 200,
    mutants.repeated_reports_taken: 200,
    mutants.lost_sessions_heard: 200,
    mutants.barrier_not_counted: 50,
    mutants_more.context_not_asked: 200,
    mutants_more.early_reports_taken: 200,
    mutants_more.acknowledged_unwritten: 50,
    mutants_more.limit_not_charged: 100,
    mutants_more.check_not_counted: 100,
    mutants_more.suspects_beside_others: 100,
}


@pytest.mark.parametrize("mutant", QUICK, ids=lambda mutant: mutant.__name__)
def test_a_guard_that_is_taken_away_is_missed(mutant) -> None:  # type: ignore[no-untyped-def]
    """The slower ones: mutants.py, which prints the whole table."""
    assert mutants.seeds_needed(mutant, QUICK[mutant]) is not None


def test_the_rules_are_whole_again_after_a_mutant() -> None:
    assert mutants.seeds_needed(mutants.no_sweep, 200) is not None
    for seed in range(20):
        FaultHouse(seed).run()


def test_a_broken_rule_names_its_seed() -> None:
    with mutants.barrier_not_counted(), pytest.raises(Broken, match=r"seed \d+ at"):
        for seed in range(50):
            FaultHouse(seed).run()

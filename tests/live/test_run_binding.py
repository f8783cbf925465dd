"""Tasks on cores of their own, seen by the tasks themselves.

Engines claim CPUs in a place of the test (`claiming.py`): other runs on the machine make no difference.
"""

import os
import signal
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from disbatch_runs import AFTER_A_KILL_S, Bench, wait_until

CPUS = os.sched_getaffinity(0)
ALL = len(CPUS)
SHOW = "sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status > cpus.$DISBATCH_CYLINDER_RANK.$DISBATCH_TASKID; sleep 0.05\n"

WAIT = "touch on.$DISBATCH_CYLINDER_RANK; until [ -e go ]; do sleep 0.02; done\n"

needs_two = pytest.mark.skipif(ALL < 2, reason="one CPU cannot be divided")


@pytest.fixture
def here(bench: Bench) -> list[str]:
    """disBatch with a place of this test for its claims."""
    place = bench.io("claims")
    place.touch()
    return [sys.executable, str(Path(__file__).with_name("claiming.py")), str(place)]


def numbers(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def seen(bench: Bench) -> dict[int, set[frozenset[int]]]:
    """By slot, the sets of CPUs that its tasks have seen; the files are gone then."""
    found: dict[int, set[frozenset[int]]] = defaultdict(set)
    for path in bench.path.glob("cpus.*"):
        found[int(path.name.split(".")[1])].add(numbers(path.read_text()))
        path.unlink()
    return found


@needs_two
def test_each_slot_has_cpus_of_its_own(bench: Bench, here: list[str]) -> None:
    tasks = "#DISBATCH PERENGINE START " + SHOW + SHOW * (3 * ALL)
    assert bench.here(ALL, tasks=tasks, program=here).code == 0
    found = seen(bench)
    assert found.pop(-1) == {frozenset(CPUS)}  # a command of the engine may use all
    assert len(found) == ALL and all(len(sets) == 1 for sets in found.values())
    taken = [cpu for sets in found.values() for cpu in next(iter(sets))]
    assert sorted(taken) == sorted(CPUS)


@needs_two
def test_a_long_task_after_short_ones_is_bound_with_what_it_has_started(
    bench: Bench, here: list[str]
) -> None:
    show = SHOW.replace("; sleep 0.05", "").strip()
    tasks = (
        ":\n" * (20 * ALL)
        + f"(until {show}; [[ $(cat cpus.*.$DISBATCH_TASKID) != *[,-]* ]]; do sleep 0.01; done)\n" * ALL
    )
    assert bench.here(ALL, tasks=tasks, program=here).code == 0
    assert all(cpus < CPUS for sets in seen(bench).values() for cpus in sets)


@needs_two
@pytest.mark.parametrize(
    "options", [["--no-bind"], ["-c", "0.5"], ["-s", f"localhost:{ALL}"]], ids=["no-bind", "half", "too-many"]
)
def test_nothing_is_bound(bench: Bench, here: list[str], options: list[str]) -> None:
    assert bench.here(ALL, *options, tasks=SHOW * 2 * ALL, program=here).code == 0
    assert {cpus for sets in seen(bench).values() for cpus in sets} == {frozenset(CPUS)}


@needs_two
def test_two_runs_on_one_host_do_not_crowd_on_the_same_cpus(bench: Bench, here: list[str]) -> None:
    first = bench.start_here(ALL, tasks=WAIT * ALL + SHOW * ALL, program=here)
    first.until_exists(*(f"on.{slot}" for slot in range(ALL)))
    bench.file("Second", SHOW * ALL)
    assert bench.run("-s", f"localhost:{ALL}", "-p", "second", "Second", program=here).code == 0
    assert {cpus for sets in seen(bench).values() for cpus in sets} == {frozenset(CPUS)}
    bench.file("go", "")
    assert first.end().code == 0
    assert all(cpus < CPUS for sets in seen(bench).values() for cpus in sets)
    # the claim has ended with the first run
    assert bench.run("-s", f"localhost:{ALL}", "-p", "third", "Second", program=here).code == 0
    assert all(cpus < CPUS for sets in seen(bench).values() for cpus in sets)


@needs_two
def test_a_claim_is_gone_with_an_engine_that_is_killed(bench: Bench, here: list[str]) -> None:
    run = bench.start_here(ALL, tasks=WAIT * ALL, program=here)
    run.until_exists(*(f"on.{slot}" for slot in range(ALL)))
    for pid in run.engine_pids():
        os.kill(pid, signal.SIGKILL)
    run.kill()
    bench.file("go", "")
    wait_until(lambda: not bench.left_running(), "all is gone", seconds=AFTER_A_KILL_S, logs=bench.logs)
    bench.file("Second", SHOW * ALL)
    assert bench.run("-s", f"localhost:{ALL}", "-p", "second", "Second", program=here).code == 0
    assert all(cpus < CPUS for sets in seen(bench).values() for cpus in sets)

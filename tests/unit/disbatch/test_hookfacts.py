"""The JSON of --on-event: names and values, which scripts rely on."""

import json

import pytest
from disbatch_builders import EPOCH_S, barrier, outcome, task

from disbatch.core.driver_events import EngineAside, EngineLost
from disbatch.core.failures import FailureGroup
from disbatch.core.hookfacts import EVENTS, MAX_CAUSES, Hooked, Origin, facts
from disbatch.core.notable import BarrierMet, FirstFailure, RunEnd
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.status import barrier_record, task_record

ORIGIN = Origin("job7", "Tasks", "vm", "/d", "/d/run_status.txt")
SNAPSHOT = RunSnapshot(75.12345, 5, 2, 1, 3, 0, 20, "", "running", ())
FAILED = task_record(task(6, b"sim -x"), "node1", outcome(3, err_bytes=4, err_snippet="bad\n", out_bytes=0))
CAUSES = [FailureGroup(3, "bad", 2, 6, "bad")] * (MAX_CAUSES + 5)
HAPPENINGS: dict[str, Hooked] = {
    "first-failure": FirstFailure(FAILED),
    "barrier": BarrierMet(barrier_record(barrier(7, check=True), "vm", 99, EPOCH_S, EPOCH_S + 2)),
    "engine-lost": EngineLost(1, "node1", "SSH0", 4, "killed by SIGKILL"),
    "engine-aside": EngineAside(1, "node1", "SSH0", "tasks fail at once there"),
    "end": RunEnd("CHECK", "a BARRIER CHECK found failed tasks", 1, SNAPSHOT, CAUSES, True),
}
OWN = {
    "first-failure": {
        "task": {
            "task_id": 6,
            "line": 7,
            "repeat_index": -1,
            "node": "node1",
            "pid": 4711,
            "exit_code": 3,
            "elapsed_s": 0.5,
            "start_s": EPOCH_S,
            "finish_s": EPOCH_S + 0.5,
            "output_bytes": 0,
            "output": "",
            "error_bytes": 4,
            "error": "bad\n",
            "command": "sim -x",
        }
    },
    "barrier": {
        "barrier": {
            "task_id": 7,
            "line": 8,
            "check": True,
            "reached_s": EPOCH_S,
            "met_s": EPOCH_S + 2,
            "text": "#DISBATCH BARRIER CHECK",
        }
    },
    "engine-lost": {
        "engine": {
            "rank": 1,
            "node": "node1",
            "context": "SSH0",
            "running": 4,
            "why": "killed by SIGKILL",
        }
    },
    "engine-aside": {
        "engine": {"rank": 1, "node": "node1", "context": "SSH0", "why": "tasks fail at once there"}
    },
    "end": {
        "ending": "CHECK",
        "text": "a BARRIER CHECK found failed tasks",
        "exit_code": 1,
        "tasks_left": True,
        "failures": [{"exit_code": 3, "error": "bad", "count": 2, "task_id": 6}] * MAX_CAUSES,
    },
}


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_has_the_common_fields_and_its_own(name: str) -> None:
    told = json.loads(json.dumps(facts(HAPPENINGS[name], ORIGIN, EPOCH_S, SNAPSHOT)))
    common = {
        "event": name,
        "time_s": EPOCH_S,
        "elapsed_s": 75.123,
        "job_id": "job7",
        "task_name": "Tasks",
        "host": "vm",
        "folder": "/d",
        "status_file": "/d/run_status.txt",
        "done": 5,
        "failed": 2,
        "skipped": 1,
        "running": 3,
        "total": 20,
    }
    assert told == common | OWN[name]


def test_a_huge_command_is_cut() -> None:
    told = facts(
        FirstFailure(task_record(task(0, b"x" * 1_000_000), "vm", outcome(1))), ORIGIN, EPOCH_S, SNAPSHOT
    )
    assert len(json.dumps(told)) < 12_000

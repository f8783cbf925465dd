"""What everybody who takes part in a run has to know: engines, contexts, viewers. Nothing of it is secret."""

import json
from dataclasses import asdict, dataclass

RUN_KEY = b"disBatch run "  # begins the name of the key under which the facts are


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Published under `run_key`, and handed to every engine with its start."""

    did: str
    job_id: str
    task_name: str
    prefix: str  # absolute
    folder: str  # absolute: where the driver, and so every task, was started
    grace_s: float
    loglevel: str
    tasks_job_id: str  # DISBATCH_JOBID of tasks
    lease_s: float = 300.0
    reattach: bool = False  # a driver that dies may be followed by another, which takes the engines over

    @property
    def info_path(self) -> str:
        return self.prefix + "_kvsinfo.txt"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "RunFacts":
        return cls(**json.loads(text))


def run_key(job_id: str) -> bytes:
    """The KVS key of a run's facts; the info file has the id."""
    return RUN_KEY + job_id.encode("utf-8", "surrogateescape")

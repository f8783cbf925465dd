"""`RunSnapshot`: the one picture of a run that every viewer shows, and its JSON form for the `DisBatch status` key."""

import json
from dataclasses import asdict, dataclass

from disbatch.core.fleet import Fleet
from disbatch.core.ledger import Ledger

STATUS_KEY = b"DisBatch status"


@dataclass(frozen=True, slots=True)
class EngineView:
    rank: int
    node: str
    context: str
    state: str
    slots: int
    held: int  # tasks handed to it and not reported
    heard: bool


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """Counts of tasks (per-engine commands and barriers are none), seconds, and a row for each engine."""

    elapsed_s: float
    done: int
    failed: int
    skipped: int
    running: int
    ready: int
    total: int | None  # None while it is not known
    barrier: str  # the barrier that the run waits at, or nothing
    state: str  # "running", or how it is ending
    engines: tuple[EngineView, ...]

    @property
    def finished(self) -> int:
        return self.done + self.failed + self.skipped

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def take_snapshot(
    ledger: Ledger, fleet: Fleet, barrier: str, state: str, elapsed_s: float, total: int | None
) -> RunSnapshot:
    """The picture of this moment; costs a row for each engine, so it is for a few times a second at most."""
    views = tuple(
        EngineView(e.rank, e.node, e.label, e.state.name, e.slots, len(e.held), bool(e.sid))
        for e in fleet.engines.values()
    )
    busy = min(fleet.busy, ledger.assigned)
    counts = (ledger.done, ledger.failed, ledger.skipped, busy, ledger.unfinished - busy)
    return RunSnapshot(elapsed_s, *counts, total, barrier, state, views)

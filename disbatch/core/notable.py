"""What those who watch a run are told (mail, hooks, pages): rows that are on disk, and the few things worth a word.

Values only. Who hands them out is `runtime.observers`; engines that come and go are told by the driver core.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from disbatch.core.driver_events import EngineAside, EngineJoined, EngineLeft, EngineLost, Say
from disbatch.core.failures import FailureGroup
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.status import StatusRecord

DONE_WELL = frozenset(" " + o + e + " " for o in "O " for e in "E ")  # flags of tasks that did not fail


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that now stand in the status file, in order: tasks, and by their flags PERENGINE commands and barriers."""

    rows: Sequence[StatusRecord]
    skipped: int  # tasks of earlier runs whose lines were copied with them


class FirstFailure(NamedTuple):
    """A task of this run has failed, and none had before."""

    record: StatusRecord


class BarrierMet(NamedTuple):
    """All tasks before a barrier are done. It was reached, waited at, and met at the times of its row."""

    record: StatusRecord


Notable = FirstFailure | BarrierMet | EngineJoined | EngineLeft | EngineLost | EngineAside | Say


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How the run ended."""

    ending: str  # the name of the `Ending`, for programs
    text: str  # the same for people
    exit_code: int
    snapshot: RunSnapshot
    failures: Sequence[FailureGroup]
    left: bool  # tasks without a final line


def is_task(row: StatusRecord) -> bool:
    """Neither a barrier nor a PERENGINE command."""
    return row.flags[0] not in "BC" and row.flags[3] != "P"


def find_barriers(rows: Sequence[StatusRecord]) -> list[BarrierMet]:
    return [BarrierMet(row) for row in rows if row.flags[0] in "BC"]


def find_failure(rows: Sequence[StatusRecord]) -> FirstFailure | None:
    """The first failed task among the rows."""
    return next((FirstFailure(row) for row in rows if row.returncode and is_task(row)), None)

"""`RunSnapshot`: the one picture of a run that every viewer shows, and its JSON form. Values only.

How one is taken is in `core.picture`. Rows are named tuples: a picture of thousands of engines is made of them.
"""

import json
import types
import typing
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from disbatch.core.errors import PeerError

# of the JSON form: one more when a field goes or changes its meaning; further fields change nothing
SCHEMA = 1
STATUS_KEY = b"DisBatch status"  # holds the newest snapshot; with rows only while somebody looks
VIEWER_KEY = b"DisBatch viewer"  # whoever puts anything here asks for one snapshot with all rows
LIVE_KEY = (
    b"DisBatch live"  # never holds anything: whoever views it waits for the next snapshot with all rows
)

MAX_RUNNING = 200  # rows of running tasks: more than anybody reads
COMMAND_CHARS = 200  # of a command in a row


class Sample(NamedTuple):
    """The counts of one moment. `ended` tasks were run by this run, the failed ones included."""

    elapsed_s: float
    ended: int
    failed: int
    running: int


class ContextView(NamedTuple):
    """A set of engines that were started together. Counts of tasks are those of its engines."""

    label: str
    state: str  # of its liveliest engine, by the names of EngineState
    engines: int  # that are not gone
    slots: int  # of these
    busy: int
    assigned: int
    finished: int
    failed: int
    limit: int | None  # tasks after which the context ends; None: no limit


class EngineView(NamedTuple):
    rank: int
    node: str
    context: str
    state: str  # a name of EngineState, or ASIDE
    slots: int
    busy: int
    held: int  # tasks handed to it and not reported
    assigned: int  # tasks handed to it so far
    finished: int  # tasks that ended here, the failed ones included
    failed: int
    silent_s: float | None  # since its last message; None before the first
    load: float | None  # of its node, as a mean of the last minute
    mem_used_kib: int | None  # of its node, without what could be freed
    mem_total_kib: int | None
    cpus: int | None  # of its node


class RunningView(NamedTuple):
    task_id: int
    line_no: int
    repeat_index: int
    attempt: int
    node: str
    rank: int
    seconds: float  # since it was handed to the engine
    command: str


class FailureView(NamedTuple):
    task_id: int
    line_no: int
    repeat_index: int
    node: str
    rank: int
    returncode: int
    elapsed_s: float
    finish_s: float  # since the epoch
    error: str  # the last line of what it wrote to standard error, as far as it was kept
    command: str


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """Counts of tasks (per-engine commands and barriers are none), seconds; rows only where `detail` says so."""

    elapsed_s: float
    done: int
    failed: int
    skipped: int
    running: int
    ready: int  # read, and not running
    total: int | None  # None while it is not known
    barrier: str  # the barrier that the run waits at, or nothing
    state: str  # "running", or how it is ending
    engines: tuple[EngineView, ...]
    rate: float = 0.0  # tasks per second, over the last seconds
    slots: int = 0  # of all engines that take tasks, or will
    over: bool = False  # the last snapshot of the run
    detail: bool = False  # the rows below, and those of the engines, are there
    wall_s: float = 0.0  # when it was taken, since the epoch
    contexts: tuple[ContextView, ...] = ()
    tasks: tuple[RunningView, ...] = ()  # what runs, the longest first, at most MAX_RUNNING
    failures: tuple[FailureView, ...] = ()  # the last ones, the newest first
    history: tuple[Sample, ...] = ()  # from the start to now, at a steady pace that grows with the run
    skipped_failed: int = 0  # of those that were skipped

    @property
    def finished(self) -> int:
        return self.done + self.failed + self.skipped

    @property
    def ok(self) -> int:
        """Tasks that went well, in this run or an earlier one."""
        return self.done + self.skipped - self.skipped_failed

    @property
    def failed_in_all(self) -> int:
        """Tasks that failed, in this run or an earlier one."""
        return self.failed + self.skipped_failed

    def to_json(self) -> str:
        body: dict[str, Any] = {"schema": SCHEMA} | {name: getattr(self, name) for name in _SCALARS}
        for name in _TABLES:
            if name != "failures":
                body[name] = [row._asdict() for row in getattr(self, name)]
        body["history"] = self.history
        failures = ",".join(map(_failure_json, self.failures))
        return f'{_dump(body)[:-1]},"failures":[{failures}]}}'


_Row = TypeVar("_Row", bound=NamedTuple)
_dump = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode


@lru_cache(maxsize=100)  # the same ones are shown again and again
def _failure_json(row: FailureView) -> str:
    return _dump(row._asdict())


_TABLES: dict[str, Any] = {
    "engines": EngineView,
    "contexts": ContextView,
    "tasks": RunningView,
    "failures": FailureView,
}
_SCALARS = [f.name for f in fields(RunSnapshot) if f.name not in _TABLES and f.name != "history"]


def _kinds(of: Any) -> dict[str, tuple[type, ...]]:
    """For each field the types that it may have in JSON."""
    kinds = {}
    for name, hint in typing.get_type_hints(of).items():
        allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        kinds[name] = (*allowed, int) if float in allowed else tuple(allowed)
    return kinds


def read_snapshot(text: str | bytes) -> RunSnapshot:
    """The reverse of `to_json`. Fields that are not known are skipped. Raises PeerError for anything else."""
    try:
        body = json.loads(text)
        kinds = _kinds(RunSnapshot)
        found: dict[str, Any] = {name: _checked(name, body[name], kinds[name]) for name in _SCALARS}
        for name, row_type in _TABLES.items():
            row_kinds = _kinds(row_type)
            found[name] = tuple([_read_row(row_type, row_kinds, row) for row in body[name]])
        sample_kinds = list(_kinds(Sample).items())
        found["history"] = tuple(
            [
                Sample(
                    *[
                        _checked(name, value, kind)
                        for (name, kind), value in zip(sample_kinds, row, strict=True)
                    ]
                )
                for row in body["history"]
            ]
        )
        return RunSnapshot(**found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PeerError(f"not a snapshot of a run ({error}): {text[:80]!r}") from None


def _read_row(row_type: Any, kinds: dict[str, tuple[type, ...]], row: Any) -> Any:
    return row_type(*[_checked(name, row[name], kind) for name, kind in kinds.items()])


def _checked(name: str, value: Any, kinds: tuple[type, ...]) -> Any:
    # bool is an int to Python, and no count
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or value != value:
        raise ValueError(f"{name} is {value!r}")
    return value

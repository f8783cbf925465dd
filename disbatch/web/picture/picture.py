"""The whole picture of a run: what a newcomer is sent, and what has changed since for those who have it.

`note` and `say` are called whether anybody looks or not, and cost next to nothing; what costs is done in `tick`, once
for all who look. Values are ready for JSON; tables are lists of lists, as they are many.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from disbatch.core.failures import FailureGroup
from disbatch.core.snapshot import EngineView, RunSnapshot
from disbatch.core.status import StatusRecord
from disbatch.web.picture.causes import SHOWN_GROUPS, Causes, Example, Key
from disbatch.web.picture.timeline import Running, Timeline

KEPT_ROWS = 10_000  # that wait for the next tick: a second's worth at the highest rate that there is
KEPT_FAILURES = 1000
KEPT_MESSAGES = 50
MOST_ENGINES = 1000  # in the table; a longer one nobody reads, and it would be all that a tick consists of
SILENT_S = 15  # an engine is heard every few seconds; only a longer silence is worth a word

# of the whole picture: one more when a field goes or changes its meaning; further fields change nothing
SCHEMA = 1
_COUNTS = (
    "elapsed_s", "done", "failed", "skipped", "running", "ready", "total", "barrier", "state", "rate", "slots",
)  # fmt: skip
_SILENT = EngineView._fields.index("silent_s")


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What does not change while a run lasts."""

    name: str  # of the task list
    job_id: str
    host: str
    status_file: str
    began_s: float  # since the epoch
    version: str
    control: bool  # whether the page may stop things
    log_file: str = ""  # of the driver


class Picture:
    def __init__(self, facts: PageFacts) -> None:
        self.facts = facts
        self.number = 0  # of the last tick
        self._rows: deque[StatusRecord] = deque(maxlen=KEPT_ROWS)
        self._failed: deque[StatusRecord] = deque(maxlen=KEPT_FAILURES)
        self._messages: deque[tuple[float, str, str]] = deque(maxlen=KEPT_MESSAGES)
        self._untold = 0  # of the messages
        self._timeline = Timeline()
        self._causes = Causes()
        self._groups: Sequence[FailureGroup] = ()
        self._engines: dict[int, tuple[Any, ...]] = {}
        self._head: dict[str, Any] = {}
        self._end: dict[str, Any] | None = None

    def note(self, rows: Sequence[StatusRecord]) -> None:
        """These rows are in the status file. Called with every batch of the run: it must cost nothing."""
        self._rows.extend(rows)
        failed = [row for row in rows if row[6]]  # by index: half the time of `.returncode`
        if failed:
            self._failed.extend(row for row in failed if row.flags[3] not in "PS")

    def say(self, at_s: float, level: str, text: str) -> None:
        """Something was said to the user."""
        self._messages.append((round(at_s, 1), level, text))
        self._untold = min(self._untold + 1, KEPT_MESSAGES)

    def end(self, ending: str, text: str, exit_code: int, saved: str = "") -> None:
        """The run is over. `saved`: the file that has the last picture."""
        self._end = {"ending": ending, "text": text, "exit_code": exit_code, "saved": saved}

    def not_saved(self) -> None:
        """Take back that a file has the last picture, also in what `tick` has returned."""
        if self._end:
            self._end["saved"] = ""

    def tick(self, snapshot: RunSnapshot, groups: Sequence[FailureGroup]) -> dict[str, Any]:
        """All that has changed since the last tick. The snapshot is one with rows."""
        self.number += 1
        self._groups = groups
        rows, self._rows = self._rows, deque(maxlen=KEPT_ROWS)
        failed, self._failed = self._failed, deque(maxlen=KEPT_FAILURES)
        for engine in snapshot.engines:
            self._timeline.room(engine.rank, engine.node, engine.slots)
        bars = self._timeline.add(rows)
        tasks = [Running(t.node, t.task_id, snapshot.wall_s - t.seconds, t.command) for t in snapshot.tasks]
        shown = self._timeline.running(tasks, snapshot.wall_s)
        examples = self._causes.add(failed)
        self._head = self._small(snapshot, shown)
        untold, self._untold = self._untold, 0
        return self._head | {
            "engines": self._changed_engines(snapshot),
            "bars": [bar.values() for bar in bars],
            "groups": [_group(group) for group in self._causes.changed(groups)],
            "examples": [_example(key, example) for key, example in examples],
            "messages": list(self._messages)[len(self._messages) - untold :],
        }

    def whole(self) -> dict[str, Any]:
        """Everything, as of the last tick."""
        told = max(0, len(self._messages) - self._untold)
        return self._head | {
            "schema": SCHEMA,
            "run": asdict(self.facts),
            "engine_fields": EngineView._fields,
            "engines": list(self._engines.values()),
            "bars": [bar.values() for bar in self._timeline.bars],
            "groups": [_group(group) for group in self._groups[:SHOWN_GROUPS]],
            "examples": [_example(key, example) for key, example in self._causes.examples()],
            "messages": list(self._messages)[:told],
        }

    def _small(self, snapshot: RunSnapshot, shown: Sequence[Any]) -> dict[str, Any]:
        """What is sent each time, as there is little of it."""
        timeline = self._timeline
        return {
            "number": self.number,
            "now_s": round(snapshot.wall_s, 3),
            "counts": {name: getattr(snapshot, name) for name in _COUNTS},
            "contexts": [context._asdict() for context in snapshot.contexts],
            "history": snapshot.history,
            "nodes": timeline.nodes,
            "rows": timeline.rows,
            "open": shown,
            "barriers": [round(at, 3) for at in timeline.barriers],
            "unseen": timeline.unseen,
            "end": self._end,
        }

    def _changed_engines(self, snapshot: RunSnapshot) -> list[tuple[Any, ...]]:
        changed = []
        for view in islice(snapshot.engines, MOST_ENGINES):
            row = view[:_SILENT] + (_silence(view.silent_s),) + view[_SILENT + 1 :]
            if self._engines.get(view.rank) != row:
                self._engines[view.rank] = row
                changed.append(row)
        return changed


def _silence(seconds: float | None) -> int | None:
    """Whole seconds, and 0 for what is usual: else every engine would have changed in every tick."""
    if seconds is None:
        return None
    return int(seconds) if seconds >= SILENT_S else 0


def _group(group: FailureGroup) -> tuple[int, str, str, int, int]:
    return (group.returncode, group.cause, group.last_line, group.count, group.task_id)


def _example(key: Key, example: Example) -> dict[str, Any]:
    return {"code": key[0], "cause": key[1], **example._asdict()}

"""Why tasks failed, for the page: the groups that the run counts, with the latest examples of each.

Counts are the run's own and exact. Examples come from the rows of the status file and are bounded, each group's and
all together: what was shown longest ago goes first.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from disbatch.core.failures import FailureGroup, cause_of
from disbatch.core.status import StatusRecord

SHOWN_GROUPS = 200  # beyond that nobody reads
EXAMPLES = 10  # of one group
COMMAND_CHARS = 500

Key = tuple[int, str]  # exit code, and what the last error lines have in common


class Example(NamedTuple):
    """One failed task."""

    task_id: int
    line_no: int
    repeat_index: int
    node: str
    finish_s: float
    elapsed_s: float
    command: str
    out: str
    err: str


class Causes:
    def __init__(self) -> None:
        self._groups: dict[Key, tuple[int, int]] = {}  # as last told: count, example
        self._examples: dict[Key, deque[Example]] = {}

    def add(self, records: Iterable[StatusRecord]) -> list[tuple[Key, Example]]:
        """Takes in failed tasks; returns those of them that are kept as examples."""
        latest: dict[Key, deque[Example]] = {}
        for r in records:
            key = (r.returncode, cause_of(r.err_snippet))
            latest.setdefault(key, deque(maxlen=EXAMPLES)).append(_example(r))
        for key, examples in latest.items():
            kept = self._examples.pop(key, None) or deque(maxlen=EXAMPLES)
            kept.extend(examples)
            self._examples[key] = kept  # behind the others: it is the one seen last
        while len(self._examples) > SHOWN_GROUPS:
            del self._examples[next(iter(self._examples))]
        return [(key, e) for key, examples in latest.items() if key in self._examples for e in examples]

    def changed(self, groups: Sequence[FailureGroup]) -> list[FailureGroup]:
        """Those among the largest groups whose counts are not as they were at the last call."""
        found = []
        for group in groups[:SHOWN_GROUPS]:
            key = (group.returncode, group.cause)
            if self._groups.get(key) != (group.count, group.task_id):
                self._groups[key] = (group.count, group.task_id)
                found.append(group)
        return found

    def examples(self) -> list[tuple[Key, Example]]:
        return [(key, e) for key, examples in self._examples.items() for e in examples]


def _example(r: StatusRecord) -> Example:
    return Example(
        r.task_id, r.line_no, r.repeat_index, r.node, round(r.finish_s, 3), round(r.elapsed_s, 3),
        r.command[:COMMAND_CHARS], r.out_snippet, r.err_snippet,
    )  # fmt: skip

"""The last minutes of every slot as bars. Tasks too short to be seen one by one become one bar of many."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import lt
from typing import Final, NamedTuple

from disbatch.core.status import StatusRecord
from disbatch.web.picture.lanes import Lanes

KEPT_BARS = 10_000  # what a browser draws in a few milliseconds, and a newcomer is sent at once
MOST_NODES = 64  # shown: more rows than that nobody can look at
DENSE = 150  # rows in one go, beyond which short neighbours are drawn as one: it is quicker, too
SHORT_S = 0.1  # a neighbour this short is a few pixels wide where half a minute is shown
GAP_S = 0.05  # between neighbours that are drawn as one
LONGEST_MERGED_S = 1.0
CROWD = 8  # short tasks of a node for each slice of GAP_S: from here on slices are quicker than tasks
LABEL_CHARS = 60

_USUAL = frozenset(r + o + e + " " for r in "R " for o in "O " for e in "E ")  # flags of tasks of this run
# fields of a record by number: half the time of a name
_FLAGS: Final = 0
_TASK: Final = 1
_NODE: Final = 4
_CODE: Final = 6
_ELAPSED: Final = 7
_START: Final = 8
_FINISH: Final = 9


@dataclass(slots=True)
class Bar:
    """One task, or several short ones that ran one after another in one slot."""

    node: int  # index into `Timeline.nodes`
    row: int
    start_s: float
    finish_s: float
    tasks: int
    failed: int
    task_id: int  # of the first of them
    returncode: int  # of the last failed one
    label: str  # the beginning of the first one's command

    def takes(self, start_s: float, finish_s: float) -> bool:
        """Whether something short can go with it."""
        return start_s - self.finish_s < GAP_S and finish_s - self.start_s < LONGEST_MERGED_S

    def add(self, finish_s: float, tasks: int, failed: int, returncode: int) -> None:
        self.finish_s = finish_s
        self.tasks += tasks
        if failed:
            self.failed += failed
            self.returncode = returncode

    def values(self) -> tuple[int | str, ...]:
        """For JSON; times in milliseconds, as whole numbers are written in half the time."""
        times = (int(self.start_s * 1000), int(self.finish_s * 1000))
        counts = (self.tasks, self.failed, self.task_id, self.returncode)
        return (self.node, self.row, *times, *counts, self.label)


class Open(NamedTuple):
    """A task that runs."""

    node: int
    row: int
    start_s: float
    task_id: int
    label: str


class Running(NamedTuple):
    """What is known of a task that runs."""

    node: str
    task_id: int
    start_s: float
    command: str


class Timeline:
    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.bars: deque[Bar] = deque(maxlen=KEPT_BARS)
        self.barriers: deque[float] = deque(maxlen=100)  # when they were met
        self.unseen = 0  # tasks on nodes beyond those that are shown
        self._index: dict[str, int] = {}
        self._slots: dict[int, int] = {}  # of the engines that are known, by rank
        self._lanes: list[Lanes] = []

    @property
    def rows(self) -> list[int]:
        """How many rows each node needs, so far."""
        return [lanes.count for lanes in self._lanes]

    def room(self, rank: int, node: str, slots: int) -> None:
        """An engine on this node has so many slots."""
        before = self._slots.get(rank, 0)
        at = None if before == slots else self._node(node)
        if at is not None:
            self._slots[rank] = slots
            self._lanes[at].most += slots - before

    def add(self, records: Sequence[StatusRecord]) -> list[Bar]:
        """Takes in what has ended, in the order of the status file; returns the bars that are new.

        Many at once: short neighbours of one row become one bar.
        """
        fresh = self._merged(records) if len(records) > DENSE else self._one_by_one(records)
        self.bars.extend(fresh)
        return fresh

    def _one_by_one(self, records: Iterable[StatusRecord]) -> list[Bar]:
        fresh = []
        for r in records:
            at = self._where(r)
            if at is not None:
                fresh.append(_bar(r, at, self._lanes[at].place(_key(r), r.start_s, r.finish_s)))
        return fresh

    def _merged(self, records: Sequence[StatusRecord]) -> list[Bar]:
        fresh: list[Bar] = []
        by_node: dict[str, list[StatusRecord]] = {}
        if len({r[_NODE] for r in records}) == 1:
            by_node[records[0].node] = [*records]
        else:
            for r in records:
                by_node.setdefault(r[_NODE], []).append(r)
        for name, rows in by_node.items():
            at = self._index.get(name)
            if at is None or not self._draw_crowd(at, rows, fresh):
                self._draw_each(rows, fresh)
        return fresh

    def _draw_each(self, rows: Iterable[StatusRecord], fresh: list[Bar]) -> None:
        """Those of one node, as they come: a short one goes with its neighbour."""
        newest: dict[int, Bar] = {}  # of each row
        for r in rows:
            at = self._where(r)
            if at is None:
                continue
            row = self._lanes[at].place(_key(r), r.start_s, r.finish_s)
            bar = newest.get(row)
            short = r.finish_s - r.start_s < SHORT_S
            if short and bar is not None and bar.takes(r.start_s, r.finish_s):
                bar.add(r.finish_s, 1, int(r.returncode != 0), r.returncode)
            else:
                newest[row] = bar = _bar(r, at, row)
                fresh.append(bar)

    def _draw_crowd(self, at: int, rows: list[StatusRecord], fresh: list[Bar]) -> bool:
        """Many short tasks of one node without a look at each: in each slice of time as many rows are in use as tasks ran
        side by side in it. A third of the time; False, and nothing done, where it would tell less."""
        lanes = self._lanes[at]
        held = lanes.held
        odd = [r for r in rows if r[_ELAPSED] >= SHORT_S or r[_FLAGS] not in _USUAL or r[_TASK] in held]
        if any(r.task_id not in held or r.flags not in _USUAL for r in odd):
            return False
        crowd = [r for r in rows if r[_ELAPSED] < SHORT_S] if odd else rows
        slices = _slices([r[_START] for r in crowd], [r[_FINISH] for r in crowd])
        if not slices:
            return False
        for r in odd:
            if r.elapsed_s >= SHORT_S:
                fresh.append(_bar(r, at, lanes.place(r.task_id, r.start_s, r.finish_s)))
            elif r.task_id in held:
                lanes.give_back(r.task_id, min(r.start_s, lanes.edge_s or r.start_s))
        newest: dict[int, Bar] = {}
        for first, end, at_once, start_s, finish_s in slices:
            start_s = min(max(start_s, lanes.edge_s), finish_s)
            lanes.edge_s = finish_s
            self._draw_slice(at, crowd[first:end], at_once, start_s, finish_s, newest, fresh)
        return True

    def _draw_slice(self, at: int, rows: list[StatusRecord], at_once: int, start_s: float, finish_s: float,
                    newest: dict[int, Bar], fresh: list[Bar]) -> None:  # fmt: skip
        codes = [r[_CODE] for r in rows if r[_CODE]]
        for number, (tasks, failed) in enumerate(
            zip(_shares(len(rows), at_once), _shares(len(codes), at_once), strict=True)
        ):
            first = rows[number]
            row = self._lanes[at].place(first.task_id, start_s, finish_s)
            bar = newest.get(row)
            code = codes[-1] if failed else 0
            if bar is not None and bar.takes(start_s, finish_s):
                bar.add(finish_s, tasks, failed, code)
            else:
                newest[row] = bar = Bar(
                    at,
                    row,
                    start_s,
                    finish_s,
                    tasks,
                    failed,
                    first.task_id,
                    code,
                    first.command[:LABEL_CHARS],
                )
                fresh.append(bar)

    def running(self, tasks: Iterable[Running], now_s: float) -> list[Open]:
        """What runs now. To be called after `add`, so that what has ended is not held as running."""
        shown: list[Open] = []
        held: list[set[int]] = [set() for _ in self._lanes]
        # by their starts: then none takes a row that only another could have used
        for task in sorted(tasks, key=lambda task: task.start_s):
            node = self._node(task.node)
            if node is None:
                continue
            while node >= len(held):
                held.append(set())
            held[node].add(task.task_id)
            row = self._lanes[node].hold(task.task_id, task.start_s)
            shown.append(Open(node, row, task.start_s, task.task_id, task.command[:LABEL_CHARS]))
        for lanes, keys in zip(self._lanes, held, strict=True):
            lanes.let_go(keys, now_s)
        return shown

    def _where(self, r: StatusRecord) -> int | None:
        """The node of a record; None for what has no bar."""
        flags = r.flags
        if flags[0] in "BC":
            self.barriers.append(r.finish_s)
            return None
        if flags[3] == "S":  # of an earlier run
            return None
        node = self._node(r.node)
        if node is None:
            self.unseen += 1
        return node

    def _node(self, name: str) -> int | None:
        at = self._index.get(name)
        if at is None and len(self.nodes) < MOST_NODES:
            at = self._index[name] = len(self.nodes)
            self.nodes.append(name)
            self._lanes.append(Lanes())
        return at


def _key(r: StatusRecord) -> int:
    # PERENGINE commands count for themselves: below zero they meet no task
    return -1 - r.task_id if r.flags[3] == "P" else r.task_id


def _bar(r: StatusRecord, node: int, row: int) -> Bar:
    failed = int(r.returncode != 0)
    label = r.command[:LABEL_CHARS]
    return Bar(node, row, r.start_s, r.finish_s, 1, failed, _key(r), r.returncode, label)


def _slices(starts: list[float], ends: list[float]) -> list[tuple[int, int, int, float, float]]:
    """Cuts short tasks into slices of GAP_S at most, by their ends. Of each slice: the number of its first task and the one
    behind its last, how many ran side by side (no more than it has), when the first began and the last ended. None at all
    where they would have too few tasks."""
    starts.sort()
    ends.sort()
    span_s = ends[-1] - ends[0] if ends else 0.0
    parts = int(span_s / GAP_S) + 1
    if len(ends) < CROWD * parts:
        return []
    found = []
    first = 0
    for part in range(1, parts + 1):
        end = len(ends) if part == parts else bisect_right(ends, ends[0] + span_s * part / parts, first)
        if end > first:
            at_once = 1
            # the n-th end comes after the start of task n + at_once: then so many, and one more, ran at that time
            while at_once < end - first and any(
                map(lt, starts[first + at_once : end + at_once], ends[first:end])
            ):
                at_once += 1
            found.append((first, end, at_once, starts[first], ends[end - 1]))
        first = end
    return found


def _shares(count: int, parts: int) -> list[int]:
    """As even as can be, the larger ones first."""
    each, more = divmod(count, parts)
    return [each + (n < more) for n in range(parts)]

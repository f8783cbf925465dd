"""The last minutes of every slot as bars. Tasks too short to be seen one by one become one bar of many."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from disbatch.core.status import StatusRecord
from disbatch.web.picture.lanes import Lanes

KEPT_BARS = 10_000  # what a browser draws in a few milliseconds, and a newcomer is sent at once
MOST_NODES = 64  # shown: more rows than that nobody can look at
DENSE = 150  # rows in one go, beyond which short neighbours are drawn as one: it is quicker, too
SHORT_S = 0.1  # a neighbour this short is a few pixels wide where half a minute is shown
GAP_S = 0.05  # between neighbours that are drawn as one
LONGEST_MERGED_S = 1.0
LABEL_CHARS = 60


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

    def add(self, records: Iterable[StatusRecord]) -> list[Bar]:
        """Takes in what has ended, in the order of the status file; returns the bars that are new.

        Many at once: short neighbours of one row become one bar.
        """
        found = list(records)
        merge = len(found) > DENSE
        fresh: list[Bar] = []
        newest: dict[tuple[int, int], Bar] = {}
        for r in found:
            spot = self._spot(r)
            if spot is None:
                continue
            bar = newest.get(spot) if merge else None
            if bar is not None and _goes_with(r, bar):
                bar.finish_s = r.finish_s
                bar.tasks += 1
                if r.returncode:
                    bar.failed += 1
                    bar.returncode = r.returncode
            else:
                newest[spot] = bar = _bar(r, spot)
                fresh.append(bar)
        self.bars.extend(fresh)
        return fresh

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

    def _spot(self, r: StatusRecord) -> tuple[int, int] | None:
        """Node and row of a record; None for what has no bar."""
        flags = r.flags
        if flags[0] in "BC":
            self.barriers.append(r.finish_s)
            return None
        if flags[3] == "S":  # of an earlier run
            return None
        node = self._node(r.node)
        if node is None:
            self.unseen += 1
            return None
        return node, self._lanes[node].place(_key(r), r.start_s, r.finish_s)

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


def _bar(r: StatusRecord, spot: tuple[int, int]) -> Bar:
    node, row = spot
    failed = int(r.returncode != 0)
    label = r.command[:LABEL_CHARS]
    return Bar(node, row, r.start_s, r.finish_s, 1, failed, _key(r), r.returncode, label)


def _goes_with(r: StatusRecord, bar: Bar) -> bool:
    """Whether a record is a short one right behind what the bar has so far."""
    start_s, finish_s = r.start_s, r.finish_s
    return (
        finish_s - start_s < SHORT_S
        and start_s - bar.finish_s < GAP_S
        and finish_s - bar.start_s < LONGEST_MERGED_S
    )

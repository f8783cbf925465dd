"""The last minutes of every slot as bars. Tasks too short to be seen one by one become one bar of many."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from disbatch.core.status import StatusRecord
from disbatch.web.picture.lanes import Lanes

KEPT_BARS = 10_000  # what a browser draws in a few milliseconds, and a newcomer is sent at once
MOST_NODES = 64  # shown: more rows than that nobody can look at
DENSE = 2000  # rows in one go, beyond which short neighbours are drawn as one
SHORT_S = 0.25  # a neighbour this short is not seen alone in a window of minutes
GAP_S = 0.05  # between neighbours that are drawn as one
LONGEST_MERGED_S = 1.0
LABEL_CHARS = 60


class Bar(NamedTuple):
    """One task, or several short ones that ran one after another in one slot."""

    node: int  # index into `Timeline.nodes`
    row: int
    start_s: float
    finish_s: float
    tasks: int
    failed: int
    task_id: int  # of the first of them
    returncode: int
    label: str  # the beginning of its command


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
        """Takes in what has ended, in the order of the status file; returns the bars that are new."""
        all_records = list(records)
        fresh = self._merged(all_records) if len(all_records) > DENSE else self._each(all_records)
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

    def _each(self, records: list[StatusRecord]) -> list[Bar]:
        return [bar for bar in map(self._bar, records) if bar is not None]

    def _merged(self, records: list[StatusRecord]) -> list[Bar]:
        """As `_each`, with short neighbours of one row made into one bar."""
        bars: list[Bar] = []
        newest: dict[tuple[int, int], int] = {}
        for bar in self._each(records):
            place = (bar.node, bar.row)
            at = newest.get(place)
            if at is not None and _belong_together(bars[at], bar):
                bars[at] = _joined(bars[at], bar)
            else:
                newest[place] = len(bars)
                bars.append(bar)
        return bars

    def _bar(self, r: StatusRecord) -> Bar | None:
        if r.flags[0] in "BC":
            self.barriers.append(r.finish_s)
            return None
        if r.flags[3] == "S":  # of an earlier run
            return None
        node = self._node(r.node)
        if node is None:
            self.unseen += 1
            return None
        # PERENGINE commands count for themselves: below zero they meet no task
        key = -1 - r.task_id if r.flags[3] == "P" else r.task_id
        row = self._lanes[node].place(key, r.start_s, r.finish_s)
        times = (round(r.start_s, 3), round(r.finish_s, 3))
        return Bar(node, row, *times, 1, int(r.returncode != 0), key, r.returncode, r.command[:LABEL_CHARS])

    def _node(self, name: str) -> int | None:
        at = self._index.get(name)
        if at is None and len(self.nodes) < MOST_NODES:
            at = self._index[name] = len(self.nodes)
            self.nodes.append(name)
            self._lanes.append(Lanes())
        return at


def _belong_together(bar: Bar, following: Bar) -> bool:
    return (
        following.finish_s - following.start_s < SHORT_S
        and following.start_s - bar.finish_s < GAP_S
        and following.finish_s - bar.start_s < LONGEST_MERGED_S
    )


def _joined(bar: Bar, following: Bar) -> Bar:
    return bar._replace(
        finish_s=max(bar.finish_s, following.finish_s),
        tasks=bar.tasks + following.tasks,
        failed=bar.failed + following.failed,
        returncode=bar.returncode or following.returncode,
    )

"""The tasks that wait for a slot, in the order of the list. Part of the ledger.

Nearly all come from the list, in order, and go at the front. Those that come back from an engine are older than what
was never handed out, mostly but not always: they have a heap of their own. A look for their place among thousands was what a
driver with a thousand engines spent its time on, when what one engine held ahead came back for the free slots of others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from disbatch.core.ledger import Entry


class ReadyQueue:
    """What was taken out from its middle is skipped when its turn comes, so that this too takes no look at the others."""

    __slots__ = ("_came_back", "_fresh", "_gone", "_size")

    def __init__(self) -> None:
        self._fresh: deque[Entry] = deque()
        self._came_back: list[tuple[int, Entry]] = []  # a heap; each task is in it once
        self._gone: set[int] = set()  # ids of tasks that are in one of these still, and were removed
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Entry]:
        """In order."""
        back = [entry for _, entry in self._came_back]
        whole = sorted([*back, *self._fresh], key=lambda entry: entry.task.task_id)
        return iter([entry for entry in whole if entry.task.task_id not in self._gone])

    def append(self, entry: Entry) -> None:
        """The next of the list."""
        self._fresh.append(entry)
        self._size += 1

    def put_back(self, entry: Entry) -> None:
        """It was handed out, and waits again."""
        task_id = entry.task.task_id
        if task_id in self._gone:
            self._gone.discard(task_id)  # it never left its place
        else:
            heappush(self._came_back, (task_id, entry))
        self._size += 1

    def first(self) -> Entry:
        """The one whose turn it is. Raises IndexError when none waits."""
        if not (self._came_back or self._gone):  # the usual case
            return self._fresh[0]
        self._skip()
        return self._came_back[0][1] if self._back_is_older() else self._fresh[0]

    def popleft(self) -> Entry:
        """Takes it out. Raises IndexError when none waits."""
        if not (self._came_back or self._gone):
            entry = self._fresh.popleft()
        else:
            self._skip()
            entry = heappop(self._came_back)[1] if self._back_is_older() else self._fresh.popleft()
        self._size -= 1
        return entry

    def remove(self, entry: Entry) -> None:
        """Takes out this one, which waits."""
        self._gone.add(entry.task.task_id)
        self._size -= 1

    def _back_is_older(self) -> bool:
        back = self._came_back
        return bool(back) and (not self._fresh or back[0][0] < self._fresh[0].task.task_id)

    def _skip(self) -> None:
        gone = self._gone
        while gone and self._came_back and self._came_back[0][0] in gone:
            gone.discard(heappop(self._came_back)[0])
        while gone and self._fresh and self._fresh[0].task.task_id in gone:
            gone.discard(self._fresh.popleft().task.task_id)

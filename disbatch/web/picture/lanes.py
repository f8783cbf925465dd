"""Which row of the timeline a task is drawn in. The record of a task does not say in which slot it ran.

Tasks come in the order of their ends. Taking the free row that was used last keeps the others free for those which
began earlier and end later: so no more rows are used than tasks ever ran side by side.
"""

from bisect import bisect_right
from collections.abc import Collection

MOST_ROWS = 256  # of one node


class Lanes:
    """The rows of one node, counted from 0."""

    def __init__(self) -> None:
        self.count = 0
        self.most = 0  # as many as the node has slots
        self._free: list[int] = []  # rows, sorted by the ends of what was drawn last in them
        self._ends: list[float] = []  # these ends; a list of its own, as numbers are compared quickly
        self._held: dict[int, tuple[int, bool]] = {}  # what still runs: key -> row, and whether it was free
        self.edge_s = 0.0  # up to where a crowd of short tasks has been drawn

    @property
    def held(self) -> Collection[int]:
        """What is drawn as running."""
        return self._held.keys()

    def hold(self, key: int, start_s: float) -> int:
        """The row of something that runs; it stays the same as long as it runs, and for its end."""
        if key not in self._held:
            self._held[key] = self._take(start_s)
        return self._held[key][0]

    def place(self, key: int, start_s: float, finish_s: float) -> int:
        """The row of something that has ended. Called for each task that is drawn: hence without further calls."""
        ends, free = self._ends, self._free
        fits = bisect_right(ends, start_s)
        if not fits or key in self._held:
            row, was_free = self._held.pop(key) if key in self._held else self._take(start_s)
            if was_free:
                self._put_back(finish_s, row)
            return row
        row = free[fits - 1]
        if fits == len(ends) and finish_s >= start_s:  # it stays the one that was used last
            ends[-1] = finish_s
            return row
        del ends[fits - 1], free[fits - 1]
        self._put_back(finish_s, row)
        return row

    def give_back(self, key: int, end_s: float) -> None:
        """Frees the row of something that no longer runs; whatever was drawn in the row ended then."""
        row, was_free = self._held.pop(key)
        if was_free:
            self._put_back(end_s, row)

    def let_go(self, running: set[int], now_s: float) -> None:
        """Frees the rows of what no longer runs although no end of it was seen: it was lost, or given back."""
        for key in [key for key in self._held if key not in running]:
            self.give_back(key, now_s)

    def _take(self, start_s: float) -> tuple[int, bool]:
        """A row, and whether it was free; it is not any more."""
        fits = bisect_right(self._ends, start_s)
        if fits:
            return self._get(fits - 1), True
        if self.count < min(MOST_ROWS, max(1, self.most)):
            self.count += 1
            return self.count - 1, True
        if self._free:  # clocks and rounding make neighbours overlap a little
            return self._get(0), True
        return (
            self.count - 1,
            False,
        )  # more than there are slots, for a moment: what seems to run has just ended

    def _get(self, at: int) -> int:
        del self._ends[at]
        return self._free.pop(at)

    def _put_back(self, end_s: float, row: int) -> None:
        at = bisect_right(self._ends, end_s)
        self._ends.insert(at, end_s)
        self._free.insert(at, row)

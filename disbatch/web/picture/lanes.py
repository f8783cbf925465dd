"""Which row of the timeline a task is drawn in. The record of a task does not say in which slot it ran.

Tasks come in the order of their ends. Taking the free row that was used last keeps the others free for those which
began earlier and end later: so no more rows are used than tasks ever ran side by side.
"""

from bisect import bisect_right, insort

MOST_ROWS = 256  # of one node


class Lanes:
    """The rows of one node, counted from 0."""

    def __init__(self) -> None:
        self.count = 0
        self.most = 0  # as many as the node has slots
        self._free: list[tuple[float, int]] = []  # (end of what was drawn last, row), sorted, each row once
        self._held: dict[int, tuple[int, bool]] = {}  # what still runs: key -> row, and whether it was free

    def hold(self, key: int, start_s: float) -> int:
        """The row of something that runs; it stays the same as long as it runs, and for its end."""
        if key not in self._held:
            self._held[key] = self._take(start_s)
        return self._held[key][0]

    def place(self, key: int, start_s: float, finish_s: float) -> int:
        """The row of something that has ended."""
        row, was_free = self._held.pop(key) if key in self._held else self._take(start_s)
        if was_free:
            insort(self._free, (finish_s, row))
        return row

    def let_go(self, running: set[int], now_s: float) -> None:
        """Frees the rows of what no longer runs although no end of it was seen: it was lost, or given back."""
        for key in [key for key in self._held if key not in running]:
            row, was_free = self._held.pop(key)
            if was_free:
                insort(self._free, (now_s, row))

    def _take(self, start_s: float) -> tuple[int, bool]:
        """A row, and whether it was free; it is not any more."""
        fits = bisect_right(self._free, (start_s, self.count))
        if fits:
            return self._free.pop(fits - 1)[1], True
        if self.count < min(MOST_ROWS, max(1, self.most)):
            self.count += 1
            return self.count - 1, True
        if self._free:  # clocks and rounding make neighbours overlap a little
            return self._free.pop(0)[1], True
        return (
            self.count - 1,
            False,
        )  # more than there are slots, for a moment: what seems to run has just ended

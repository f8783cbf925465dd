"""What a schedule is measured by, for simulated runs and for real ones, of which it is read off the status file."""

import heapq
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A task ran on an engine from one moment to another."""

    engine: Hashable
    start_s: float
    end_s: float


def greedy_s(durations: Sequence[float], slots: int) -> float:
    """The makespan of handing each task, in order, to the slot that is free first."""
    free = [0.0] * slots
    for seconds in durations:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def longest_wait_s(runs: Sequence[Interval], slots: Mapping[Hashable, int]) -> float:
    """The longest time in which an engine had a free slot while some task had not been started yet.

    Begins with the first start of all: what comes before is the start of the run.
    """
    first, last = min(run.start_s for run in runs), max(run.start_s for run in runs)
    events: dict[Hashable, list[tuple[float, int]]] = defaultdict(list)
    for run in runs:
        events[run.engine] += [(run.start_s, 1), (run.end_s, -1)]
    longest = 0.0
    for engine, count in slots.items():
        running, free_since = 0, first
        for moment, change in sorted(events[engine], key=lambda event: (event[0], -event[1])):
            if running < count:
                longest = max(longest, min(moment, last) - free_since)
            if (
                change > 0 or running == count
            ):  # a start ends one wait and begins another; an end only where all ran
                free_since = moment
            running += change
        if running < count:
            longest = max(longest, last - free_since)
    return longest

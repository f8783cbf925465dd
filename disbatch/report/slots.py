"""Slots, which no status file names, from the times of the tasks; how busy they were, and when they ran empty. Pure.

All functions take parallel sequences of seconds: `starts` and `finishes` of the same tasks in the same order.
"""

import heapq
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

ROUNDING_S = 0.001  # times are written with three decimals: two that touch may seem to overlap by that much
DRIFT = 0.0005  # a clock that is being set right runs up to that much faster or slower than durations are measured


def slack_s(elapsed_s: float) -> float:
    """By how much the end of a task may seem too late."""
    return min(elapsed_s / 2, ROUNDING_S + DRIFT * elapsed_s)


def slots_needed(starts: Sequence[float], finishes: Sequence[float]) -> int:
    """The largest number of tasks that ran at the same time, seeming overlaps left out. 0 without tasks."""
    ends = sorted(f - slack_s(f - s) for s, f in zip(starts, finishes, strict=True))
    most = over = 0
    for begun, start in enumerate(sorted(starts), 1):
        while ends[over] <= start and over < begun - 1:
            over += 1
        most = max(most, begun - over)
    return most


@dataclass(slots=True)
class Layout:
    """`slot` of each task, in the order given; `gaps_s`: from a task's end to the next one's start in the same slot."""

    slot: "array[int]"
    gaps_s: "array[float]"


def lay_out(starts: Sequence[float], finishes: Sequence[float], slots: int) -> Layout:
    """Gives each task a slot: the one that became free last, as a scheduler that hands tasks out on demand does."""
    slot = array("l", bytes(len(starts) * array("l").itemsize))
    gaps = array("d")
    free = [
        (0.0, number) for number in range(slots - 1, -1, -1)
    ]  # (free since; 0: never used), last one on top
    running: list[tuple[float, float, int]] = []
    for task in sorted(range(len(starts)), key=starts.__getitem__):
        start, finish = starts[task], finishes[task]
        while running and (running[0][0] <= start or not free):
            _, ended, number = heapq.heappop(running)
            free.append((ended, number))
        since, number = free.pop()
        if since:
            gaps.append(max(start - since, 0.0))
        slot[task] = number
        heapq.heappush(running, (finish - slack_s(finish - start), finish, number))
    return Layout(slot, gaps)


def busy_curve(
    starts: Sequence[float], finishes: Sequence[float], begin_s: float, end_s: float, bins: int
) -> list[float]:
    """How many tasks ran, on average, in each of `bins` equal parts of the time from `begin_s` to `end_s`."""
    width = (end_s - begin_s) / bins
    if width <= 0:
        return [0.0] * bins
    part, whole = [0.0] * (bins + 1), [0.0] * (bins + 2)
    for edge, sign in ((starts, 1.0), (finishes, -1.0)):
        for time in edge:
            position = min(max((time - begin_s) / width, 0.0), float(bins))
            cell = int(position)
            part[cell] += sign * (cell + 1 - position)
            whole[cell + 1] += sign
    curve, running = [], 0.0
    for cell in range(bins):
        running += whole[cell]
        curve.append(max(running + part[cell], 0.0))
    return curve


@dataclass(frozen=True, slots=True)
class Phase:
    """The tasks between two barriers. From `tail_s` on, slots ran empty and were not filled again."""

    begin_s: float
    tail_s: float
    end_s: float
    tasks: Sequence[int]  # positions in the sequences given, by start


def phases(starts: Sequence[float], finishes: Sequence[float], met_s: Sequence[float]) -> list[Phase]:
    """The run cut at the moments when barriers were met. Phases without tasks are left out."""
    order = sorted(range(len(starts)), key=starts.__getitem__)
    sorted_starts = [starts[task] for task in order]
    found = []
    cuts = [0, *(bisect_left(sorted_starts, time) for time in sorted(met_s)), len(order)]
    for low, high in pairwise(cuts):
        if low < high:
            tasks = tuple(order[low:high])
            ends = sorted(finishes[task] for task in tasks)
            tail = _tail_begin(sorted_starts[low:high], ends)
            found.append(Phase(sorted_starts[low], tail, ends[-1], tasks))
    return found


def _tail_begin(starts: Sequence[float], ends: Sequence[float]) -> float:
    """When the number of running tasks fell for the last time below what was usual while tasks still began.

    Usual is the median over time, not the most there ever were: short tasks leave gaps, engines come late, and a task
    that is run again at the very end does not mean that the slots were busy until then. Both are sorted.
    """
    time_at: dict[int, float] = {}  # number of running tasks -> how long
    for before, now, running in _steps(starts, ends):
        if before < starts[-1]:
            time_at[running] = time_at.get(running, 0.0) + min(now, starts[-1]) - before
    half, usual = sum(time_at.values()) / 2, len(starts)
    for running in sorted(time_at, reverse=True):
        usual, half = running, half - time_at[running]
        if half <= 0:
            break
    fell = ends[-1]
    for before, _, running in _steps(starts, ends):
        if running >= usual:
            fell = 0.0
        elif fell == 0.0:
            fell = before
    return fell or ends[-1]


def _steps(starts: Sequence[float], ends: Sequence[float]) -> Iterator[tuple[float, float, int]]:
    """(from, until, tasks running) for each piece of time between two events; an end comes before a start."""
    before, running, ended = starts[0], 0, 0
    for start in starts:
        while ends[ended] <= start and running:
            if ends[ended] > before:
                yield before, ends[ended], running
                before = ends[ended]
            running -= 1
            ended += 1
        if start > before:
            yield before, start, running
            before = start
        running += 1
    for end in ends[ended:]:
        if end > before:
            yield before, end, running
            before = end
        running -= 1

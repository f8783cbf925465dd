"""Keeps the tasks of each slot on the CPUs of that slot. Which ones these are is decided in `core.binding`.

A task inherits its CPUs from this process, which goes there for the moment of the spawn. Set from outside they come too
late on a node that is full of work: bash has started something by then, or a program has counted its CPUs. This takes
some 30 µs a task, a thirtieth of what a bash costs, and for tasks of a few milliseconds it is good for nothing. So a slot
whose last task was short starts the next one unbound, and binds it, with all that it has started, when it turns out to
run for longer.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence

SHORT_S = 0.02  # so long the output of a task is not watched either: see `runtime.processes`


class Affinity:
    """`sets` has the CPUs of each slot. What cannot be bound, as CPUs were taken away, uses what there is."""

    def __init__(self, sets: Sequence[frozenset[int]]) -> None:
        self._sets = sets
        self._own = os.sched_getaffinity(0)
        self._short = [False] * len(sets)

    def enter(self, slot: int) -> bool:
        """Takes this process to the CPUs of the slot, for the spawn; True when `leave` has to follow."""
        if slot < 0 or self._short[slot]:
            return False
        _move(0, self._sets[slot])
        return True

    def leave(self) -> None:
        _move(0, self._own)

    def ended(self, slot: int, elapsed_s: float) -> None:
        if slot >= 0:
            self._short[slot] = elapsed_s < SHORT_S

    def runs_long(self, slot: int, pid: int) -> None:
        """The task is none of the short ones after all."""
        if slot >= 0 and self._short[slot]:
            self._short[slot] = False
            for thread in _threads_below(pid):
                _move(thread, self._sets[slot])


def _move(thread: int, cpus: Collection[int]) -> None:
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, cpus)


def _threads_below(pid: int) -> Iterator[int]:
    """A parent comes before its children, so that what it starts meanwhile is bound as well."""
    with contextlib.suppress(OSError, ValueError):
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            yield thread
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                children = file.read().split()
            for child in children:
                yield from _threads_below(int(child))

"""The states of tasks and the age between two barriers, by counting and never by scanning.

Only tasks in flight have an entry, so that memory is bounded by what engines hold, not by the length of the list.
What waits behind a barrier has not been read from the task list yet and needs no state here.
"""

from collections.abc import Sequence
from enum import Enum

from disbatch.core.errors import IllegalMoveError
from disbatch.core.model import Item, Task
from disbatch.core.readyqueue import ReadyQueue


class TaskState(Enum):
    NEW = "just read"
    READY = "waiting for a slot"
    ASSIGNED = "held by an engine"
    WITHHELD = "failed, and its node may be to blame"
    DONE = "finished with exit code 0"
    FAILED = "finished with another exit code"
    SKIPPED = "done in an earlier run"

    # a member is itself and no other; Enum's own is a call in Python, six times a task
    __hash__ = object.__hash__


ALLOWED_MOVES = {
    TaskState.NEW: {TaskState.READY, TaskState.ASSIGNED, TaskState.SKIPPED},
    TaskState.READY: {TaskState.ASSIGNED, TaskState.WITHHELD},
    TaskState.ASSIGNED: {TaskState.READY, TaskState.WITHHELD, TaskState.DONE, TaskState.FAILED},
    TaskState.WITHHELD: {TaskState.READY, TaskState.FAILED},
    TaskState.DONE: set(),
    TaskState.FAILED: set(),
    TaskState.SKIPPED: set(),
}


class Entry:
    """A task in flight: its state and the number of its current attempt (0 before the first)."""

    __slots__ = ("attempt", "engine", "handed_s", "lost", "lost_on", "retried", "state", "suspect", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.state = TaskState.NEW
        self.attempt = 0
        self.lost = 0  # attempts that were lost with their engines
        self.lost_on = ""  # node of the newest of them
        self.suspect = False  # it may be what its engines died of: it runs with no other task beside it
        self.retried: int | None = None  # rank of an engine on which it failed without that being final
        self.engine: str | None = None  # session id of the engine that holds it
        self.handed_s = 0.0  # when it was handed to that engine


def move(entry: Entry, state: TaskState) -> None:
    """The one place where a task changes its state. Raises IllegalMoveError on any move that the table lacks."""
    if state not in ALLOWED_MOVES[entry.state]:
        raise IllegalMoveError(f"task {entry.task.task_id}: {entry.state.name} -> {state.name}")
    entry.state = state


class Ledger:
    """All tasks in flight, in the order in which they are to start, and the counts that barriers and views need."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.ready = ReadyQueue()
        self.suspects = ReadyQueue()  # READY as well, and to run alone
        self.withheld = 0  # tasks in that state
        self.done = 0
        self.failed = 0
        self.skipped = 0
        self.skipped_failed = 0
        self.age_failed = 0  # failures since the last barrier, skipped ones included

    @property
    def unfinished(self) -> int:
        """Tasks that were read and have not ended."""
        return len(self.entries)

    @property
    def assigned(self) -> int:
        return len(self.entries) - self.waiting - self.withheld

    @property
    def waiting(self) -> int:
        """Tasks that are READY."""
        return len(self.ready) + len(self.suspects)

    def _queue(self, entry: Entry) -> ReadyQueue:
        return self.suspects if entry.suspect else self.ready

    def admit(self, task: Task) -> None:
        """Takes in a task that is to be run."""
        self.admit_run((task,))

    def adopt(self, task: Task, sid: str, attempt: int, now_s: float) -> None:
        """Takes in a task that an engine holds, from the driver before this one."""
        entry = Entry(task)
        move(entry, TaskState.ASSIGNED)
        entry.engine, entry.attempt, entry.handed_s = sid, attempt, now_s
        self.entries[task.task_id] = entry

    def claim(self, task_id: int, sid: str, attempt: int) -> bool:
        """The same for a task that is READY here; false for any other."""
        entry = self.entries.get(task_id)
        if entry is None or entry.state is not TaskState.READY or entry.attempt >= attempt:
            return False
        self._queue(entry).remove(entry)
        move(entry, TaskState.ASSIGNED)
        entry.engine, entry.attempt = sid, attempt
        return True

    def skip(self, *, failed: bool) -> None:
        """Counts a task that an earlier run has finished."""
        self.skipped += 1
        self.skipped_failed += failed
        self.age_failed += failed

    def admit_run(self, items: Sequence[Item]) -> int:
        """The same for the tasks with which `items` begin. Returns how many these are."""
        entries, ready = self.entries, self.ready
        for number, item in enumerate(items):
            if not isinstance(item, Task):
                return number
            entry = Entry(item)
            move(entry, TaskState.READY)
            entries[item.task_id] = entry
            ready.append(entry)
        return len(items)

    def assign(self, sid: str, now_s: float = 0.0, suspect: Entry | None = None) -> Entry:
        """Hands the next READY task to an engine, as a new attempt; or this one of those that run alone."""
        if suspect is None:
            entry = self.ready.popleft()
        else:
            entry = suspect
            self.suspects.remove(entry)
        move(entry, TaskState.ASSIGNED)
        entry.attempt += 1
        entry.engine = sid
        entry.handed_s = now_s
        return entry

    def current(self, task_id: int, attempt: int, sid: str) -> Entry | None:
        """The entry whose current attempt this is, held by this engine; None when the attempt is stale."""
        entry = self.entries.get(task_id)
        if (
            entry is None
            or entry.attempt != attempt
            or entry.engine != sid
            or entry.state is not TaskState.ASSIGNED
        ):
            return None
        return entry

    def give_back(self, entry: Entry) -> None:
        """The engine will not run it: it waits again, at its place in the order of the list."""
        self.withheld -= entry.state is TaskState.WITHHELD
        move(entry, TaskState.READY)
        entry.engine = None
        self._queue(entry).put_back(entry)

    def withhold(self, entry: Entry) -> None:
        """It has failed, and it is not known yet whether that is final."""
        move(entry, TaskState.WITHHELD)
        entry.engine = None
        self.withheld += 1

    def take_back(self, entry: Entry) -> bool:
        """It is not run once more after all, unless it has been handed out already."""
        if entry.state is not TaskState.READY:
            return False
        self._queue(entry).remove(entry)
        self.withhold(entry)
        return True

    def finish(self, entry: Entry, *, failed: bool) -> None:
        if entry.state is TaskState.WITHHELD:
            self.withheld -= 1
        move(entry, TaskState.FAILED if failed else TaskState.DONE)
        del self.entries[entry.task.task_id]
        if failed:
            self.failed += 1
            self.age_failed += 1
        else:
            self.done += 1

    def new_age(self) -> None:
        """A barrier was met: what failed before it no longer counts for the next CHECK."""
        self.age_failed = 0

    def check_invariants(self) -> None:
        """For tests: the counts and the tables say the same."""
        ready = [e for e in self.entries.values() if e.state is TaskState.READY]
        for queue, suspect in ((self.ready, False), (self.suspects, True)):
            there = [e for e in ready if e.suspect is suspect]
            assert len(there) == len(queue) and set(map(id, there)) == set(map(id, queue))
        withheld = [e for e in self.entries.values() if e.state is TaskState.WITHHELD]
        assert len(withheld) == self.withheld
        assert all(e.engine is None for e in ready + withheld)
        assigned = [e for e in self.entries.values() if e.state is TaskState.ASSIGNED]
        assert len(assigned) + len(ready) + len(withheld) == len(self.entries)
        assert all(e.engine is not None and e.attempt > 0 for e in assigned)

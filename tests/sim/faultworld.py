"""Where the simulated faults happen: virtual time, the processes of all nodes, and the rules that no fault may break.

Nothing here knows a driver or an engine core. What is alive is what really runs on a node, whoever believes what.
"""

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from disbatch.core.binding import BindRule, Cpu, make_plan
from disbatch.core.engine_events import NO_SLOT, Job
from disbatch.core.model import LOST, Barrier, Item, Task
from disbatch.core.status import StatusRecord

if TYPE_CHECKING:
    from faultsite import Site

EPOCH_S = 1_700_000_000.0
MAX_EVENTS = 60_000  # a run that needs more has stopped getting anywhere


class Broken(AssertionError):
    """A rule was broken; the text says which, and when."""


@cache
def _core_sets(slots: int) -> tuple[frozenset[int], ...]:
    """Of a node with two cores for each slot, of two threads each: which CPUs a task in each slot is bound to."""
    cpus = tuple([Cpu(number, number % (2 * slots), 0) for number in range(4 * slots)])
    return make_plan(BindRule(2, 2 * slots, False), cpus, len(cpus), slots).sets or (frozenset(range(4)),)


class Process:
    """One task or per-engine command that was started somewhere. It runs until it ends or is killed."""

    __slots__ = ("alive", "code", "cpus", "job", "node", "number", "site", "slot", "start_s")

    def __init__(
        self, number: int, node: str, slot: int, job: Job, start_s: float, site: "Site | None"
    ) -> None:
        self.site = site
        self.cpus: frozenset[int] = frozenset()  # that it is bound to
        self.number = number
        self.node = node
        self.slot = slot
        self.job = job
        self.start_s = start_s
        self.alive = True
        self.code: int | None = None  # once it has ended by itself


class World:
    def __init__(self, seed: int, items: list[Item]) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.events = 0
        self.trace: list[str] = []  # what was done to whom, for people and for comparing two runs
        self.items = items
        self.tasks = {item.task_id for item in items if isinstance(item, Task)}
        self.barriers = [item.task_id for item in items if isinstance(item, Barrier)]
        self.processes: dict[int, Process] = {}
        self.file: list[StatusRecord] = []  # all status files of the run and its resumptions, line by line
        self.done: set[int] = set()  # tasks that have a line which says that they ended
        self.met: set[int] = set()  # barriers on file
        self.failed: set[int] = set()  # of those
        self.given_up: set[int] = set()  # tasks whose only line says that their engines were lost
        self.given_up_here: set[int] = (
            set()
        )  # of those, in the run that goes on; a resumption runs them again
        self.closed_at: int | None = None  # a barrier whose check has failed in the run that goes on
        self.counts: Counter[str] = Counter()
        # which tasks must not be given up, where nothing but some other tasks takes engines down
        self.innocent: Callable[[int], bool] = lambda task_id: False
        self._commands: set[int] = set()  # processes of PERENGINE commands on file
        self._running: dict[int, Process] = {}  # by task id
        self._per_node: dict[str, int] = defaultdict(int)
        self._taken: dict[str, set[int]] = defaultdict(set)  # CPUs, by node
        self._recorded: Counter[str] = Counter()  # tasks on file, by the context that has run them
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = 0

    # -- time

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.now + max(0.0, seconds), action)

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Two things of one moment happen in the order in which they were announced."""
        self._tie += 1
        heapq.heappush(self._heap, (moment, self._tie, action))

    def step(self) -> None:
        if not self._heap:
            raise Broken("nothing will ever happen again, and the run is not over")
        self.events += 1
        if self.events > MAX_EVENTS:
            raise Broken(f"no end after {MAX_EVENTS} events")
        self.now, _, action = heapq.heappop(self._heap)
        action()

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def note(self, text: str) -> None:
        self.trace.append(f"{self.now:10.4f} {text}")

    # -- processes

    def start(self, node: str, slots: int, slot: int, job: Job, site: "Site | None") -> Process:
        """A process begins. Raises Broken when that is against the rules."""
        process = Process(len(self.processes) + 1, node, slot, job, self.now, site)
        self.processes[process.number] = process
        if job.kind != "T":
            return process
        task_id = job.task_id
        twin = self._running.get(task_id)
        if twin is not None:
            raise Broken(
                f"task {task_id} starts on {node} while it runs on {twin.node} (since {twin.start_s:.3f})"
            )
        if task_id in self.done or task_id in self.given_up_here:
            raise Broken(f"task {task_id} starts on {node} after it was recorded")
        if self.closed_at is not None and task_id > self.closed_at:
            raise Broken(f"task {task_id} starts behind barrier {self.closed_at}, whose check has failed")
        for barrier in self.barriers:
            if barrier < task_id and barrier not in self.met:
                raise Broken(f"task {task_id} starts before barrier {barrier} was met")
        if slot == NO_SLOT or not 0 <= slot < slots:
            raise Broken(f"task {task_id} starts in slot {slot} of {slots}")
        self._running[task_id] = process
        self._per_node[node] += 1
        if self._per_node[node] > slots:
            raise Broken(f"{node} has {slots} slots and runs {self._per_node[node]} tasks")
        self._bind(process, slots)
        self._charge(process)
        return process

    def _bind(self, process: Process, slots: int) -> None:
        process.cpus = _core_sets(slots)[process.slot]
        taken = self._taken[process.node]
        if taken & process.cpus:
            raise Broken(f"{process.node}: CPUs {sorted(taken & process.cpus)} are given to two tasks")
        taken |= process.cpus

    def _charge(self, process: Process) -> None:
        """Tasks on file of a context, and those that it runs, are not more than it may have, through all drivers."""
        site = process.site
        if site is None or not site.limit:
            return
        running = sum(each.site is site for each in self._running.values())
        if self._recorded[site.cid] + running > site.limit:
            text = f"{self._recorded[site.cid]} on file, {running} running"
            raise Broken(f"context {site.cid} may run {site.limit} tasks: {text}")

    def end(self, process: Process, code: int | None) -> None:
        """It ends by itself, with a code, or is killed (None)."""
        if not process.alive:
            return
        process.alive = False
        process.code = code
        if process.job.kind == "T":
            del self._running[process.job.task_id]
            self._per_node[process.node] -= 1
            self._taken[process.node] -= process.cpus

    @property
    def anything_runs(self) -> bool:
        return bool(self._running)

    # -- the status file

    def new_run(self) -> None:
        """A run that resumes from the files begins."""
        self.given_up_here.clear()
        self.closed_at = None

    def write(self, row: StatusRecord) -> None:
        """A line is on disk. Raises Broken when it tells what was not so."""
        self.file.append(row)
        if row.flags[0] in "BC":
            missing = [
                t for t in self.tasks if t < row.task_id and t not in self.done and t not in self.given_up
            ]
            if missing:
                raise Broken(f"barrier {row.task_id} is met while {missing[:3]} have no line")
            self.met.add(row.task_id)
            before = max((b for b in self.barriers if b < row.task_id), default=-1)
            failed = [t for t in self.failed | self.given_up if before < t < row.task_id]
            if row.flags[0] == "C" and failed:
                self.closed_at = row.task_id
            return
        if row.flags[3] == "P":
            if row.pid in self._commands:
                raise Broken(f"the PERENGINE command that ran as process {row.pid} has two lines")
            self._commands.add(row.pid)
            return
        if row.returncode == LOST:
            self.counts["given up"] += 1
            if self.innocent(row.task_id):
                raise Broken(f"task {row.task_id} is given up, and another one killed its engines")
            if row.task_id in self._running:
                raise Broken(f"task {row.task_id} is given up while it runs")
            if row.task_id in self.done or row.task_id in self.given_up_here:
                raise Broken(f"task {row.task_id} is given up after it was recorded")
            self.given_up.add(row.task_id)
            self.given_up_here.add(row.task_id)
            return
        process = self.processes[row.pid]
        if process.job.task_id != row.task_id or process.code != row.returncode:
            raise Broken(f"the line of task {row.task_id} is not how process {row.pid} ended: {process.code}")
        if row.task_id in self.done:
            raise Broken(f"task {row.task_id} has two lines")
        self.done.add(row.task_id)
        if row.returncode:
            self.failed.add(row.task_id)
        if process.site:
            self._recorded[process.site.cid] += 1
        self.given_up.discard(row.task_id)

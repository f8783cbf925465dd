"""What a report consists of: values that the terminal, the page and `--json` show alike. Seconds and bytes throughout."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Durations:
    """Of all task processes that took time in the runs. Percentiles are durations that occurred (nearest rank)."""

    count: int
    total_s: float
    mean_s: float
    shortest_s: float
    median_s: float
    p95_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One row of a status file, as it is shown."""

    task_id: int
    line_no: int
    repeat_index: int
    node: str
    returncode: int
    elapsed_s: float
    command: str


@dataclass(frozen=True, slots=True)
class FailureLine:
    """Tasks that failed in the same way."""

    count: int
    returncode: int
    how: str  # the exit code in words
    message: str  # the last line on standard error
    example: TaskLine
    nodes: int  # on how many nodes; 0 where messages of many kinds are taken together


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a phase: from when slots began to run empty (`begin_s`) until the last task was done (`end_s`)."""

    begin_s: float
    end_s: float
    idle_slot_s: float
    line_no: int  # of the barrier at its end; 0 at the end of the run


@dataclass(frozen=True, slots=True)
class RunFigures:
    """One status file. Its time is from the first start to the last end that it records."""

    path: str
    begin_s: float
    end_s: float
    tasks: int  # processes that took time here
    failed: int
    slots: int
    cores_per_slot: float
    busy_slot_s: float
    capacity_slot_s: float  # of each node from its first start to the end of the run
    gap_s: float  # median time from a task's end to the next one's start in the same slot
    tails: list[Tail]

    @property
    def wall_s(self) -> float:
        return self.end_s - self.begin_s

    @property
    def tail(self) -> Tail:
        """The one at the end of the run."""
        return self.tails[-1]


@dataclass(frozen=True, slots=True)
class NodeFigures:
    name: str
    slots: int
    tasks: int
    failed: int
    median_s: float
    busy_slot_s: float
    capacity_slot_s: float

    @property
    def busy_share(self) -> float:
        return self.busy_slot_s / self.capacity_slot_s if self.capacity_slot_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class CoreTime:
    """Core seconds: slots times the cores of a slot (one, where no usage file says more)."""

    used_s: float
    idle_s: float
    idle_tail_s: float  # at the end of the runs
    idle_barriers_s: float  # before barriers
    known: bool  # whether the cores of a slot are known


@dataclass(frozen=True, slots=True)
class LeakLine:
    """A line of the task list whose tasks printed something that was not redirected."""

    line_no: int
    tasks: int
    out_bytes: int
    err_bytes: int
    command: str  # of one of them


@dataclass(frozen=True, slots=True)
class Leaks:
    tasks: int
    out_bytes: int
    err_bytes: int
    lines: int  # of the task list
    largest: list[LeakLine]


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """What the slots of one node could have taken at worst: the largest peak there, times its slots."""

    name: str
    memory_kib: int  # 0: not known
    slots: int
    largest_peak_kib: int
    vague_peak_kib: int  # peaks up to this are bounds: the tasks may have taken less


@dataclass(frozen=True, slots=True)
class Usage:
    """From the usage files. A peak is the largest resident set of one process of a task."""

    tasks: int
    cpu_s: float
    core_s: float  # durations times the cores of a slot
    median_efficiency: float  # CPU time against core time, of tasks that took a tenth of a second or more
    cores_per_slot: float
    peak_median_kib: int
    peak_p95_kib: int
    peak_largest_kib: int
    vague_peak_kib: int  # peaks up to this, also of those above, are bounds: the tasks may have taken less
    largest: list[tuple[int, TaskLine]]  # peak, and whose
    nodes: list[NodeMemory]

    @property
    def efficiency(self) -> float:
        return self.cpu_s / self.core_s if self.core_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the same tasks would do on so many slots, each handed to the slot that is free first."""

    slots: int
    wall_s: float
    busy_share: float


@dataclass(frozen=True, slots=True)
class SlotAdvice:
    """From the run with the most work in it, the pauses between tasks and the barriers included."""

    path: str
    wall_s: float  # what it really took
    now: Prediction  # as many slots as it had
    suggested: Prediction  # the most that would still be busy for most of the time
    shortest_s: float  # however many slots there are: the longest task of each phase
    longest_first_s: float  # the slots that it had, and the longest tasks begun first


@dataclass(frozen=True, slots=True)
class Report:
    paths: list[str]
    notes: list[str]
    tasks: int  # of the task list, as far as the files go
    failed: int  # whose last word is a failure
    lost: int  # whose engine was lost, and that were not run again
    earlier: int  # done in runs whose files were not given
    repaired: int  # that failed once and went well in the end
    setup: int  # per-engine commands
    setup_failed: int
    barriers: int
    begin_s: float
    end_s: float
    wall_s: float  # of all runs together; what lies between them does not count
    durations: Durations | None
    longest: list[TaskLine]
    failures: list[FailureLine]
    nodes: list[NodeFigures]
    runs: list[RunFigures]
    core_time: CoreTime
    leaks: Leaks
    usage: Usage | None
    slot_advice: SlotAdvice | None
    advice: list[str]

    @property
    def slots(self) -> int:
        """Of the run that had the most."""
        return max((run.slots for run in self.runs), default=0)

    @property
    def busy_share(self) -> float:
        whole = self.core_time.used_s + self.core_time.idle_s
        return self.core_time.used_s / whole if whole > 0 else 0.0

"""What crosses the KVS between driver and engines, as values. Their form as bytes is in `codec`.

The protocol is in docs/design.md, "The messages"; here is its alphabet.
"""

from typing import Literal, NamedTuple

from disbatch.core.model import Outcome

VERSION = 3
REPORT_S = 0.04  # short tasks: reports are sent this often, so that one message carries many
NOTE_CHARS = 300  # of a note to the user
ReportKind = Literal["T", "A", "Z"]  # a task, a per-engine START, a per-engine STOP
StopMode = Literal["", "finish", "kill", "abort"]
# finish: end what is running, start nothing; kill: TERM, then KILL, and no reports of what was killed;
# abort: KILL at once and skip the STOP commands. Each goes on to the PERENGINE STOP commands but abort.
_STRENGTH: dict[StopMode, int] = {"": 0, "finish": 1, "kill": 2, "abort": 3}


def stronger(one: StopMode, other: StopMode) -> StopMode:
    """Of two orders to stop, the one that leaves less time."""
    return one if _STRENGTH[one] >= _STRENGTH[other] else other


class Handed(NamedTuple):
    """An attempt as it is handed to an engine."""

    task_id: int
    attempt: int
    line_no: int
    repeat_index: int
    command: bytes


class EngineCommand(NamedTuple):
    """A per-engine command as it is handed to an engine."""

    task_id: int
    line_no: int
    command: bytes


class Setup(NamedTuple):
    """What an engine runs before its first task and after its last one. Sent once, before any task."""

    starts: tuple[EngineCommand, ...]
    stops: tuple[EngineCommand, ...]


class Report(NamedTuple):
    """How an attempt ended. `n` counts the reports of a session from 1."""

    n: int
    kind: ReportKind
    task_id: int
    attempt: int
    outcome: Outcome
    slot: int = -1  # of the engine; -1 for per-engine commands


Held = tuple[int, int]  # (task id, attempt number)


class Vitals(NamedTuple):
    """How the node of an engine is, for people who watch."""

    load: float  # mean number of runnable processes of the last minute
    mem_used_kib: int  # without what could be freed
    mem_total_kib: int
    cpus: int


class Means(NamedTuple):
    """What an engine has for its tasks; it does not change."""

    cores_per_task: int = 1  # what tasks are told
    cpus: int = 0  # that it may use; 0: not known
    memory_kib: int = 0  # of its node, or of the control group that confines it; 0: not known
    gpus: int = -1  # to be divided among the slots; -1: not asked for


NO_MEANS = Means()


class Hello(NamedTuple):
    """Engine to driver at each (re)connect: who I am, what I hold, what I still have to report."""

    sid: str
    ep: int
    rank: int
    node: str
    slots: int
    t: float
    held: tuple[Held, ...]
    reports: tuple[Report, ...]
    demand: int
    vitals: Vitals | None = None
    means: Means = NO_MEANS
    ended: int = 0  # tasks whose outcome this process has had to report, so far


ORPHANED = "whoever launched it is gone"  # the reason of an engine that nobody has told to leave


class Up(NamedTuple):
    """Engine to driver: reports, and how many unfinished tasks the engine wants to hold (absolute)."""

    sid: str
    ep: int
    n_hi: int
    t: float
    reports: tuple[Report, ...]
    demand: int
    returned: tuple[Held, ...] = ()  # were not started, or were stopped: they will never have an outcome here
    bye: str = ""  # the last message of a session, with the reason
    answers: int = 0  # seq of the newest message whose recall has been dealt with
    vitals: Vitals | None = None  # now and then
    note: str = ""  # for the user: what this node is short of
    unasked: bool = False  # with `bye`: it leaves although the driver has not told it to
    guilty: tuple[Held, ...] = ()  # with that: which of what it held may have ended it


class Down(NamedTuple):
    """Driver to engine: tasks, an acknowledgement of all reports up to `ack`, a recall, a stop."""

    did: str
    sid: str
    ep: int
    seq: int
    ack: int
    echo: float
    tasks: tuple[Handed, ...] = ()
    recall: tuple[Held, ...] = ()
    stop: StopMode = ""
    setup: Setup | None = None
    every_s: float = REPORT_S  # between reports, as long as no slot would run dry


class Die(NamedTuple):
    """Driver to engine: this session is held as lost; kill everything, take a new one."""

    sid: str


Message = Hello | Up | Down | Die

"""What happens to an engine (events) and what it wants done (effects). Values only."""

from typing import Literal, NamedTuple

from disbatch.core.messages import Die, Down, ReportKind, Up
from disbatch.core.model import Outcome

NO_SLOT = -1  # slot of per-engine commands, told to them as DISBATCH_CYLINDER_RANK
TimerName = Literal["report", "kill", "term", "lease", "ahead"]


class Job(NamedTuple):
    """A command to be started: a task's attempt (T), or a per-engine START (A) or STOP (Z)."""

    kind: ReportKind
    task_id: int
    attempt: int
    line_no: int
    repeat_index: int
    command: bytes


class DownCame(NamedTuple):
    message: Down


class DieCame(NamedTuple):
    message: Die


class Ended(NamedTuple):
    """Processes that ended, found in one turn of the loop: (slot, outcome) pairs, in the order of their ends."""

    ends: list[tuple[int, Outcome]]


class TimerRang(NamedTuple):
    name: TimerName


class TermCame(NamedTuple):
    """The engine itself has to go: it was sent SIGTERM, as the job is ending or somebody wants this node back, or whoever
    launched it is gone. `tasks` are those that may have sent it; None: any that runs."""

    why: str = "it was sent SIGTERM"
    tasks: tuple[int, ...] | None = ()


class Tick(NamedTuple):
    """Nothing but time: a heartbeat is due."""


class DriverStands(NamedTuple):
    """The driver has started this engine on its own machine, and is stopped now: it exists, and gives nothing to others."""


Event = DownCame | DieCame | Ended | TimerRang | TermCame | Tick | DriverStands


class Spawn(NamedTuple):
    slot: int
    job: Job


class Tell(NamedTuple):
    """Put this message into the driver's mailbox."""

    message: Up


class SetTimer(NamedTuple):
    """Ring once, `after_s` from now; a timer of that name that still runs stays as it is."""

    name: TimerName
    after_s: float


class Kill(NamedTuple):
    """Signal the process groups of everything that runs: TERM, or KILL when `hard`."""

    hard: bool


class Deadline(NamedTuple):
    """Tell the guard when it has to kill everything, by the engine's clock (None: not until it is told again)."""

    at_s: float | None


class KillAll(NamedTuple):
    """SIGKILL to every process below this one, and reap them, before anything else: nothing of it is reported."""

    why: str


class SignIn(NamedTuple):
    """Close the connection, forget what came on it, and say hello on a new one."""


class Leave(NamedTuple):
    """Everything has been said: close the connection, kill what tasks left behind, exit."""


Effect = Spawn | Tell | SetTimer | Kill | Deadline | KillAll | SignIn | Leave

"""What happens to a driver (events) and what it wants done (effects). Values only; the shell in `runtime` has the hands."""

from enum import Enum
from typing import Literal, NamedTuple

from disbatch.core.joining import Answer, Join, Order, ProcessGone, Refusal, Rejoin, Welcome
from disbatch.core.messages import Down, Hello, Up
from disbatch.core.model import Item
from disbatch.core.resume import Place
from disbatch.core.status import StatusRecord

Level = Literal["note", "warning", "error"]  # of what is told to the user


class Instant(NamedTuple):
    """A moment by both clocks: one that nobody sets, and the one that people read."""

    mono_s: float
    wall_s: float


class Ending(Enum):
    """Why a run ends; the value is its exit code when nothing else is asked for."""

    COMPLETE = (0, "all tasks have been done")
    CHECK = (1, "a BARRIER CHECK found failed tasks")
    FAIL_FAST = (1, "a task failed, and --fail-fast was given")
    BAD_LIST = (2, "the task list has an error")
    LIST_CHANGED = (3, "the task file changed while it was read")
    LIST_UNREADABLE = (3, "the task list cannot be read any more")
    NO_ENGINE = (3, "no engine is left")
    FEEDER = (3, "the program that feeds tasks failed")
    DRAINED = (3, "the time of the job is nearly up")
    NO_SERVER = (3, "the KVS server is gone")
    NO_DISK = (3, "the status file cannot be written")
    ROWS_LOST = (3, "lines of the status file are lost")
    SIGHUP = (129, "the terminal was closed, or SIGHUP came")
    BROKEN = (3, "the driver could not go on")
    SIGINT = (130, "interrupted")
    SIGTERM = (143, "terminated")

    @property
    def exit_code(self) -> int:
        return self.value[0]

    @property
    def text(self) -> str:
        return self.value[1]


class ContextOpened(NamedTuple):
    """The driver's own context, before its engines. `task_limit` 0: none."""

    label: str
    task_limit: int


class JoinCame(NamedTuple):
    """From a context that wants to join, or has; or from a person."""

    message: Join | Rejoin | ProcessGone | Order


class ContextLost(NamedTuple):
    """The connection of a context that has joined is gone."""

    cid: str
    why: str


class EngineLaunched(NamedTuple):
    rank: int
    node: str
    slots: int
    label: str
    retires: bool = False  # its node can be given back before the run ends
    beside: bool = False  # this process has started it on its own machine


class EngineExited(NamedTuple):
    """The process that was launched for an engine is gone. `why` says how, for people."""

    rank: int
    why: str


class MessageCame(NamedTuple):
    message: Hello | Up


class Tick(NamedTuple):
    """Time has passed. Comes regularly, and late when the driver itself was held up."""


class Swept(NamedTuple):
    """The answer to Sweep. `clean`: nothing of that session is left on its node; else the node could not be asked."""

    sid: str
    clean: bool
    rank: int = -1  # of an engine of a context, whose session may not be known


class ItemsCame(NamedTuple):
    """The next items of the task list, in order; not more than `DriverCore.wants`."""

    items: list[Item]


class ListEnded(NamedTuple):
    """No more items will come. `failure` says why that is too early; what was handed in is done all the same."""

    failure: str = ""


class ServerLost(NamedTuple):
    """The KVS server of the run cannot be reached any more; engines end by themselves. Told again: they have had their time."""

    why: str


class ListFailed(NamedTuple):
    """The task list cannot be read on: `text` names source, line and reason."""

    text: str
    ending: Ending = Ending.BAD_LIST


class Written(NamedTuple):
    """The records of a batch are in the status file."""

    batch: int


class Broken(NamedTuple):
    """Something that the driver cannot do without has failed, and nobody had expected it. Told again when the run has not
    ended some seconds later."""

    why: str


class DiskGivenUp(NamedTuple):
    """The status file could not be written while the run had to stop."""


class RowsLost(NamedTuple):
    """Lines that were in the status file are there no longer, and cannot be written again. `text` is for the user."""

    text: str


class DrainCame(NamedTuple):
    """The job that the driver runs in ends in less than so many seconds: what runs may finish, nothing is started."""

    before_s: float


class SignalCame(NamedTuple):
    """SIGINT (once: finish what runs; again: stop it), SIGTERM or SIGHUP (stop it)."""

    ending: Ending


Event = (
    ContextOpened
    | JoinCame
    | ContextLost
    | EngineLaunched
    | EngineExited
    | MessageCame
    | Tick
    | Swept
    | ItemsCame
    | ListEnded
    | ListFailed
    | ServerLost
    | Written
    | Broken
    | DiskGivenUp
    | RowsLost
    | SignalCame
    | DrainCame
)


class Send(NamedTuple):
    message: Down


class Reply(NamedTuple):
    """Put an answer under a key: to a context that wants to join, or to an order."""

    key: str
    message: Welcome | Refusal | Answer


class Dismiss(NamedTuple):
    """Tell whoever listens on this connection that its session is held as lost."""

    sid: str
    ep: int


class Forget(NamedTuple):
    """Nobody reads the mailbox of this connection any more: what is in it is dropped."""

    sid: str
    ep: int


class Sweep(NamedTuple):
    """Kill every process of a session on its node, by the launcher of that engine, then tell `Swept`, come what may."""

    rank: int
    sid: str


class LaunchAgain(NamedTuple):
    """Start an engine as `rank` where, and as, the one of rank `like` was started; tell `EngineExited` when it ends."""

    rank: int
    like: int


class Record(NamedTuple):
    """Append these to the status file, in order, then tell `Written(batch)`. A Place is a line to copy as skipped.

    `charges` are lines that have to be in their own file before (`runtime.charges`); `usage` are lines for the usage
    file, which nobody waits for.
    """

    batch: int
    rows: list[StatusRecord | Place]
    usage: tuple[str, ...] = ()
    charges: tuple[str, ...] = ()


class Publish(NamedTuple):
    """Put a text under a key of the KVS, for programs outside."""

    key: bytes
    text: str


class Say(NamedTuple):
    """Tell the user, and the log."""

    text: str
    level: Level = "note"


class Note(NamedTuple):
    """For the log alone."""

    text: str


class EngineJoined(NamedTuple):
    """For those who watch: an engine has signed in, for the first time or after its connection broke."""

    rank: int
    node: str
    label: str
    slots: int


class EngineLeft(NamedTuple):
    """For those who watch: an engine has left in order."""

    rank: int
    node: str
    label: str
    why: str


class EngineLost(NamedTuple):
    """For those who watch: an engine is gone that was not told to go. `running` is None if it never signed in."""

    rank: int
    node: str
    label: str
    running: int | None
    why: str


class EngineAside(NamedTuple):
    """For those who watch: an engine gets no more tasks, as those that failed at once there went well elsewhere."""

    rank: int
    node: str
    label: str
    why: str


class Over(NamedTuple):
    """Everything is written and every engine is gone."""

    ending: Ending


Effect = (
    Send
    | Dismiss
    | Forget
    | Sweep
    | LaunchAgain
    | Reply
    | Record
    | Publish
    | Say
    | Note
    | EngineJoined
    | EngineLeft
    | EngineLost
    | EngineAside
    | Over
)

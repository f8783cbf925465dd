"""DriverCore: which engine gets which task, what is recorded, when the run is over.

Pure: `handle(now, event)` returns effects. The shell in `runtime.driver` reads the task list as far as `wants` asks
for, carries effects out, and reports back. Order that matters: records are written before a report is acknowledged,
and before the slots that the report freed are filled again, so that unwritten results are bounded by a disk that hangs.
"""

from collections.abc import Callable
from dataclasses import dataclass

from disbatch.core import notices
from disbatch.core.books import Books
from disbatch.core.context import Context
from disbatch.core.dispatch import Dispatcher
from disbatch.core.driver_events import (
    Broken,
    ContextLost,
    ContextOpened,
    DiskGivenUp,
    DrainCame,
    Effect,
    Ending,
    Event,
    Instant,
    ItemsCame,
    JoinCame,
    ListEnded,
    ListFailed,
    Over,
    RowsLost,
    ServerLost,
    SignalCame,
    Sweep,
    Swept,
    Tick,
    Written,
)
from disbatch.core.failures import FailureGroups
from disbatch.core.fleet import Fleet
from disbatch.core.history import History
from disbatch.core.intake import Intake, Judge
from disbatch.core.ledger import Ledger
from disbatch.core.losses import LossPolicy
from disbatch.core.membership import Membership
from disbatch.core.messages import StopMode, stronger
from disbatch.core.outbox import Outbox
from disbatch.core.picture import add_rows, take_snapshot
from disbatch.core.recorder import Recorder
from disbatch.core.retire import no_longer_needed
from disbatch.core.sessions import Sessions
from disbatch.core.setup import EngineSetup
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.takeover import Inheritance, JoinedContext, Takeover


@dataclass(frozen=True, slots=True)
class DriverConfig:
    did: str
    node: str  # host name of the driver, for the rows of barriers
    pid: int
    fail_fast: bool
    exit_code: bool = False  # failed tasks count even where all were done
    waits: bool = False  # for machines to join, when there are none
    usage: bool = False  # note what each command took of its node
    charges: bool = False  # note which tasks count for which limited context, for a driver after this one
    losses: LossPolicy = LossPolicy()  # noqa: RUF009 - frozen
    quarantine: int = 0  # tasks in a row that fail at once, after which their engine is set aside; 0: never
    inheritance: Inheritance | None = None  # of a driver before this one, whose engines may still run


class DriverCore:
    def __init__(self, config: DriverConfig, judge: Judge | None) -> None:
        self.config = config
        self.ledger = Ledger()
        self.fleet = Fleet(config.inheritance.first_rank if config.inheritance else 0)
        self.failures = FailureGroups()
        self.history = History()
        self.ending: Ending | None = None  # why the run is ending, once it is
        self.over = False
        self.abandoned = False  # it is over, and an engine was not waited for
        self._stop: StopMode = ""
        self._setup = EngineSetup()
        self._announce = False  # say what still runs, once every engine has given back what does not
        self._recorder = Recorder(usage=config.usage, charges=config.charges)
        self._outbox = Outbox()
        self._takeover = Takeover(config.inheritance, config.losses.lease_s, self.ledger)
        self._dispatcher = Dispatcher(config.did, self.ledger, self.fleet, self._setup, config.losses.lease_s)
        shared = (self.ledger, self.fleet, self.failures, self._setup, self._recorder, self._dispatcher)
        books = Books(*shared, self._takeover)
        self._intake = Intake(books, self._outbox, self._end, judge, config.node, config.pid)
        self.sessions = Sessions(config.losses, books, self._outbox, self, config.quarantine)
        self._membership = Membership(
            self.fleet,
            self._dispatcher,
            self._outbox,
            self.sessions.losses.exited,
            lambda: bool(self._stop),
            self._takeover,
        )
        self._server_gone = False
        self._deserted = False  # it was said that no engine is left

    # -- what the shell asks

    @property
    def wants(self) -> int:
        """How many items of the task list the shell may hand in now."""
        return self._intake.wants

    @property
    def list_ended(self) -> bool:
        return self._intake.list_ended

    @property
    def contexts_left(self) -> tuple[JoinedContext, ...]:
        """Contexts that joined and may have engines: what a driver after this one has to know."""
        return self._membership.left

    @property
    def left(self) -> bool:
        """Whether tasks of the list have no final line: read ones, or such as were never read."""
        return self.ledger.unfinished > 0 or not self.read_whole

    @property
    def read_whole(self) -> bool:
        """Whether every task of the list was read, so that what earlier runs did of it is in this one's file too."""
        missing = self._recorder.lost or self._recorder.incomplete
        return self.list_ended and not self._intake.waiting and not missing

    @property
    def failed(self) -> int:
        """Tasks with a non-zero exit code, those of earlier runs that were skipped included."""
        return self.ledger.failed + self.ledger.skipped_failed

    def exit_code(self, ending: Ending) -> int:
        """That of the program, when it ends like this."""
        if ending is Ending.COMPLETE and self.config.exit_code and self.failed:
            return 1
        return ending.exit_code

    def snapshot(self, elapsed_s: float, total: int | None) -> RunSnapshot:
        """The picture for viewers; `total` is what the shell knows of the length of the list."""
        at = self._intake.barrier
        barrier = at.text.decode("utf-8", "replace") if at else ""
        state = "running" if self.ending is None else self.ending.text
        return take_snapshot(self.ledger, self.fleet, self.history, barrier, state, elapsed_s, total)

    def picture(self, now: Instant, elapsed_s: float, total: int | None) -> RunSnapshot:
        """The same with all rows, for when somebody looks."""
        brief = self.snapshot(elapsed_s, total)
        return add_rows(brief, self.ledger, self.fleet, self.failures, self.history, now.mono_s, now.wall_s)

    def handle(self, now: Instant, *events: Event) -> list[Effect]:
        """Takes in events that came together, in order; returns what is to be done, in order. What follows from them is
        looked at once for all: at a thousand engines that look was most of what a message cost."""
        for event in events:
            self._take_in(now, event)
        self._settle(now, tick=any(isinstance(event, Tick) for event in events))
        return self._outbox.take()

    def _take_in(self, now: Instant, event: Event) -> None:
        if isinstance(event, Swept):
            self._takeover.swept(event.rank)
        handler = _HANDLERS.get(type(event))
        reads = _OF_THE_LIST.get(type(event))
        if handler is not None:
            handler(self, now, event)
        elif reads is not None:
            reads(self._intake, now, event)
        elif isinstance(event, ContextOpened | JoinCame | ContextLost):
            self._membership.handle(now, event)
        else:
            self.sessions.handle(now, event)

    # -- events

    def _server_lost(self, now: Instant, event: ServerLost) -> None:
        """The second time: engines have had the time to go that they get."""
        if self._server_gone:
            self._end(Ending.NO_SERVER, "abort")
            return
        self._server_gone = True
        self._outbox.say(f"the connection to the KVS server is gone: {event.why}", level="error")
        self._end(Ending.NO_SERVER, "kill")

    def _broken(self, now: Instant, event: Broken) -> None:
        if self._stop not in ("kill", "abort"):
            self._outbox.say(notices.broken(event.why), level="error")
            self._end(Ending.BROKEN, "kill")
        else:
            self._end(Ending.BROKEN, "abort")

    def _disk_given_up(self, now: Instant, event: DiskGivenUp) -> None:
        self._dispatcher.owe(*self._recorder.give_up())
        self._end(Ending.NO_DISK, "kill")

    def _rows_lost(self, now: Instant, event: RowsLost) -> None:
        """The run goes on, as every other task gets its line, but must not end as if all was well."""
        self._outbox.say(event.text, level="error")
        self._recorder.incomplete = True
        self._intake.complete_as = Ending.ROWS_LOST
        if self.ending is Ending.COMPLETE:
            self.ending = Ending.ROWS_LOST

    def _signal(self, now: Instant, event: SignalCame) -> None:
        if self._stop in ("kill", "abort"):
            self._outbox.say(notices.KILLED_NOW)
            self._end(event.ending, "abort")
        elif event.ending is Ending.SIGINT and self.ending is not Ending.SIGINT:
            self._outbox.say(notices.INTERRUPTED)
            self._announce = True
            self._end(Ending.SIGINT, "finish")
        else:
            self._outbox.say(notices.stopping(self.fleet.busy))
            self._end(event.ending, "kill")

    def _drain(self, now: Instant, event: DrainCame) -> None:
        if not self._stop:
            self._outbox.say(notices.draining(event.before_s, self.fleet.busy))
            self._end(Ending.DRAINED, "finish")

    def task_failed(self) -> None:
        if self.config.fail_fast and self._stop != "kill":
            self._end(Ending.FAIL_FAST, "kill")

    def limit_reached(self, context: Context) -> None:
        self._membership.limit_reached(context)

    @property
    def ending_or_done(self) -> bool:
        return bool(self._stop) or not self._work_left()

    # -- what follows

    def _settle(self, now: Instant, *, tick: bool) -> None:
        """What follows from the counts after each event: barriers, the end, tasks for who wants them."""
        self.sessions.take_due(now)
        self.sessions.losses.settle(now, self._stop)
        nothing_more = self.list_ended or self._intake.barrier is not None
        self.sessions.quarantine.settle(now, self._stop, tick=tick, nothing_more=nothing_more)
        self._intake.settle(now)
        if not self._stop and not self._work_left() and not self._recorder.pending:
            self._end(self._intake.complete_as, "finish")
        deserted = self.fleet.engines and self.fleet.deserted and not self.sessions.losses.hoping(now)
        if deserted and not (self._stop or self._takeover.active) and self._work_left():
            self._desert()
        if self._deserted and not self.fleet.deserted:
            self._deserted = False
        hold = self._takeover.active and self._hold(now)
        if self._intake.all_at_hand and not (self._stop or hold):
            self._retire()
        sends = self._dispatcher.serve(now, self._stop, nothing_more=nothing_more, hold=hold)
        self._outbox.extend(sends)
        if self._announce and not self._intake.unread and all(e.demand == 0 for e in self.fleet.living()):
            self._announce = False
            self._say_what_runs()
        if self._stop and not (
            self.over or self._recorder.pending or self.sessions.losses.hold_up(now, self._stop)
        ):
            self.abandoned = any(engine.sid for engine in self.fleet.living())
            self.over = True
            assert self.ending is not None
            if self.ending is Ending.DRAINED and not self.left:
                self.ending = self._intake.complete_as  # the time was enough after all
            self._outbox.add(Over(self.ending))

    def _hold(self, now: Instant) -> bool:
        """Whether tasks that no engine of the driver before claims must not be handed out yet."""
        for engine in self._takeover.look(now, self.fleet.engines):
            self._outbox.add(Sweep(engine.rank, engine.sid))
        if not self._takeover.active:
            self._outbox.say(notices.taken_over(self.ledger.assigned))
        return self._takeover.active

    def _retire(self) -> None:
        """Engines for which no work can come any more leave before the others, so that their nodes can be given back."""
        for engine in no_longer_needed(self.fleet, self.ledger):
            self._outbox.note(f"engine {engine.rank} on {engine.node} is no longer needed")
            engine.stop = "finish"
            engine.changed()
            self._dispatcher.owe(engine)

    def _desert(self) -> None:
        """The last engine is gone, and there is work."""
        if not self.config.waits:
            self._end(Ending.NO_ENGINE, "finish")
        elif not self._deserted:
            self._outbox.say(notices.NOBODY, level="warning")
        self._deserted = True

    def _say_what_runs(self) -> None:
        living = self.fleet.living()
        running = [(e.node, self.ledger.entries[task_id].task) for e in living for task_id in e.held]
        if running:
            self._outbox.say(notices.what_runs(running))

    def _work_left(self) -> bool:
        if self.ledger.unfinished or not self._intake.all_at_hand:
            return True
        # a list of nothing but PERENGINE commands is meant to run them on each engine
        only_setup = not self._intake.any_item and self._setup.has_starts
        return only_setup and any(e.demand == 0 for e in self.fleet.living())

    def _end(self, ending: Ending, mode: StopMode) -> None:
        """Ends the run, or ends it harder. The first cause stays, but a signal from outside overrides it."""
        if self.ending is None or self.ending is Ending.COMPLETE or ending.exit_code > 128:
            self.ending = ending
        self._intake.stop(ending, mode)
        if stronger(self._stop, mode) != self._stop:
            self._stop = mode
            self._dispatcher.owe(*self.fleet.living())


_HANDLERS: dict[type, Callable[..., None]] = {
    ServerLost: DriverCore._server_lost,
    Broken: DriverCore._broken,
    DiskGivenUp: DriverCore._disk_given_up,
    RowsLost: DriverCore._rows_lost,
    SignalCame: DriverCore._signal,
    DrainCame: DriverCore._drain,
}

_OF_THE_LIST: dict[type, Callable[..., None]] = {
    ItemsCame: Intake.items,
    ListEnded: Intake.ended,
    ListFailed: Intake.failed,
    Written: Intake.written,
}

"""EngineCore: slots, the tasks held ahead, per-engine commands, reports kept until acknowledged, orderly leaving.

Pure: `handle(now, event)` returns effects; `now` is seconds of a clock that nobody sets. The shell is
`runtime.engine`, the hands are `runtime.processes`.
"""

from collections import deque
from collections.abc import Callable

from disbatch.core.ahead import Ahead
from disbatch.core.engine_events import (
    NO_SLOT,
    Deadline,
    DieCame,
    DownCame,
    DriverStands,
    Effect,
    Ended,
    Event,
    Job,
    Kill,
    KillAll,
    Leave,
    SetTimer,
    SignIn,
    Spawn,
    Tell,
    TermCame,
    Tick,
    TimerRang,
)
from disbatch.core.errors import IllegalMoveError
from disbatch.core.lease import GUARD_AFTER_S, TELL_GUARD_S, Lease
from disbatch.core.messages import Held, Hello, Report, Setup, StopMode, Up
from disbatch.core.model import Outcome
from disbatch.core.phases import ALLOWED_MOVES, EngineConfig, Phase

TERM_CODES = (-15, 143)  # of a bash that TERM has ended, or whose command it has
TERM_DOUBT_S = 0.1  # schedulers signal everything of a job within 20 ms; so long such an end is not reported


class EngineCore:
    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.ep = 0  # number of the newest connection
        self._generation = 0
        self._lease = Lease(config.lease_s)
        self._guard_at = 0.0  # the deadline that the guard knows
        self._termed = False
        self._tasks_ended = 0  # in all sessions
        self._effects: list[Effect] = []
        self._begin()

    def _begin(self) -> None:
        """A new session: nothing is held, nothing was reported, per-engine commands are to be run."""
        config = self.config
        self.sid = f"{config.sid}.{self._generation}" if self._generation else config.sid
        self.phase = Phase.JOINING
        self._seq = 0  # of the newest message from the driver
        self._free = list(range(config.slots - 1, -1, -1))
        self._queue: deque[Job] = deque()
        self._running: dict[int, Job] = {}  # by slot
        self._held: set[Held] = (
            set()
        )  # tasks in the queue or running: a repeated message starts nothing twice
        self._reports: deque[Report] = deque()  # not acknowledged, oldest first
        self._n = 0  # number of the newest report
        self._sent = 0  # number of the newest report that was sent on this connection
        self._acked = 0
        self._setup: Setup | None = None
        self._todo: deque[Job] = deque()  # per-engine commands of the current phase
        self._stop: StopMode = ""
        self._started = False  # a START command, or a task, was begun: then STOP commands are run
        self._why = "it was told to"
        self._unasked = False
        self._guilty: tuple[Held, ...] = ()
        self._ahead = Ahead(config.slots)
        self._returned: list[Held] = []
        self._answers = 0  # seq of the newest recall that was dealt with
        self._answers_sent = 0
        self._demand_sent = -1
        self._killing = False
        self._doubtful: list[
            tuple[Job, Outcome, int]
        ] = []  # died of a TERM that may have been meant for all of us

    # -- what the shell asks

    def hello(self, now: float) -> Hello:
        """The first message on a new connection; everything not acknowledged goes into it, and all that is held."""
        self.ep += 1
        self._seq = 0
        self._sent = self._n
        self._returned = []  # what is not among the held says as much
        self._demand_sent = self.demand
        c = self.config
        ids = (self.sid, self.ep, c.rank, c.node, c.slots, now)
        held, reports = tuple(sorted(self._held)), tuple(self._reports)
        return Hello(*ids, held, reports, self.demand, means=c.means, ended=self._tasks_ended)

    @property
    def demand(self) -> int:
        """How many unfinished tasks this engine wants to hold: its slots, and a little ahead when tasks are short."""
        return self._ahead.demand if self.phase is Phase.WORKING else 0

    def lease_over(self, now: float) -> bool:
        """Whether the next event is the end of the lease."""
        return self._lease.over(now)

    def task_in(self, slot: int | None) -> int | None:
        """The task that runs in this slot."""
        job = self._running.get(slot) if slot is not None else None
        return job.task_id if job is not None and job.kind == "T" else None

    def handle(self, now: float, event: Event) -> list[Effect]:
        """Takes in one event; returns what is to be done, in order."""
        # before anything else: a process that was stopped may learn of it by any event
        if self._lease.over(now) and not isinstance(event, DriverStands):
            self._lose("no answer of the driver came within the lease")
        _HANDLERS[type(event)](self, now, event)
        effects, self._effects = self._effects, []
        return effects

    # -- events

    def _down(self, now: float, event: DownCame) -> None:
        message = event.message
        if message.sid != self.sid or message.ep != self.ep or message.seq <= self._seq:
            return
        self._seq = message.seq
        if not self._lease.renew(now, message.echo):
            # what it brings may have been given to others by now, and what we hold as well
            self._lose("the driver's answer came after the end of the lease")
            return
        self._set_deadline(now)
        self._ahead.every_s = message.every_s
        while self._reports and self._reports[0].n <= message.ack:
            self._reports.popleft()
        self._acked = max(self._acked, message.ack)
        if message.setup is not None and self.phase is Phase.JOINING:
            self._set_up(message.setup)
        new = [handed for handed in message.tasks if handed[:2] not in self._held]
        if new:
            self._held.update([handed[:2] for handed in new])
            self._queue.extend([Job("T", *handed) for handed in new])
            self._ahead.came(now, len(new))
        if message.recall:
            self._recall(now, set(message.recall))
            self._answers = message.seq
        if message.stop:
            self._order_to_stop(message.stop)
        self._go_on(now)

    def _die(self, now: float, event: DieCame) -> None:
        if event.message.sid == self.sid:
            self._lose("the driver holds this engine as lost")

    def _lose(self, why: str) -> None:
        """What we hold is no longer ours: others may be given it. Everything is killed, and a new session begins."""
        self._generation += 1
        self._lease.end()
        self._guard_at = 0.0
        self._begin()
        self._effects += [KillAll(why), Deadline(None), Leave() if self._termed else SignIn()]

    def _set_deadline(self, now: float) -> None:
        deadline = self._lease.deadline
        assert deadline is not None
        if deadline - self._guard_at >= TELL_GUARD_S:
            self._guard_at = deadline
            self._effects += [
                Deadline(deadline + GUARD_AFTER_S),
                SetTimer("lease", self._lease.left_s(now)),
            ]

    def _set_up(self, setup: Setup) -> None:
        self._setup = setup
        self._todo.extend(Job("A", c.task_id, 1, c.line_no, -1, c.command) for c in setup.starts)
        self._move(Phase.SETTING_UP if self._todo else Phase.WORKING)

    def _recall(self, now: float, wanted: set[Held]) -> None:
        kept: deque[Job] = deque()
        for job in self._queue:
            if (job.task_id, job.attempt) in wanted:
                self._return(job)
            else:
                kept.append(job)
        self._queue = kept
        self._ahead.gave_back()
        self._ahead.came(now, len(kept))

    def _order_to_stop(self, mode: StopMode) -> None:
        self._stop = mode
        if self.phase in (Phase.JOINING, Phase.SETTING_UP, Phase.WORKING):
            self._move(Phase.ENDING)
        if mode in ("kill", "abort"):
            self._resolve_doubt(meant_for_all=True)
        if mode in ("kill", "abort") and self._running and self.phase is not Phase.LEAVING:
            # STOP commands are given the grace time to end by themselves, tasks get TERM at once
            if self.phase is Phase.ENDING:
                self._killing = True
                self._effects.append(Kill(mode == "abort"))
            if mode == "abort":
                self._effects.append(Kill(True))
            self._effects.append(SetTimer("kill", self.config.grace_s))

    def _ended(self, now: float, event: Ended) -> None:
        tasks, quickest_s = 0, float("inf")
        for slot, outcome in event.ends:
            job = self._running.pop(slot, None)
            if job is None:
                continue  # of a session that is over
            if slot != NO_SLOT:
                self._free.append(slot)
            if self._killing:  # we stopped it: it has no outcome, a task is still to do
                if job.kind == "T":
                    self._return(job)
                continue
            if job.kind == "T" and outcome.returncode in TERM_CODES:
                self._doubtful.append((job, outcome, slot))
                self._effects.append(SetTimer("term", TERM_DOUBT_S))
                continue
            if job.kind == "T":
                self._held.discard((job.task_id, job.attempt))
                tasks += 1
                quickest_s = min(quickest_s, outcome.elapsed_s)
            self._report(job, outcome, slot)
            if job.kind == "A" and outcome.returncode:
                self._why = "a PERENGINE START command failed"
                if self.phase is Phase.SETTING_UP:
                    self._move(Phase.ENDING)
        if tasks:
            self._ahead.ended(now, tasks, quickest_s)
        self._go_on(now)

    def _give_back_queue(self) -> None:
        while self._queue:
            self._return(self._queue.popleft())
        self._ahead.gave_back()

    def _return(self, job: Job) -> None:
        self._held.discard((job.task_id, job.attempt))
        self._returned.append((job.task_id, job.attempt))

    def _report(self, job: Job, outcome: Outcome, slot: int) -> None:
        self._n += 1
        self._tasks_ended += job.kind == "T"
        self._reports.append(Report(self._n, job.kind, job.task_id, job.attempt, outcome, slot))

    def _timer(self, now: float, event: TimerRang) -> None:
        if event.name == "report":
            self._tell(now)
        elif event.name == "ahead":
            if self.phase is Phase.WORKING and self._queue and self._ahead.too_long(now):
                self._give_back_queue()
            self._go_on(now)
        elif event.name == "term":
            self._resolve_doubt(meant_for_all=False)
            self._go_on(now)
        elif event.name == "lease":
            if self._lease.deadline is not None:  # it was renewed since
                self._effects.append(SetTimer("lease", self._lease.left_s(now)))
        elif self._running and self._stop:
            self._effects.append(Kill(True))
            self._effects.append(SetTimer("kill", self.config.grace_s))

    def _resolve_doubt(self, *, meant_for_all: bool) -> None:
        """Tasks that a TERM has ended either failed by themselves, or were stopped together with this engine."""
        for job, outcome, slot in self._doubtful:
            if meant_for_all:
                self._return(job)
            else:
                self._held.discard((job.task_id, job.attempt))
                self._report(job, outcome, slot)
        self._doubtful.clear()

    def _term(self, now: float, event: TermCame) -> None:
        self._termed = True
        if self.phase in (Phase.JOINING, Phase.SETTING_UP, Phase.WORKING, Phase.ENDING):
            self._why = event.why
            if not self._stop:
                self._unasked = True
                may = [j for j in self._running.values() if event.tasks is None or j.task_id in event.tasks]
                self._guilty = tuple([(j.task_id, j.attempt) for j in may if j.kind == "T"])
            self._resolve_doubt(meant_for_all=True)
            self._order_to_stop("kill")
            self._go_on(now)

    def _tick(self, now: float, event: Tick) -> None:
        self._tell(now, heartbeat=True)

    def _driver_stands(self, now: float, event: DriverStands) -> None:
        if self._lease.deadline is not None:
            self._lease.extend(now)
            self._set_deadline(now)

    # -- what follows

    def _go_on(self, now: float) -> None:
        """Fills slots, moves through the phases, and tells the driver what it has to know."""
        if self.phase in (Phase.SETTING_UP, Phase.CLEANING):
            self._next_command()
        if self.phase is Phase.WORKING:
            starts = min(len(self._free), len(self._queue))
            for _ in range(starts):
                self._start(self._free.pop(), self._queue.popleft())
            if starts:
                self._ahead.started(now, starts)
            if self._queue:
                self._effects.append(SetTimer("ahead", self._ahead.patience_s))
        if self.phase is Phase.ENDING:
            self._give_back_queue()
            if not self._running and not self._doubtful:
                self._clean_up()
        if self.phase is Phase.LEAVING and not self._reports:
            self._move(Phase.GONE)
            self._effects += [Tell(self._up(now, (), self._why)), Leave()]
            return
        self._tell_if_due(now)

    def _next_command(self) -> None:
        if self._running:
            return
        if self._todo and self._stop != "abort":
            self._start(NO_SLOT, self._todo.popleft())
        elif self.phase is Phase.SETTING_UP:
            self._move(Phase.WORKING)
        else:
            self._move(Phase.LEAVING)

    def _clean_up(self) -> None:
        """All tasks have ended: the STOP commands, or the way out when nothing was begun here."""
        self._killing = False
        self._todo.clear()
        if self._setup is not None and self._started and self._setup.stops and self._stop != "abort":
            self._todo.extend(Job("Z", c.task_id, 1, c.line_no, -1, c.command) for c in self._setup.stops)
            self._move(Phase.CLEANING)
            if self._stop == "kill":
                self._effects.append(SetTimer("kill", self.config.grace_s))
            self._next_command()
        else:
            self._move(Phase.LEAVING)

    def _start(self, slot: int, job: Job) -> None:
        self._started = True
        self._running[slot] = job
        self._effects.append(Spawn(slot, job))

    def _tell_if_due(self, now: float) -> None:
        """One report message is in flight; the next goes on its acknowledgement, so batches grow with load."""
        if self._returned or self._answers != self._answers_sent:
            self._tell(now)
            return
        if self._sent > self._acked:
            return
        if self._n > self._sent:
            # with enough held ahead the slots stay busy while reports gather
            if self._ahead.enough(len(self._queue)):
                self._effects.append(SetTimer("report", self._ahead.every_s))
            else:
                self._tell(now)
        elif self.demand != self._demand_sent:
            self._tell(now)

    def _tell(self, now: float, *, heartbeat: bool = False) -> None:
        new: tuple[Report, ...] = ()
        if self._sent <= self._acked:
            new = tuple([r for r in self._reports if r.n > self._sent])
        unanswered = self._answers != self._answers_sent
        if new or heartbeat or self._returned or unanswered or self.demand != self._demand_sent:
            self._effects.append(Tell(self._up(now, new)))

    def _up(self, now: float, reports: tuple[Report, ...], bye: str = "") -> Up:
        if reports:
            self._sent = reports[-1].n
        self._demand_sent = self.demand
        returned, self._returned = tuple(self._returned), []
        self._answers_sent = self._answers
        up = Up(self.sid, self.ep, self._n, now, reports, self._demand_sent, returned, bye, self._answers)
        return up._replace(unasked=True, guilty=self._guilty) if self._unasked else up

    def _move(self, phase: Phase) -> None:
        if phase not in ALLOWED_MOVES[self.phase]:
            raise IllegalMoveError(f"engine: {self.phase.name} -> {phase.name}")
        self.phase = phase


_HANDLERS: dict[type, Callable[..., None]] = {
    DownCame: EngineCore._down,
    DieCame: EngineCore._die,
    Ended: EngineCore._ended,
    TimerRang: EngineCore._timer,
    TermCame: EngineCore._term,
    Tick: EngineCore._tick,
    DriverStands: EngineCore._driver_stands,
}

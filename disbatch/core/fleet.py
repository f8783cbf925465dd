"""The engines of a run: who has signed in, what each holds, and which of them wants more."""

from collections.abc import Iterator
from enum import Enum
from itertools import islice
from typing import Literal

from disbatch.core.context import Context
from disbatch.core.errors import IllegalMoveError
from disbatch.core.messages import NO_MEANS, REPORT_S, Held, Hello, StopMode, Vitals
from disbatch.core.tally import Tally


class EngineState(Enum):
    STARTING = "launched, not signed in"
    RUNNING = "takes tasks"
    STOPPING = "told to stop"
    STOPPED = "gone in order"
    LOST = "gone without a word"

    __hash__ = object.__hash__  # as in `ledger.TaskState`


ALLOWED_MOVES = {
    EngineState.STARTING: {EngineState.RUNNING, EngineState.STOPPING, EngineState.LOST},
    EngineState.RUNNING: {EngineState.STOPPING, EngineState.STOPPED, EngineState.LOST},
    EngineState.STOPPING: {EngineState.STOPPED, EngineState.LOST},
    EngineState.STOPPED: set(),
    EngineState.LOST: set(),
}
GONE = (EngineState.STOPPED, EngineState.LOST)


# What a message costs a driver is many times what a task in it does (docs/scale.md): a thousand engines that report each
# task by itself are more than one can take, and nobody looks at results more often than this.
REPORTS_PER_S = 1000.0
# Where engines report more seldom than they could, they have work at hand for 0.05 s and more. A message that wakes the
# driver costs it more than one of several that it reads together; nobody waits for so little.
GATHER_S = 0.01
Aside = Literal[
    "", "trial", "bad"
]  # gets no more tasks: until it is known, or as it is known, what its node does to them


class Engine:
    """What the driver knows of one engine."""

    __slots__ = (
        "_changes",
        "ack_due",
        "acked",
        "aside",
        "beside",
        "context",
        "demand",
        "echo",
        "echo_at",
        "echo_due",
        "echo_sent",
        "ep",
        "excused",
        "exited",
        "failed",
        "finished",
        "guilty",
        "heard_s",
        "held",
        "hope_until",
        "kept",
        "launched_at",
        "means",
        "node",
        "ours",
        "promise",
        "rank",
        "recall_seq",
        "recalled",
        "reserved",
        "retires",
        "seen",
        "seq",
        "set_up",
        "sid",
        "slots",
        "state",
        "stop",
        "stop_sent",
        "sweeping",
        "swept_at",
        "terminated",
        "unasked",
        "unclean",
        "unwritten",
        "vitals",
    )

    def __init__(
        self,
        rank: int,
        node: str,
        slots: int,
        context: Context,
        retires: bool = False,
        changes: "dict[Engine, None] | None" = None,
    ) -> None:
        self._changes = {} if changes is None else changes
        self.rank = rank
        self.node = node
        self.slots = slots
        self.context = context
        self.retires = retires  # its node can be given back when it ends before the run does
        self.state = EngineState.STARTING
        self.sid = ""
        self.ep = 0
        self.demand = 0  # how many unfinished tasks it wants to hold
        self.held: dict[int, int] = {}  # task id -> attempt, handed out and not reported
        self.unwritten = 0  # tasks that it has reported and that are not on disk
        self.seen = 0  # highest report number that came
        self.acked = 0  # highest report number that is on disk
        self.ack_due = False
        self.recalled: dict[int, int] = {}  # of `held`: asked back, not answered
        self.kept: set[int] = (
            set()
        )  # of `held`: asked back, and not given, as they had been started: not asked again
        self.recall_seq = 0  # seq of the message that asked
        self.seq = 0
        self.echo = 0.0  # its own time, as it last told it
        self.echo_due = False  # it is to be told something, if only its own time
        self.echo_sent = -1.0  # the newest of its times that was given back
        self.echo_at = 0.0  # when that was, by our clock, as are the following
        self.promise = 0.0  # until then its tasks are its own, whatever is heard or not
        self.hope_until = 0.0  # once lost: until then its process may come back with a new session
        self.launched_at = 0.0
        self.sweeping = False  # once lost: its node is being asked to kill what is left
        self.unclean = False  # that was not possible, and it was said
        self.swept_at = 0.0  # when that was ordered last
        self.exited = False  # its launcher is gone
        self.terminated = False  # SIGTERM has ended it, and not the driver
        self.excused = False  # a task has ended it: that is no failure of its node
        self.ours = False  # started by this process, which can start another one in its place
        self.beside = (
            False  # on the driver's machine: it waits for a driver that is stopped, whatever its lease
        )
        self.set_up = False  # has the per-engine commands
        self.unasked = False  # it is about to leave although nobody here has told it to
        self.guilty: frozenset[Held] = frozenset()  # of `held`: what may have ended it by a signal
        self.aside: Aside = ""
        self.reserved = False  # for tasks that run alone: it gets no others
        self.stop: StopMode = ""  # what this engine alone is to do, whatever the others do
        self.stop_sent: StopMode = ""
        self.heard_s: float | None = None  # when its last message came
        self.means = NO_MEANS
        self.vitals: Vitals | None = None  # of its node, as it last said
        self.finished = 0  # tasks that ended here, the failed ones included
        self.failed = 0

    @property
    def label(self) -> str:
        """Of its context."""
        return self.context.label

    @property
    def room(self) -> int:
        """How many more tasks it may have now. Nothing before all that it has reported is on disk: so new tasks ride on the
        message that acknowledges (half the messages), and a disk that hangs bounds what is not written."""
        return min(self.own_room, self.context.left)

    @property
    def own_room(self) -> int:
        """The same without the limit of its context."""
        if self.state is not EngineState.RUNNING or self.stop or self.aside or self.reserved:
            return 0
        return 0 if self.unwritten else self.demand - len(self.held)

    @property
    def useful(self) -> bool:
        """Whether it may run tasks, now or some day."""
        return self.state not in GONE and self.aside != "bad"

    @property
    def busy(self) -> int:
        """Slots that work, as far as the driver can know: engines start what they hold at once."""
        return min(self.slots, len(self.held))

    @property
    def takes(self) -> bool:
        """Whether it is running."""
        return self.state is EngineState.RUNNING

    def ahead(self) -> list[tuple[int, int]]:
        """What it holds and has not started, as far as is known: it starts things in the order in which it got them, so
        behind its slots, and behind what it has kept when it was asked."""
        held = [each for each in self.held.items() if each[0] not in self.recalled]
        started = max((place + 1 for place, each in enumerate(held) if each[0] in self.kept), default=0)
        return held[max(self.slots, started) :]

    def move(self, state: EngineState) -> None:
        """The one place where an engine changes its state. Raises IllegalMoveError on any move not allowed."""
        if state not in ALLOWED_MOVES[self.state]:
            raise IllegalMoveError(f"engine {self.rank} on {self.node}: {self.state.name} -> {state.name}")
        self.state = state
        self.changed()

    def changed(self) -> None:
        """To be called by whoever has changed what it holds, wants, or is to do: the fleet's sums follow from that."""
        self._changes[self] = None


class Fleet:
    """All engines by rank and by session, and an order in which the hungry ones are served. Ranks below `first_rank`
    were given by a driver before this one."""

    def __init__(self, first_rank: int = 0) -> None:
        self.first_rank = first_rank
        self.retires = False  # some node can be given back
        self.expected = 0  # engines that will be started in place of lost ones
        self.engines: dict[int, Engine] = {}
        self.by_sid: dict[str, Engine] = {}
        self.contexts: dict[str, Context] = {}  # by label; of several with one label, the newest
        self._tally = Tally()

    def _look(self) -> Tally:
        self._tally.look(self.engines)
        return self._tally

    def check_invariants(self) -> None:
        """For tests."""
        self._tally.check(self.engines)

    def launched(
        self,
        rank: int,
        node: str,
        slots: int,
        label: str,
        retires: bool = False,
        context: Context | None = None,
    ) -> None:
        """An engine is expected: of `context`, or else of the newest one with this label."""
        self.retires = self.retires or retires
        context = context or self.contexts.setdefault(label, Context(label))
        self.engines[rank] = Engine(rank, node, slots, context, retires, self._tally.changes)
        self.engines[rank].changed()

    @property
    def next_rank(self) -> int:
        return max(self.first_rank, max(self.engines, default=-1) + 1)

    def engines_of(self, context: Context) -> list[Engine]:
        return [e for e in self.engines.values() if e.context is context]

    def sign_in(self, hello: Hello) -> Engine | None:
        """The engine that says hello, its session noted; None when it is unknown, gone, or an older connection."""
        engine = self.engines.get(hello.rank)
        if engine is None or engine.state in GONE or engine.exited:
            return None
        if engine.sid not in ("", hello.sid) or hello.ep <= engine.ep:
            return None
        engine.sid, engine.ep, engine.slots = hello.sid, hello.ep, hello.slots
        engine.means = hello.means
        # what was said on the connection before may have been lost with it
        engine.set_up, engine.stop_sent = False, ""
        engine.recalled.clear()
        engine.kept.clear()
        self.by_sid[hello.sid] = engine
        if engine.state is EngineState.STARTING:
            engine.move(EngineState.RUNNING)
        engine.changed()
        return engine

    def gives_back(self, engine: Engine, retires: bool) -> None:
        """Whether the node of this engine can be given back is known now."""
        engine.retires = retires
        self.retires = self.retires or retires
        engine.changed()

    def renew(self, old: Engine) -> Engine:
        """For the next session of an engine whose last one is lost: the same process, with nothing that it holds."""
        fresh = Engine(old.rank, old.node, old.slots, old.context, old.retires, self._tally.changes)
        fresh.launched_at, fresh.ep, fresh.ours, fresh.stop = old.launched_at, old.ep, old.ours, old.stop
        fresh.beside = old.beside
        fresh.aside = "bad" if old.aside == "bad" else ""
        # people count machines, not sessions
        fresh.finished, fresh.failed, fresh.vitals = old.finished, old.failed, old.vitals
        self.engines[old.rank] = fresh
        fresh.changed()
        return fresh

    def living(self) -> list[Engine]:
        return [e for e in self.engines.values() if e.state not in GONE]

    @property
    def deserted(self) -> bool:
        """Whether all engines are gone, or set aside for good, or there never was one."""
        return not self._look().alive

    @property
    def room(self) -> int:
        """How many more tasks all engines together may have now; limits of contexts are not in it."""
        return self._look().room

    def _hungry(self) -> list[Engine]:
        found = [self.engines[rank] for rank in sorted(self._look().rooms)]
        return [e for e in found if e.room > 0]

    def _some_hungry(self, ready: int, at_once: bool) -> list[Engine]:
        """As many as so few tasks can go to, those with free slots first. Who was served stands at the end next time."""
        tally = self._look()
        engines = self.engines
        free = islice((rank for rank in tally.free if engines[rank].room > 0), ready)
        found = dict.fromkeys(free)
        for rank in () if at_once else tally.rooms:
            if len(found) >= ready:
                break
            if engines[rank].room > 0:
                found[rank] = None
        return [engines[rank] for rank in found]

    @property
    def every_s(self) -> float:
        """How often an engine is to report, as long as its slots have work at hand."""
        return max(REPORT_S, round(len(self._tally.alive) / REPORTS_PER_S, 3))

    @property
    def gather_s(self) -> float:
        """How long the driver may let messages of such engines come together, so that it reads several at once."""
        return GATHER_S if self.every_s > REPORT_S else 0.0

    @property
    def busy(self) -> int:
        return sum(e.busy for e in self.engines.values())

    @property
    def slots(self) -> int:
        return sum(e.slots for e in self.engines.values() if e.state not in GONE)

    def recalls(self) -> list[tuple[Engine, list[tuple[int, int]]]]:
        """What to ask back, for a moment when nothing is READY: as much as free slots elsewhere can use of what others
        hold beyond their own slots, in the order of the list. What has been started meanwhile just stays."""
        tally = self._look()
        free = tally.free_slots - sum(tally.recalled.values())
        if free <= 0 or not tally.overfull:
            return []
        limited = sum(slots for rank, slots in tally.free.items() if self.engines[rank].room <= 0)
        free -= limited  # of contexts that may not have more
        asked = []
        for e in tally.askable(self.engines):
            if free <= 0:
                break
            wanted = e.ahead()[:free]
            e.recalled.update(wanted)
            e.changed()
            free -= len(wanted)
            asked.append((e, wanted))
        return asked

    def overtakers(self, task_id: int) -> list[tuple[Engine, list[tuple[int, int]]]]:
        """What to ask back when this task has come back unstarted: all that others hold ahead and that is younger, so that
        it does not start before."""
        asked = []
        for e in map(self.engines.__getitem__, sorted(self._look().overfull)):
            ahead = len(e.held) - len(e.recalled) - e.slots
            if ahead <= 0:
                continue
            newest = [held for held in reversed(e.held.items()) if held[0] not in e.recalled][:ahead]
            wanted = [held for held in newest if held[0] > task_id]
            if wanted:
                e.recalled.update(wanted)
                e.changed()
                asked.append((e, wanted))
        return asked

    def servings(self, ready: int, *, at_once: bool = False) -> Iterator[tuple[Engine, int]]:
        """Who gets how many of `ready` tasks: free slots everywhere first, one by one, then what is held ahead. `at_once`:
        only those with free slots."""
        some = at_once or ready < len(self._look().rooms)
        hungry = self._some_hungry(ready, at_once) if some else self._hungry()
        if len(hungry) == 1:  # the usual case, and the hot one
            yield hungry[0], min(ready, hungry[0].room)
            return
        shares = dict.fromkeys((e.rank for e in hungry), 0)
        for limit_by_slots in (True, False):
            open_to = hungry
            while ready > 0 and open_to:
                share = max(1, ready // len(open_to))
                still_open = []
                for e in open_to:
                    most = min(e.slots, e.demand) if limit_by_slots else e.demand
                    room = most - len(e.held) - shares[e.rank]
                    taken = max(0, min(share, room, ready))
                    shares[e.rank] += taken
                    ready -= taken
                    if room > taken:
                        still_open.append(e)
                open_to = still_open
        for e in hungry:
            if shares[e.rank]:
                yield e, shares[e.rank]

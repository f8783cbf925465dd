"""A whole run on a virtual clock: one DriverCore, several EngineCores, and a network, disk and tasks made of chance.

Everything follows from one seed. Messages are delayed and stay in order per link; writes are delayed; tasks take as
long as they like and end as `codes` says. After each event the books are checked. Faults belong into subclasses: what
they need to bend is a method of its own (`delay`, `duration`, `carry_to_driver`, `carry_to_engine`).
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice

from disbatch.core.codec import decode, encode
from disbatch.core.driver import DriverConfig, DriverCore
from disbatch.core.driver_events import (
    Effect as DriverEffect,
)
from disbatch.core.driver_events import (
    Ending,
    EngineExited,
    EngineLaunched,
    Instant,
    ItemsCame,
    ListEnded,
    MessageCame,
    Over,
    Record,
    Send,
    SignalCame,
    Written,
)
from disbatch.core.driver_events import Event as DriverEvent
from disbatch.core.engine import EngineCore
from disbatch.core.engine_events import (
    NO_SLOT,
    DownCame,
    Ended,
    Job,
    Kill,
    Leave,
    SetTimer,
    Spawn,
    Tell,
    Tick,
    TimerRang,
)
from disbatch.core.engine_events import Event as EngineEvent
from disbatch.core.messages import Down, Hello, Up
from disbatch.core.model import Barrier, Item, Outcome, Task
from disbatch.core.phases import EngineConfig
from disbatch.core.resume import Place
from disbatch.core.status import StatusRecord
from disbatch.core.taskfile import TaskStream

EPOCH_S = 1_700_000_000.0
MAX_EVENTS = 200_000  # a run that needs more has stopped getting anywhere
GRACE_S = 5.0
HEARTBEAT_S = 30.0


class Engine:
    """One engine: its core, its timers, and the processes that it believes to run."""

    def __init__(self, house: "House", rank: int, slots: int) -> None:
        self.house = house
        self.rank = rank
        self.slots = slots
        self.core = EngineCore(EngineConfig(f"sid{rank}", rank, f"node{rank}", slots, GRACE_S))
        self.running: dict[int, tuple[int, Job, float]] = {}  # slot -> process number, job, start
        self.timers: set[str] = set()
        self.gone = False

    def start(self) -> None:
        self.house.carry_to_driver(self, self.core.hello(self.house.now))
        self._beat()

    def happens(self, event: EngineEvent) -> None:
        if self.gone:
            return
        for effect in self.core.handle(self.house.now, event):
            if isinstance(effect, Spawn):
                self._spawn(effect.slot, effect.job)
            elif isinstance(effect, Tell):
                self.house.carry_to_driver(self, effect.message)
            elif isinstance(effect, SetTimer):
                self._set_timer(effect)
            elif isinstance(effect, Kill):
                self._kill(effect.hard)
            elif isinstance(effect, Leave):
                self._leave()

    def _spawn(self, slot: int, job: Job) -> None:
        house = self.house
        assert slot not in self.running, f"slot {slot} of engine {self.rank} is taken"
        assert slot == NO_SLOT or 0 <= slot < self.slots
        assert slot == NO_SLOT or NO_SLOT not in self.running, "a task beside a per-engine command"
        house.check_start(self, job)
        number = house.next_process()
        self.running[slot] = (number, job, house.now)
        house.later(house.duration(job), lambda: self._end(slot, number, house.codes(job)))

    def _end(self, slot: int, number: int, code: int) -> None:
        """The process ends, unless it has been killed before; others may end in the same turn of the loop."""
        found = self.running.get(slot)
        if found is None or found[0] != number or self.gone:
            return
        del self.running[slot]
        self.happens(Ended([(slot, self._outcome(number, found[2], code))]))

    def _outcome(self, number: int, start: float, code: int) -> Outcome:
        now, began = self.house.now, EPOCH_S + start
        return Outcome(number, code, now - start, began, began + now - start, 0, "", 0, "", 0.0, 0)

    def _kill(self, hard: bool) -> None:
        """TERM may be ignored, KILL not. All that a KILL hits is found in one turn."""
        victims = [
            (slot, ran) for slot, ran in self.running.items() if hard or self.house.random.random() < 0.7
        ]

        def die() -> None:
            found = [(slot, self.running.pop(slot)) for slot, ran in victims if self.running.get(slot) == ran]
            code = -9 if hard else -15
            if found:
                self.happens(Ended([(slot, self._outcome(n, start, code)) for slot, (n, _, start) in found]))

        self.house.later(self.house.delay(), die)

    def _set_timer(self, timer: SetTimer) -> None:
        if timer.name in self.timers:
            return
        self.timers.add(timer.name)

        def ring() -> None:
            self.timers.discard(timer.name)
            self.happens(TimerRang(timer.name))

        self.house.later(timer.after_s, ring)

    def _beat(self) -> None:
        if not self.gone:
            self.happens(Tick())
            self.house.later(HEARTBEAT_S, self._beat)

    def _leave(self) -> None:
        assert not self.running, "an engine leaves while tasks run"
        self.gone = True
        self.house.carry_exit(self)


class House:
    """A run of `text`, a task file, on engines with so many slots. `codes` gives exit codes by command."""

    def __init__(
        self,
        seed: int,
        text: bytes,
        slots: list[int],
        *,
        codes: Mapping[bytes, int] | None = None,
        mean_s: float = 1.0,
        fail_fast: bool = False,
        retires: Collection[int] = (),
    ) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.mean_s = mean_s
        self.retires = retires  # ranks of engines whose nodes can be given back early
        self.rows: list[StatusRecord] = []  # handed to the disk, in order
        self.written: set[tuple[str, int]] = set()  # (fourth or first flag kind, id) of the rows on disk
        self.spawned: Counter[tuple[str, int, int]] = Counter()  # (kind, task or command, engine)
        self.ending: Ending | None = None
        self._codes = codes or {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = 0
        self._processes = 0
        self._feeding = False
        self._links: dict[str, float] = {}  # when the last thing on a link arrives
        self.items = read_items(text)
        self._to_read: Iterator[Item] = iter(self.items)
        self.barriers = [item.task_id for item in self.items if isinstance(item, Barrier)]
        self.tasks = {item.task_id for item in self.items if isinstance(item, Task)}
        self.driver = DriverCore(DriverConfig("did", "driver", 1, fail_fast), None)
        self.engines = [Engine(self, rank, count) for rank, count in enumerate(slots)]

    # -- what chance decides

    def delay(self) -> float:
        return self.random.choice((0.0, 0.0001, self.random.expovariate(100.0), self.random.expovariate(5.0)))

    def duration(self, job: Job) -> float:
        return self.random.choice((0.0, 0.5, 1.0, self.random.expovariate(1.0))) * self.mean_s

    def codes(self, job: Job) -> int:
        return self._codes.get(job.command, 0)

    # -- time

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.now + seconds, action)

    def at(self, moment_s: float, action: Callable[[], None]) -> None:
        self._tie += 1
        heapq.heappush(self._heap, (moment_s, self._tie, action))

    def next_process(self) -> int:
        self._processes += 1
        return self._processes

    def carry(self, link: str, action: Callable[[], None]) -> None:
        """Something arrives at the end of a link after all that was sent on it before."""
        at = max(self._links.get(link, 0.0), self.now + self.delay())
        self._links[link] = at
        self.at(at, action)  # not by a difference: rounding would change the order

    def carry_to_driver(self, engine: Engine, message: Hello | Up) -> None:
        data = encode(message)
        self.carry(f"up {engine.rank}", lambda: self._message_came(data))

    def carry_to_engine(self, engine: Engine, message: Down) -> None:
        data = encode(message)
        self.carry(f"down {engine.rank}", lambda: self._down_came(engine, data))

    def carry_exit(self, engine: Engine) -> None:
        self.carry(f"up {engine.rank}", lambda: self.happens(EngineExited(engine.rank, "exit code 0")))

    def _message_came(self, data: bytes) -> None:
        message = decode(data)
        assert isinstance(message, Hello | Up)
        self.happens(MessageCame(message))

    def _down_came(self, engine: Engine, data: bytes) -> None:
        message = decode(data)
        assert isinstance(message, Down)
        engine.happens(DownCame(message))

    # -- the driver

    def happens(self, event: DriverEvent) -> None:
        for effect in self.driver.handle(Instant(self.now, EPOCH_S + self.now), event):
            self._carry_out(effect)
        self.check_books()
        if self.driver.wants and not self._feeding:
            self._feeding = True
            self.later(self.random.choice((0.0, self.delay())), self._feed)

    def _carry_out(self, effect: DriverEffect) -> None:
        if isinstance(effect, Send):
            engine = next(e for e in self.engines if e.core.config.sid == effect.message.sid)
            self.carry_to_engine(engine, effect.message)
        elif isinstance(effect, Record):
            self._record(effect)
        elif isinstance(effect, Over):
            assert self.ending is None, "over twice"
            self.ending = effect.ending

    def _record(self, effect: Record) -> None:
        rows = [row for row in effect.rows if not isinstance(row, Place)]
        self.rows += rows

        def written() -> None:
            self.written.update(row_key(row) for row in rows)
            self.happens(Written(effect.batch))

        self.carry("disk", written)

    def _feed(self) -> None:
        """The shell's part: gives the core what it wants of the list, in pieces, while it wants."""
        self._feeding = False
        wants = self.driver.wants
        if wants:
            items = list(islice(self._to_read, self.random.randint(1, wants)))
            self.happens(ItemsCame(items) if items else ListEnded())

    # -- checks

    def check_books(self) -> None:
        self.driver.ledger.check_invariants()
        self.driver.fleet.check_invariants()
        for engine in self.driver.fleet.engines.values():
            assert engine.acked <= engine.seen
            for task_id in engine.held:
                assert self.driver.ledger.entries[task_id].engine == engine.sid

    def check_start(self, engine: Engine, job: Job) -> None:
        """A task may start when every barrier before it is on disk, and with it all tasks before that."""
        self.spawned[(job.kind, job.task_id, engine.rank)] += 1
        if job.kind != "T":
            return
        for barrier_id in self.barriers:
            if barrier_id < job.task_id:
                assert ("B", barrier_id) in self.written, (
                    f"task {job.task_id} started before barrier {barrier_id}"
                )
        assert ("T", job.task_id) not in self.written, f"task {job.task_id} started after it was recorded"

    def check_rows(self) -> None:
        """No task has two rows, and a barrier stands behind all before it."""
        counts = Counter(row_key(row) for row in self.rows if row_key(row)[0] != "P")
        assert all(count == 1 for count in counts.values()), counts.most_common(3)
        seen: set[int] = set()
        for row in self.rows:
            kind, task_id = row_key(row)
            if kind == "B":
                assert {t for t in self.tasks if t < task_id} <= seen, f"barrier {task_id} met too early"
            elif kind == "T":
                seen.add(task_id)

    @property
    def recorded(self) -> set[int]:
        return {row_key(row)[1] for row in self.rows if row_key(row)[0] == "T"}

    # -- the run

    def signal(self, at_s: float, ending: Ending) -> None:
        """A signal will come, unless the run is over by then."""
        self.later(at_s, lambda: None if self.driver.over else self.happens(SignalCame(ending)))

    def run(self) -> Ending:
        """Runs to the end; raises AssertionError when a rule is broken or nothing moves any more."""
        for engine in self.engines:
            retires = engine.rank in self.retires
            self.happens(EngineLaunched(engine.rank, f"node{engine.rank}", engine.slots, "SIM", retires))
            self.later(self.delay(), engine.start)
        for _ in range(MAX_EVENTS):
            if self.ending is not None and all(engine.gone for engine in self.engines):
                self.check_rows()
                assert {row_key(row) for row in self.rows} == self.written
                return self.ending
            assert self._heap, "nothing will ever happen again, and the run is not over"
            self.now, _, action = heapq.heappop(self._heap)
            action()
        raise AssertionError(f"no end after {MAX_EVENTS} events, at {self.now:.1f} s")


def read_items(text: bytes) -> list[Item]:
    stream = TaskStream("Tasks")
    return [item for line in text.splitlines() for item in stream.feed(line)]


def row_key(row: StatusRecord) -> tuple[str, int]:
    """("T", id) for a task, ("B", id) for a barrier, ("P", id) for a per-engine command."""
    if row.flags[0] in "BC":
        return "B", row.task_id
    return ("P" if row.flags[3] == "P" else "T"), row.task_id

"""Builders that let a test say "two engines, this task assigned": values with defaults, and a driver to talk to."""

from typing import Any

from disbatch.core.driver import DriverConfig, DriverCore
from disbatch.core.driver_events import (
    Effect,
    EngineExited,
    EngineLaunched,
    Event,
    Instant,
    ItemsCame,
    ListEnded,
    MessageCame,
    Note,
    Over,
    Publish,
    Record,
    Say,
    Send,
    Sweep,
    Swept,
    Tick,
    Written,
)
from disbatch.core.intake import Judge
from disbatch.core.losses import LossPolicy
from disbatch.core.messages import NO_MEANS, Down, Hello, Means, Report, Up
from disbatch.core.model import NO_REPEAT, Barrier, Item, Outcome, PerEngine, PerEngineWhen, Task
from disbatch.core.takeover import Inheritance
from disbatch.core.taskfile import TaskStream

EPOCH_S = 1_700_000_000.0


def task(
    task_id: int, command: bytes = b"true", *, line_no: int | None = None, index: int = NO_REPEAT
) -> Task:
    return Task(task_id, task_id + 1 if line_no is None else line_no, index, command)


def barrier(task_id: int, *, check: bool = False, key: bytes | None = None) -> Barrier:
    text = b"#DISBATCH BARRIER" + b" CHECK" * check + (b" " + key if key else b"")
    return Barrier(task_id, task_id + 1, check, key, text)


def per_engine(when: PerEngineWhen, task_id: int, command: bytes = b"setup") -> PerEngine:
    return PerEngine(when, task_id, task_id + 1, command)


def outcome(returncode: int = 0, **changes: Any) -> Outcome:
    plain = Outcome(4711, returncode, 0.5, EPOCH_S, EPOCH_S + 0.5, 0, "", 0, "", 0.01, 1000)
    return plain._replace(**changes)


def items(text: bytes, source: str = "Tasks") -> list[Item]:
    """All items of a task file."""
    stream = TaskStream(source)
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [item for line in lines for item in stream.feed(line)]


class Driver:
    """A DriverCore under test: keeps what it said, writes at once unless told not to, checks itself each time."""

    def __init__(
        self,
        *,
        fail_fast: bool = False,
        judge: Judge | None = None,
        writes: bool = True,
        waits: bool = False,
        losses: LossPolicy | None = None,
        sweeps: bool = True,
        quarantine: int = 0,
        inheritance: Inheritance | None = None,
    ) -> None:
        policy = losses or LossPolicy()
        config = DriverConfig(
            "did",
            "vm",
            99,
            fail_fast,
            waits=waits,
            losses=policy,
            quarantine=quarantine,
            inheritance=inheritance,
        )
        self.core = DriverCore(config, judge)
        self.sweeps = sweeps  # answer each Sweep with Swept, nothing being left
        self.now_s = 0.0
        self.writes = writes  # answer each Record with Written
        self.effects: list[Effect] = []
        self.sent: list[Down] = []
        self.rows: list[Any] = []
        self.unwritten: list[int] = []
        self._reports: dict[int, int] = {}
        self._eps: dict[int, int] = {}

    # -- what happens

    def happens(self, *events: Event) -> list[Effect]:
        """These come together."""
        effects = self.core.handle(Instant(self.now_s, EPOCH_S + self.now_s), *events)
        self.core.ledger.check_invariants()
        self.core.fleet.check_invariants()
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Send):
                self.sent.append(effect.message)
            elif isinstance(effect, Record):
                self.rows += effect.rows
                self.unwritten.append(effect.batch)
        if self.writes:
            self.write()
        for effect in effects:
            if isinstance(effect, Sweep) and self.sweeps:
                self.happens(Swept(effect.sid, True))
        return effects

    def write(self) -> None:
        while self.unwritten:
            self.happens(Written(self.unwritten.pop(0)))

    def engine(
        self,
        rank: int = 0,
        slots: int = 1,
        *,
        demand: int | None = None,
        node: str = "",
        retires: bool = False,
    ) -> str:
        """Launches an engine that signs in with free slots; returns its session."""
        self.happens(EngineLaunched(rank, node or f"node{rank}", slots, "SSH0", retires))
        self.hello(rank, slots, demand=0)
        if demand != 0:
            self.up(rank, demand=slots if demand is None else demand)
        return f"sid{rank}"

    def hello(
        self,
        rank: int = 0,
        slots: int = 1,
        *,
        demand: int,
        held: tuple[tuple[int, int], ...] = (),
        reports: tuple[Report, ...] = (),
        sid: str | None = None,
        ep: int | None = None,
        means: Means = NO_MEANS,
        ended: int = 0,
    ) -> None:
        self._eps[rank] = self._eps.get(rank, 0) + 1 if ep is None else ep
        message = Hello(
            sid or f"sid{rank}",
            self._eps[rank],
            rank,
            f"node{rank}",
            slots,
            self.now_s,
            held,
            reports,
            demand,
            means=means,
            ended=ended,
        )
        self.happens(MessageCame(message))

    def up(
        self,
        rank: int = 0,
        *,
        demand: int,
        reports: tuple[Report, ...] = (),
        returned: tuple[tuple[int, int], ...] = (),
        bye: str = "",
        ep: int | None = None,
        unasked: bool = False,
        guilty: tuple[tuple[int, int], ...] = (),
    ) -> None:
        n_hi = self._reports.get(rank, 0)
        ep = self._eps[rank] if ep is None else ep
        up = Up(f"sid{rank}", ep, n_hi, self.now_s, reports, demand, returned, bye)
        self.happens(MessageCame(up._replace(unasked=unasked, guilty=guilty)))

    def report(
        self,
        rank: int,
        task_id: int,
        code: int = 0,
        *,
        attempt: int = 1,
        kind: Any = "T",
        seconds: float = 0.5,
    ) -> Report:
        """The next report of an engine, not sent yet."""
        self._reports[rank] = self._reports.get(rank, 0) + 1
        return Report(self._reports[rank], kind, task_id, attempt, outcome(code, elapsed_s=seconds))

    def finishes(
        self, task_id: int, code: int = 0, *, rank: int = 0, attempt: int = 1, demand: int = 1
    ) -> None:
        self.up(rank, demand=demand, reports=(self.report(rank, task_id, code, attempt=attempt),))

    def lists(self, *what: Item, end: bool = True) -> None:
        """Items of the task list come, as many at a time as are wanted."""
        left = list(what)
        while left and self.core.wants:
            now, left = left[: self.core.wants], left[self.core.wants :]
            self.happens(ItemsCame(now))
        assert not left, "the core does not want all of these items now"
        if end:
            self.happens(ListEnded())

    def exits(self, rank: int = 0, why: str = "killed by SIGKILL") -> None:
        self.happens(EngineExited(rank, why))

    def ticks(self, seconds: float) -> None:
        """Time passes, with a tick each tenth of a second."""
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            self.happens(Tick())

    # -- what came of it

    def assigned(self, rank: int = 0) -> list[tuple[int, int]]:
        """Every (task, attempt) ever handed to an engine, in order."""
        return [
            handed[:2] for message in self.sent if message.sid == f"sid{rank}" for handed in message.tasks
        ]

    def stops(self, rank: int = 0) -> list[str]:
        return [message.stop for message in self.sent if message.sid == f"sid{rank}" and message.stop]

    def last_ack(self, rank: int = 0) -> int:
        acks = [message.ack for message in self.sent if message.sid == f"sid{rank}"]
        return acks[-1] if acks else 0

    def texts(self, *levels: str) -> str:
        """What the user was told, on these levels or on all."""
        return "\n".join(
            e.text for e in self.effects if isinstance(e, Say) and (not levels or e.level in levels)
        )

    def notes(self) -> str:
        return "\n".join(e.text for e in self.effects if isinstance(e, Note))

    def published(self) -> list[tuple[bytes, str]]:
        return [(e.key, e.text) for e in self.effects if isinstance(e, Publish)]

    @property
    def over(self) -> Over | None:
        ends = [e for e in self.effects if isinstance(e, Over)]
        assert len(ends) <= 1
        return ends[0] if ends else None

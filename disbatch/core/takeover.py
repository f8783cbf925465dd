"""What a driver takes over from the one before it, which died: engines that still run, with what they hold and report.

Part of the driver core; where there was no driver before, nothing here does anything. The list is read anew, from its
beginning, so what engines speak of may not have been read yet: a claim waits until its task is. Until everybody who may
still be alive has spoken, or one lease is over, a task that nobody claims may be running somewhere: it is not handed out.
Source of the rules: docs/design.md, "A driver that takes over".
"""

from dataclasses import dataclass

from disbatch.core.context import Context
from disbatch.core.driver_events import Instant
from disbatch.core.fleet import Engine
from disbatch.core.ledger import Ledger
from disbatch.core.messages import Held, Report
from disbatch.core.model import Task

SWEEP_S = 15.0  # an answer to a sweep that has not come by then never will


@dataclass(frozen=True, slots=True)
class JoinedContext:
    """A context of the driver before; `ranks` are those of its engines, `ran` is how many tasks with a line ran there (known
    where it has a task limit)."""

    cid: str
    label: str
    task_limit: int  # 0: none
    ranks: range
    ran: int = 0


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What the files of the driver before say. All its engines belong to contexts: it had none of its own."""

    first_rank: int = 0  # ranks below it are taken
    contexts: tuple[JoinedContext, ...] = ()  # that may have engines
    barriers: frozenset[int] = frozenset()  # task ids of those that have a line
    commands: frozenset[tuple[str, int]] = frozenset()  # node and PID of PERENGINE commands that have a line


class Takeover:
    """`active` while tasks that nobody claims must not be handed out."""

    def __init__(self, inheritance: Inheritance | None, lease_s: float, ledger: Ledger) -> None:
        self.inheritance = inheritance or Inheritance()
        self.active = inheritance is not None
        self._inherits = inheritance is not None
        self._lease_s = lease_s
        self._ledger = ledger
        self._until: float | None = None
        self._read_to = -1  # the newest task id that was read
        self._setup_read = False
        self._claims: dict[int, tuple[Engine, int]] = {}  # by id of a task that was not read yet
        self._reports: dict[
            str, tuple[Engine, tuple[Report, ...]]
        ] = {}  # by session, with such a task in them
        self._heard: set[int] = set()  # ranks
        # there from the beginning, so that a limit holds whoever comes first, or alone: the context, or its engines
        self.contexts = {
            each.cid: Context(each.label, each.task_limit, each.cid, each.ran)
            for each in self.inheritance.contexts
        }
        self._missing = {*self.contexts}  # that have not come back
        self._unsure = False  # an engine that was not seen to end in order is gone
        self._to_sweep: set[int] = (
            set()
        )  # ranks that have said nothing until the end: what is left there is killed first
        self._asked = False

    # -- what others ask

    @property
    def missing(self) -> frozenset[str]:
        """Ids of contexts of the driver before that have not come back."""
        return frozenset(self._missing)

    @property
    def unread(self) -> bool:
        """Whether the list has to be read on for the sake of what engines have."""
        return bool(self._claims or self._reports)

    def knows(self, rank: int) -> bool:
        """Whether the driver before may have given an engine this rank."""
        return rank < self.inheritance.first_rank

    def home(self, rank: int) -> Context | None:
        """The context that had this rank; None where it had left."""
        found = [each.cid for each in self.inheritance.contexts if rank in each.ranks]
        return self.contexts[found[0]] if found else None

    def first_word(self, rank: int) -> bool:
        """Whether an engine of the driver before is heard for the first time."""
        first = self.knows(rank) and rank not in self._heard
        self._heard.add(rank)
        return first

    def recorded(self, node: str, pid: int) -> bool:
        """Whether this PERENGINE command has its line already."""
        return (node, pid) in self.inheritance.commands

    def early(self, reports: tuple[Report, ...]) -> bool:
        """Whether these reports speak of what was not read yet."""
        return self._inherits and any(
            report.task_id > self._read_to if report.kind == "T" else not self._setup_read
            for report in reports
        )

    # -- engines

    def claim(self, engine: Engine, held: tuple[Held, ...]) -> None:
        """An engine of the driver before says what it holds, or has to report."""
        for task_id, attempt in held:
            rival, theirs = self._claims.get(task_id, (None, 0))
            if rival is not None and rival.held.get(task_id) == theirs >= attempt:
                continue
            engine.held[task_id] = attempt
            engine.context.charged += 1
            if task_id > self._read_to:
                self._claims[task_id] = (engine, attempt)
            elif not self._ledger.claim(task_id, engine.sid, attempt):
                drop(engine, task_id)
        engine.changed()

    def keep(self, engine: Engine, reports: tuple[Report, ...]) -> None:
        """Reports that cannot be taken yet. The engine is not answered, and so sends no others; on each new connection it
        sends these again."""
        _, before = self._reports.get(engine.sid, (engine, ()))
        newest = before[-1].n if before else 0
        self._reports[engine.sid] = (engine, before + tuple([r for r in reports if r.n > newest]))

    def kept(self, engine: Engine) -> set[Held]:
        """The attempts that such reports of it speak of."""
        _, reports = self._reports.get(engine.sid, (engine, ()))
        return {(report.task_id, report.attempt) for report in reports if report.kind == "T"}

    # -- the list

    def setup_read(self) -> None:
        self._setup_read = True

    def read(self, task_id: int) -> None:
        """A task or barrier of the list was read."""
        self._read_to = task_id

    def take(self, task: Task) -> tuple[str, int] | None:
        """Session and attempt of whoever holds this task, which was just read and is not done; None when nobody does."""
        engine, attempt = self._claims.pop(task.task_id, (None, 0))
        if engine is None or engine.held.get(task.task_id) != attempt:
            return None
        return engine.sid, attempt

    def refuse(self, task_id: int) -> None:
        """This task, just read, has its line: whatever an engine holds of it counts for nothing."""
        engine, attempt = self._claims.pop(task_id, (None, 0))
        if engine is not None and engine.held.get(task_id) == attempt:
            drop(engine, task_id)

    def ended(self) -> None:
        """The list has ended: what is still claimed is not in it."""
        self.setup_read()
        self._read_to = 1 << 62
        for task_id in [*self._claims]:
            self.refuse(task_id)

    def due(self) -> list[tuple[Engine, tuple[Report, ...]]]:
        """Reports that can be taken now."""
        if not self._reports:
            return []
        sids = [sid for sid, (_, reports) in self._reports.items() if not self.early(reports)]
        return [self._reports.pop(sid) for sid in sids]

    # -- its end

    def returned(self, cid: str, *, clean: bool) -> None:
        """A context of the driver before is back. `clean`: nothing of its engines that are gone can still run."""
        self._missing.discard(cid)
        self._unsure = self._unsure or not clean

    def look(self, now: Instant, engines: dict[int, Engine]) -> list[Engine]:
        """Ends the time of claims when it is over. Returns engines whose nodes have to be swept before."""
        if self._until is None:
            self._until = now.mono_s + self._lease_s
        # also of a process that is gone: nobody has said what it has left
        silent = [e for rank, e in engines.items() if self.knows(rank) and not e.sid]
        if now.mono_s < self._until:
            self.active = bool(silent or self._missing or self._unsure)
            return []
        # no lease from the driver before can be valid any more; whoever could not end its tasks by itself is helped
        asked = [] if self._asked else silent
        self._asked = True
        self._to_sweep.update(e.rank for e in asked)
        self.active = bool(self._to_sweep) and now.mono_s < self._until + SWEEP_S
        return asked

    def swept(self, rank: int) -> None:
        """The node of this engine was swept, or could not be."""
        self._to_sweep.discard(rank)


def drop(engine: Engine, task_id: int) -> None:
    """What this engine has of a task counts for nothing."""
    del engine.held[task_id]
    engine.context.charged -= 1
    engine.changed()

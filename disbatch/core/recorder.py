"""Rows on their way to the status file, and which reports may be acknowledged once they are there."""

from disbatch.core.driver_events import Record
from disbatch.core.fleet import Engine
from disbatch.core.messages import Report
from disbatch.core.model import PerEngine, Task
from disbatch.core.resume import Place
from disbatch.core.status import StatusRecord, task_record
from disbatch.core.usage import node_line, usage_line

MOST_WAITING = (
    4096  # rows; what is copied from earlier runs comes as fast as the list is read, whatever the disk does
)


class Recorder:
    """Collects rows; `seal` makes a batch of them, `written` says whose reports that batch covered."""

    def __init__(self, *, usage: bool = False, charges: bool = False) -> None:
        self.rows: list[StatusRecord | Place] = []
        self._note_charges = charges
        self._charges: list[str] = []
        self._usage: list[str] | None = [] if usage else None
        self.lost = False  # some records are nowhere: the disk was given up
        self.incomplete = False  # some records were written, and are lost
        self.most = MOST_WAITING
        self.waiting = 0  # rows on their way to the disk
        self.freeing = 0  # of these, such as hold up the next tasks of an engine
        self._batch = 0
        # by batch: whose reports, up to which number, how many rows
        self._waiting: dict[int, tuple[Engine | None, int, int]] = {}

    @property
    def pending(self) -> bool:
        """Whether a batch is still on its way to the disk."""
        return bool(self._waiting)

    @property
    def behind(self) -> bool:
        """Whether so much waits for the disk that the list has to wait as well."""
        return self.waiting >= self.most

    def joined(self, engine: Engine) -> None:
        """An engine has signed in for the first time."""
        if self._usage is not None:
            self._usage.append(node_line(engine))

    def ended(self, task: Task | PerEngine, engine: Engine, report: Report) -> None:
        """A command has ended: its row."""
        self.rows.append(task_record(task, engine.node, report.outcome))
        context = engine.context
        if self._note_charges and context.task_limit and report.kind == "T":
            self._charges.append(f"{task.task_id} {context.cid}\n")
        if self._usage is not None:
            self._usage.append(usage_line(task, engine, report))

    def seal(self, engine: Engine | None, n: int) -> Record:
        """All rows so far as one batch, which covers the reports of `engine` up to `n`."""
        self._batch += 1
        rows, self.rows = self.rows, []
        self._waiting[self._batch] = (engine, n, len(rows))
        self.waiting += len(rows)
        if engine is not None:
            engine.unwritten += len(rows)
            self.freeing += len(rows)
            engine.changed()
        if self.lost:
            self.give_up()
        if not (self._usage or self._charges):
            return Record(self._batch, rows)
        usage, charges = tuple(self._usage or ()), tuple(self._charges)
        self._charges.clear()
        if self._usage:
            self._usage = []
        return Record(self._batch, rows, usage, charges)

    def written(self, batch: int) -> Engine | None:
        """The batch is on disk. Returns the engine that is owed an acknowledgement, if it came from one."""
        engine, n, count = self._waiting.pop(batch, (None, 0, 0))  # unknown after `give_up`
        self.waiting -= count
        if engine is not None:
            engine.unwritten -= count
            self.freeing -= count
            engine.changed()
            engine.acked, engine.ack_due = max(engine.acked, n), True
        return engine

    def nothing_to_write(self, engine: Engine) -> None:
        """Reports came that needed no row: they are acknowledged with the batch in flight that they stand behind."""
        last = max((batch for batch, waits in self._waiting.items() if waits[0] is engine), default=None)
        if last is None:
            engine.acked = engine.seen
        else:
            self._waiting[last] = (engine, engine.seen, self._waiting[last][2])
        engine.ack_due = True

    def give_up(self) -> list[Engine]:
        """What is not on disk will never be, nor what comes: engines keep a report until it is acknowledged, and have
        to be let go. Returns those that are owed it."""
        self.lost = True
        owed = [self.written(batch) for batch in [*self._waiting]]
        return [engine for engine in owed if engine is not None]

"""Rows on their way to the status file, and which reports may be acknowledged once they are there."""

from disbatch.core.driver_events import Record
from disbatch.core.fleet import Engine
from disbatch.core.resume import Place
from disbatch.core.status import StatusRecord


class Recorder:
    """Collects rows; `seal` makes a batch of them, `written` says whose reports that batch covered."""

    def __init__(self) -> None:
        self.rows: list[StatusRecord | Place] = []
        self._batch = 0
        self._waiting: dict[
            int, tuple[Engine | None, int]
        ] = {}  # by batch: whose reports, up to which number

    @property
    def pending(self) -> bool:
        """Whether a batch is still on its way to the disk."""
        return bool(self._waiting)

    def seal(self, engine: Engine | None, n: int) -> Record:
        """All rows so far as one batch, which covers the reports of `engine` up to `n`."""
        self._batch += 1
        self._waiting[self._batch] = (engine, n)
        rows, self.rows = self.rows, []
        return Record(self._batch, rows)

    def written(self, batch: int) -> Engine | None:
        """The batch is on disk. Returns the engine that is owed an acknowledgement, if it came from one."""
        engine, n = self._waiting.pop(batch, (None, 0))  # unknown after `give_up`
        if engine is not None:
            engine.acked, engine.ack_due = max(engine.acked, n), True
        return engine

    def nothing_to_write(self, engine: Engine) -> None:
        """Reports came that needed no row: acknowledge all that no batch in flight stands before."""
        if not any(waiting is engine for waiting, _ in self._waiting.values()):
            engine.acked = engine.seen
        engine.ack_due = True

    def give_up(self) -> None:
        """What is not on disk will never be."""
        self._waiting.clear()
        self.rows.clear()

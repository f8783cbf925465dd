"""Nodes on which tasks fail at once: such an engine is set aside while its tasks show elsewhere who is to blame.

Part of the driver core, and off unless a number is given (`--quarantine K`). A task that fails within FAST_S has no line
yet: its outcome is kept back until its engine shows, by a task that does not fail at once, that such failures are the tasks'
own; or until nothing more ends there. After K of them in a row the engine gets no more tasks, and these are run once more,
by whatever engine has room. What ends there is final, whichever way. If most of the first K went well, the engine stays aside;
if not, it comes back, and needs twice as many failures the next time.
"""

from collections.abc import Callable

from disbatch.core import notices
from disbatch.core.books import Books
from disbatch.core.driver_events import EngineAside, Instant
from disbatch.core.fleet import GONE, Engine, EngineState
from disbatch.core.ledger import Entry
from disbatch.core.messages import Report, StopMode
from disbatch.core.outbox import Outbox
from disbatch.core.plural import counted

FAST_S = 1.0  # "at once"
PATIENCE_S = 5.0  # an engine on which nothing has ended for so long has told what it had to tell
MAX_RAISES = 4  # the number in a row grows to 16 K at most, and with it what is kept back

Final = Callable[[Engine, Entry, Report], None]  # writes the line of a task


class Row:
    """The failures in a row of one engine. `kept` are those that have no line yet."""

    __slots__ = ("count", "engine", "kept", "last_s")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.count = 0
        self.kept: list[tuple[Entry, Report]] = []
        self.last_s = 0.0


class Case:
    """An engine that is set aside, and the tasks that are run once more. Of them `wanted` have to end for a verdict."""

    __slots__ = ("count", "ended", "engine", "good", "reports", "wanted")

    def __init__(self, engine: Engine, wanted: int) -> None:
        self.engine = engine
        self.wanted = wanted
        self.reports: dict[int, Report] = {}  # how they failed here, by task
        self.count = 0  # of failures here
        self.ended = self.good = 0  # elsewhere


class Quarantine:
    def __init__(self, limit: int, books: Books, outbox: Outbox, final: Final) -> None:
        self._limit = limit
        self._books = books
        self._outbox = outbox
        self._final = final
        self._rows: dict[int, Row] = {}  # by rank
        self._cases: dict[int, Case] = {}
        self._raised: dict[int, int] = {}  # how often an engine has come back

    def ended(self, now: Instant, engine: Engine, entry: Entry, report: Report) -> None:
        """A task has ended on this engine, which no longer holds it: its line is written, now or when it is due."""
        if not self._limit:
            self._final(engine, entry, report)
            return
        outcome = report.outcome
        fast = outcome.returncode != 0 and outcome.elapsed_s <= FAST_S
        if entry.retried is not None:
            self._tried(entry, entry.retried, good=outcome.returncode == 0)
        elif fast and not engine.stop:
            self._keep(now, engine, entry, report)
            return
        if not fast:
            self._clear(engine.rank)
            if outcome.returncode == 0:
                self._raised.pop(engine.rank, None)
        self._final(engine, entry, report)

    def settle(self, now: Instant, stop: StopMode, *, tick: bool, nothing_more: bool) -> None:
        """What follows from time and from what happened to engines. `nothing_more`: nothing that is READY is to come."""
        if not (self._rows or self._cases):
            return
        if stop:
            self._forget()
        idle = nothing_more and not self._books.ledger.waiting
        for rank, row in [*self._rows.items()] if tick or idle else ():
            engine = row.engine
            late = now.mono_s - row.last_s >= PATIENCE_S or engine.state in GONE or bool(engine.stop)
            if late or (idle and not engine.held):
                self._write(row)
                if engine.state in GONE:
                    del self._rows[rank]
        for case in [*self._cases.values()]:
            if case.engine.state in GONE:
                del self._cases[case.engine.rank]
            elif not any(task_id in self._books.ledger.entries for task_id in case.reports):
                self._judge(case)
            elif not self._others(case.engine):
                self._acquit(case, notices.NOBODY_ELSE)
        self._seal()

    # -- a row of failures

    def _keep(self, now: Instant, engine: Engine, entry: Entry, report: Report) -> None:
        self._books.ledger.withhold(entry)
        row = self._rows.get(engine.rank)
        if row is not None and row.engine is not engine:
            self._clear(engine.rank)  # of an earlier session
            row = None
        if row is None:
            row = self._rows[engine.rank] = Row(engine)
        row.count += 1
        row.last_s = now.mono_s
        row.kept.append((entry, report))
        case = self._cases.get(engine.rank)
        if engine.aside and self._others(engine):
            self._again(row, case)
        elif not engine.aside and row.count >= self._limit << self._raised.get(engine.rank, 0):
            self._set_aside(row)

    def _clear(self, rank: int) -> None:
        """Something has ended there that did not fail at once: so these failures are the tasks' own."""
        row = self._rows.pop(rank, None)
        if row is not None:
            self._write(row)

    def _write(self, row: Row) -> None:
        kept, row.kept = row.kept, []
        for entry, report in kept:
            self._final(row.engine, entry, report)

    def _seal(self) -> None:
        recorder = self._books.recorder
        if recorder.rows:
            self._outbox.add(recorder.seal(None, 0))

    # -- set aside

    def _set_aside(self, row: Row) -> None:
        engine = row.engine
        if not self._others(engine):
            self._outbox.note(
                f"{counted(row.count, 'task')} in a row failed on {engine.node}, and no other engine can try them"
            )
            self._clear(engine.rank)
            return
        self._outbox.say(notices.set_aside(engine.node, row.count, len(row.kept)), level="warning")
        case = self._cases[engine.rank] = Case(engine, len(row.kept))
        self._books.dispatcher.set_aside(engine)
        self._again(row, case)

    def _again(self, row: Row, case: Case | None) -> None:
        """The failed tasks of the row are READY once more. The failures count for the engine, and for no task."""
        engine = row.engine
        kept, row.kept = row.kept, []
        for entry, report in kept:
            entry.retried = engine.rank
            engine.context.charged -= 1
            self._books.ledger.give_back(entry)
            if case is not None:
                case.count += 1
                case.reports[entry.task.task_id] = report
        if case is None:
            self._charge(engine, len(kept))

    def _others(self, engine: Engine) -> bool:
        """Whether any other engine takes tasks."""
        return any(
            e is not engine and not e.aside and not e.stop and e.demand > 0 and e.context.left > 0
            for e in self._books.fleet.by_sid.values()
            if e.state is EngineState.RUNNING
        )

    # -- the verdict

    def _tried(self, entry: Entry, rank: int, *, good: bool) -> None:
        """`rank` is of the engine on which it had failed."""
        case = self._cases.get(rank)
        if case is None or case.reports.pop(entry.task.task_id, None) is None:
            return
        case.ended += 1
        case.good += good
        if case.ended >= case.wanted:
            self._judge(case)

    def _judge(self, case: Case) -> None:
        engine = case.engine
        if 2 * case.good <= case.ended:
            self._raised[engine.rank] = min(MAX_RAISES, self._raised.get(engine.rank, 0) + 1)
            self._acquit(case, notices.failed_elsewhere(case.ended - case.good, case.ended))
            return
        del self._cases[engine.rank]
        engine.aside = "bad"
        engine.changed()
        self._charge(engine, case.count)
        why = notices.well_elsewhere(case.good, case.ended)
        self._outbox.say(notices.stays_aside(engine.node, why), level="error")
        self._outbox.add(EngineAside(engine.rank, engine.node, engine.label, why))

    @staticmethod
    def _charge(engine: Engine, count: int) -> None:
        engine.finished += count
        engine.failed += count

    def _acquit(self, case: Case, why: str) -> None:
        """The engine works again. What has not been handed out meanwhile has failed, as it did there."""
        engine = case.engine
        del self._cases[engine.rank]
        self._clear(engine.rank)
        engine.aside = ""
        engine.changed()
        self._outbox.say(notices.comes_back(engine.node, why))
        ledger = self._books.ledger
        for task_id, report in case.reports.items():
            entry = ledger.entries.get(task_id)
            # where others have used up the limit of its context (-C) meanwhile, the task runs elsewhere
            if entry is not None and engine.context.left > 0 and ledger.take_back(entry):
                engine.context.charged += 1
                self._final(engine, entry, report)

    def _forget(self) -> None:
        """The run stops: what waits for its second run is left to whoever resumes it; the rest has its line."""
        for row in self._rows.values():
            self._write(row)
        self._rows.clear()
        self._cases.clear()

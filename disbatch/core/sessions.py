"""The driver's side of the sessions with engines: signing in, reports, what is given back, engines that are lost.

Part of the driver core. What these things mean for the run as a whole (its end, barriers) is decided in `core.driver`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from disbatch.core import notices
from disbatch.core.dispatch import Dispatcher
from disbatch.core.driver_events import (
    EngineExited,
    EngineJoined,
    EngineLaunched,
    EngineLeft,
    EngineLost,
    Event,
    Instant,
    MessageCame,
)
from disbatch.core.failures import FailureGroups
from disbatch.core.fleet import GONE, Context, Engine, EngineState, Fleet
from disbatch.core.ledger import Ledger
from disbatch.core.messages import Hello, Report
from disbatch.core.outbox import Outbox
from disbatch.core.recorder import Recorder
from disbatch.core.setup import EngineSetup


class Run(Protocol):
    """What the run as a whole is told of its engines."""

    def task_failed(self) -> None: ...

    def engine_lost(self) -> None:
        """One that had signed in."""

    def limit_reached(self, context: Context) -> None:
        """As many tasks have ended in it as it may run."""


@dataclass(frozen=True, slots=True)
class Books:
    """What sessions and run share; one of each in a driver."""

    ledger: Ledger
    fleet: Fleet
    failures: FailureGroups
    setup: EngineSetup
    recorder: Recorder
    dispatcher: Dispatcher


class Sessions:
    def __init__(self, books: Books, outbox: Outbox, run: Run) -> None:
        self._books = books
        self._outbox = outbox
        self._run = run

    def handle(self, now: Instant, event: Event) -> None:
        _HANDLERS[type(event)](self, now, event)

    def _launched(self, now: Instant, event: EngineLaunched) -> None:
        self._books.fleet.launched(event.rank, event.node, event.slots, event.label, event.retires)

    def _message(self, now: Instant, event: MessageCame) -> None:
        message = event.message
        if isinstance(message, Hello):
            self._hello(now, message)
            return
        engine = self._books.fleet.by_sid.get(message.sid)
        if engine is None or engine.ep != message.ep:
            self._outbox.note(
                f"dropped a message of session {message.sid}, connection {message.ep}: not a current one"
            )
            return
        engine.demand, engine.echo, engine.heard_s = message.demand, message.t, now.mono_s
        if message.vitals is not None:
            engine.vitals = message.vitals
        self._take_reports(engine, message.reports)
        self._give_back(engine, list(message.returned))
        if message.answers >= engine.recall_seq:
            engine.recalled.clear()  # what was not given back had been started
        if message.bye:
            self._bye(engine, message.bye)

    def _hello(self, now: Instant, hello: Hello) -> None:
        again = hello.sid in self._books.fleet.by_sid
        launched = self._books.fleet.engines.get(hello.rank)
        slots = launched.slots if launched else 0
        engine = self._books.fleet.sign_in(hello)
        if engine is None:
            self._outbox.note(
                f"refused engine {hello.rank} on {hello.node}, session {hello.sid}: not expected"
            )
            return
        self._outbox.note(f"engine {engine.rank} on {engine.node} has signed in: {engine.slots} slots")
        self._outbox.add(EngineJoined(engine.rank, engine.node, engine.label, engine.slots))
        engine.demand, engine.echo, engine.heard_s = hello.demand, hello.t, now.mono_s
        engine.vitals = hello.vitals
        if not again:
            self._books.recorder.joined(engine)
            if 0 < hello.means.gpus < slots:
                self._outbox.say(notices.few_gpus(engine.node, hello.means.gpus, slots), level="warning")
        self._take_reports(engine, hello.reports)
        # Resync: what it should hold and does not was lost on the way down
        held = set(hello.held)
        self._give_back(engine, [h for h in engine.held.items() if h not in held])
        self._books.dispatcher.owe(engine)

    def _take_reports(self, engine: Engine, reports: tuple[Report, ...]) -> None:
        before = engine.seen
        for report in reports:
            if report.n > engine.seen:
                engine.seen = report.n
                if report.kind == "T":
                    self._task_report(engine, report)
                else:
                    self._command_report(engine, report)
        if self._books.recorder.rows and engine.seen > before:
            self._outbox.add(self._books.recorder.seal(engine, engine.seen))
            if self._books.recorder.lost:
                self._books.dispatcher.owe(engine)
        elif reports:
            self._books.recorder.nothing_to_write(engine)
            self._books.dispatcher.owe(engine)

    def _task_report(self, engine: Engine, report: Report) -> None:
        entry = self._books.ledger.current((report.task_id, report.attempt), engine.sid)
        if entry is None:
            self._outbox.note(
                f"stale report: task {report.task_id}, attempt {report.attempt}, engine {engine.rank}"
            )
            return
        outcome = report.outcome
        failed = outcome.returncode != 0
        self._books.ledger.finish(entry, failed=failed)
        engine.held.pop(report.task_id, None)
        context = engine.context
        context.finished += 1
        if context.finished == context.task_limit:
            self._run.limit_reached(context)
        engine.recalled.pop(report.task_id, None)
        engine.finished += 1
        self._books.recorder.ended(entry.task, engine, report)
        if failed:
            engine.failed += 1
            self._books.failures.add(report.task_id, outcome.returncode, outcome.err_snippet)
            self._books.failures.remember(entry.task, engine.node, engine.rank, outcome)
            self._run.task_failed()

    def _command_report(self, engine: Engine, report: Report) -> None:
        command = self._books.setup.command(report.kind, report.task_id)
        if command is None:
            self._outbox.note(
                f"engine {engine.rank} reports a PERENGINE command that there is not: {report.kind} {report.task_id}"
            )
            return
        self._books.recorder.ended(command, engine, report)
        if report.outcome.returncode:
            self._outbox.say(notices.command_failed(command, engine.node, report.outcome), level="error")

    def _give_back(self, engine: Engine, held: list[tuple[int, int]]) -> None:
        # the oldest has to stand first again, and each goes to the front
        for task_id, attempt in sorted(held, reverse=True):
            entry = self._books.ledger.current((task_id, attempt), engine.sid)
            if engine.held.pop(task_id, None) is not None:
                engine.context.charged -= 1
            engine.recalled.pop(task_id, None)
            if entry is not None:
                self._books.ledger.give_back(entry)

    def _bye(self, engine: Engine, why: str) -> None:
        self._outbox.note(f"engine {engine.rank} on {engine.node} leaves: {why}")
        self._outbox.add(EngineLeft(engine.rank, engine.node, engine.label, why))
        self._give_back(engine, list(engine.held.items()))
        if engine.state not in GONE:
            engine.move(EngineState.STOPPED)

    def exited(self, now: Instant, event: EngineExited) -> None:
        engine = self._books.fleet.engines[event.rank]
        if engine.state in GONE:
            return
        running = engine.busy if engine.sid else None
        self._give_back(engine, list(engine.held.items()))
        engine.move(EngineState.LOST)
        self._outbox.add(EngineLost(engine.rank, engine.node, engine.label, running, event.why))
        self._outbox.say(notices.engine_lost(engine.node, running, event.why), level="error")
        if running is not None:
            self._run.engine_lost()


_HANDLERS: dict[type, Callable[..., None]] = {
    EngineLaunched: Sessions._launched,
    EngineExited: Sessions.exited,
    MessageCame: Sessions._message,
}

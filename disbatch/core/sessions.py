"""The driver's side of the sessions with engines: signing in, connecting again, reports, what is given back.

Part of the driver core. When a session is lost is decided in `core.losses`; what all this means for the run as a whole
(its end, barriers) in `core.driver`.
"""

from collections.abc import Callable

from disbatch.core import notices
from disbatch.core.books import Books, Run
from disbatch.core.driver_events import (
    Dismiss,
    EngineJoined,
    EngineLaunched,
    EngineLeft,
    EngineLost,
    Event,
    Forget,
    Instant,
    MessageCame,
)
from disbatch.core.fleet import GONE, Engine, EngineState
from disbatch.core.lease import heartbeat_s
from disbatch.core.ledger import Entry
from disbatch.core.losses import Losses, LossPolicy
from disbatch.core.messages import ORPHANED, Held, Hello, Report
from disbatch.core.outbox import Outbox
from disbatch.core.plural import counted
from disbatch.core.quarantine import Quarantine


class Sessions:
    def __init__(
        self, policy: LossPolicy, books: Books, outbox: Outbox, run: Run, quarantine: int = 0
    ) -> None:
        self.losses = Losses(policy, books, outbox, run)
        self.quarantine = Quarantine(quarantine, books, outbox, self._final)
        self._lease_s = policy.lease_s
        self._books = books
        self._outbox = outbox
        self._run = run

    def handle(self, now: Instant, event: Event) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, now, event)
        else:
            self.losses.handle(now, event)

    def _launched(self, now: Instant, event: EngineLaunched) -> None:
        self._books.fleet.launched(event.rank, event.node, event.slots, event.label, event.retires)
        engine = self._books.fleet.engines[event.rank]
        engine.launched_at, engine.ours, engine.beside = now.mono_s, True, event.beside

    def _message(self, now: Instant, event: MessageCame) -> None:
        message = event.message
        if self.losses.is_lost(message.sid):
            self._outbox.note(f"session {message.sid} is held as lost: it is told so")
            self._outbox.add(Dismiss(message.sid, message.ep))
            return
        if isinstance(message, Hello):
            self._hello(now, message)
            return
        engine = self._books.fleet.by_sid.get(message.sid)
        if engine is None or message.t < engine.echo:  # an older one, of this connection or the last
            self._outbox.note(
                f"dropped a message of session {message.sid}, connection {message.ep}: not a current one"
            )
            return
        engine.demand, engine.echo, engine.heard_s = message.demand, message.t, now.mono_s
        engine.changed()
        if message.vitals is not None:
            engine.vitals = message.vitals
        if now.mono_s - engine.echo_at >= heartbeat_s(self._lease_s) / 2:
            engine.echo_due = True
            self._books.dispatcher.owe(engine)
        self._take_reports(now, engine, message.reports)
        engine.unasked, engine.guilty = message.unasked, frozenset(message.guilty)
        self._returned(engine, message.returned)
        if message.answers >= engine.recall_seq:
            engine.changed()
            engine.kept.update(engine.recalled)  # what was not given back had been started
            engine.recalled.clear()
        if message.note:
            self._outbox.say(f"{engine.node}: {message.note}", level="warning")
        if message.bye:
            self._bye(now, engine, message.bye, unasked=message.unasked)

    def _returned(self, engine: Engine, held: tuple[Held, ...]) -> None:
        unasked = [task_id for task_id, _ in held if task_id not in engine.recalled]
        # what may have ended the engine is judged when that has left
        self._books.give_back(engine, [each for each in held if each not in engine.guilty])
        if unasked and not engine.stop_sent:
            self._books.dispatcher.overtaken(min(unasked))

    def _hello(self, now: Instant, hello: Hello) -> None:
        fleet = self._books.fleet
        known = fleet.engines.get(hello.rank)
        another = known is not None and known.sid not in ("", hello.sid)
        # connections are counted through all sessions: an older one says hello late, and begins nothing
        if known is not None and another and hello.ep > known.ep and not known.exited:
            self.losses.returned(now, known)
            if known.state is EngineState.LOST:
                known = fleet.renew(known)
        before = (known.sid, known.ep) if known else ("", 0)
        known = known or self._from_before(hello)
        slots = known.slots if known else 0
        engine = fleet.sign_in(hello)
        if engine is None:
            self._outbox.note(
                f"refused engine {hello.rank} on {hello.node}, session {hello.sid}: not expected"
            )
            return
        if before[0]:
            self._outbox.note(f"engine {engine.rank} on {engine.node} has connected again")
            self._outbox.add(Forget(*before))
        else:
            engine.promise = now.mono_s + self._lease_s  # it holds nothing yet
            self._outbox.note(
                f"engine {engine.rank} on {engine.node} has signed in: {counted(engine.slots, 'slot')}"
            )
            self._outbox.add(EngineJoined(engine.rank, engine.node, engine.label, engine.slots))
        engine.demand, engine.echo, engine.heard_s = hello.demand, hello.t, now.mono_s
        engine.changed()
        engine.vitals, engine.echo_due = hello.vitals, True
        if not before[0]:
            self._books.recorder.joined(engine)
            if 0 < hello.means.gpus < slots:
                self._outbox.say(notices.few_gpus(engine.node, hello.means.gpus, slots), level="warning")
        if not before[0]:
            self._take_over(engine, hello)
            if 0 < engine.context.task_limit <= engine.context.finished:
                # it was lost, or had not come yet, when the others were told
                self._run.limit_reached(engine.context)
        self._take_reports(now, engine, hello.reports)
        # Resync: what it should hold and does not was lost on the way down
        held = set(hello.held) | self._books.takeover.kept(engine)
        self._books.give_back(engine, [h for h in engine.held.items() if h not in held])
        self._books.dispatcher.owe(engine)

    def _from_before(self, hello: Hello) -> Engine | None:
        """An engine of the driver before us; its context may come back later, or never."""
        if not self._books.takeover.knows(hello.rank):
            return None
        home = self._books.takeover.home(hello.rank)
        label = home.label if home else notices.UNKNOWN_CONTEXT
        self._books.fleet.launched(hello.rank, hello.node, hello.slots, label, context=home)
        return self._books.fleet.engines[hello.rank]

    def _take_over(self, engine: Engine, hello: Hello) -> None:
        """What an engine has from the driver before us."""
        reported = tuple([(r.task_id, r.attempt) for r in hello.reports if r.kind == "T"])
        before = hello.ended - len(reported)
        if self._books.takeover.first_word(engine.rank):
            engine.finished += before  # its context's count is of what has a line
            self._books.takeover.claim(engine, (*hello.held, *reported))

    def take_due(self, now: Instant) -> None:
        """Reports that had to wait until the list was read so far."""
        for engine, reports in self._books.takeover.due():
            if self._books.fleet.by_sid.get(engine.sid) is engine:
                self._take_reports(now, engine, reports)

    def _take_reports(self, now: Instant, engine: Engine, reports: tuple[Report, ...]) -> None:
        if self._books.takeover.early(reports):
            self._books.takeover.keep(engine, reports)
            return
        before = engine.seen
        for report in reports:
            if report.n > engine.seen:
                engine.seen = report.n
                if report.kind == "T":
                    self._task_report(now, engine, report)
                else:
                    self._command_report(engine, report)
        engine.changed()
        if self._books.recorder.rows and engine.seen > before:
            self._outbox.add(self._books.recorder.seal(engine, engine.seen))
            if self._books.recorder.lost:
                self._books.dispatcher.owe(engine)
        elif reports:
            self._books.recorder.nothing_to_write(engine)
            self._books.dispatcher.owe(engine)

    def _task_report(self, now: Instant, engine: Engine, report: Report) -> None:
        _, _, task_id, attempt, _, _ = report
        entry = self._books.ledger.current(task_id, attempt, engine.sid)
        if entry is None:
            self._outbox.note(f"stale report: task {task_id}, attempt {attempt}, engine {engine.rank}")
            return
        engine.held.pop(task_id, None)
        if engine.recalled:
            engine.recalled.pop(task_id, None)
        if engine.kept:
            engine.kept.discard(task_id)
        self.quarantine.ended(now, engine, entry, report)

    def _final(self, engine: Engine, entry: Entry, report: Report) -> None:
        """What this report says of its task stands: it is written."""
        outcome = report.outcome
        failed = outcome.returncode != 0
        self._books.ledger.finish(entry, failed=failed)
        context = engine.context
        context.finished += 1
        if 0 < context.task_limit <= context.finished:
            self._run.limit_reached(context)
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
        if not self._books.takeover.recorded(engine.node, report.outcome.pid):
            self._books.recorder.ended(command, engine, report)
        if report.outcome.returncode:
            self._outbox.say(notices.command_failed(command, engine.node, report.outcome), level="error")

    def _bye(self, now: Instant, engine: Engine, why: str, *, unasked: bool) -> None:
        self._outbox.note(f"engine {engine.rank} on {engine.node} leaves: {why}")
        terminated = unasked and why != ORPHANED and self.losses.terminated(now, engine, why)
        judged_later = engine.guilty if terminated else frozenset()
        self._books.give_back(engine, [each for each in engine.held.items() if each not in judged_later])
        if engine.state not in GONE:
            engine.move(EngineState.STOPPED)
        if terminated:
            return
        if why == ORPHANED and self.losses.orphaned(now, engine):
            self._outbox.add(EngineLost(engine.rank, engine.node, engine.label, 0, why))
        else:
            self._outbox.add(EngineLeft(engine.rank, engine.node, engine.label, why))


_HANDLERS: dict[type, Callable[..., None]] = {
    EngineLaunched: Sessions._launched,
    MessageCame: Sessions._message,
}

"""What engines are told: one message to each that gets tasks, an acknowledgement, its setup, or the order to stop."""

from collections.abc import Iterable

from disbatch.core.driver_events import Instant, Send
from disbatch.core.fleet import GONE, Engine, EngineState, Fleet
from disbatch.core.ledger import Ledger
from disbatch.core.messages import Down, Handed, Held, StopMode, stronger
from disbatch.core.model import quick
from disbatch.core.setup import EngineSetup
from disbatch.core.suspects import Suspects

BATCH_BYTES = 4 << 20  # of commands in one message; a batch of long commands must not hold up the mailbox


class Dispatcher:
    def __init__(
        self, did: str, ledger: Ledger, fleet: Fleet, setup: EngineSetup, lease_s: float = 300.0
    ) -> None:
        self._did = did
        self._lease_s = lease_s
        self._ledger = ledger
        self._fleet = fleet
        self._setup = setup
        self._suspects = Suspects(ledger, fleet)
        self._owed: dict[int, Engine] = {}
        self._recalled: dict[int, list[Held]] = {}

    def owe(self, *engines: Engine) -> None:
        """These are to be told something with the next `serve`, whatever room they have."""
        for engine in engines:
            if (
                engine.state not in GONE
            ):  # a lost session must not stand in the way of the next one of that rank
                self._owed[engine.rank] = engine

    def overtaken(self, task_id: int) -> None:
        """This task has come back unstarted, as its engine stands still: younger ones that are held ahead come back too."""
        for engine, wanted in self._fleet.overtakers(task_id):
            self._recalled.setdefault(engine.rank, []).extend(wanted)
            self._owed[engine.rank] = engine

    def set_aside(self, engine: Engine) -> None:
        """It gets no more tasks, and gives back what it has not started."""
        engine.aside = "trial"
        self._recall_ahead(engine)

    def _recall_ahead(self, engine: Engine) -> None:
        """It is to give back what it has not started."""
        wanted = engine.ahead()
        engine.recalled.update(wanted)
        engine.changed()
        if wanted:
            self._recalled.setdefault(engine.rank, []).extend(wanted)
            self._owed[engine.rank] = engine

    def serve(
        self, now: Instant, stop: StopMode, *, nothing_more: bool, hold: bool = False
    ) -> Iterable[Send]:
        """Hands out what is READY, unless the run stops or has to `hold` it back, and says all that is owed.

        With `nothing_more` to come before long (the list has ended, or a barrier is closed), what one engine holds
        ahead is asked back for the free slots of another.
        """
        handed: dict[int, list[Handed]] = {}
        if not (stop or hold or self._setup.ready is None):
            if self._suspects.any:
                self._serve_suspects(now.mono_s, handed)
            # once more while somebody got some: what a context's limit kept one from taking is for the others
            while self._ledger.ready and self._hand_round(now.mono_s, handed):
                pass
        if not (self._ledger.ready or stop or hold) and nothing_more and self._ledger.entries:
            for engine, wanted in self._fleet.recalls():
                self._recalled.setdefault(engine.rank, []).extend(wanted)
                self._owed[engine.rank] = engine
        owed, self._owed = self._owed, {}
        for engine in owed.values():
            if engine.sid and engine.state not in GONE:
                message = self._message(now, engine, tuple(handed.get(engine.rank, ())), stop)
                if message is not None:
                    yield Send(message)

    def _serve_suspects(self, now_s: float, handed: dict[int, list[Handed]]) -> None:
        """First of all: an engine that is empty may not be so again for long."""
        for engine, entry in self._suspects.servings():
            self._ledger.assign(engine.sid, now_s, entry)
            task_id, line_no, repeat_index, command = entry.task
            engine.held[task_id] = entry.attempt
            handed[engine.rank] = [Handed(task_id, entry.attempt, line_no, repeat_index, command)]
            engine.context.charged += 1
            engine.changed()
            self._owed[engine.rank] = engine
        drained = self._suspects.to_drain()
        if drained is not None:
            self._recall_ahead(drained)

    def _hand_round(self, now_s: float, handed: dict[int, list[Handed]]) -> bool:
        """One round over all who have room. Whether tasks were handed out, and there is something for another round."""
        ready = self._ledger.ready
        short = got = False
        # what has come back is not to wait behind others once more
        back = ready.first().attempt > 0
        for engine, count in self._fleet.servings(len(ready), at_once=back):
            allowed = min(count, engine.context.left)
            given = self._hand_out(now_s, engine, allowed)
            handed.setdefault(engine.rank, []).extend(given)
            self._owed[engine.rank] = engine
            short |= allowed < count
            got |= bool(given)
        return got and (short or (back and bool(ready) and not ready.first().attempt))

    def _hand_out(self, now_s: float, engine: Engine, count: int) -> list[Handed]:
        handed: list[Handed] = []
        size = 0
        held, sid, ledger = engine.held, engine.sid, self._ledger
        while len(handed) < count and size < BATCH_BYTES:
            if ledger.ready.first().attempt and len(held) >= engine.slots:
                break
            entry = ledger.assign(sid, now_s)
            task_id, line_no, repeat_index, command = entry.task
            held[task_id] = entry.attempt
            size += len(command)
            handed.append(quick(Handed, (task_id, entry.attempt, line_no, repeat_index, command)))
        engine.context.charged += len(handed)
        engine.changed()
        return handed

    def _message(
        self, now: Instant, engine: Engine, tasks: tuple[Handed, ...], stop: StopMode
    ) -> Down | None:
        setup = None
        if not engine.set_up and self._setup.ready is not None:
            engine.set_up, setup = True, self._setup.ready
        said_now: StopMode = ""
        stop = stronger(stop, engine.stop)
        if engine.stop_sent != stop:
            engine.stop_sent = said_now = stop
            if engine.state is not EngineState.STOPPING:
                engine.move(EngineState.STOPPING)
        recall = tuple(self._recalled.pop(engine.rank, ()))
        if not (tasks or engine.ack_due or engine.echo_due or setup or said_now or recall):
            return None
        engine.seq += 1
        engine.ack_due = engine.echo_due = False
        if engine.echo > engine.echo_sent:
            # at the sending, never at the receipt: what is not sent renews nothing
            engine.echo_sent, engine.echo_at = engine.echo, now.mono_s
            engine.promise = now.mono_s + self._lease_s
        if recall:
            engine.recall_seq = engine.seq
        ids = (self._did, engine.sid, engine.ep, engine.seq, engine.acked, engine.echo)
        return Down(*ids, tasks, recall, said_now, setup, self._fleet.every_s)

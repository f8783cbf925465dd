"""Engines that are lost: when the driver says so, when their tasks are free again, and what is started in their place.

Part of the driver core. Lost is a session when its engine's process is gone, when its lease has run out unanswered, or
when the engine itself has begun another one. Its tasks are free only when none of them can still be running: its
engine says so, its node was swept, or the lease has passed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from disbatch.core import notices
from disbatch.core.books import Books, Run
from disbatch.core.driver_events import (
    EngineExited,
    EngineLeft,
    EngineLost,
    Event,
    Forget,
    Instant,
    LaunchAgain,
    Sweep,
    Swept,
    Tick,
)
from disbatch.core.fleet import GONE, Engine, EngineState
from disbatch.core.lease import heartbeat_s, margin_s
from disbatch.core.ledger import Entry
from disbatch.core.messages import Held, StopMode
from disbatch.core.model import LOST, NOT_STARTED, Outcome
from disbatch.core.outbox import Outbox
from disbatch.core.status import task_record
from disbatch.core.takeover import SWEEP_S

AGAIN_S = (1.0, 4.0, 16.0)  # after so long a lost engine's node gets another one; after these it gets none
WORKED_S = 600.0  # an engine that lived so long, or has done a task, was no failure to start: its node is worth all attempts
ALONE_AFTER = 2  # lost attempts after which a task runs alone: innocent neighbours are not given up with the one to blame

SIGNAL_DOUBT_S = 0.2  # schedulers signal everything of a job within 20 ms
COMING_S = 2.0  # from the start of a launcher on: an engine that comes at all has mostly come by then
SWEEP_AGAIN_S = 1.0  # between attempts to kill what is left of an engine on our own machine
ABORT_S = 5.0  # an engine that is told to end at once and says nothing for so long will not, or cannot

OnLost = Literal["rerun", "fail"]


@dataclass(frozen=True, slots=True)
class LossPolicy:
    """What becomes of tasks whose engine was lost. `limit` is of lost attempts, after which a task is given up."""

    lease_s: float = 300.0
    on_lost: OnLost = "rerun"
    limit: int = 3

    @property
    def alone_after(self) -> int:
        """Lost attempts after which a task runs with no other beside it: before it can be given up, whatever the limit."""
        return max(1, min(ALONE_AFTER, self.limit - 1))


class Losses:
    def __init__(self, policy: LossPolicy, books: Books, outbox: Outbox, run: Run) -> None:
        self._policy = policy
        self._books = books
        self._outbox = outbox
        self._run = run
        self._lost_sids: set[str] = set()
        self._lingering: dict[str, Engine] = {}  # lost, and their tasks may still run, by session
        self._again: list[tuple[float, Engine]] = []  # when to start another engine in place of which
        self._failures: dict[
            tuple[str, str], int
        ] = {}  # by node and context: engines lost without having worked
        self._not_again: set[int] = set()  # ranks that somebody has ended for good
        self._orphans: set[int] = set()  # ranks of engines that left in order, but as their launcher was gone
        self._terminated: list[
            tuple[float, Engine, str]
        ] = []  # left by SIGTERM: from when on the driver has not got it as well
        self._last_tick: float | None = None
        self._patience_until = self._patience_beside_until = 0.0
        self._aborted_at = 0.0  # when the run was told to end at once

    def handle(self, now: Instant, event: Event) -> None:
        _HANDLERS[type(event)](self, now, event)

    # -- what others ask

    def is_lost(self, sid: str) -> bool:
        return sid in self._lost_sids

    def hold_up(self, now: Instant, stop: StopMode) -> bool:
        """Whether the end of a run has to wait: for a node that is being swept, or for an engine; when it has to end at
        once, only for one that is heard of."""
        if any(engine.sweeping for engine in self._lingering.values()):
            return True
        living = [engine for engine in self._books.fleet.living() if _waited_for(now, engine, stop)]
        if stop != "abort":
            return bool(living)
        since = self._aborted_at = self._aborted_at or now.mono_s
        return any(now.mono_s - max(engine.heard_s or 0.0, since) < ABORT_S for engine in living)

    def starts_again(self, rank: int) -> bool:
        """Whether another engine will be started in place of this one."""
        return any(engine.rank == rank for _, engine in self._again)

    def hoping(self, now: Instant) -> bool:
        """Whether an engine may still come, or come back, where none is left."""
        return bool(self._again or self._terminated) or any(
            (engine.state is EngineState.LOST or engine.rank in self._orphans)
            and not engine.exited
            and now.mono_s < engine.hope_until
            for engine in self._books.fleet.engines.values()
        )

    def lose(self, now: Instant, engine: Engine, why: str, *, killed: bool) -> None:
        """The session is over; nothing that it says counts from now on. `killed`: nothing of it runs any more."""
        running = engine.busy if engine.sid else None
        engine.excused = engine.excused or self._proves(engine)
        engine.move(EngineState.LOST)
        self._outbox.add(EngineLost(engine.rank, engine.node, engine.label, running, why))
        self._outbox.say(notices.engine_lost(engine.node, running, why), level="error")
        if not engine.sid:
            return
        self._lost_sids.add(engine.sid)
        self._books.fleet.by_sid.pop(engine.sid, None)
        self._outbox.add(Forget(engine.sid, engine.ep))
        self._hope(now, engine)
        if killed:
            self._release(now, engine)
        else:
            self._lingering[engine.sid] = engine
            self._sweep(now, engine)

    def _proves(self, engine: Engine) -> bool:
        """Whether the one task that ran there is given up for it: such an end says nothing of the node."""
        found = [self._books.ledger.entries.get(task_id) for task_id in engine.held]
        alone = found[0] if engine.reserved and len(found) == 1 else None
        return alone is not None and alone.suspect and alone.lost + 1 >= self._policy.limit

    def _hope(self, now: Instant, engine: Engine) -> None:
        engine.hope_until = now.mono_s + self._policy.lease_s + margin_s(self._policy.lease_s)

    def orphaned(self, now: Instant, engine: Engine) -> bool:
        """It has seen the end of its launcher before we have, has stopped its tasks, and said good-bye. Returns whether that
        is a loss: not where it had to leave anyway."""
        if engine.stop or self._run.ending_or_done:
            return False
        if engine.ours:
            self._orphans.add(engine.rank)
            self._hope(now, engine)
        else:  # what it came with may be gone as well, and tell nothing any more
            self._outbox.say(notices.orphaned(engine.node), level="error")
        return True

    def terminated(self, now: Instant, engine: Engine, why: str) -> bool:
        """It was sent SIGTERM, has stopped its tasks, and said good-bye. Returns whether that is a loss, as far as is known: a
        scheduler that ends the job signals the driver as well."""
        if engine.stop or self._run.ending_or_done:
            return False
        self._terminated.append((now.mono_s + SIGNAL_DOUBT_S, engine, why))
        engine.terminated = True
        engine.excused = len(engine.guilty) == 1
        if engine.ours:
            self._orphans.add(engine.rank)
            self._hope(now, engine)
        return True

    def settle(self, now: Instant, stop: StopMode) -> None:
        """After each event: what became of engines that SIGTERM has ended."""
        if self._last_tick is None:
            self._last_tick = now.mono_s  # a driver can be stopped before its clock has ticked once
        for each in [e for e in self._terminated if stop or e[1].stop or now.mono_s >= e[0]]:
            self._terminated.remove(each)
            _, engine, why = each
            if self._everybody(engine):
                self._not_again.update(e.rank for e in self._books.fleet.engines.values() if e.unasked)
                self._orphans -= self._not_again
                self._again = [due for due in self._again if due[1].rank not in self._not_again]
            if stop or engine.stop:
                self._outbox.add(EngineLeft(engine.rank, engine.node, engine.label, why))
            else:
                self._outbox.add(EngineLost(engine.rank, engine.node, engine.label, 0, why))
                self._outbox.say(notices.terminated(engine.node, why), level="error")
                self.charge(now, engine, [held for held in engine.held.items() if held in engine.guilty])
            self._books.give_back(engine, list(engine.held.items()))

    def _everybody(self, engine: Engine) -> bool:
        """Whether all engines, and more than this one, were sent SIGTERM, and not by tasks: then somebody ends the run, as
        `scancel --signal` does, which spares the driver."""
        told = [e for e in self._books.fleet.engines.values() if e.unasked and not e.guilty]
        return engine in told and len(told) > 1 and all(e in told for e in self._books.fleet.living())

    def _sweep(self, now: Instant, engine: Engine) -> None:
        engine.sweeping, engine.swept_at = True, now.mono_s
        self._outbox.add(Sweep(engine.rank, engine.sid))

    def returned(self, now: Instant, old: Engine) -> None:
        """The engine itself has begun another session: it has killed all that was of this one."""
        if old.state not in GONE:
            self.lose(now, old, "its lease had run out", killed=True)
        elif old.sid in self._lingering:
            self._release(now, old)

    # -- events

    def exited(self, now: Instant, event: EngineExited) -> None:
        engine = self._books.fleet.engines[event.rank]
        if engine.exited:
            return
        engine.exited = True
        if engine.state is EngineState.STOPPED:
            if engine.rank in self._orphans and not self._run.ending_or_done:
                if not engine.terminated:
                    self._outbox.say(notices.orphaned(engine.node, event.why), level="error")
                self._start_again(now, engine)
            return
        if engine.state is not EngineState.LOST:
            self.lose(now, engine, event.why, killed=False)
        self._start_again(now, engine)

    def _start_again(self, now: Instant, engine: Engine) -> None:
        """Another engine for that node, some time later, unless too many were lost there, or none ever came up."""
        place = (engine.node, engine.label)
        worked = engine.finished > 0 or now.mono_s - engine.launched_at >= WORKED_S
        if worked or engine.excused:
            self._failures.pop(place, None)
        failures = self._failures.get(place, 0)
        ours = engine.ours and engine.rank not in self._not_again
        wanted = ours and not engine.stop and engine.aside != "bad" and not self._run.ending_or_done
        if wanted and engine.excused:
            self._again.append((now.mono_s + AGAIN_S[0], engine))
        elif wanted and (engine.sid or failures) and failures < len(AGAIN_S):
            self._failures[place] = failures + 1
            self._again.append((now.mono_s + AGAIN_S[failures], engine))
        self._books.fleet.expected = len(self._again)

    def _swept(self, now: Instant, event: Swept) -> None:
        engine = self._lingering.get(event.sid)
        if engine is None:
            return
        engine.sweeping = False
        if event.clean or self._lapsed(now, engine):
            self._release(now, engine)
        elif engine.beside:
            if not engine.unclean:
                self._outbox.say(notices.not_killed(engine.node, len(engine.held)), level="warning")
            engine.unclean = True
        else:
            seconds = engine.promise - now.mono_s
            self._outbox.say(notices.not_swept(engine.node, len(engine.held), seconds), level="warning")

    def _tick(self, now: Instant, event: Tick) -> None:
        lease_s = self._policy.lease_s
        if self._last_tick is not None and now.mono_s - self._last_tick > lease_s / 4:
            # we were held up ourselves: what engines said meanwhile has to be heard first
            self._patience_until = now.mono_s + heartbeat_s(lease_s)
            # engines on our own machine have waited for us: they have as long to be heard as they give us to answer
            self._patience_beside_until = now.mono_s + lease_s
        self._last_tick = now.mono_s
        if now.mono_s >= self._patience_until:
            beside = now.mono_s >= self._patience_beside_until
            for engine in [*self._books.fleet.by_sid.values()]:
                patient = engine.beside and not beside
                if engine.state not in GONE and not patient and self._over_there(now, engine):
                    self.lose(now, engine, f"no word from it for {lease_s:g} s (--lease)", killed=False)
        for engine in [*self._lingering.values()]:
            if self._lapsed(now, engine):
                self._release(now, engine)
            elif not engine.sweeping and self._sweep_again(now, engine):
                self._sweep(now, engine)  # what could not be done at once may be possible by now
        self._launch_again(now)

    def _lapsed(self, now: Instant, engine: Engine) -> bool:
        """Whether nothing of it can run any more as the promise is over. An engine beside us may have waited for us."""
        if engine.beside and not engine.exited:
            return False
        return engine.promise + (SWEEP_S if engine.sweeping else 0.0) <= now.mono_s

    def _sweep_again(self, now: Instant, engine: Engine) -> bool:
        if engine.beside:
            return now.mono_s - engine.swept_at >= SWEEP_AGAIN_S
        return self._over_there(now, engine) and engine.swept_at < self._end(engine)

    def _end(self, engine: Engine) -> float:
        """When the engine itself, whatever it has heard from us, holds its lease as over."""
        return engine.promise - margin_s(self._policy.lease_s)

    def _over_there(self, now: Instant, engine: Engine) -> bool:
        return self._end(engine) <= now.mono_s

    def _launch_again(self, now: Instant) -> None:
        # not beside what may still run there: its slots are taken
        due = [e for at_s, e in self._again if at_s <= now.mono_s and e.sid not in self._lingering]
        if not due:
            return
        self._again = [each for each in self._again if each[1] not in due]
        fleet = self._books.fleet
        fleet.expected = len(self._again)
        for engine in due:
            if not self._run.ending_or_done:
                rank = fleet.next_rank
                fleet.launched(rank, engine.node, engine.slots, engine.label, engine.retires)
                new = fleet.engines[rank]
                new.launched_at, new.ours, new.beside = now.mono_s, True, engine.beside
                self._outbox.add(LaunchAgain(rank, engine.rank))
                self._outbox.say(notices.started_again(engine.node))

    # -- the tasks

    def _release(self, now: Instant, engine: Engine) -> None:
        """Nothing of the session can run any more: its tasks are for others, or given up."""
        self._lingering.pop(engine.sid, None)
        engine.sweeping = False
        may_have_run = [*engine.held.items()]
        if self._policy.on_lost == "rerun":
            may_have_run = may_have_run[: engine.slots]  # engines start what they hold in order
        self.charge(now, engine, may_have_run)
        self._books.give_back(engine, list(engine.held.items()))

    def charge(self, now: Instant, engine: Engine, attempts: Sequence[Held]) -> None:
        """These attempts, held by this engine, are lost with it: their tasks run again, or are given up."""
        suspects = 0
        for task_id, attempt in attempts:
            entry = self._books.ledger.current(task_id, attempt, engine.sid)
            if entry is None or engine.held.get(task_id) != attempt:
                continue
            entry.lost += 1
            entry.lost_on = engine.node
            if self._policy.on_lost == "fail" or entry.lost >= self._policy.limit:
                self._give_up(now, engine, entry)
            elif entry.lost >= self._policy.alone_after:
                suspects += not entry.suspect
                entry.suspect = True
        if suspects:
            self._outbox.say(notices.run_alone(suspects, self._policy.alone_after), level="warning")
        if self._books.recorder.rows:
            self._outbox.add(self._books.recorder.seal(None, 0))

    def _give_up(self, now: Instant, engine: Engine, entry: Entry) -> None:
        task_id = entry.task.task_id
        del engine.held[task_id]
        engine.context.charged -= 1
        engine.changed()
        self._books.ledger.finish(entry, failed=True)
        text = f"disBatch: its engine was lost ({notices.times(entry.lost)})"
        outcome = Outcome(NOT_STARTED, LOST, 0.0, now.wall_s, now.wall_s, 0, "", 0, text, 0.0, 0)
        self._books.recorder.rows.append(task_record(entry.task, engine.node, outcome))
        self._books.failures.add(task_id, LOST, text)
        self._run.task_failed()


def _waited_for(now: Instant, engine: Engine, stop: StopMode) -> bool:
    """Whether the end of a run waits for an engine. One that is still on its way from another machine holds nothing; only
    when nothing is in a hurry is it given a moment, so that a host that cannot be used is told also in a short run."""
    if engine.sid or engine.beside:
        return True
    return stop == "finish" and now.mono_s - engine.launched_at < COMING_S


_HANDLERS: dict[type, Callable[..., None]] = {
    EngineExited: Losses.exited,
    Swept: Losses._swept,
    Tick: Losses._tick,
}

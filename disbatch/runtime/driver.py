"""The driver's event loop: KVS server, task list, status writer, signals and views around a `DriverCore`.

Everything that decides is in `core.driver`.
"""

import asyncio
import logging
import os
import signal
import time
from dataclasses import replace

from disbatch.core.driver import DriverCore
from disbatch.core.driver_events import (
    ContextOpened,
    Dismiss,
    DrainCame,
    Effect,
    Ending,
    EngineAside,
    EngineExited,
    EngineJoined,
    EngineLaunched,
    EngineLeft,
    EngineLost,
    Event,
    Forget,
    Instant,
    ItemsCame,
    LaunchAgain,
    Level,
    ListEnded,
    ListFailed,
    Note,
    Over,
    Publish,
    Record,
    Reply,
    Say,
    Send,
    SignalCame,
    Sweep,
)
from disbatch.core.fleet import GONE
from disbatch.core.joining import Answer, StopKind
from disbatch.core.losses import SIGNAL_DOUBT_S
from disbatch.core.model import Item
from disbatch.core.notable import RunEnd
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.totals import totals
from disbatch.runtime.breakdown import Breakdown
from disbatch.runtime.bus import down_key, to_value, up_key
from disbatch.runtime.display import Display, View
from disbatch.runtime.door import Door
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.feeding import Feeder, FileFeeder, StreamFeeder
from disbatch.runtime.feedsession import FeedSession
from disbatch.runtime.files import RunFiles
from disbatch.runtime.inbox import Inbox
from disbatch.runtime.jobend import JobEnd
from disbatch.runtime.kvs import Kvs
from disbatch.runtime.launches import Launched, Launches, LaunchOrder
from disbatch.runtime.observers import Observers, Watched
from disbatch.runtime.publish import Publisher
from disbatch.runtime.recording import Recording
from disbatch.runtime.rescue import Rescue
from disbatch.runtime.resume import ResumeFiles
from disbatch.runtime.retire import Retirement
from disbatch.runtime.roster import Entries, Roster
from disbatch.runtime.serverend import Lifeline, ServerEnd
from disbatch.runtime.settings import RETIRE_END_S, FeedSettings
from disbatch.runtime.shortage import tell_shortages
from disbatch.runtime.signals import on_end_signals
from disbatch.runtime.sources import FileSource, KvsSource, StreamSource
from disbatch.runtime.steering import Steering
from disbatch.runtime.unexpected import in_words
from kvsstcp.values import Value

ENDINGS = {int(signal.SIGHUP): Ending.SIGHUP, int(signal.SIGINT): Ending.SIGINT}
NOT_LAUNCHED = 127  # exit code of an engine whose launcher could not be started, as shells have it
BYE_S = 1.0  # for the last word of an engine that has ended
CLOSE_S = 10.0  # for the last lines, once everything else is over


class DriverShell:
    """Also the sink of the feeder: what it gives becomes events of the core."""

    def __init__(
        self,
        core: DriverCore,
        source: FileSource | StreamSource | KvsSource,
        resume: ResumeFiles | None,
        kvs: Kvs,
        log: logging.Logger,
        view: View,
        files: RunFiles,
        facts: RunFacts,
        observers: Observers,
        retirement: Retirement,
        rescue: Rescue,
        drain_before_s: float | None = None,
        fsync: str = "interval",
    ) -> None:
        self._core = core
        self._fsync = fsync
        self._source = source
        self._resume = resume
        self._kvs = kvs
        self._log = log
        self._files = files
        self._observers = observers
        self._retirement = retirement
        self._rescue = rescue
        self._grace_s = facts.grace_s
        self._roster: Roster | None = None
        if facts.reattach:
            self._roster = Roster(
                facts.info_path,
                lambda: Entries(core.fleet.next_rank, core.contexts_left),
                lambda text: self._tell(text, "warning"),
            )
        self._door = Door(kvs, facts, self._happened, log, self._roster)
        self._job_end: JobEnd | None = None
        if drain_before_s is not None:
            event = DrainCame(drain_before_s)
            self._job_end = JobEnd(os.environ, drain_before_s, lambda: self._happened(event), log.info)
        self._feeds = False  # before all engines are known, a list could end with nobody to run it
        self._display = Display(view, source, log)
        self._feed: FeedSession | None = None
        self._started = time.monotonic()
        self._over_at = 0.0
        self.history = core.history

    async def run(
        self,
        status_fd: int,
        context: ContextOpened | None,
        engines: list[Launched],
        orders: list[LaunchOrder],
        feed: FeedSettings | None,
        lifeline: Lifeline,
    ) -> Ending:
        """Runs to the end. `engines` have been started already, `orders` are carried out once the KVS serves; both are
        of the driver's own `context`, which is None for a run that waits for others."""
        self._loop = asyncio.get_running_loop()
        tell_shortages(self._loop, self._warn)
        self._over: asyncio.Future[Ending] = self._loop.create_future()
        self._recording = Recording(
            status_fd, self._files, self._resume, self._observers, self._happened, self._tell, self._fsync
        )
        self._breakdown = Breakdown(self._log, self._happened, self._over)
        on_end_signals(self._loop, self._signalled)
        self._display.begin(self.snapshot)
        self._feeder = self._make_feeder(feed)
        self._launches = Launches(self._exited, self._warn)
        self._inbox = Inbox(self._log, self._launches.signed_in, self._read_inbox)
        if context is not None:
            self._happened(context)
        started: list[Launched | LaunchOrder] = [*engines, *orders]
        for engine in started:
            retires = self._retirement.gives_back(engine.node)
            beside = isinstance(engine, Launched)
            self._happened(
                EngineLaunched(engine.rank, engine.node, engine.slots, engine.label, retires, beside)
            )
        server_end = ServerEnd(self._happened, self._launches, lifeline, self._grace_s)
        self._kvs.on_lost = server_end.lost
        self._begin_observers()
        await self._kvs.start()
        self._kvs.subscribe(up_key(self._core.config.did), self._inbox.came)
        self._door.open()
        for launched in engines:
            self._launches.adopt(launched)
        for order in orders:
            self._launches.order(order)
        self._feeds = True
        self._feeder.start()
        if self._job_end:
            self._job_end.start()
        if self._feed:
            self._feed.start()
        publisher = Publisher(self._kvs, self, self._display.looked)
        publisher.start()
        self._rescue.begin(self._happened, self._launches.order)
        ending = await self._ended()
        if self._feed:
            ending = await self._feed.finish(ending)
        self._display.end()
        self._feeder.stop()
        if self._job_end:
            self._job_end.stop()
        self._recording.close(CLOSE_S)
        if ending is Ending.COMPLETE:  # unless lines of the status file are missing after all
            ending = self._core.ending or ending
        await self._retirement.finish(RETIRE_END_S)
        await self._rescue.close()
        await self._launches.finish()
        await self._finish_observers(ending)
        if self._feed:
            self._feed.tell_end(self._core.exit_code(ending), ending.text)
        publisher.finish()
        if self._roster:
            await self._roster.finish(CLOSE_S)
        await self._kvs.close()
        return ending

    async def _ended(self) -> Ending:
        """How the run ended. Where engines were stopped from outside, the same signal may be on its way to us, and then
        it is the cause."""
        ending = await self._over
        if ending is Ending.NO_ENGINE:
            await asyncio.sleep(SIGNAL_DOUBT_S)
            return self._core.ending or ending
        return ending

    def _make_feeder(self, feed: FeedSettings | None) -> Feeder:
        source = self._source
        if isinstance(source, FileSource):
            return FileFeeder(source, self)
        if isinstance(source, StreamSource):
            return StreamFeeder(source, self)
        assert feed is not None
        self._feed = FeedSession(source, self, self._kvs, feed, self._warn, self._log)
        self._recording.results = self._feed.results
        return self._feed.feeder

    def _begin_observers(self) -> None:
        if self._observers:
            causes = self._core.failures.largest
            steering = Steering(self._happened, self.order)
            self._observers.begin(
                Watched(
                    self._files,
                    self.snapshot,
                    self.picture,
                    causes,
                    self._warn,
                    self.note,
                    self._log,
                    steering,
                )
            )

    async def _finish_observers(self, ending: Ending) -> None:
        if self._observers:
            core = self._core
            code, causes = core.exit_code(ending), core.failures.largest()
            last = self.snapshot()
            text = totals(last) if ending is Ending.COMPLETE and last.failed_in_all else ending.text
            end = RunEnd(ending.name, text, code, last, causes, core.left)
            await self._observers.finish(end)

    def _warn(self, text: str) -> None:
        self._tell(text, "warning")

    def _tell(self, text: str, level: Level) -> None:
        self._display.tell(text, level)

    def order(self, kind: StopKind, name: str, *, hard: bool = False) -> Answer:
        """Ends an engine (by rank) or a context (by label), softly or hard; returns what became of it."""
        return self._door.order(kind, name, hard=hard)

    def snapshot(self) -> RunSnapshot:
        now = self._over_at or time.monotonic()  # to send a last mail is no part of the run
        return self._core.snapshot(now - self._started, self._display.total)

    def picture(self) -> RunSnapshot:
        """The same with all rows; for when somebody looks, and once a second at most."""
        self._display.looked()
        now = Instant(self._over_at or time.monotonic(), time.time())
        picture = self._core.picture(now, now.mono_s - self._started, self._display.total)
        return replace(picture, over=self._core.over)

    # -- events

    def _happened(self, *events: Event) -> None:
        """These came now, behind all messages that have come before."""
        now = Instant(time.monotonic(), time.time())
        spoken: list[Effect] = []
        for effect in self._core.handle(now, *self._inbox.take(), *events):
            if isinstance(effect, Say | Note):
                spoken.append(effect)
            else:
                self._attempt(effect)
        # what acts comes first: nothing that is said may stand in its way
        for effect in spoken:
            self._attempt(effect)
        if self._core.wants and self._feeds:
            self._feeder.feed()

    def _read_inbox(self) -> None:
        if self._inbox:
            self._happened()

    def _exited(self, rank: int, why: str) -> None:
        """An engine that ended with 0 has said good-bye: by way of a server elsewhere that may come later than its end. One
        that was not waited for (no `why`) is nobody's loss."""
        if not why:
            return
        self._read_inbox()
        left = self._launches.codes.get(rank) == 0 and self._core.fleet.engines[rank].state not in GONE
        if left and not self._core.over:
            self._loop.call_later(BYE_S, self._gone, rank, why)
        else:
            self._gone(rank, why)

    def _gone(self, rank: int, why: str) -> None:
        self._happened(EngineExited(rank, why))
        if not self._core.over and not self._core.sessions.losses.starts_again(rank):
            code = self._launches.codes.get(rank, NOT_LAUNCHED)
            self._retirement.ended(self._core.fleet.engines[rank].node, code)

    def _attempt(self, effect: Effect) -> None:
        """Carry out one effect. Where that fails, the others are carried out all the same."""
        try:
            self._carry_out(effect)
        except Exception as error:
            self._log.exception("an effect could not be carried out: %s", type(effect).__name__)
            if isinstance(effect, Record):
                # its lines will never be written, so the run cannot get to its end
                self._loop.call_soon(self._breakdown.failed, f"results cannot be recorded: {in_words(error)}")

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            message = effect.message
            self._kvs.put(down_key(message.sid, message.ep), to_value(message))
        elif isinstance(effect, Reply):
            self._door.reply(effect)
        elif isinstance(effect, Dismiss | Forget | Sweep | LaunchAgain):
            if not (isinstance(effect, Sweep) and self._door.sweep(effect)):
                self._rescue.carry_out(effect)
        elif isinstance(effect, Record):
            self._recording.record(effect)
        elif isinstance(effect, Say):
            self._tell(effect.text, effect.level)
        elif isinstance(effect, Note):
            self._log.info(effect.text)
        elif isinstance(effect, Publish):
            self._kvs.put(effect.key, Value(b"ASTR", effect.text.encode("ascii")))
        elif isinstance(effect, Over) and not self._over.done():
            self._over_at = time.monotonic()
            self._over.set_result(effect.ending)
        elif isinstance(effect, EngineJoined):
            self._door.signed_in(effect)
        if isinstance(effect, EngineJoined | EngineLeft | EngineLost):
            self._kvs.gather(self._core.fleet.gather_s)
        if self._observers and isinstance(effect, Say | EngineJoined | EngineLeft | EngineLost | EngineAside):
            self._observers.happened(effect)

    def _signalled(self, signum: int) -> None:
        ending = ENDINGS.get(signum, Ending.SIGTERM)
        if self._core.over:
            self._observers.hurry()
            if self._feed:
                self._feed.hurry()
        again = self._core.ending is not None
        self._happened(SignalCame(ending))
        if again or ending is not Ending.SIGINT:
            self._recording.hurry()

    # -- the sink of the feeder

    def wants(self) -> int:
        return self._core.wants

    def give(self, items: list[Item]) -> None:
        self._happened(ItemsCame(items))

    def end(self, failure: str) -> None:
        self._happened(ListEnded(failure))

    def fail(self, text: str, ending: Ending) -> None:
        self._happened(ListFailed(text, ending))

    def note(self, text: str) -> None:
        self._tell(text, "note")

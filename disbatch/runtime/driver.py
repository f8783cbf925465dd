"""The driver's event loop: KVS server, task list, status writer, signals and views around a `DriverCore`.

Everything that decides is in `core.driver`.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from threading import Thread
from typing import Protocol, TypeVar

from disbatch.core.driver import DriverCore
from disbatch.core.driver_events import (
    DiskGivenUp,
    Effect,
    Ending,
    EngineExited,
    EngineLaunched,
    Event,
    Instant,
    ItemsCame,
    Level,
    ListEnded,
    ListFailed,
    MessageCame,
    Note,
    Over,
    Publish,
    Record,
    Say,
    Send,
    SignalCame,
    Written,
)
from disbatch.core.errors import DisBatchError, PeerError
from disbatch.core.messages import Hello, Up
from disbatch.core.model import Item
from disbatch.core.resume import Place
from disbatch.core.snapshot import STATUS_KEY, RunSnapshot
from disbatch.core.status import format_record
from disbatch.runtime.bus import down_key, from_value, to_value, up_key
from disbatch.runtime.resume import ResumeFiles
from disbatch.runtime.settings import STATUS_KEY_S
from disbatch.runtime.sources import FileSource, StreamSource
from disbatch.runtime.statusfile import StatusWriter
from kvsstcp.auth import Certificate
from kvsstcp.server import Server
from kvsstcp.values import Value

T = TypeVar("T")

_LOG_LEVELS: dict[Level, int] = {"note": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
ITEMS_A_TURN = 2000  # items read before the loop looks at anything else
CLOSE_S = 10.0  # for the last lines, once everything else is over


class View(Protocol):
    """What shows a run while it lasts."""

    refresh_s: float

    def update(self, snapshot: RunSnapshot) -> None: ...

    def say(self, text: str, level: Level) -> None: ...


@dataclass(frozen=True, slots=True)
class Launched:
    """An engine that has been started: its rank, node, slots, and the process that stands for it here."""

    rank: int
    node: str
    slots: int
    label: str
    pid: int


class DriverShell:
    def __init__(
        self,
        core: DriverCore,
        source: FileSource | StreamSource,
        resume: ResumeFiles | None,
        log: logging.Logger,
        view: View,
        status_path: str,
    ) -> None:
        self._core = core
        self._source = source
        self._resume = resume
        self._log = log
        self._view = view
        self._status_path = status_path
        self._items: Iterator[Item] | None = source.items() if isinstance(source, FileSource) else None
        self._reading = False
        self._feeding = False
        self._disk_fails = False
        self._total: int | None = None
        self._started = time.monotonic()

    async def run(
        self,
        sock: socket.socket,
        token: bytes,
        certificate: Certificate,
        status_fd: int,
        engines: list[Launched],
    ) -> Ending:
        """Runs to the end. The engines have been started already and will find the KVS at `sock`."""
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[Ending] = self._loop.create_future()
        self._writer = StatusWriter(
            status_fd,
            lambda batches: self._from_thread(self._wrote, batches),
            lambda reason: self._from_thread(self._disk_trouble, reason),
        )
        self._server = Server(token=token, certificate=certificate, logger=self._log)
        self._server.on_down = lambda: self._log.warning("a client asked the KVS to end: ignored")
        self._server.local.subscribe(up_key(self._core.config.did), self._message_came)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            ending = Ending.SIGINT if signum == signal.SIGINT else Ending.SIGTERM
            self._loop.add_signal_handler(signum, self._signalled, ending)
        for engine in engines:
            self._happened(EngineLaunched(engine.rank, engine.node, engine.slots, engine.label))
            self._watch(engine)
        await self._server.serve(sock)
        self._feed()
        views = [asyncio.create_task(self._show()), asyncio.create_task(self._publish())]
        ending = await self._over
        for view in views:
            view.cancel()
        self._view.update(self.snapshot())
        self._stop_reading()
        self._writer.close(CLOSE_S)
        await self._server.close()
        return ending

    def snapshot(self) -> RunSnapshot:
        return self._core.snapshot(time.monotonic() - self._started, self._total)

    # -- events

    def _happened(self, event: Event) -> None:
        now = Instant(time.monotonic(), time.time())
        for effect in self._core.handle(now, event):
            self._carry_out(effect)
        if not self._feeding and self._core.wants:
            self._feed()

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            message = effect.message
            self._server.local.put(down_key(message.sid, message.ep), to_value(message))
        elif isinstance(effect, Record):
            rows = effect.rows
            data = b"".join(
                [self._skipped(row) if isinstance(row, Place) else format_record(row) for row in rows]
            )
            self._writer.append(effect.batch, data)
        elif isinstance(effect, Say):
            self._log.log(_LOG_LEVELS[effect.level], effect.text)
            self._view.say(effect.text, effect.level)
        elif isinstance(effect, Note):
            self._log.info(effect.text)
        elif isinstance(effect, Publish):
            self._server.local.put(effect.key, Value(b"ASTR", effect.text.encode("ascii")))
        elif isinstance(effect, Over) and not self._over.done():
            self._over.set_result(effect.ending)

    def _skipped(self, place: Place) -> bytes:
        assert self._resume is not None
        return self._resume.skipped_line(place)

    def _message_came(self, value: Value) -> None:
        try:
            message = from_value(value)
        except PeerError as error:
            self._log.warning("dropped a message: %s", error)
            return
        if isinstance(message, Hello | Up):
            self._happened(MessageCame(message))

    def _watch(self, engine: Launched) -> None:
        pidfd = os.pidfd_open(engine.pid)

        def gone() -> None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
            code = os.waitstatus_to_exitcode(os.waitpid(engine.pid, 0)[1])
            self._happened(EngineExited(engine.rank, _how_it_ended(code)))

        self._loop.add_reader(pidfd, gone)

    def _from_thread(self, function: Callable[[T], None], argument: T) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
            self._loop.call_soon_threadsafe(function, argument)

    def _signalled(self, ending: Ending) -> None:
        again = self._core.ending is not None
        self._happened(SignalCame(ending))
        if self._disk_fails and (again or ending is Ending.SIGTERM):
            self._give_up_disk()

    # -- the status file

    def _wrote(self, batches: list[int]) -> None:
        for batch in batches:
            self._happened(Written(batch))

    def _disk_trouble(self, reason: str) -> None:
        self._disk_fails = bool(reason)
        path = self._status_path
        if reason:
            text = f"cannot write {path}: {reason}. Results are kept, nothing more is started until it can be written"
        else:
            text = f"{path} can be written again; the run goes on"
        self._log.error(text)
        self._view.say(text, "error")

    def _give_up_disk(self) -> None:
        self._writer.give_up()
        self._happened(DiskGivenUp())

    # -- the task list

    def _feed(self) -> None:
        """Gives the core what it wants of the task list; a long stretch is done in pieces, others get their turn."""
        self._feeding = True
        try:
            if self._items is not None:
                self._feed_from_file(self._items)
            else:
                self._feed_from_stream()
        except DisBatchError as error:
            self._items = iter(())
            self._stop_reading()
            self._happened(ListFailed(str(error)))
        finally:
            self._feeding = False

    def _feed_from_file(self, lines: Iterator[Item]) -> None:
        done = 0
        while (wants := self._core.wants) and done < ITEMS_A_TURN:
            items = list(islice(lines, wants))
            if not items:
                self._list_ended()
                return
            done += len(items)
            self._happened(ItemsCame(items))
            self._tell_notes()
        if self._core.wants:
            self._loop.call_soon(self._feed)

    def _feed_from_stream(self) -> None:
        source = self._source
        assert isinstance(source, StreamSource)
        while wants := self._core.wants:
            items = source.take(wants)
            if not items:
                break
            self._happened(ItemsCame(items))
        self._tell_notes()
        if source.drained and self._core.wants:
            self._list_ended()
        elif not source.full and not source.ended and not self._core.list_ended:
            self._start_reading(source)

    def _list_ended(self) -> None:
        self._tell_notes()
        self._happened(ListEnded())

    def _tell_notes(self) -> None:
        notes = self._source.cleaner.notes
        while notes:
            self._say_note(notes.pop(0))

    def _start_reading(self, source: StreamSource) -> None:
        if self._reading:
            return
        self._reading = True
        try:
            self._loop.add_reader(source.fileno(), self._stream_moved, source)
        except PermissionError:  # epoll takes no such file (/dev/null): it never blocks either
            self._reading = False
            self._loop.call_soon(self._stream_moved, source)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._source.fileno())  # type: ignore[union-attr]

    def _stream_moved(self, source: StreamSource) -> None:
        try:
            source.read()
        except (DisBatchError, OSError) as error:
            self._stop_reading()
            self._happened(ListFailed(str(error)))
            return
        if source.full or source.ended:
            self._stop_reading()
        if self._core.wants:
            self._feed()

    # -- views

    async def _show(self) -> None:
        """Feeds the view; the length of a file is counted beside it, in a thread, once somebody looks."""
        await asyncio.sleep(self._view.refresh_s)
        if isinstance(self._source, FileSource):
            Thread(target=self._count, args=(self._source,), name="counter", daemon=True).start()
        while True:
            self._view.update(self.snapshot())
            await asyncio.sleep(self._view.refresh_s)

    def _count(self, source: FileSource) -> None:
        with contextlib.suppress(OSError):
            self._total = source.count()

    async def _publish(self) -> None:
        while True:
            text = self.snapshot().to_json()
            self._server.local.replace(STATUS_KEY, Value(b"JSON", text.encode("ascii")))
            await asyncio.sleep(STATUS_KEY_S)

    def _say_note(self, text: str) -> None:
        self._log.info(text)
        self._view.say(text, "note")


def _how_it_ended(code: int) -> str:
    number = -code if code < 0 else code - 128
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(number).name}"
    return f"its process ended with exit code {code}"

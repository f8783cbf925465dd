"""Those who watch a run in the driver's process (mail, hooks, a web page): one protocol, and the list that calls them.

The driver pays for an empty list with one look at it a batch. What an observer does with what it is told is its own
business; here belongs that no observer can hold the run up or end it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from disbatch.core.failures import FailureGroup
from disbatch.core.notable import DONE_WELL, Batch, Notable, RunEnd, find_barriers, find_failure
from disbatch.core.resume import Place
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.status import StatusRecord
from disbatch.runtime.files import RunFiles
from disbatch.runtime.settings import OBSERVERS_END_S
from disbatch.runtime.steering import Steering

HURRIED_S = 0.1  # to tidy up, for a user who does not want to wait


@dataclass(frozen=True, slots=True)
class Watched:
    """The run, as its observers know it. The functions may be called at any time, in the event loop."""

    files: RunFiles
    snapshot: Callable[[], RunSnapshot]  # the counts
    picture: Callable[[], RunSnapshot]  # with all rows: for when somebody looks, and once a second at most
    failures: Callable[[], list[FailureGroup]]
    warn: Callable[[str], None]  # tells the user and the log
    note: Callable[[str], None]  # the same, for what is no trouble
    log: logging.Logger
    steering: Steering


class Observer(Protocol):
    """All four are called in the event loop, and the first three have to return at once."""

    def begin(self, run: Watched) -> None:
        """The loop runs; engines are being started."""

    def written(self, batch: Batch) -> None:
        """These rows are in the status file."""

    def happened(self, event: Notable) -> None:
        """Something worth a word."""

    async def finish(self, end: RunEnd) -> None:
        """Everything is written and every engine is gone. Cancelled when it takes longer than OBSERVERS_END_S (or than
        the observer's `finish_s`, where it has one), or when the user interrupts."""


class Attached(Observer, Protocol):
    """An observer that was made before the run, by whoever starts it."""

    def descriptors(self) -> tuple[int, ...]:
        """What a forked engine has to close."""


class Observers:
    """Calls each observer in turn. One that raises is logged and left out from then on: it is there to watch."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)
        self._log = logging.getLogger(__name__)
        self._batches: dict[int, list[StatusRecord | Place]] = {}
        self._failed = False  # a first failure has been told
        self._ending: asyncio.Task[None] | None = None
        self._hurried = False

    def __bool__(self) -> bool:
        return bool(self._observers)

    def begin(self, run: Watched) -> None:
        self._log = run.log
        self._each("begin", lambda observer: observer.begin(run))

    def remember(self, batch: int, rows: list[StatusRecord | Place]) -> None:
        """These rows will be written as this batch."""
        self._batches[batch] = rows

    def written(self, number: int) -> None:
        """This batch is in the status file."""
        all_rows = self._batches.pop(number, None)
        if not all_rows:
            return
        rows = [row for row in all_rows if isinstance(row, StatusRecord)]
        batch = Batch(rows, len(all_rows) - len(rows))
        self._each("written", lambda observer: observer.written(batch))
        if DONE_WELL.issuperset([row[0] for row in rows]):  # nothing to look for, nearly always
            return
        first = None if self._failed else find_failure(rows)
        if first:
            self._failed = True
            self.happened(first)
        for barrier in find_barriers(rows):
            self.happened(barrier)

    def happened(self, event: Notable) -> None:
        self._each("happened", lambda observer: observer.happened(event))

    async def finish(self, end: RunEnd) -> None:
        """Lets all of them finish side by side, each for a bounded time."""
        self._ending = asyncio.ensure_future(self._finish(end))
        if self._hurried:  # between the end of the last engine and now: they may still tidy up
            asyncio.get_running_loop().call_later(HURRIED_S, self._ending.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await self._ending

    def hurry(self) -> None:
        """The user does not want to wait."""
        self._hurried = True
        if self._ending:
            self._ending.cancel()

    async def _finish(self, end: RunEnd) -> None:
        endings = [self._finish_one(observer, end) for observer in self._observers]
        for result in await asyncio.gather(*endings, return_exceptions=True):
            if isinstance(result, Exception):
                self._log.error("an observer failed at the end", exc_info=result)

    async def _finish_one(self, observer: Observer, end: RunEnd) -> None:
        limit_s = getattr(observer, "finish_s", OBSERVERS_END_S)
        try:
            await asyncio.wait_for(observer.finish(end), limit_s)
        except TimeoutError:
            self._log.warning("%s was not done in time, and is left behind", type(observer).__name__)

    def _each(self, what: str, call: Callable[[Observer], None]) -> None:
        for observer in [*self._observers]:
            try:
                call(observer)
            except Exception:  # broad, as a defect in what only watches must not cost the run
                self._log.exception("%s failed in %s: it watches no more", type(observer).__name__, what)
                self._observers.remove(observer)

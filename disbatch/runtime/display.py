"""The view of a run in the driver's loop: what it shows and when, and the number of tasks in the list."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from threading import Thread
from typing import Protocol

from disbatch.core.driver_events import Level
from disbatch.core.errors import DisBatchError
from disbatch.core.snapshot import RunSnapshot
from disbatch.runtime.signals import on_terminal_stop
from disbatch.runtime.sources import FileSource, KvsSource, StreamSource

LOG_LEVELS: dict[Level, int] = {"note": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class View(Protocol):
    """What shows a run while it lasts. No method raises, or waits for a terminal, but for a moment in `suspend`."""

    refresh_s: float
    redraws: bool

    def begin(self, on_failure: Callable[[str], None] | None = None) -> None: ...

    def update(self, snapshot: RunSnapshot) -> None: ...

    def say(self, text: str, level: Level) -> None: ...

    def suspend(self) -> None: ...


class EarlyMessages:
    """What is said before there is a log: the user has it at once, the log gets it later."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._said: list[tuple[str, Level]] = []

    def note(self, text: str) -> None:
        self._say(text, "note")

    def warn(self, text: str) -> None:
        self._say(text, "warning")

    def write_to(self, log: logging.Logger) -> None:
        for text, level in self._said:
            log.log(LOG_LEVELS[level], text)

    def _say(self, text: str, level: Level) -> None:
        self._said.append((text, level))
        self._view.say(text, level)


class Display:
    """Shows the run at regular times. `total` is the number of tasks in the list, None where it is not known.

    It is counted when somebody looks for the first time: a short run does not pay for it.
    """

    def __init__(
        self, view: View, source: FileSource | StreamSource | KvsSource, log: logging.Logger
    ) -> None:
        self._view = view
        self._source = source
        self._log = log
        self.total: int | None = None
        self._counting = False
        self._showing: asyncio.Task[None] | None = None

    def begin(self, snapshot: Callable[[], RunSnapshot]) -> None:
        """The loop runs, and no process is forked any more."""
        self._snapshot = snapshot
        self._view.begin(lambda why: self._log.info("nothing more is printed: %s", why))
        if self._view.redraws:
            on_terminal_stop(asyncio.get_running_loop(), self._view.suspend, self._update)
        self._showing = asyncio.create_task(self._show())

    def end(self) -> None:
        """Show the run for the last time."""
        if self._showing:
            self._showing.cancel()
        self._update()

    def tell(self, text: str, level: Level) -> None:
        """Tell the log, and the user."""
        self._log.log(LOG_LEVELS[level], text)
        self._view.say(text, level)

    def looked(self) -> None:
        """Somebody looks at the run: the number of tasks is wanted."""
        if isinstance(self._source, FileSource) and not self._counting:
            # without a thread it is tried again at the next look
            with contextlib.suppress(RuntimeError):
                Thread(target=self._count, args=(self._source,), name="counter", daemon=True).start()
                self._counting = True

    def _count(self, source: FileSource) -> None:
        # whoever feeds the tasks finds the error as well, and says so
        with contextlib.suppress(DisBatchError):
            self.total = source.count()

    async def _show(self) -> None:
        await asyncio.sleep(self._view.refresh_s)
        self.looked()
        while True:
            self._update()
            await asyncio.sleep(self._view.refresh_s)

    def _update(self) -> None:
        self._view.update(self._snapshot())

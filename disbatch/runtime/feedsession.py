"""A program that feeds tasks, as the driver sees it: who it is, its command, signs of life for it, and how it all ends.

Also tasks that nobody takes, which must not end as if all had been done.
"""

import asyncio
import logging
import os
from collections.abc import Callable

from disbatch.core.driver_events import Ending
from disbatch.core.printable import printable
from disbatch.runtime.feedcommand import FeedCommand
from disbatch.runtime.feeding import KvsFeeder, Sink
from disbatch.runtime.kvs import Kvs
from disbatch.runtime.results import ALIVE_S, ResultPublisher, end_value
from disbatch.runtime.settings import FeedSettings
from disbatch.runtime.sources import KvsSource, Stranger

ONE_PROGRAM = "a run takes its tasks from one program"


class FeedSession:
    """`warn` tells the user. Belongs to the driver's loop."""

    def __init__(
        self,
        source: KvsSource,
        sink: Sink,
        kvs: Kvs,
        settings: FeedSettings,
        warn: Callable[[str], None],
        log: logging.Logger,
    ) -> None:
        self.results = ResultPublisher(kvs)
        self.feeder = KvsFeeder(source, sink, kvs, self)
        self._source = source
        self._kvs = kvs
        self._warn = warn
        self._log = log
        self._command: FeedCommand | None = None
        self._untaken = False
        self._alive: asyncio.TimerHandle | None = None
        if settings.command is not None:
            environ = {**os.environ, **settings.environ}
            self._command = FeedCommand(settings.command, environ, self.feeder.program_ended, warn)

    def start(self) -> None:
        """The feeder has begun: start the command, if there is one."""
        if self._command:
            self._command.start()

    def hurry(self) -> None:
        """Nobody waits for the command any longer."""
        if self._command:
            self._command.kill()

    async def finish(self, ending: Ending) -> Ending:
        """Return how the run ends. A program that feeds tasks may still be reading results: the KVS stays until it is done
        with them."""
        if self._command is not None:
            failure = await self._command.finish(stop=ending not in (Ending.COMPLETE, Ending.FEEDER))
            if failure and ending is Ending.COMPLETE:
                self._warn(failure)
                return Ending.FEEDER
        return Ending.FEEDER if self._untaken and ending is Ending.COMPLETE else ending

    def tell_end(self, exit_code: int, text: str) -> None:
        """Tell the program how the run has ended: the last word."""
        if self._alive is not None:
            self._alive.cancel()
        self.results.ended(exit_code, text)

    # -- what the feeder finds

    def signed_in(self) -> None:
        """The program has said who it is."""
        self.results.result_key = self._source.result_key
        self._log.info("the feeding program %s has signed in", self._source.name)
        if self._command:
            self._command.signed_in = True
        self._beat()

    def stranger(self, other: Stranger) -> None:
        """A program has signed in behind the one whose tasks are taken."""
        name, first = (printable(text) for text in (other.shown_name, self._source.name))
        if other.task_key != self._source.task_key:
            self._lost(
                f"a second program, {name}, has signed in, and its tasks are not taken: {ONE_PROGRAM}, here {first}"
            )
        elif self._source.ended:
            self._lost(f"{name} has signed in again behind the end of its list: its tasks are not taken")
        if other.result_key != self._source.result_key:
            self._kvs.put(other.result_key, end_value(None, f"{ONE_PROGRAM}, here {first}"))

    def came_late(self) -> None:
        """A task came behind the text that ends the list."""
        name = printable(self._source.name)
        self._lost(f"{name} has sent tasks behind the text that ends its list: they are not taken")

    def _lost(self, text: str) -> None:
        self._untaken = True
        self._warn(text)

    def _beat(self) -> None:
        self.results.alive()
        self._alive = asyncio.get_running_loop().call_later(ALIVE_S, self._beat)

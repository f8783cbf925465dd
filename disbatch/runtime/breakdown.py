"""What becomes of a run when something fails that its driver cannot do without, and that nobody had expected.

The run ends in order, so that what is done is recorded and the engines go; where that does not work, it ends at once.
"""

import asyncio
import logging
from collections.abc import Callable

from disbatch.core.driver_events import Broken, Ending
from disbatch.core.errors import MachineError
from disbatch.runtime.unexpected import in_words, watch

HARDER_S = (
    5.0  # after so long the run ends without waiting for its engines, and after as much again without a word
)


class Breakdown:
    """Watches the running loop. `happened` tells the core, `over` is what the run waits for."""

    def __init__(
        self, log: logging.Logger, happened: Callable[[Broken], None], over: "asyncio.Future[Ending]"
    ) -> None:
        self._log = log
        self._happened = happened
        self._over = over
        self._why = ""
        self._loop = asyncio.get_running_loop()
        watch(self._loop, log, self.failed)

    def failed(self, why: str) -> None:
        """Ends the run. What fails after the first failure is mostly a consequence of it, and changes nothing."""
        if not self._why:
            self._why = why
            self._tell()
            self._loop.call_later(HARDER_S, self._tell)
            self._loop.call_later(2 * HARDER_S, self._give_up, "its engines do not answer")

    def _tell(self) -> None:
        if self._over.done():
            return
        try:
            self._happened(Broken(self._why))
        except Exception as error:
            self._log.error("the run cannot be ended in order", exc_info=error)
            self._give_up(in_words(error))

    def _give_up(self, why: str) -> None:
        if not self._over.done():
            self._over.set_exception(MachineError(f"{self._why}; the run could not be ended in order: {why}"))

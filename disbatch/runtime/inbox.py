"""Messages of engines on their way to the driver core, which takes those that came in one turn of the loop together.

What wakes the driver, and what follows from a message, costs more than the message: see `Fleet.gather_s`.
"""

import asyncio
import logging
from collections.abc import Callable

from disbatch.core.driver_events import MessageCame
from disbatch.core.errors import PeerError
from disbatch.core.messages import Hello, Up
from disbatch.runtime.bus import from_value
from kvsstcp.values import Value


class Inbox:
    """`greeted` is told the rank of each engine that says hello, `filled` that there is something to take, in the same turn
    of the loop, behind everything else that has come in it."""

    def __init__(
        self, log: logging.Logger, greeted: Callable[[int], None], filled: Callable[[], None]
    ) -> None:
        self._log = log
        self._greeted = greeted
        self._filled = filled
        self._messages: list[MessageCame] = []

    def __bool__(self) -> bool:
        return bool(self._messages)

    def came(self, value: Value) -> None:
        """What was put into the driver's mailbox; what is no message is dropped, with a line in the log."""
        try:
            message = from_value(value)
        except PeerError as error:
            self._log.warning("dropped a message: %s", error)
            return
        if isinstance(message, Hello):
            self._greeted(message.rank)
        if isinstance(message, Hello | Up):
            if not self._messages:
                asyncio.get_running_loop().call_soon(self._filled)
            self._messages.append(MessageCame(message))

    def take(self) -> list[MessageCame]:
        """All that came since the last call, in order."""
        messages, self._messages = self._messages, []
        return messages

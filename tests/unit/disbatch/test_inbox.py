"""The driver's mailbox: what comes in one turn of the loop is taken together, and rubbish is dropped with a word in the log."""

import asyncio
import logging

import pytest

from disbatch.core.driver_events import MessageCame
from disbatch.core.messages import Die, Hello, Up
from disbatch.runtime.bus import MESSAGE, to_value
from disbatch.runtime.inbox import Inbox
from kvsstcp.values import Value

HELLO = Hello("s", 1, 7, "n", 2, 0.0, (), (), 2)
UPS = [Up("s", 1, 0, float(t), (), 2) for t in range(3)]


def test_all_of_one_turn_are_taken_together_in_order(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[list[MessageCame]] = []
    greeted: list[int] = []

    async def turns() -> None:
        inbox = Inbox(logging.getLogger("inbox"), greeted.append, lambda: taken.append(inbox.take()))
        assert not inbox
        for message in (HELLO, Die("s"), *UPS[:2]):  # a Die is for engines
            inbox.came(to_value(message))
        inbox.came(Value(MESSAGE, b"rubbish"))
        assert inbox and greeted == [7] and taken == []
        await asyncio.sleep(0)
        inbox.came(to_value(UPS[2]))
        await asyncio.sleep(0)
        assert not inbox

    asyncio.run(turns())
    assert taken == [[MessageCame(HELLO), MessageCame(UPS[0]), MessageCame(UPS[1])], [MessageCame(UPS[2])]]
    assert "dropped a message: not a message between driver and engine: b'rubbish'" in caplog.text

"""Errors that pass: a machine that has no descriptor, process, thread or memory to give at this moment.

Whatever meets one tries again. What a callback or a task of an event loop did not handle is told here in one line, and not
by a traceback on the terminal.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from disbatch.runtime.spawner import TEMPORARY

NOTE_S = 60.0  # the same is told no more often


def shortage(error: object) -> str:
    """Return what is missing, in words; nothing for any other error."""
    if isinstance(error, OSError) and error.errno in TEMPORARY:
        return str(error.strerror)
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "no thread can be started"
    return "no memory" if isinstance(error, MemoryError) else ""


def tell_shortages(loop: asyncio.AbstractEventLoop, tell: Callable[[str], None]) -> None:
    """Tell of unhandled shortages in this loop by one line each; other errors go the usual way."""
    told: dict[str, float] = {}

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        missing = shortage(context.get("exception"))
        if not missing:
            loop.default_exception_handler(context)
            return
        now = time.monotonic()
        if now - told.get(missing, -NOTE_S) >= NOTE_S:
            told[missing] = now
            tell(f"this machine is short of something: {missing}; what needs it is tried again")

    loop.set_exception_handler(handle)

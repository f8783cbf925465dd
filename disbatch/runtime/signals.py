"""Signals that end a driver or a context: from a person at a terminal, or from a scheduler."""

import asyncio
import signal
from collections.abc import Callable


def on_end_signals(loop: asyncio.AbstractEventLoop, handle: Callable[[int], None]) -> None:
    """Calls `handle(signum)` in the loop for SIGINT, SIGTERM and SIGHUP."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signum == signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN:
            continue  # nohup: a terminal that goes away is none of our business
        loop.add_signal_handler(signum, handle, signum)

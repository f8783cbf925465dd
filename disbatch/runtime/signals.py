"""Signals that end a driver or a context: from a person at a terminal, or from a scheduler."""

import asyncio
import os
import signal
from collections.abc import Callable


def on_end_signals(loop: asyncio.AbstractEventLoop, handle: Callable[[int], None]) -> None:
    """Calls `handle(signum)` in the loop for SIGINT, SIGTERM and SIGHUP."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signum == signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN:
            continue  # nohup: a terminal that goes away is none of our business
        loop.add_signal_handler(signum, handle, signum)


def on_terminal_stop(
    loop: asyncio.AbstractEventLoop, before: Callable[[], None], after: Callable[[], None]
) -> None:
    """Calls `before` when Ctrl-Z is about to stop this process, and `after` when it goes on. Without job control: never."""

    def stop() -> None:
        before()
        loop.remove_signal_handler(signal.SIGTSTP)
        # now it has its usual effect, and this process stands still
        os.kill(os.getpid(), signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, stop)
        after()

    if signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL:
        loop.add_signal_handler(signal.SIGTSTP, stop)

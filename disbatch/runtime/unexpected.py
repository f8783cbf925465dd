"""Errors that no part of a process handles itself: words for them, and one place where each process hears of them.

They come out of callbacks of the event loop, out of threads and out of destructors. None may pass in silence, as
something may wait for ever then for what was not done; none may write a traceback over a user's terminal.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from disbatch.core.errors import DisBatchError
from disbatch.runtime import fatal
from kvsstcp.errors import KvsError

if TYPE_CHECKING:
    import asyncio
    import logging
    import threading
    from sys import UnraisableHookArgs

SHOWN_FRAMES = 8
# A run cannot go on without these; whoever only watches it may fail.
_VITAL = ("kvsstcp", "disbatch.core", "disbatch.runtime")
# An error of one connection, or of a listener, was told to whom it belongs, who decides: the loop says whose it was.
_TOLD = {"transport", "protocol", "socket"}
_WATCHERS = ("disbatch.runtime.mail", "disbatch.runtime.hooks", "disbatch.runtime.observers", "disbatch.web")


def in_words(error: BaseException) -> str:
    """Return what went wrong in one line, and where in disBatch."""
    if isinstance(error, DisBatchError | KvsError):
        return str(error)
    text = fatal.in_words(error)
    if text and not isinstance(error, OSError):
        return text
    text = text or f"{type(error).__name__}: {' '.join(str(error).split())}"
    places = _places(error.__traceback__)
    ours = [place for name, place in places if name.partition(".")[0] in ("disbatch", "kvsstcp")]
    return f"{text} (in {ours[-1]})" if ours else text


def in_one_line(error: BaseException) -> str:
    """Return the type, the text and the innermost calls of an error, and of what it came from, for a log."""
    text = " ".join(str(error).split())
    calls = " > ".join(place for _, place in _places(error.__traceback__)[-SHOWN_FRAMES:])
    line = f"{type(error).__name__}: {text} ({calls})"
    origin = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{line}; it came from {in_one_line(origin)}" if origin else line


def say_end(error: BaseException, who: str) -> int:
    """Tell the user, or whoever launched this process, why it ends; returns its exit code."""
    with contextlib.suppress(OSError):
        os.write(2, os.fsencode(f"disBatch: error: {who}: {in_words(error)}\n"))
    return fatal.EXIT_CODE


def watch(loop: "asyncio.AbstractEventLoop", log: "logging.Logger", failed: Callable[[str], None]) -> None:
    """From now on `log` gets what nobody handles, and `failed` is called in the loop, with the reason, when something
    has not been done that this process cannot do without."""
    import threading

    def callback_failed(_: "asyncio.AbstractEventLoop", context: dict[str, Any]) -> None:
        error = context.get("exception")
        log.error("%s", context.get("message", ""), exc_info=error)
        if error is not None and not context.keys() & _TOLD and _is_vital(error):
            failed(in_words(error))

    def thread_failed(args: "threading.ExceptHookArgs") -> None:
        error = args.exc_value
        if error is None:
            return
        log.error("a thread has ended: %s", args.thread and args.thread.name, exc_info=error)
        if _is_vital(error) and not loop.is_closed():
            loop.call_soon_threadsafe(failed, in_words(error))

    loop.set_exception_handler(callback_failed)
    threading.excepthook = thread_failed
    watch_destructors(log)


def watch_destructors(log: "logging.Logger") -> None:
    """What fails in a destructor goes to the log, not to the terminal: nothing depends on it."""

    def failed(args: "UnraisableHookArgs") -> None:
        log.debug("%s %r", args.err_msg or "while tidying up", args.object, exc_info=args.exc_value)

    sys.unraisablehook = failed


def _is_vital(error: BaseException) -> bool:
    names = [name for name, _ in _places(error.__traceback__)]
    if any(name.startswith(_WATCHERS) for name in names):
        return False
    # the loop's own callback has failed: a connection that nobody reads, a timer that is gone
    of_the_loop = all(name.startswith(("asyncio", "selectors")) for name in names)
    return of_the_loop or any(name.startswith(_VITAL) for name in names)


def _places(traceback: TracebackType | None) -> list[tuple[str, str]]:
    """Module and place of each call, outermost first."""
    found = []
    while traceback is not None:
        frame: FrameType = traceback.tb_frame
        name = str(frame.f_globals.get("__name__", ""))
        found.append((name, f"{frame.f_code.co_name} of {name}, line {traceback.tb_lineno}"))
        traceback = traceback.tb_next
    return found

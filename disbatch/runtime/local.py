"""Starting an engine on this machine: forked, before any thread, event loop or TLS context exists (5 ms, not 110)."""

import os
import select
import signal
import sys
from functools import partial

from disbatch.runtime.engine import engine_process
from disbatch.runtime.enginestart import EngineStart
from disbatch.runtime.fatal import EXIT_CODE
from disbatch.runtime.guard import run_guarded
from disbatch.runtime.sweep import process_name
from disbatch.runtime.unexpected import say_end

DOUBT_MS = 300  # for a driver that ends for the same reason


def fork_engine(start: EngineStart, close_fds: tuple[int, ...]) -> int:
    """Forks guard and engine; returns the guard's pid, whose exit code is the engine's.

    `close_fds` are descriptors of the driver that are none of the engine's business.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()  # a Ctrl-C at the terminal is for the driver, which then says what is to be done
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        for fd in (*close_fds, null):
            os.close(fd)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        code = run_guarded(partial(engine_process, start), process_name(start.session))
        code = code if code >= 0 else 128 - code
    except Exception as error:
        # the top of this process, which has no way to say it but the driver's terminal
        code = say_end(error, "an engine cannot work") if _driver_stays(start.lifeline_fd) else EXIT_CODE
    finally:
        os._exit(code)


def _driver_stays(lifeline_fd: int) -> bool:
    """Whether somebody is there to be told: a driver that ends has its own words."""
    poll = select.poll()
    poll.register(lifeline_fd, 0)
    return not poll.poll(DOUBT_MS)

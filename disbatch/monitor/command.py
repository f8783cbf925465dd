"""Showing a run in the way that was asked for: on the terminal, as a page of text, or as JSON."""

import asyncio
import shutil
import sys

from disbatch.core.errors import MachineError, UsageError
from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.looking import Looker, load_info, watch
from disbatch.monitor.once import page
from disbatch.monitor.stopping import Stopper
from disbatch.packages import install_command, missing

ANSWER_S = 30.0  # a driver that is well answers within a second, one with thousands of engines within a few
PIPE_WIDTH = 120  # of lines that go into a file or a pipe


def show(info_path: str, title: str, stopper: Stopper | None, *, once: bool, as_json: bool) -> None:
    """Shows the run until the user leaves; once where there is no terminal. Raises DisBatchError."""
    if as_json:
        print(asyncio.run(_look(info_path)).to_json())
    elif once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
        print(page(asyncio.run(_look(info_path)), title, width))
    else:
        _watch(info_path, title, stopper)


def where_to_look(info_path: str) -> str:
    """Return what helps whoever has waited for a run long enough."""
    log = info_path.removesuffix("_kvsinfo.txt") + "_driver.txt"
    return f"is disBatch still running on {load_info(info_path).host}? the end of {log} says more"


async def _look(info_path: str) -> RunSnapshot:
    looker = await Looker.connect(load_info(info_path))
    try:
        return await asyncio.wait_for(looker.look(), ANSWER_S)
    except TimeoutError:
        raise MachineError(f"the run does not answer within {ANSWER_S:.0f} s") from None
    finally:
        await looker.close()


def _watch(info_path: str, title: str, stopper: Stopper | None) -> None:
    if missing(["textual"]):
        command = install_command(["textual"])
        raise UsageError(f"the monitor needs the package textual: {command} (--once works without it)")
    load_info(info_path)  # what is wrong with it is said before the terminal changes its looks
    from disbatch.monitor.terminal import Monitor

    monitor = Monitor(title, lambda: watch(info_path), stopper, where_to_look(info_path))
    trouble = monitor.run()
    if trouble or monitor.return_code:
        raise MachineError(trouble or "the monitor has a defect; what it printed above helps to find it")

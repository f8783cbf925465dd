"""What a driver or a context needs of its machine before it does anything: a working folder and file descriptors.

Imported before the certificate is made, so nothing large is imported here.
"""

import os
import resource

from disbatch.core.errors import MachineError
from disbatch.core.plural import counted
from disbatch.runtime.contextsettings import ContextSettings
from disbatch.runtime.descriptors import (
    BASE,
    PER_CONNECTION,
    PER_LAUNCHER,
    current_limit,
    raise_limit,
    reserve,
)
from disbatch.runtime.fatal import NO_FOLDER, TOO_FEW_PROCESSES, TOO_LITTLE_MEMORY

# Of address space (`ulimit -v`). No driver works with less; with a little more, some part of it may still fail.
LEAST_MEMORY = 40 << 20
# Of processes and threads of this user (`ulimit -u`): driver, its two threads that write, guard, engine, a task and its child.
LEAST_PROCESSES = 7


def check_driver(context: ContextSettings) -> None:
    """Raise the limit of descriptors. Raises MachineError where a driver with these engines cannot work."""
    _check_folder_and_limits()
    raise_limit()
    engines = len(context.allocation.nodes)
    _check(reserve(context) + engines * PER_CONNECTION, engines)


def check_context(context: ContextSettings) -> None:
    """The same for a process that starts engines, to which the driver is connected."""
    raise_limit()
    engines = len(context.allocation.nodes)
    _check(BASE + engines * PER_LAUNCHER, engines)


def _check_folder_and_limits() -> None:
    try:
        os.getcwd()
    except OSError:
        raise MachineError(NO_FOLDER) from None
    if _below(resource.RLIMIT_AS, LEAST_MEMORY):
        raise MachineError(TOO_LITTLE_MEMORY)
    if os.geteuid() and _below(resource.RLIMIT_NPROC, LEAST_PROCESSES):
        raise MachineError(f"no process can be started: {TOO_FEW_PROCESSES}")


def _below(kind: int, least: int) -> bool:
    soft = resource.getrlimit(kind)[0]
    return soft != resource.RLIM_INFINITY and soft < least


def _check(needed: int, engines: int) -> None:
    have = current_limit()
    if have < needed:
        raise MachineError(
            f"{needed} file descriptors are needed for {counted(engines, 'engine')}, and this process may have {have}; allow more "
            f"(`ulimit -n {needed}`, or a higher number), or use fewer hosts"
        )

"""What a driver or a context needs of its machine before it does anything: a working folder and file descriptors.

Imported before the certificate is made, so nothing large is imported here.
"""

import os
import resource

from disbatch.core.errors import MachineError
from disbatch.runtime.contextsettings import ContextSettings
from disbatch.runtime.descriptors import (
    BASE,
    PER_CONNECTION,
    PER_LAUNCHER,
    current_limit,
    raise_limit,
    reserve,
)
from disbatch.runtime.fatal import NO_FOLDER, TOO_LITTLE_MEMORY

# Of address space (`ulimit -v`). No driver works with less; with a little more, some part of it may still fail.
LEAST_MEMORY = 40 << 20


def check_driver(context: ContextSettings) -> None:
    """Raise the limit of descriptors. Raises MachineError where a driver with these engines cannot work."""
    try:
        os.getcwd()
    except OSError:
        raise MachineError(NO_FOLDER) from None
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if space != resource.RLIM_INFINITY and space < LEAST_MEMORY:
        raise MachineError(TOO_LITTLE_MEMORY)
    raise_limit()
    engines = len(context.allocation.nodes)
    _check(reserve(context) + engines * PER_CONNECTION, engines)


def check_context(context: ContextSettings) -> None:
    """The same for a process that starts engines, to which the driver is connected."""
    raise_limit()
    engines = len(context.allocation.nodes)
    _check(BASE + engines * PER_LAUNCHER, engines)


def _check(needed: int, engines: int) -> None:
    have = current_limit()
    if have < needed:
        plural = "" if engines == 1 else "s"
        raise MachineError(
            f"{needed} file descriptors are needed for {engines} engine{plural}, and this process may have {have}; allow more "
            f"(`ulimit -n {needed}`, or a higher number), or use fewer hosts"
        )

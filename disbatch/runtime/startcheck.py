"""What a driver or a context needs of its machine before it does anything: a working folder and file descriptors.

Imported before the certificate is made, so nothing large is imported here.
"""

import os

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
from disbatch.runtime.misfortune import NO_FOLDER


def check_driver(context: ContextSettings) -> None:
    """Raise the limit of descriptors. Raises MachineError where a driver with these engines cannot work."""
    try:
        os.getcwd()
    except OSError:
        raise MachineError(NO_FOLDER) from None
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

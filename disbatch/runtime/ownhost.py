"""Whether a name that a user gives for a host is this machine: its engine is then started without ssh."""

import contextlib
import os

DISCARD_PORT = 9  # nothing is sent: a UDP socket that is connected only looks up the way


def is_this_machine(name: str) -> bool:
    """Return True for `localhost`, this machine's host name with or without its domain, and its own addresses.

    Only for a name of this machine with a domain that it does not call itself by is a name server asked.
    """
    name = name.removeprefix("[").removesuffix("]").lower()
    own = os.uname().nodename.lower()
    short = own.partition(".")[0]
    if name in ("localhost", own, short):
        return True
    import socket  # 3 ms, for those who name other hosts

    if _is_own_address(name, socket.AI_NUMERICHOST):
        return True
    return name.startswith(short + ".") and _is_own_address(name, socket.AI_ADDRCONFIG)


def _is_own_address(name: str, flags: int) -> bool:
    """Whether one of the addresses of this name is one of this machine: what goes there begins at the same address."""
    import socket

    found = []
    with contextlib.suppress(OSError, UnicodeError):
        found = socket.getaddrinfo(name, DISCARD_PORT, type=socket.SOCK_DGRAM, flags=flags)
    for family, kind, _, _, address in found:
        with contextlib.suppress(OSError), socket.socket(family, kind) as probe:
            probe.connect(address)
            # All of 127.0.0.0/8 is this machine, and is reached from 127.0.0.1.
            if probe.getsockname()[0] == address[0] or str(address[0]).startswith("127."):
                return True
    return False

"""What every connection's socket is set to, on both sides. Nothing that reads or writes belongs here."""

import os
import socket

from kvsstcp.limits import Limits


def tune(sock: socket.socket, limits: Limits) -> None:
    """Small messages go out at once, and a peer whose host has vanished is noticed (`Limits.silent_s`)."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", limits.keepalive_idle_s),
        ("TCP_KEEPINTVL", limits.keepalive_interval_s),
        ("TCP_KEEPCNT", max(1, (limits.silent_s - limits.keepalive_idle_s) // limits.keepalive_interval_s)),
        ("TCP_USER_TIMEOUT", limits.silent_s * 1000),
    ):
        # Not every system has them all; what it has not falls back to its own, longer, patience.
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def reason(error: BaseException) -> str:
    """What went wrong, in words: without the number of the error, and without the address, which asyncio repeats."""
    if not isinstance(error, OSError):
        return str(error)
    if error.errno and "Connect call failed" in str(error):
        return os.strerror(error.errno)
    return error.strerror or str(error)

"""A listening socket in the server's event loop. What becomes of who comes is the server's."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

from kvsstcp.channel import READ, Poller

# Connections that are let in before the loop's other work has its turn: TLS costs a millisecond for each.
_AT_ONCE = 32
# How long not to accept when there is no descriptor or memory left for another connection.
_PAUSE_S = 1.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Calls `arrived` with each new socket, nonblocking, and its peer's address. Owns the listening socket."""

    def __init__(
        self,
        sock: socket.socket,
        backlog: int,
        poller: Poller,
        arrived: Callable[[socket.socket, Any], None],
        log: logging.Logger,
    ):
        sock.setblocking(False)
        sock.listen(backlog)
        self._sock = sock
        self._arrived = arrived
        self._log = log
        self._pause: asyncio.TimerHandle | None = None
        self._poller = poller
        self._watch(True)

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        else:
            self._watch(False)
        self._sock.close()

    def ready(self, events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, where = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    # That connection's own misfortune: the kernel tells it here (accept(2)).
                    self._log.warning("a connection failed before it was accepted: %s", error.strerror)
                    return
                self._log.error("cannot accept connections for %g s: %s", _PAUSE_S, error.strerror)
                self._watch(False)
                self._pause = asyncio.get_running_loop().call_later(_PAUSE_S, self._go_on)
                return
            sock.setblocking(False)
            self._arrived(sock, where)

    def _go_on(self) -> None:
        self._pause = None
        self._watch(True)

    def _watch(self, wanted: bool) -> None:
        self._poller.watch(self, self._sock.fileno(), *((0, READ) if wanted else (READ, 0)))

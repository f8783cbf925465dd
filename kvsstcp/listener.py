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
# That this happens is logged no more often.
_NOTE_S = 60.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Calls `arrived` with each new socket, nonblocking, and its peer's address. Owns the listening socket.

    Where nothing is left for another connection, `make_room` ends some and returns how many.
    """

    def __init__(
        self,
        sock: socket.socket,
        backlog: int,
        poller: Poller,
        arrived: Callable[[socket.socket, Any], None],
        make_room: Callable[[], int],
        log: logging.Logger,
    ):
        sock.setblocking(False)
        sock.listen(backlog)
        self._sock = sock
        self._arrived = arrived
        self._make_room = make_room
        self._noted = -_NOTE_S
        self._log = log
        self._pause: asyncio.TimerHandle | None = None
        self._poller = poller
        self._watch(True)

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._sock.fileno()

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
                self._exhausted(str(error.strerror))
                return
            sock.setblocking(False)
            self._arrived(sock, where)

    def _exhausted(self, why: str) -> None:
        """Make room at the cost of those without a proof, who come back if they are honest; without any of them, wait."""
        loop = asyncio.get_running_loop()
        ended = self._make_room()
        if loop.time() - self._noted >= _NOTE_S:
            self._noted = loop.time()
            if ended:
                self._log.error(
                    "no room for another connection: %s; %d without a proof were cut off", why, ended
                )
            else:
                self._log.error(
                    "cannot accept connections for %g s: %s; tried again until it works", _PAUSE_S, why
                )
        if not ended:
            self._watch(False)
            self._pause = loop.call_later(_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._watch(True)

    def _watch(self, wanted: bool) -> None:
        self._poller.watch(self, self._sock.fileno(), *((0, READ) if wanted else (READ, 0)))

"""The asyncio server: listeners, and all connections together.

The protocol of one connection is in `connection`; what the operations mean is in `store`; what the server's own process
does with the store is in `local`.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kvsstcp.auth import Certificate, Failures, ServerHandshake
from kvsstcp.channel import Poller
from kvsstcp.connection import Connection
from kvsstcp.errors import ProtocolError, UsageError
from kvsstcp.infofile import TOKEN_BYTES
from kvsstcp.limits import DEFAULT_LIMITS, Limits
from kvsstcp.listener import Listener
from kvsstcp.local import LocalClient, Subscription
from kvsstcp.sockets import tune
from kvsstcp.store import Store

if TYPE_CHECKING:
    import ssl

    from kvsstcp.tls import TlsPipe

# While connections come, nothing is gathered: each of them asks and answers several times, one at a time.
_WELCOME_S = 1.0


class Server:
    """Serves one store on any number of listening sockets. All methods belong to the thread of one event loop.

    With `token` every connection must prove that it knows it before anything else; with `certificate`, too, all of it
    goes through TLS. With neither, service is plain and open to whoever reaches the port. `alone`: the loop serves and has no other
    work that could not wait for two milliseconds at a time, which makes small operations cheaper.
    """

    def __init__(
        self,
        *,
        token: bytes | None = None,
        certificate: Certificate | None = None,
        limits: Limits = DEFAULT_LIMITS,
        logger: logging.Logger | None = None,
        alone: bool = False,
    ):
        if token is not None and len(token) < TOKEN_BYTES:
            raise UsageError(f"a token has {TOKEN_BYTES} bytes at least, not {len(token)}")
        if certificate is not None and token is None:
            raise UsageError("a certificate needs a token beside it: TLS alone keeps nobody out")
        self.limits = limits
        self.store: Store[Connection | Subscription] = Store(limits)
        self.local = LocalClient(self)
        self.on_down: Callable[[], None] | None = self._close_soon
        """Called when a client sends `down`; None ignores it (with a line in the log)."""
        self.held_bytes = 0
        self.receive_buffer = memoryview(bytearray(limits.receive_bytes))
        self.unflushed: list[Connection] = []
        self.log = logger or logging.getLogger("kvsstcp")
        self.alone = alone
        self._token = token
        self._certificate = certificate
        self._tls: ssl.SSLContext | None = None
        self._binding = b""
        self._listeners: list[Listener] = []
        self._poller: Poller | None = None
        self._connections: set[Connection] = set()
        self._unproven: dict[Connection, None] = {}
        self._failures = Failures(limits)
        self._crowded = 0  # connections that were cut off because others came
        self._closing = False
        self._gone = asyncio.Event()
        self._closed = asyncio.Event()
        self._close_task: asyncio.Task[None] | None = None

    async def serve(self, sock: socket.socket, *, plain: bool = False) -> None:
        """Accept connections on a socket that is bound and listening; returns at once. The server owns the socket from
        now on. `plain` opens unauthenticated service on this socket, whatever the server has to keep secret."""
        if not plain and self._certificate is not None and self._tls is None:
            self._prepare_tls(self._certificate)
        if self._poller is None:
            self._poller = Poller(self.alone)
        arrived = self._plain_arrived if plain or self._token is None else self._guarded_arrived
        backlog = self.limits.listen_backlog
        self._listeners.append(Listener(sock, backlog, self._poller, arrived, self._make_room, self.log))

    async def close(self) -> None:
        """Close listeners and connections. Replies that are under way go out, for a bounded time. May be called
        again: every call returns when all is closed."""
        if self._closing:
            await self._closed.wait()
            return
        self._closing = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            if connection in self._unproven:
                connection.abort()
            else:
                connection.finish()
        if self._connections:
            try:
                await asyncio.wait_for(self._gone.wait(), self.limits.close_flush_s)
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
                await self._gone.wait()
        if self._poller is not None:
            self._poller.close()
        self._closed.set()

    async def wait_closed(self) -> None:
        """Returns when somebody has closed the server."""
        await self._closed.wait()

    def descriptors(self) -> list[int]:
        """Return the descriptors of all sockets: what a process that was forked has no use for."""
        return [*(each.fileno() for each in self._listeners), *(each.fileno() for each in self._connections)]

    @property
    def connection_count(self) -> int:
        """Connections now, proven or not."""
        return len(self._connections)

    # What connections call.

    def admit(self, connection: Connection) -> None:
        """A new connection is there. It may be turned away, or make an older one that proved nothing go."""
        self._connections.add(connection)
        self._gone.clear()
        if self._closing:
            connection.abort()
        elif len(self._connections) - len(self._unproven) > self.limits.connections:
            self.log.warning(
                "%s: turned away, %d connections are served", connection.peer, self.limits.connections
            )
            connection.abort()
        elif not connection.proven:
            self._unproven[connection] = None
            if self._poller is not None:
                self._poller.hurry_until = asyncio.get_running_loop().time() + _WELCOME_S
            full = len(self._connections) > self.limits.together
            if full or len(self._unproven) > self.limits.unproven:
                self._cut_off_oldest()

    def proven(self, connection: Connection) -> None:
        self._unproven.pop(connection, None)
        self.log.debug("%s: connected", connection.peer)

    def forget(self, connection: Connection, reason: str) -> None:
        """The connection is gone, and the store does not know it any more."""
        self._connections.discard(connection)
        self._unproven.pop(connection, None)
        if not self._connections:
            self._gone.set()
        if connection.last_key is not None and not self._closing:
            self.local.tell_lost(connection.last_key, f"{connection.peer}: {reason}")

    def report_cut_off(self, connection: Connection, error: ProtocolError) -> float:
        """Log why a connection ends. Returns the delay in seconds for one that has not proven itself, else 0."""
        if connection.proven:
            self.log.warning("%s: cut off: %s: %s", connection.peer, type(error).__name__, error)
            return 0.0
        count, delay_s = self._failures.failed(connection.address, time.monotonic())
        if _worth_a_line(count):
            self.log.warning(
                "%s: refused: %s: %s (%d from %s lately)",
                connection.peer,
                type(error).__name__,
                error,
                count,
                connection.address,
            )
        return delay_s

    def down(self, connection: Connection) -> None:
        if self.on_down is None:
            self.log.warning("%s: asked for the end of the server; ignored", connection.peer)
        else:
            self.log.info("%s: asked for the end of the server", connection.peer)
            self.on_down()

    def carry_out(self) -> None:
        """Hand values to the readers that the store has found for them. Connections are only written to by `flush`, so
        that one batch of requests makes one write to each."""
        due, self.store.due = self.store.due, []
        for reader, value in due:
            reader.deliver(value)

    def flush(self) -> None:
        """Write to all connections that were given something."""
        while self.unflushed:
            unflushed, self.unflushed = self.unflushed, []
            for connection in unflushed:
                connection.flush()

    def settle(self) -> None:
        """Carry out and write all that an operation from inside the process has led to."""
        while self.store.due:
            self.carry_out()
        if self.unflushed:
            self.flush()

    def report_callback(self, what: str, error: Exception) -> None:
        """A callback of our own process failed: that is never a peer's fault, nor its loss."""
        asyncio.get_running_loop().call_exception_handler({"message": what, "exception": error})

    def gather(self, seconds: float) -> None:
        """From now on, when something was read, the next look at all connections is so much later, and finds more: each
        time that the process wakes up costs as much as a request. New connections are not kept waiting. 0: nothing is."""
        if self._poller is not None:
            self._poller.gather_s = seconds

    def dump(self, as_json: bool) -> bytes:
        """Counts, waits and values, for people. Keys beyond a limit are left out."""
        from kvsstcp.dumps import json_dump, pickle_dump

        return json_dump(self.store, self.limits) if as_json else pickle_dump(self.store, self.limits)

    def _cut_off_oldest(self) -> None:
        oldest = next(iter(self._unproven))
        self._crowded += 1
        if _worth_a_line(self._crowded):
            text = "%s: cut off: too many connections without a proof (%d until now)"
            self.log.warning(text, oldest.peer, self._crowded)
        del self._unproven[oldest]
        oldest.abort()

    def _make_room(self) -> int:
        """Cut off the older half of the connections without a proof; return how many."""
        oldest = list(self._unproven)[: (len(self._unproven) + 1) // 2]
        for connection in oldest:
            del self._unproven[connection]
            connection.abort()
        return len(oldest)

    def _plain_arrived(self, sock: socket.socket, where: Any) -> None:
        self._arrived(sock, where, None, None)

    def _guarded_arrived(self, sock: socket.socket, where: Any) -> None:
        assert self._token is not None
        if self._tls is None:
            self._arrived(sock, where, ServerHandshake(self._token), None)
            return
        from kvsstcp.tls import TlsPipe

        handshake = ServerHandshake(self._token, self._binding)
        self._arrived(sock, where, handshake, TlsPipe(self._tls, server_side=True))

    def _arrived(
        self, sock: socket.socket, where: Any, handshake: ServerHandshake | None, tls: "TlsPipe | None"
    ) -> None:
        assert self._poller is not None
        try:
            tune(sock, self.limits)
        except OSError:
            sock.close()  # it left before it was greeted
            return
        Connection(self, sock, where, self._poller, handshake, tls).start()

    def _prepare_tls(self, certificate: Certificate) -> None:
        from kvsstcp.auth import certificate_binding, server_context

        self._binding = certificate_binding(certificate.certificate_pem)
        self._tls = server_context(certificate)

    def _close_soon(self) -> None:
        self._close_task = asyncio.get_running_loop().create_task(self.close())


def _worth_a_line(count: int) -> bool:
    """All of the first, then fewer and fewer: the log must not be a stranger's to fill."""
    return count <= 8 or count & (count - 1) == 0

"""The blocking client: one connection, deadlines, a new connection by itself after one was lost.

What a lost connection was doing is never repeated by itself: a put could then be there twice, and a get could lose what
it had already been sent. The operation raises ConnectionLost, and the next one connects again.
"""

import os
import socket
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from kvsstcp import wire
from kvsstcp.dial import dial
from kvsstcp.errors import ConnectionFailed, ConnectionLost, DeadlinePassed, ProtocolError, UsageError
from kvsstcp.infofile import Address, Info, info_from_argument, info_from_environment
from kvsstcp.limits import DEFAULT_LIMITS, Limits
from kvsstcp.values import Value, as_key, as_value
from kvsstcp.wire import CANCEL, CLOSE, DOWN, DUMP, GET, JSON_DUMP, TAKE, VIEW

_RECEIVE_BYTES = 262_144
# 23 days: what a socket takes as a timeout. Who gives more means no deadline.
_FOREVER_S = 2_000_000.0
# Requests sent ahead of their replies. They fit into the sockets' buffers even when the server, busy sending, does not
# read: otherwise both sides could wait for each other.
_AHEAD_BYTES = 65_536
# After a deadline: how long the server may take to confirm that it has forgotten the request.
_CANCEL_S = 5.0
_CLOSED = "the server closed the connection"
_WANTS_PROOF = " before it answered anything (one that wants a token is reached by its info file)"


class Client:
    """A connection to a server, usable with `with`. Not for several threads at once: `clone` makes another.

    `where` is an Info, an info file's path, `HOST:PORT`, an address pair, or None: what the environment names
    (KVSSTCP_INFO, else KVSSTCP_HOST and KVSSTCP_PORT). `plain` ignores token and certificate. `timeout_s` is the deadline
    of every operation that gives none itself; None waits for ever. Connecting is done at once and raises
    ConnectionFailed, within `connect_timeout_s`.
    """

    def __init__(
        self,
        where: Info | Address | str | os.PathLike[str] | None = None,
        *,
        plain: bool = False,
        timeout_s: float | None = None,
        connect_timeout_s: float = 30.0,
        limits: Limits = DEFAULT_LIMITS,
    ):
        info = resolve(where)
        self.info = Info(info.addresses) if plain else info
        self.timeout_s = timeout_s
        self.connect_timeout_s = connect_timeout_s
        self._limits = limits
        self._sock: socket.socket | None = None
        self._decoder = wire.ReplyDecoder(limits)
        self._replies: list[Value | None] = []
        self._answered = False
        self.connect()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Connect, if there is no connection. Raises ConnectionFailed."""
        if self._sock is None:
            self._sock, rest = dial(self.info, self.connect_timeout_s, self._limits)
            self._decoder = wire.ReplyDecoder(self._limits)
            self._replies = []
            self._answered = False
            if rest:
                self._drop()
                raise ConnectionFailed("the server spoke before it was asked")

    def clone(self) -> "Client":
        """Another connection to the same server."""
        return Client(
            self.info, timeout_s=self.timeout_s, connect_timeout_s=self.connect_timeout_s, limits=self._limits
        )

    def close(self) -> None:
        """Say goodbye and close; harmless when there is no connection. The client connects again if it is used."""
        if self._sock is not None:
            try:
                self._sock.settimeout(_CANCEL_S)
                self._sock.sendall(CLOSE)
            except OSError:
                pass  # It is closed already, which is what is wanted.
            self._drop()

    def put(self, key: str | bytes, value: Value | str | bytes, timeout_s: float | None = None) -> None:
        """Append a value to the key. Text and bytes get the coding ASTR. Raises ConnectionLost, DeadlinePassed."""
        self._send(wire.encode_put(self._key(key), self._value(value)), self._end(timeout_s))

    def get(self, key: str | bytes, timeout_s: float | None = None) -> Value:
        """The oldest value, removed; waits for one. Raises ConnectionLost, DeadlinePassed (the value stays there)."""
        return self._read(GET, self._key(key), timeout_s)

    def view(self, key: str | bytes, timeout_s: float | None = None) -> Value:
        """The newest value, which stays; waits for one. Raises ConnectionLost, DeadlinePassed."""
        return self._read(VIEW, self._key(key), timeout_s)

    def take(self, key: str | bytes, timeout_s: float | None = None) -> Value | None:
        """The oldest value, removed, or None, at once. Servers of old do not know it."""
        return self.exchange((), (key,), timeout_s)[0]

    def exchange(
        self,
        puts: Iterable[tuple[str | bytes, Value | str | bytes]],
        takes: Sequence[str | bytes],
        timeout_s: float | None = None,
    ) -> list[Value | None]:
        """Many operations for the price of a few messages: all puts, then a take for each key of `takes`, whose results
        are returned in that order. Servers of old do not know take. Raises ConnectionLost, DeadlinePassed."""
        end = self._end(timeout_s)
        message = [wire.encode_put(self._key(key), self._value(value)) for key, value in puts]
        results: list[Value | None] = []
        ahead, ahead_bytes = 0, 0
        for key in takes:
            request = wire.encode_keyed(TAKE, self._key(key))
            message.append(request)
            ahead += 1
            ahead_bytes += len(request)
            if ahead_bytes >= _AHEAD_BYTES:
                results += self._ask(message, ahead, end)
                message, ahead, ahead_bytes = [], 0, 0
        if message:
            results += self._ask(message, ahead, end)
        return results

    def monitor(self, key: str | bytes, watched: str | bytes, events: str) -> None:
        """Have events (letters of gpvw: get, put, view, wait) on `watched` (empty: on every key) put under `key`. Those
        not named end. Raises ConnectionLost."""
        if set(events) - set("gpvw"):
            raise UsageError(f"events are letters of gpvw, not {events!r}")
        self._send(wire.encode_monitor(self._key(key), as_key(watched), events), self._end(None))

    def dump(self, timeout_s: float | None = None) -> Any:
        """Counts, waits and values as a JSON document (see `dumps`). Servers of old do not know it."""
        return Value(b"JSON", self._frame(JSON_DUMP, timeout_s)).json()

    def dump_pickle(self, timeout_s: float | None = None) -> bytes:
        """The dump of old, undecoded: a pickle, which is not loaded here."""
        return self._frame(DUMP, timeout_s)

    def down(self) -> None:
        """Ask the server to end, and close."""
        self._send(DOWN, self._end(None))
        self.close()

    def _read(self, op: bytes, key: bytes, timeout_s: float | None) -> Value:
        end = self._end(timeout_s)
        self._send(wire.encode_keyed(op, key), end)
        self._decoder.expect(op)
        try:
            reply = self._reply(end)
        except DeadlinePassed:
            found = self._cancel()
            if found is None:
                raise
            reply = found
        except BaseException:  # an interrupt, say: the reply is still to come, and is for nobody
            self._drop()
            raise
        if reply is None:
            raise self._lost(f"no value came for {op!r}")
        return reply

    def _cancel(self) -> Value | None:
        """Give up the get or view under way; returns its value if that was on its way already."""
        if self.info.token is None:
            # A plain server may be of old and not know how to forget: the end of the connection makes it.
            self._drop()
            return None
        end = time.monotonic() + _CANCEL_S
        try:
            self._send(CANCEL, end)
            self._decoder.expect(CANCEL)
            found = self._reply(end)
            self._reply(end)
        except DeadlinePassed:
            self._drop()
            return None
        return found

    def _ask(self, message: list[bytes], count: int, end: float | None) -> list[Value | None]:
        self._send(b"".join(message), end)
        for _ in range(count):
            self._decoder.expect(TAKE)
        try:
            return [self._reply(end) for _ in range(count)]
        except BaseException:  # replies are still to come, and are for nobody
            self._drop()
            raise

    def _frame(self, op: bytes, timeout_s: float | None) -> bytes:
        end = self._end(timeout_s)
        self._send(op, end)
        self._decoder.expect(op)
        try:
            reply = self._reply(end)
        except DeadlinePassed:
            self._drop()
            raise
        except ConnectionLost as error:
            raise ConnectionLost(f"{error}; servers of old know no {op.decode()}") from error
        return b"" if reply is None else reply.data

    def _send(self, data: bytes, end: float | None) -> None:
        self.connect()
        assert self._sock is not None
        try:
            self._sock.settimeout(_left(end))
            self._sock.sendall(data)
        except TimeoutError as error:
            # Half a request may be out: nothing more can be said on this connection.
            self._drop()
            raise DeadlinePassed("the server did not read the request in time") from error
        except OSError as error:
            raise self._lost(str(error)) from error

    def _reply(self, end: float | None) -> Value | None:
        """The next reply. Raises DeadlinePassed, after which the connection is still good, and ConnectionLost."""
        while not self._replies:
            if self._sock is None:
                raise ConnectionLost("there is no connection")
            try:
                self._sock.settimeout(_left(end))
                data = self._sock.recv(_RECEIVE_BYTES)
            except TimeoutError as error:
                raise DeadlinePassed("no answer in time") from error
            except OSError as error:
                raise self._lost(str(error)) from error
            if not data:
                raise self._lost(_CLOSED if self._answered or self.info.token else _CLOSED + _WANTS_PROOF)
            self._answered = True
            try:
                self._replies = self._decoder.feed(data)
            except ProtocolError:
                self._drop()
                raise
            self._replies.reverse()
        return self._replies.pop()

    def _lost(self, reason: str) -> ConnectionLost:
        self._drop()
        return ConnectionLost(f"the connection to the server ended: {reason}")

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _end(self, timeout_s: float | None) -> float | None:
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        return None if timeout_s is None or timeout_s > _FOREVER_S else time.monotonic() + timeout_s

    def _key(self, key: str | bytes) -> bytes:
        found = as_key(key)
        if len(found) > self._limits.key_bytes:
            raise UsageError(f"a key has {self._limits.key_bytes} bytes at most, not {len(found)}")
        return found

    def _value(self, value: Value | str | bytes) -> Value:
        found = as_value(value)
        if len(found.data) > self._limits.value_bytes:
            raise UsageError(f"a value has {self._limits.value_bytes} bytes at most, not {len(found.data)}")
        return found


def resolve(where: Info | Address | str | os.PathLike[str] | None) -> Info:
    """What `Client` accepts, as an Info. Raises UsageError, MachineError."""
    if where is None:
        found = info_from_environment(os.environ)
        if found is None:
            raise UsageError(
                "no server given, and neither KVSSTCP_INFO nor KVSSTCP_HOST and KVSSTCP_PORT are set"
            )
        return found
    if isinstance(where, Info):
        return where
    if isinstance(where, tuple):
        return Info((where,))
    return info_from_argument(os.fspath(where))


def _left(end: float | None) -> float | None:
    """Seconds to the end; never quite zero, which would mean something else to a socket."""
    return None if end is None else max(end - time.monotonic(), 0.001)

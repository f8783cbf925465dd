"""The asyncio client: one connection, one waiting get or view at a time, puts that never block.

It does not reconnect by itself: who holds it learns of the end by `lost` and decides.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from kvsstcp import wire
from kvsstcp.auth import ClientHandshake
from kvsstcp.errors import ConnectionFailed, ConnectionLost, KvsError, ProtocolError, TlsFailure, UsageError
from kvsstcp.infofile import Address, format_address
from kvsstcp.limits import DEFAULT_LIMITS, Limits
from kvsstcp.values import Value
from kvsstcp.wire import CANCEL, CLOSE, GET, TAKE, VIEW

if TYPE_CHECKING:
    from kvsstcp.tls import TlsPipe

# One dead candidate must not hold up the others; nor should all be tried where the first one answers.
_NEXT_CANDIDATE_S = 0.25
# How long `close` waits for the server to have read everything.
_CLOSE_S = 5.0


class _Link(asyncio.Protocol):
    """The protocol side of a client: TLS, proof, then replies to whoever is due."""

    def __init__(self, token: bytes | None, certificate_pem: bytes | None, limits: Limits):
        loop = asyncio.get_running_loop()
        self.guarded = token is not None
        self._certificate_pem = certificate_pem
        self._tls, self._handshake = _guards(token, certificate_pem)
        self._decoder = wire.ReplyDecoder(limits)
        self._due: deque[asyncio.Future[Value | None]] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._error: KvsError | None = None
        self.transport: asyncio.Transport | None = None
        self.proven: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[str] = loop.create_future()
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._tls is not None:
            self._tls.start()
            self.transport.write(self._tls.outgoing())
        elif self._handshake is not None:
            self.transport.write(self._handshake.hello)
        else:
            self.proven.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            if self._tls is not None:
                data = self._decrypt(data)
            if self._handshake is not None and data:
                data = self._prove(data)
            if data:
                for reply in self._decoder.feed(data):
                    future = self._due.popleft()
                    if not future.done():
                        future.set_result(reply)
            if self._tls is not None and self._tls.ended and self.transport is not None:
                self.transport.close()
        except ProtocolError as error:
            self._error = error
            if self.transport is not None:
                self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        reason = str(self._error or error or "the server closed the connection")
        failure = self._error or ConnectionLost(f"the connection ended: {reason}")
        for future in self._due:
            if not future.done():
                future.set_exception(failure)
        self._due.clear()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if not self.proven.done():
            self.proven.set_exception(failure)
        if not self.lost.done():
            self.lost.set_result(reason)

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def write(self, data: bytes) -> None:
        """Raises ConnectionLost."""
        if self.ended or self.transport is None or self.transport.is_closing():
            raise ConnectionLost("the connection to the server has ended")
        if self._tls is not None:
            self._tls.send(data)
            data = self._tls.outgoing()
        self.transport.write(data)

    def ask(self, op: bytes, data: bytes) -> "asyncio.Future[Value | None]":
        """Send a request; the future gets the reply. Raises ConnectionLost."""
        self.write(data)
        self._decoder.expect(op)
        future: asyncio.Future[Value | None] = asyncio.get_running_loop().create_future()
        self._due.append(future)
        return future

    async def drain(self) -> None:
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def _decrypt(self, data: bytes) -> bytes:
        tls = self._tls
        assert tls is not None and self.transport is not None
        was_ready = tls.ready
        data = tls.receive(data)
        if tls.ready and not was_ready:
            self._check_certificate()
            assert self._handshake is not None
            tls.send(self._handshake.hello)
        answer = tls.outgoing()
        if answer:
            self.transport.write(answer)
        return data

    def _check_certificate(self) -> None:
        from kvsstcp.auth import certificate_der

        assert self._tls is not None and self._certificate_pem is not None
        if self._tls.peer_certificate() != certificate_der(self._certificate_pem):
            raise TlsFailure("the server shows another certificate than the info file")

    def _prove(self, data: bytes) -> bytes:
        handshake = self._handshake
        assert handshake is not None
        answer = handshake.feed(data)
        if answer:
            self.write(answer)
        if handshake.done:
            self._handshake = None
            if not self.proven.done():
                self.proven.set_result(None)
        return handshake.rest


def _guards(
    token: bytes | None, certificate_pem: bytes | None
) -> "tuple[TlsPipe | None, ClientHandshake | None]":
    """What stands before the first request: TLS, proof. Raises UsageError."""
    if certificate_pem is None:
        return None, None if token is None else ClientHandshake(token)
    if token is None:
        raise UsageError("a certificate needs a token beside it")
    from kvsstcp.auth import certificate_binding, client_context
    from kvsstcp.tls import TlsPipe

    pipe = TlsPipe(client_context(certificate_pem), server_side=False)
    return pipe, ClientHandshake(token, certificate_binding(certificate_pem))


class AsyncClient:
    """Made by `connect`. `lost` is a future that gets the reason as text when the connection ends, for whatever reason
    (shield it where it is awaited with a timeout)."""

    def __init__(self, link: _Link):
        self._link = link
        self._reading = False
        self._abandoned: tuple[tuple[bytes, bytes], asyncio.Future[Value | None]] | None = None
        self._kept: dict[tuple[bytes, bytes], deque[Value]] = {}
        self.lost = link.lost
        assert link.transport is not None
        self.local_address: Address = link.transport.get_extra_info("sockname")[:2]
        self.peer_address: Address = link.transport.get_extra_info("peername")[:2]

    @classmethod
    async def connect(
        cls,
        addresses: Sequence[Address],
        *,
        token: bytes | None = None,
        certificate_pem: bytes | None = None,
        timeout_s: float = 30,
        limits: Limits = DEFAULT_LIMITS,
    ) -> "AsyncClient":
        """Connect to the first candidate that proves itself; each next one is tried a quarter of a second after the one
        before, or when all before have failed. Raises ConnectionFailed, naming every candidate and its reason."""
        if not addresses:
            raise UsageError("no address to connect to")
        _guards(token, certificate_pem)
        race = _Race(token, certificate_pem, limits)
        return cls(await race.run(list(dict.fromkeys(addresses)), timeout_s))

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._link.ended

    def put(self, key: bytes, value: Value) -> None:
        """Queued, never blocks; `drain` waits where that matters. Raises ConnectionLost."""
        self._link.write(wire.encode_put(key, value))

    async def get(self, key: bytes) -> Value:
        """The oldest value of `key`, removed, once there is one. One get or view at a time: a second raises
        UsageError. When it is cancelled, a value that had already been sent is kept for the next get of the same key.
        Raises ConnectionLost."""
        return await self._read(GET, key)

    async def view(self, key: bytes) -> Value:
        """The newest value of `key`, which stays, once there is one. As for get."""
        return await self._read(VIEW, key)

    async def take(self, key: bytes) -> Value | None:
        """The oldest value, removed, or None, at once. Not known to servers of old. Raises ConnectionLost."""
        return await asyncio.shield(self._link.ask(TAKE, wire.encode_keyed(TAKE, key)))

    def monitor(self, key: bytes, watched: bytes, events: str) -> None:
        """Have EVENTS (letters of gpvw) on `watched` (empty: every key) put under `key`. Raises ConnectionLost."""
        self._link.write(wire.encode_monitor(key, watched, events))

    async def drain(self) -> None:
        """Wait until the backlog of puts is small. Returns also when the connection ends."""
        await self._link.drain()

    async def close(self) -> None:
        """Send what was put, say goodbye, wait (some seconds at most) until the server has taken it."""
        link = self._link
        if link.ended or link.transport is None:
            return
        try:
            link.write(CLOSE)
            await asyncio.wait_for(asyncio.shield(link.lost), _CLOSE_S)
        except (ConnectionLost, TimeoutError):
            link.transport.abort()
            await asyncio.shield(link.lost)

    def abort(self) -> None:
        """End at once; what was put may be lost."""
        if self._link.transport is not None:
            self._link.transport.abort()

    async def _read(self, op: bytes, key: bytes) -> Value:
        if self._reading:
            raise UsageError("a get or view waits already on this connection")
        kept = self._kept.get((op, key))
        if kept:
            value = kept.popleft()
            if not kept:
                del self._kept[op, key]
            return value
        if self._abandoned is None:
            waiting = self._link.ask(op, wire.encode_keyed(op, key))
        elif self._abandoned[0] == (op, key):
            waiting = self._abandoned[1]
        else:
            raise UsageError(
                f"{self._abandoned[0]} was cancelled and still waits: a plain server cannot be told"
            )
        self._reading, self._abandoned = True, None
        try:
            reply = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            self._abandon(op, key, waiting)
            raise
        finally:
            self._reading = False
        if reply is None:
            raise ConnectionLost("the server forgot a request that was not cancelled")
        return reply

    def _abandon(self, op: bytes, key: bytes, waiting: "asyncio.Future[Value | None]") -> None:
        """The caller was cancelled. A get whose value is on its way must not lose it."""
        if self._link.ended:
            _retrieve(waiting)
        elif self._link.guarded and not waiting.done():
            waiting.add_done_callback(lambda done: self._keep(op, key, done))
            self._link.ask(CANCEL, CANCEL).add_done_callback(_retrieve)
        elif self._link.guarded:
            self._keep(op, key, waiting)
        else:
            # A server of old knows no cancel. Whoever asks for the same again takes this over.
            self._abandoned = ((op, key), waiting)

    def _keep(self, op: bytes, key: bytes, done: "asyncio.Future[Value | None]") -> None:
        if done.cancelled() or done.exception() is not None:
            return
        value = done.result()
        if value is not None and op == GET:
            self._kept.setdefault((op, key), deque()).append(value)


def _retrieve(done: "asyncio.Future[Value | None]") -> None:
    """Nobody waits for this any more: its failure is not news."""
    if done.done() and not done.cancelled():
        done.exception()


class _Race:
    """Several candidates, staggered; the first that proves itself wins and the others are dropped."""

    def __init__(self, token: bytes | None, certificate_pem: bytes | None, limits: Limits):
        self._guards = (token, certificate_pem, limits)
        self._failed: dict[Address, str] = {}
        self._tasks: dict[asyncio.Task[_Link], Address] = {}

    async def run(self, addresses: list[Address], timeout_s: float) -> _Link:
        """Raises ConnectionFailed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        waiting = list(addresses)
        try:
            while waiting or self._tasks:
                if waiting:
                    address = waiting.pop(0)
                    self._tasks[loop.create_task(self._try(address))] = address
                wait_s = end - loop.time()
                if wait_s <= 0:
                    break
                step_s = min(wait_s, _NEXT_CANDIDATE_S) if waiting else wait_s
                winner = await self._step(step_s)
                if winner is not None:
                    return winner
        finally:
            await self._drop()
        for address in addresses:
            self._failed.setdefault(address, f"no answer within {timeout_s:g} s")
        tried = "; ".join(f"{format_address(address)}: {self._failed[address]}" for address in addresses)
        raise ConnectionFailed(f"no server reached: {tried}")

    async def _step(self, wait_s: float) -> _Link | None:
        done, _ = await asyncio.wait(self._tasks, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        winner = None
        for task in done:
            address = self._tasks.pop(task)
            error = task.exception()
            if error is None and winner is None:
                winner = task.result()
            elif error is None:
                _abort(task.result())
            elif isinstance(error, OSError | KvsError):
                self._failed[address] = str(error)
            else:
                raise error
        return winner

    async def _try(self, address: Address) -> _Link:
        loop = asyncio.get_running_loop()
        link = _Link(*self._guards)
        try:
            await loop.create_connection(lambda: link, *address)
            await link.proven
        except BaseException:
            link.proven.cancel()
            _abort(link)
            raise
        return link

    async def _drop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in list(self._tasks):
            try:
                _abort(await task)
            except (OSError, KvsError, asyncio.CancelledError):
                pass
        self._tasks.clear()


def _abort(link: _Link) -> None:
    if link.transport is not None:
        link.transport.abort()

"""The asyncio side of one client connection: TLS and proof, then replies to the futures that wait for them.

What may be asked, and how candidates are tried, belongs to `aclient`.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

from kvsstcp import wire
from kvsstcp.auth import ClientHandshake
from kvsstcp.errors import ConnectionLost, KvsError, ProtocolError, TlsFailure, UsageError
from kvsstcp.limits import Limits
from kvsstcp.sockets import reason, tune
from kvsstcp.values import Value

if TYPE_CHECKING:
    from kvsstcp.tls import TlsPipe


def make_guards(
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


class Link(asyncio.Protocol):
    """The protocol side of a client: TLS, proof, then replies to whoever is due."""

    def __init__(self, token: bytes | None, certificate_pem: bytes | None, limits: Limits):
        loop = asyncio.get_running_loop()
        self.guarded = token is not None
        self._limits = limits
        self._certificate_pem = certificate_pem
        self._tls, self._handshake = make_guards(token, certificate_pem)
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
        try:
            self._greet(self.transport)
        except (OSError, KvsError) as error:
            # the loop would only log it, and the caller wait for a proof that was not asked for
            self._error = ConnectionLost(f"the connection ended as soon as it was made: {reason(error)}")
            self.transport.abort()

    def _greet(self, transport: asyncio.Transport) -> None:
        if not (transport.get_extra_info("peername") and transport.get_extra_info("sockname")):
            raise ConnectionLost("the server has closed it")
        tune(transport.get_extra_info("socket"), self._limits)
        if self._tls is not None:
            self._tls.start()
            transport.write(self._tls.outgoing())
        elif self._handshake is not None:
            transport.write(self._handshake.hello)
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
            data = self._tls.seal(data)
        try:
            self.transport.write(data)
        except OSError as error:
            # it may have been sent in part
            self.transport.abort()
            raise ConnectionLost(f"the connection cannot be written to: {reason(error)}") from error

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
            hello = self._handshake.hello
            self.transport.write(tls.outgoing() + tls.seal(hello))
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

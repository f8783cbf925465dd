"""TLS without a socket: ciphertext in, plaintext out, and the other way round. For the asyncio server and client.

The event loop's own TLS layer keeps a quarter of a megabyte for each connection; this one keeps what OpenSSL does.
"""

import ssl

from kvsstcp.errors import TlsFailure

# OpenSSL's buffers grow to what is written into them at once and never shrink: one record's worth at a time.
_SLICE = 16_384

# The type of a client's first record (RFC 8446, section 5.1).
_HANDSHAKE_RECORD = 0x16


class TlsPipe:
    """One connection. After each `receive`, what `outgoing` returns has to be sent to the peer."""

    __slots__ = (
        "_first",
        "_in",
        "_object",
        "_read",
        "_read_out",
        "_write",
        "_write_in",
        "ended",
        "out",
        "ready",
    )

    def __init__(self, context: ssl.SSLContext, server_side: bool):
        self._in = ssl.MemoryBIO()
        self._write_in = self._in.write
        self.out = ssl.MemoryBIO()
        """Ciphertext that waits for `outgoing`: to be asked for its `pending`, which is cheaper than a call."""
        self._read_out = self.out.read
        self._object = context.wrap_bio(self._in, self.out, server_side=server_side)
        # The methods of SSLObject only pass on to those of this one. That frame more is felt with each record.
        inner = getattr(self._object, "_sslobj", self._object)
        self._read = inner.read
        self._write = inner.write
        self._first = server_side
        self.ready = False
        self.ended = False

    def start(self) -> None:
        """Let the client's side say its first word."""
        self._handshake()

    def receive(self, data: bytes | memoryview) -> bytes:
        """Decrypt. Sets `ready` once the handshake is done, `ended` when the peer closed in order. Raises
        TlsFailure."""
        if len(data) > _SLICE:
            whole = memoryview(data)
            return b"".join([self.receive(whole[at : at + _SLICE]) for at in range(0, len(data), _SLICE)])
        if self.ready:
            self._write_in(data)
        elif not self._greet(data):
            return b""
        incoming, chunk = self._in, b""
        try:
            # No record is longer than what is asked for, so that nothing stays behind inside OpenSSL: the first may have
            # begun there with earlier pieces, of the next ones all that has come still waits outside.
            chunk = self._read(_SLICE)
            while chunk and incoming.pending:
                more = self._read(incoming.pending)
                chunk += more
                if not more:
                    self.ended = True
                    break
            if not chunk:
                self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise TlsFailure(f"cannot decrypt: {_reason(error)}") from error
        return chunk

    def seal(self, data: bytes) -> bytes:
        """Encrypt; returns the ciphertext, which has to be sent. Raises TlsFailure."""
        try:
            if len(data) <= _SLICE:
                self._write(data)
                return self._read_out()
            sealed, rest = [], memoryview(data)
            while rest:
                rest = rest[self._write(rest[:_SLICE]) :]
                sealed.append(self._read_out())
            return b"".join(sealed)
        except ssl.SSLError as error:
            raise TlsFailure(f"cannot encrypt: {_reason(error)}") from error

    def outgoing(self) -> bytes:
        """What the layer itself has to say to the peer: its part of the handshake, alerts, the goodbye."""
        return self._read_out() if self.out.pending else b""

    def peer_certificate(self) -> bytes:
        """The peer's certificate, DER; empty when it showed none."""
        return self._object.getpeercert(binary_form=True) or b""

    def close(self) -> None:
        """Say goodbye, as far as that is possible; the peer's goodbye is not waited for."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # It wants the peer's answer, or the handshake never ended: our part is written or void.

    def _greet(self, data: bytes | memoryview) -> bool:
        """Go on with the handshake. Returns whether it is done."""
        if self._first:
            # OpenSSL waits for five bytes before it looks at one; a client of old may send four and wait, too.
            if data[0] != _HANDSHAKE_RECORD:
                raise TlsFailure("the peer does not speak TLS")
            self._first = False
        self._write_in(data)
        self._handshake()
        return self.ready

    def _handshake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise TlsFailure(f"no TLS handshake: {_reason(error)}") from error
        self.ready = True


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()

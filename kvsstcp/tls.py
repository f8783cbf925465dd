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
    """One connection. After each `receive` and `send`, what `outgoing` returns has to be sent to the peer."""

    __slots__ = ("_first", "_in", "_object", "_out", "_sealed", "ended", "ready")

    def __init__(self, context: ssl.SSLContext, server_side: bool):
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side=server_side)
        self._sealed: list[bytes] = []
        self._first = server_side
        self.ready = False
        self.ended = False

    def start(self) -> None:
        """Let the client's side say its first word."""
        self._handshake()

    def receive(self, data: bytes | memoryview) -> bytes:
        """Decrypt. Sets `ready` once the handshake is done, `ended` when the peer closed in order. Raises
        TlsFailure."""
        if self._first:
            # OpenSSL waits for five bytes before it looks at one; a client of old may send four and wait, too.
            if data[0] != _HANDSHAKE_RECORD:
                raise TlsFailure("the peer does not speak TLS")
            self._first = False
        if len(data) <= _SLICE:
            return self._receive_slice(data)
        whole = memoryview(data)
        return b"".join(self._receive_slice(whole[at : at + _SLICE]) for at in range(0, len(data), _SLICE))

    def send(self, data: bytes) -> None:
        """Encrypt. Raises TlsFailure."""
        rest = memoryview(data)
        try:
            while rest:
                written = self._object.write(rest[:_SLICE])
                rest = rest[written:]
                self._sealed.append(self._out.read())
        except ssl.SSLError as error:
            raise TlsFailure(f"cannot encrypt: {_reason(error)}") from error

    def outgoing(self) -> bytes:
        """Ciphertext that waits to be sent."""
        if self._out.pending:
            self._sealed.append(self._out.read())
        if len(self._sealed) == 1:
            data = self._sealed[0]
        else:
            data = b"".join(self._sealed)
        self._sealed.clear()
        return data

    def peer_certificate(self) -> bytes:
        """The peer's certificate, DER; empty when it showed none."""
        return self._object.getpeercert(binary_form=True) or b""

    def close(self) -> None:
        """Say goodbye, as far as that is possible; the peer's goodbye is not waited for."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # It wants the peer's answer, or the handshake never ended: our part is written or void.

    def _receive_slice(self, data: bytes | memoryview) -> bytes:
        self._in.write(data)
        if not self.ready:
            self._handshake()
            if not self.ready:
                return b""
        chunks = []
        read = self._object.read
        try:
            while True:
                chunk = read(_SLICE)
                if not chunk:
                    self.ended = True
                    break
                chunks.append(chunk)
                if not self._in.pending and not self._object.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise TlsFailure(f"cannot decrypt: {_reason(error)}") from error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

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

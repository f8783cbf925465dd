"""Connecting with a blocking socket: candidates one after the other, TLS, proof. Requests belong to `client`."""

import socket
import time
from typing import TYPE_CHECKING

from kvsstcp.auth import (
    NO_BINDING,
    ClientHandshake,
    certificate_binding,
    certificate_der,
    client_context,
)
from kvsstcp.errors import ConnectionFailed, KvsError, ProofFailed, TlsFailure, UsageError
from kvsstcp.infofile import Address, Info, format_address
from kvsstcp.limits import DEFAULT_LIMITS, Limits
from kvsstcp.sockets import reason, tune

if TYPE_CHECKING:
    import ssl

# A candidate that does not answer at all (a firewall) must leave time for the others.
_CANDIDATE_S = 10.0


def dial(info: Info, timeout_s: float, limits: Limits = DEFAULT_LIMITS) -> tuple[socket.socket, bytes]:
    """A connection to the first candidate that proves itself, and bytes that it sent behind its proof. Raises
    ConnectionFailed, which names every candidate and its reason, and UsageError."""
    if info.certificate_pem is not None and info.token is None:
        raise UsageError("a certificate needs a token beside it")
    context = None if info.certificate_pem is None else client_context(info.certificate_pem)
    end = time.monotonic() + timeout_s
    failed = []
    for index, address in enumerate(info.addresses):
        left_s = end - time.monotonic()
        if left_s <= 0:
            failed.append(f"{format_address(address)}: no time left")
            continue
        share_s = left_s if index == len(info.addresses) - 1 else min(_CANDIDATE_S, left_s / 2)
        try:
            return _try(address, info, context, share_s, limits)
        except (OSError, KvsError) as error:
            failed.append(f"{format_address(address)}: {reason(error)}")
    raise ConnectionFailed(f"no server reached: {'; '.join(failed)}")


def _try(
    address: Address, info: Info, context: "ssl.SSLContext | None", timeout_s: float, limits: Limits
) -> tuple[socket.socket, bytes]:
    sock = socket.create_connection(address, timeout_s)
    try:
        tune(sock, limits)
        if context is not None and info.certificate_pem is not None:
            sock = _secure(sock, info.certificate_pem, context)
        rest = b"" if info.token is None else _prove(sock, info.token, info.certificate_pem)
    except BaseException:
        sock.close()
        raise
    return sock, rest


def _secure(sock: socket.socket, certificate_pem: bytes, context: "ssl.SSLContext") -> socket.socket:
    import ssl

    try:
        secure = context.wrap_socket(sock)
    except ssl.SSLError as error:
        hint = (
            " (is it a plain server?)" if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) else ""
        )
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise TlsFailure(f"no TLS handshake: {reason}{hint}") from error
    if secure.getpeercert(binary_form=True) != certificate_der(certificate_pem):
        secure.close()
        raise TlsFailure("the server shows another certificate than the info file")
    return secure


def _prove(sock: socket.socket, token: bytes, certificate_pem: bytes | None) -> bytes:
    binding = NO_BINDING if certificate_pem is None else certificate_binding(certificate_pem)
    handshake = ClientHandshake(token, binding)
    sock.sendall(handshake.hello)
    while not handshake.done:
        data = sock.recv(4096)
        if not data:
            raise ProofFailed("the server closed the connection instead of proving the token")
        answer = handshake.feed(data)
        if answer:
            sock.sendall(answer)
    return handshake.rest

"""Who may speak: the mutual proof of the token, what a failed proof costs, certificates and TLS contexts.

The proof, after TLS where there is any. Nonces are 32 random bytes, TOKEN 32 random bytes that both sides have read from
the info file, BINDING the SHA-256 of the server's certificate (32 zero bytes without TLS):

    client:  aut1 CLIENT_NONCE
    server:  aut1 SERVER_NONCE HMAC-SHA256(TOKEN, "kvsstcp 1 server" CLIENT_NONCE SERVER_NONCE BINDING)
    client:  prov HMAC-SHA256(TOKEN, "kvsstcp 1 client" CLIENT_NONCE SERVER_NONCE BINDING)
    server:  okay

The labels keep either proof from being played back as the other. The binding makes a proof worthless to somebody in the
middle, who has to show a certificate of his own. No IO belongs here, except that a TLS context must read its key from
a file (one in memory).
"""

import hmac
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from kvsstcp.errors import NotProven, ProofFailed, UsageError
from kvsstcp.infofile import TOKEN_BYTES
from kvsstcp.limits import DEFAULT_LIMITS, Limits
from kvsstcp.wire import AUTH, OKAY, PROVE

if TYPE_CHECKING:
    import ssl

NONCE_BYTES = 32
PROOF_BYTES = 32
NO_BINDING = bytes(32)

_SERVER_LABEL = b"kvsstcp 1 server"
_CLIENT_LABEL = b"kvsstcp 1 client"


class Certificate(NamedTuple):
    """A certificate and its private key, both PEM. The key stays in the server's process."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "Certificate(…)"


def make_token() -> bytes:
    """256 random bits."""
    return os.urandom(TOKEN_BYTES)


def proof(token: bytes, label: bytes, client_nonce: bytes, server_nonce: bytes, binding: bytes) -> bytes:
    """All parts have a fixed length, so that no two different sets of them look the same when joined."""
    return hmac.digest(token, label + client_nonce + server_nonce + binding, "sha256")


class ServerHandshake:
    """The server's part. Feed it what comes until `done`; then `rest` is what the client sent behind its proof."""

    __slots__ = ("_binding", "_expected", "_held", "_token", "done", "rest")

    def __init__(self, token: bytes, binding: bytes = NO_BINDING):
        self._token = token
        self._binding = binding
        self._expected = b""
        self._held = b""
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Returns what to send. Raises NotProven for any other operation, ProofFailed for a wrong proof."""
        self._held += data
        answer = b""
        if not self._expected:
            if not _starts_as(self._held, AUTH):
                raise NotProven(f"wanted {self._held[:4]!r} before the proof of the token")
            if len(self._held) < 4 + NONCE_BYTES:
                return b""
            answer = self._greet(self._held[4 : 4 + NONCE_BYTES])
            self._held = self._held[4 + NONCE_BYTES :]
        if not _starts_as(self._held, PROVE):
            raise NotProven(f"wanted {self._held[:4]!r} before the proof of the token")
        if len(self._held) < 4 + PROOF_BYTES:
            return answer
        if not hmac.compare_digest(self._held[4 : 4 + PROOF_BYTES], self._expected):
            raise ProofFailed("a wrong proof of the token")
        self.rest = self._held[4 + PROOF_BYTES :]
        self.done = True
        return answer + OKAY

    def _greet(self, client_nonce: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        self._expected = proof(self._token, _CLIENT_LABEL, client_nonce, nonce, self._binding)
        return AUTH + nonce + proof(self._token, _SERVER_LABEL, client_nonce, nonce, self._binding)


class ClientHandshake:
    """The client's part: send `hello`, feed it what comes, send what it returns, until `done`."""

    __slots__ = ("_binding", "_held", "_nonce", "_proven", "_token", "done", "rest")

    def __init__(self, token: bytes, binding: bytes = NO_BINDING):
        self._token = token
        self._binding = binding
        self._nonce = os.urandom(NONCE_BYTES)
        self._held = b""
        self._proven = False
        self.done = False
        self.rest = b""

    @property
    def hello(self) -> bytes:
        return AUTH + self._nonce

    def feed(self, data: bytes) -> bytes:
        """Returns what to send. Raises ProofFailed when the server does not know the token."""
        self._held += data
        answer = b""
        if not self._proven:
            if not _starts_as(self._held, AUTH):
                raise ProofFailed(
                    "the server does not answer the handshake; is it a kvsstcp server with a token?"
                )
            if len(self._held) < 4 + NONCE_BYTES + PROOF_BYTES:
                return b""
            server_nonce = self._held[4 : 4 + NONCE_BYTES]
            shown = self._held[4 + NONCE_BYTES : 4 + NONCE_BYTES + PROOF_BYTES]
            expected = proof(self._token, _SERVER_LABEL, self._nonce, server_nonce, self._binding)
            if not hmac.compare_digest(shown, expected):
                raise ProofFailed("the server has another token; is the info file from this run?")
            answer = PROVE + proof(self._token, _CLIENT_LABEL, self._nonce, server_nonce, self._binding)
            self._held = self._held[4 + NONCE_BYTES + PROOF_BYTES :]
            self._proven = True
        if not _starts_as(self._held, OKAY):
            raise ProofFailed("the server did not accept the proof of the token")
        if len(self._held) >= len(OKAY):
            self.rest = self._held[len(OKAY) :]
            self.done = True
        return answer


def _starts_as(held: bytes, word: bytes) -> bool:
    """Whether what is held, as far as it goes, is the word."""
    return held[: len(word)] == word[: len(held)]


class Failures:
    """How long to leave a failed connection of an address without an end. Pure: the time is handed in."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS):
        self._limits = limits
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def failed(self, address: str, now_s: float) -> tuple[int, float]:
        """Count one failure. Returns how many there were lately, and the delay in seconds."""
        limits = self._limits
        count, last_s = self._seen.pop(address, (0, now_s))
        count = 1 if now_s - last_s > limits.failed_forget_s else count + 1
        self._seen[address] = (count, now_s)
        if len(self._seen) > limits.failed_addresses:
            self._seen.popitem(last=False)
        return count, min(limits.failed_delay_s * 2.0 ** min(count - 1, 30), limits.failed_delay_max_s)


def make_certificate(name: str = "kvsstcp", days: int = 3650) -> Certificate:
    """A new P-256 key and a certificate that it signs itself: 20 ms of CPU after 100 ms of imports.

    It is valid from a day ago, for ten years: who is who is decided by comparing the whole certificate, and neither
    a node's wrong clock nor a long run should get in the way.
    """
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificate(certificate.public_bytes(pem), private)


def certificate_binding(certificate_pem: bytes) -> bytes:
    """SHA-256 of the certificate's DER form. Raises UsageError when it is no PEM certificate."""
    import hashlib

    return hashlib.sha256(certificate_der(certificate_pem)).digest()


def certificate_der(certificate_pem: bytes) -> bytes:
    """The DER form. Raises UsageError when it is no PEM certificate."""
    import ssl

    try:
        return ssl.PEM_cert_to_DER_cert(certificate_pem.decode("ascii"))
    except ValueError as error:
        raise UsageError(f"not a certificate in PEM form: {error}") from error


def server_context(certificate: Certificate) -> "ssl.SSLContext":
    """TLS 1.3 only; no session tickets, which would cost two messages and memory for each connection."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    # OpenSSL wants a file. This one has no name on any disk and is gone when it is closed.
    descriptor = os.memfd_create("kvsstcp")
    try:
        os.write(descriptor, certificate.key_pem + certificate.certificate_pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


def client_context(certificate_pem: bytes) -> "ssl.SSLContext":
    """Trusts this one certificate. The caller compares what the server shows with it, too (`pinned`)."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The name in the certificate says nothing: the run is reached by whatever address works.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=certificate_pem.decode("ascii"))
    except (ValueError, ssl.SSLError) as error:
        raise UsageError(f"not a certificate in PEM form: {error}") from error
    return context

"""The mutual proof, cut anywhere, and everything that must not pass for one; delays; certificates."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsstcp import auth
from kvsstcp.errors import NotProven, ProofFailed, TlsFailure, UsageError
from kvsstcp.limits import Limits
from kvsstcp.tls import TlsPipe

TOKEN = bytes(range(32))


def talk(client: auth.ClientHandshake, server: auth.ServerHandshake, step: int = 1000) -> None:
    to_server, to_client = client.hello, b""
    while to_server or to_client:
        piece, to_server = to_server[:step], to_server[step:]
        if piece:
            to_client += server.feed(piece)
        piece, to_client = to_client[:step], to_client[step:]
        if piece:
            to_server += client.feed(piece)


@settings(deadline=None)
@given(st.integers(1, 120))
def test_both_sides_prove_themselves(step: int) -> None:
    client, server = auth.ClientHandshake(TOKEN), auth.ServerHandshake(TOKEN)
    talk(client, server, step)
    assert client.done and server.done and client.rest == server.rest == b""


def test_requests_behind_the_proof_are_kept() -> None:
    client, server = auth.ClientHandshake(TOKEN), auth.ServerHandshake(TOKEN)
    proof = client.feed(server.feed(client.hello))
    assert server.feed(proof + b"clos") == b"okay" and server.rest == b"clos"


@pytest.mark.parametrize("token, binding", [(b"x" * 32, auth.NO_BINDING), (TOKEN, b"y" * 32)])
def test_another_token_or_another_certificate(token: bytes, binding: bytes) -> None:
    with pytest.raises(ProofFailed):
        talk(auth.ClientHandshake(token, binding), auth.ServerHandshake(TOKEN))


def test_a_client_that_guesses() -> None:
    server = auth.ServerHandshake(TOKEN)
    server.feed(auth.AUTH + bytes(32))
    with pytest.raises(ProofFailed):
        server.feed(auth.PROVE + bytes(32))
    assert not server.done


def test_the_servers_proof_played_back_is_no_clients_proof() -> None:
    server = auth.ServerHandshake(TOKEN)
    shown = server.feed(auth.AUTH + bytes(32))
    with pytest.raises(ProofFailed):
        server.feed(auth.PROVE + shown[-32:])


@pytest.mark.parametrize(
    "data", [b"put_", b"x", b"\x16\x03\x01", b"autx", b"down", b"aut1" + bytes(32) + b"get_"]
)
def test_nothing_else_is_heard_before_the_proof(data: bytes) -> None:
    with pytest.raises(NotProven):
        auth.ServerHandshake(TOKEN).feed(data)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_no_bytes_pass_for_a_proof(data: bytes) -> None:
    server = auth.ServerHandshake(TOKEN)
    try:
        server.feed(data)
    except (NotProven, ProofFailed):
        pass
    assert not server.done and server.rest == b""


@pytest.mark.parametrize("answer", [b"ASTR", b"HTTP/1.1 400", b"aut1" + bytes(64)])
def test_a_server_that_cannot_prove_itself(answer: bytes) -> None:
    with pytest.raises(ProofFailed):
        auth.ClientHandshake(TOKEN).feed(answer)


def test_delays_grow_are_bounded_and_forgotten() -> None:
    limits = Limits(failed_delay_s=0.25, failed_delay_max_s=2.0, failed_forget_s=60.0, failed_addresses=2)
    failures = auth.Failures(limits)
    assert [failures.failed("a", 0.0) for _ in range(5)] == [
        (1, 0.25),
        (2, 0.5),
        (3, 1.0),
        (4, 2.0),
        (5, 2.0),
    ]
    assert failures.failed("b", 0.0) == (1, 0.25), "one address's failures are not another's"
    assert failures.failed("a", 61.0) == (1, 0.25)
    failures.failed("c", 61.0)
    assert failures.failed("b", 61.0) == (1, 0.25), "the oldest address was forgotten"


def pump(client: TlsPipe, server: TlsPipe) -> tuple[bytes, bytes]:
    at_client = at_server = b""
    while True:
        up, down = client.outgoing(), server.outgoing()
        if not up and not down:
            return at_client, at_server
        if up:
            at_server += server.receive(up)
        if down:
            at_client += client.receive(down)


@pytest.fixture(scope="module")
def certificate() -> auth.Certificate:
    return auth.make_certificate()


def test_tls_carries_large_and_small(certificate: auth.Certificate) -> None:
    client = TlsPipe(auth.client_context(certificate.certificate_pem), server_side=False)
    server = TlsPipe(auth.server_context(certificate), server_side=True)
    client.start()
    pump(client, server)
    assert client.ready and server.ready
    assert client.peer_certificate() == auth.certificate_der(certificate.certificate_pem)
    assert server.receive(client.seal(b"x" * 100_000)) == b"x" * 100_000
    assert client.receive(server.seal(b"y") + server.seal(b"z")) == b"yz"
    assert client.seal(b"") == b""
    client.close()
    pump(client, server)
    assert server.ended


def test_another_certificate_is_not_trusted(certificate: auth.Certificate) -> None:
    client = TlsPipe(auth.client_context(auth.make_certificate().certificate_pem), server_side=False)
    server = TlsPipe(auth.server_context(certificate), server_side=True)
    client.start()
    with pytest.raises(TlsFailure):
        pump(client, server)


def test_only_tls_1_3(certificate: auth.Certificate) -> None:
    import ssl

    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode, old.maximum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_2
    client, server = (
        TlsPipe(old, server_side=False),
        TlsPipe(auth.server_context(certificate), server_side=True),
    )
    client.start()
    with pytest.raises(TlsFailure):
        pump(client, server)


def test_no_secret_in_a_repr(certificate: auth.Certificate) -> None:
    assert "PRIVATE" not in repr(certificate)


def test_damaged_certificates_are_the_callers_mistake() -> None:
    with pytest.raises(UsageError):
        auth.client_context(b"nonsense")
    with pytest.raises(UsageError):
        auth.certificate_binding(b"nonsense")

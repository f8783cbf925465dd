"""Strangers, liars and the careless against a real server on real sockets: each is cut off, nobody else notices."""

import asyncio
import contextlib
import logging
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from kvsstcp import wire
from kvsstcp.aclient import AsyncClient
from kvsstcp.auth import Certificate, make_certificate
from kvsstcp.errors import ConnectionFailed
from kvsstcp.limits import Limits
from kvsstcp.server import Server
from kvsstcp.values import Value

TOKEN = bytes(range(32))
VALUE = Value(b"ASTR", b"x" * 100)
QUICK = Limits(failed_delay_s=0.01, failed_delay_max_s=0.05, close_flush_s=0.5)


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return make_certificate()


@contextlib.asynccontextmanager
async def serving(
    limits: Limits = QUICK, token: bytes | None = None, certificate: Certificate | None = None
) -> AsyncIterator[tuple[Server, tuple[str, int]]]:
    server = Server(token=token, certificate=certificate, limits=limits)
    sock = socket.create_server(("127.0.0.1", 0))
    await server.serve(sock)
    try:
        yield server, sock.getsockname()
    finally:
        await server.close()
        assert server.connection_count == 0 and server.held_bytes == 0


async def until(condition: Callable[[], bool], what: str, deadline_s: float = 20.0) -> None:
    end = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"waited in vain for: {what}"
        await asyncio.sleep(0.005)


async def still_serves(address: tuple[str, int], **secrets: bytes) -> None:
    """A put and a get by an honest client, quickly."""
    async with asyncio.timeout(10):
        client = await AsyncClient.connect([address], **secrets)
        client.put(b"honest", VALUE)
        assert await client.get(b"honest") == VALUE
        await client.close()


class Stranger:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer

    @classmethod
    async def come(cls, address: tuple[str, int]) -> "Stranger":
        return cls(*await asyncio.open_connection(*address))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def is_cut_off(self) -> bytes:
        """What came before the end."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""
            finally:
                self.writer.close()

    async def vanish(self, reset: bool = False) -> None:
        if reset:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def test_ten_gigabytes_announced_allocate_nothing(caplog: pytest.LogCaptureFixture) -> None:
    before = peak_kb()
    async with serving() as (server, address):
        await still_serves(address)
        for message, name in (
            (b"put_         1kASTR9999999999", "TooLong"),
            (b"get_9999999999", "TooLong"),
            (b"mkey         1k9999999999", "TooLong"),
            (b"put_ 999999999k", "TooLong"),
        ):
            stranger = await Stranger.come(address)
            await stranger.say(message)
            assert await stranger.is_cut_off() == b""
            assert name in caplog.text
            caplog.clear()
        patient = [await Stranger.come(address) for _ in range(20)]
        for stranger in patient:
            await stranger.say(b"put_         1kASTR%10d" % (1 << 30) + b"some")
        await until(lambda: server.held_bytes == 20 * 4, "the pieces to be held")
        await still_serves(address)
        for stranger in patient:
            await stranger.vanish()
        await until(lambda: server.connection_count == 0, "everybody to be gone")
        assert server.held_bytes == 0 and server.store.value_count == 0
    assert peak_kb() - before < 50_000


MESSAGE = (
    wire.encode_put(b"key", VALUE) + b"mkey         1m         3k:p" + wire.encode_keyed(wire.GET, b"nothing")
)


@pytest.mark.parametrize("reset", [False, True])
async def test_disconnects_in_the_middle_of_every_field(reset: bool) -> None:
    async with serving() as (server, address):
        for cut in range(len(MESSAGE) + 1):
            stranger = await Stranger.come(address)
            await stranger.say(MESSAGE[:cut])
            await stranger.vanish(reset)
        await until(lambda: server.connection_count == 0, "everybody to be gone")
        server.store.check_invariants()
        assert list(server.store.waiters()) == [] and server.held_bytes == 0
        await still_serves(address)


async def test_disconnects_in_the_middle_of_the_handshake(certificate: Certificate) -> None:
    async with serving(token=TOKEN, certificate=certificate) as (server, address):
        hello = bytes.fromhex("1603010200010001fc0303") + os.urandom(500)
        for cut in range(0, len(hello), 25):
            stranger = await Stranger.come(address)
            await stranger.say(hello[:cut])
            await stranger.vanish(reset=cut % 2 == 1)
        await still_serves(address, token=TOKEN, certificate_pem=certificate.certificate_pem)
        await until(lambda: server.connection_count == 0, "everybody to be gone")


async def test_five_hundred_half_open_connections(
    certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    limits = QUICK._replace(handshake_s=3.0)
    async with serving(limits, TOKEN, certificate) as (server, address):
        idle = [await Stranger.come(address) for _ in range(500)]
        await until(lambda: server.connection_count == 500, "all to be there")
        await still_serves(address, token=TOKEN, certificate_pem=certificate.certificate_pem)
        await until(lambda: server.connection_count == 0, "the deadline to end them")
        for stranger in idle:
            await stranger.vanish()
    assert "no proof of the token within 3 s" in caplog.text
    assert len(caplog.records) < 100, "the log is not a stranger's to fill"


async def test_the_oldest_unproven_makes_room() -> None:
    async with serving(QUICK._replace(unproven=5), TOKEN) as (server, address):
        idle = [await Stranger.come(address) for _ in range(8)]
        assert await idle[0].is_cut_off() == b""
        await still_serves(address, token=TOKEN)
        assert server.connection_count <= 6
        for stranger in idle:
            await stranger.vanish()


async def test_strangers_make_room_for_those_who_prove_themselves(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(QUICK._replace(unproven=6, connections=6, together=8), TOKEN) as (server, address):
        idle = [await Stranger.come(address) for _ in range(6)]
        clients = [await AsyncClient.connect([address], token=TOKEN) for _ in range(6)]
        for stranger in idle[:4]:
            assert await stranger.is_cut_off() == b""
        await until(lambda: server.connection_count == 8, "two strangers are left")
        for client in clients:
            await client.close()
        for stranger in idle:
            await stranger.vanish()


async def test_strangers_that_are_cut_off_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(QUICK._replace(unproven=5), TOKEN) as (_, address):
        for _ in range(200):
            stranger = await Stranger.come(address)
            await stranger.vanish()
        idle = [await Stranger.come(address) for _ in range(100)]
        await still_serves(address, token=TOKEN)
        for stranger in idle:
            await stranger.vanish()
    assert 1 <= caplog.text.count("too many connections without a proof") < 20


async def test_connections_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(QUICK._replace(connections=3)) as (server, address):
        clients = [await AsyncClient.connect([address]) for _ in range(3)]
        await until(lambda: server.connection_count == 3, "all to be there")
        late = await Stranger.come(address)
        assert await late.is_cut_off() == b""
        await clients[0].close()
        await still_serves(address)
        assert "turned away" in caplog.text


@pytest.mark.parametrize("op", [wire.VIEW, wire.TAKE])
async def test_a_client_that_never_reads(op: bytes) -> None:
    limits = QUICK._replace(output_bytes=65_536)
    async with serving(limits) as (server, address):
        large = Value(b"ASTR", bytes(1 << 20))
        for _ in range(50):
            server.local.put(b"large", large)
        sock = socket.create_connection(address)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = peak_kb()
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        sending = loop.create_task(loop.sock_sendall(sock, wire.encode_keyed(op, b"large") * 200_000))
        await still_serves(address)
        reads = server.store.counts.gets + server.store.counts.views
        await still_serves(address)
        assert server.store.counts.gets + server.store.counts.views == reads + 1, "it is served no further"
        assert peak_kb() - before < 40_000
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        sock.close()
        await until(lambda: server.connection_count == 0, "everybody to be gone")


async def test_a_slow_reader_gets_everything_in_order() -> None:
    async with serving(QUICK._replace(output_bytes=10_000, batch_bytes=1_000)) as (server, address):
        for number in range(2_000):
            server.local.put(b"k", Value(b"ASTR", b"%500d" % number))
        slow = await Stranger.come(address)
        await slow.say(wire.encode_keyed(wire.GET, b"k") * 2_000 + wire.CLOSE)
        data = await slow.is_cut_off()
        assert data == b"".join(b"ASTR       500%500d" % number for number in range(2_000))


async def test_unfinished_input_of_all_together_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(QUICK._replace(input_total_bytes=100_000)) as (server, address):
        held = await Stranger.come(address)
        await held.say(b"put_         1kASTR    900000" + bytes(60_000))
        await until(lambda: server.held_bytes == 60_000, "the first to be held")
        greedy = await Stranger.come(address)
        await greedy.say(b"put_         1kASTR    900000" + bytes(60_000))
        assert await greedy.is_cut_off() == b""
        assert "TooMuchInput" in caplog.text
        await still_serves(address)
        await held.vanish()


async def test_garbage_is_cut_off_by_name_and_earned_replies_still_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as (server, address):
        server.local.put(b"k", VALUE)
        stranger = await Stranger.come(address)
        await stranger.say(wire.encode_keyed(wire.GET, b"k") + b"GET / HTTP/1.1\r\n\r\n")
        assert await stranger.is_cut_off() == wire.encode_value(VALUE)
        assert "UnknownOperation" in caplog.text and "127.0.0.1" in caplog.text
        await still_serves(address)


@pytest.mark.parametrize("tls", [False, True])
async def test_nothing_is_served_before_the_proof(
    tls: bool, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    shown = certificate if tls else None
    async with serving(token=TOKEN, certificate=shown) as (server, address):
        for message in (
            b"down",
            b"dump",
            wire.encode_put(b"k", VALUE),
            b"jdmp",
            b"aut1" + bytes(32) + b"prov" + bytes(32),
        ):
            stranger = await Stranger.come(address)
            await stranger.say(message)
            assert b"ASTR" not in await stranger.is_cut_off()
        assert server.store.value_count == 0 and server.store.counts.puts == 0
        assert "127.0.0.1" in caplog.text and ("TlsFailure" if tls else "ProofFailed") in caplog.text
        pem = certificate.certificate_pem if tls else None
        await still_serves(address, token=TOKEN, **({"certificate_pem": pem} if pem else {}))


async def test_a_wrong_token_and_a_wrong_certificate(certificate: Certificate) -> None:
    async with serving(token=TOKEN, certificate=certificate) as (_server, address):
        pem = certificate.certificate_pem
        with pytest.raises(ConnectionFailed, match="another token"):
            await AsyncClient.connect([address], token=b"x" * 32, certificate_pem=pem)
        with pytest.raises(ConnectionFailed, match="TLS"):
            await AsyncClient.connect(
                [address], token=TOKEN, certificate_pem=make_certificate().certificate_pem
            )
        await still_serves(address, token=TOKEN, certificate_pem=pem)


async def test_failed_proofs_are_slowed_down_and_honest_clients_are_not() -> None:
    limits = QUICK._replace(failed_delay_s=30.0, failed_delay_max_s=30.0)
    async with serving(limits, TOKEN) as (_server, address):
        stranger = await Stranger.come(address)
        await stranger.say(b"aut1" + bytes(32))
        assert (await stranger.reader.readexactly(68))[:4] == b"aut1"
        await stranger.say(b"prov" + bytes(32))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await stranger.reader.read()
        await still_serves(address, token=TOKEN)
        await stranger.vanish()


async def test_plain_beside_secure() -> None:
    server = Server(token=TOKEN, limits=QUICK)
    secure, plain = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    await server.serve(secure)
    await server.serve(plain, plain=True)
    addresses = secure.getsockname(), plain.getsockname()
    stranger = await Stranger.come(addresses[1])
    await stranger.say(wire.encode_put(b"k", VALUE))
    client = await AsyncClient.connect([addresses[0]], token=TOKEN)
    assert await client.get(b"k") == VALUE
    await client.close()
    await stranger.vanish()
    await server.close()


async def test_down_closes_unless_it_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (server, address):
        ended, server.on_down = server.on_down, None
        stranger = await Stranger.come(address)
        await stranger.say(b"down")
        await until(lambda: "ignored" in caplog.text, "the line in the log")
        await still_serves(address)
        server.on_down = ended
        await stranger.say(b"down")
        assert await stranger.is_cut_off() == b""
        await server.wait_closed()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kvsstcp")

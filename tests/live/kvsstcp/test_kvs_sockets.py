"""The server's own handling of sockets: guesses about bursts that are wrong, slow readers, no descriptors left."""

import asyncio
import contextlib
import logging
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kvsstcp import wire
from kvsstcp.aclient import AsyncClient
from kvsstcp.auth import Certificate, make_certificate
from kvsstcp.client import Client
from kvsstcp.infofile import Info, read_info
from kvsstcp.limits import Limits
from kvsstcp.server import Server
from kvsstcp.values import Value

ROOT = Path(__file__).parents[3]
TOKEN = bytes(range(32))
VALUE = Value(b"ASTR", b"x" * 100)
PAIR = wire.encode_put(b"k", VALUE) + wire.encode_keyed(wire.GET, b"k")
REPLY = wire.encode_value(VALUE)
# A guess that is wrong costs some milliseconds; without the patrol it would cost for ever.
PROMPT_S = 5.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Info]:
    """One that does nothing else, in a process of its own."""
    path = tmp_path / "info"
    command = [
        sys.executable,
        "-m",
        "kvsstcp",
        "server",
        "-H",
        "127.0.0.1",
        "--plain",
        "--info-file",
        str(path),
    ]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
    try:
        end = time.monotonic() + 20
        while not path.exists():
            assert process.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.01)
        yield read_info(path)
    finally:
        process.terminate()
        assert process.wait(10) == 143
        assert "failed" not in (tmp_path / "log").read_text()


class Raw:
    """A client of old: what it sends goes out piece by piece."""

    def __init__(self, info: Info):
        self.sock = socket.create_connection(info.addresses[0], PROMPT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes, reply: bytes, piece: int = 1 << 20) -> None:
        for at in range(0, len(request), piece):
            self.sock.sendall(request[at : at + piece])
        got = b""
        while len(got) < len(reply):
            data = self.sock.recv(len(reply) - len(got))
            assert data, f"the server ended after {got!r}"
            got += data
        assert got == reply


@pytest.fixture
def raw(server: Info) -> Iterator[Raw]:
    made = Raw(server)
    yield made
    made.sock.close()


@pytest.mark.parametrize("piece", [1 << 20, 10])
def test_after_a_rhythm_something_shorter_is_heard(raw: Raw, piece: int) -> None:
    for _ in range(3):
        for _ in range(20):
            raw.ask(PAIR, REPLY, piece)
        short = wire.encode_put(b"k", Value(b"ASTR", b"")) + wire.encode_keyed(wire.GET, b"k")
        raw.ask(short, wire.encode_value(Value(b"ASTR", b"")), piece)


def test_after_a_rhythm_something_longer_is_heard(raw: Raw) -> None:
    for _ in range(20):
        raw.ask(PAIR, REPLY)
    raw.ask(PAIR * 3, REPLY * 3)
    raw.ask(PAIR + b"canc", REPLY + wire.ABSENT)
    raw.ask(PAIR * 2, REPLY * 2)


def test_after_a_rhythm_a_put_alone_reaches_another(raw: Raw, server: Info) -> None:
    with Client(server, timeout_s=PROMPT_S) as other:
        for _ in range(20):
            raw.ask(PAIR, REPLY)
        raw.sock.sendall(wire.encode_put(b"o", Value(b"ASTR", b"")))
        assert other.get("o") == Value(b"ASTR", b"")


@pytest.mark.parametrize("count", [50, 150, 1_000])
def test_the_rest_of_a_burst_may_take_as_long_as_it_likes(raw: Raw, server: Info, count: int) -> None:
    # Asleep, in the first trial of staying awake, and with whichever of them has proved better.
    for _ in range(count):
        raw.ask(PAIR, REPLY, 40)
    with Client(server, timeout_s=PROMPT_S) as other:
        for at in range(0, len(PAIR), 40):
            raw.sock.sendall(PAIR[at : at + 40])
            other.put("o", VALUE)
            assert other.get("o") == VALUE
            time.sleep(0.02)
    raw.ask(b"", REPLY)
    raw.ask(PAIR, REPLY, 40)


@pytest.mark.parametrize("how", ["clos", "end", "reset"])
def test_after_a_rhythm_the_end_is_noticed(raw: Raw, server: Info, how: str) -> None:
    for _ in range(20):
        raw.ask(PAIR, REPLY)
    if how == "clos":
        raw.sock.sendall(wire.CLOSE)
        assert raw.sock.recv(10) == b""
        return
    raw.sock.sendall(wire.encode_keyed(wire.GET, b"never"))
    with Client(server, timeout_s=PROMPT_S) as other:
        end = time.monotonic() + PROMPT_S
        while other.dump()["waits"] != [["never", 1]]:
            assert time.monotonic() < end, "the get that is shorter than all before was not heard"
        if how == "reset":
            raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.sock.close()
        while other.dump()["waits"]:
            assert time.monotonic() < end, "the end was not noticed"


def test_half_closed_clients_get_what_they_asked_for(raw: Raw) -> None:
    raw.sock.sendall(PAIR * 1_000)
    raw.sock.shutdown(socket.SHUT_WR)
    got = b""
    while data := raw.sock.recv(1 << 20):
        got += data
    assert got == REPLY * 1_000


def test_many_at_once_come_through(server: Info) -> None:
    raws = [Raw(server) for _ in range(300)]
    try:
        for each in raws:
            each.sock.sendall(PAIR[:50])
        for _ in range(8):
            for each in raws:
                each.sock.sendall(PAIR[50:] + PAIR[:50])
            for each in raws:
                each.ask(b"", REPLY)
    finally:
        for each in raws:
            each.sock.close()


def test_a_server_without_descriptors_serves_on_and_accepts_later(tmp_path: Path) -> None:
    path, log = tmp_path / "info", tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "kvsstcp",
        "server",
        "-H",
        "127.0.0.1",
        "--plain",
        "--info-file",
        str(path),
    ]

    limited = ["bash", "-c", 'ulimit -n 40; exec "$@"', "bash", *command, "-l", str(log)]
    process = subprocess.Popen(limited, cwd=ROOT)
    raws: list[Raw] = []
    try:
        end = time.monotonic() + 20
        while not path.exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        info = read_info(path)
        first = Raw(info)
        raws = [first, *(Raw(info) for _ in range(60))]
        while "cannot accept connections for 1 s" not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.01)
        first.ask(PAIR, REPLY)
        for each in raws:
            each.sock.close()
        with Client(info, timeout_s=20) as late:
            late.put("k", VALUE)
            assert late.get("k") == VALUE
    finally:
        for each in raws:
            each.sock.close()
        process.terminate()
        process.wait(10)


def test_a_server_without_descriptors_makes_room_at_the_cost_of_strangers(tmp_path: Path) -> None:
    path, log = tmp_path / "info", tmp_path / "log"
    command = [sys.executable, "-m", "kvsstcp", "server", "-H", "127.0.0.1", "--info-file", str(path)]
    limited = ["bash", "-c", 'ulimit -n 40; exec "$@"', "bash", *command, "-l", str(log)]
    process = subprocess.Popen(limited, cwd=ROOT)
    strangers: list[socket.socket] = []
    try:
        end = time.monotonic() + 20
        while not path.exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        info = read_info(path)
        strangers = [socket.create_connection(info.addresses[0], 20) for _ in range(100)]
        began = time.monotonic()
        with Client(info, timeout_s=20) as client:
            client.put("k", VALUE)
            assert client.get("k") == VALUE
        assert time.monotonic() - began < 5  # strangers have ten seconds
        assert log.read_text().count("no room for another connection") == 1
    finally:
        for each in strangers:
            each.close()
        process.terminate()
        process.wait(10)


@contextlib.asynccontextmanager
async def serving(alone: bool, certificate: Certificate | None) -> AsyncIterator[tuple[Server, Info]]:
    limits = Limits(output_bytes=10_000, batch_bytes=1_000, close_flush_s=0.5)
    token = TOKEN if certificate else None
    made = Server(token=token, certificate=certificate, limits=limits, alone=alone)
    sock = socket.create_server(("127.0.0.1", 0))
    await made.serve(sock)
    try:
        pem = certificate.certificate_pem if certificate else None
        yield made, Info((sock.getsockname(),), token, "", pem)
    finally:
        await made.close()


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("secure", [False, True])
async def test_a_slow_reader_loses_nothing_and_keeps_nobody(alone: bool, secure: bool) -> None:
    certificate = make_certificate() if secure else None
    async with serving(alone, certificate) as (made, info):
        with_secrets = {"token": info.token, "certificate_pem": info.certificate_pem} if secure else {}
        slow = await AsyncClient.connect(info.addresses, **with_secrets)
        other = await AsyncClient.connect(info.addresses, **with_secrets)
        values = [Value(b"ASTR", b"%d" % number + bytes(50_000)) for number in range(100)]
        for value in values:
            made.local.put(b"slow", value)
        assert slow._link.transport is not None
        slow._link.transport.pause_reading()  # type: ignore[attr-defined]
        takes = [asyncio.ensure_future(slow.take(b"slow")) for _ in values]
        async with asyncio.timeout(20):
            while not made.store.counts.gets:
                await asyncio.sleep(0.005)
            other.put(b"k", VALUE)
            assert await other.get(b"k") == VALUE
            slow._link.transport.resume_reading()  # type: ignore[attr-defined]
            assert await asyncio.gather(*takes) == values
        await slow.close()
        await other.close()


async def test_a_burst_that_is_foreseen_is_awaited_unless_others_have_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kvsstcp.rhythm._WORTH", 0.0)  # once tried, staying awake is kept
    async with serving(True, None) as (made, info):
        raws = [await asyncio.to_thread(Raw, info) for _ in range(2)]
        for raw in raws:
            for _ in range(150):  # which is in the first trial of staying awake
                await asyncio.to_thread(raw.ask, PAIR, REPLY)
        assert [each.awaited for each in made._connections] == [len(PAIR)] * 2
        assert made._poller is not None and not made._poller.crowded
        for raw in raws:
            raw.sock.sendall(PAIR[:50])  # both, before the server has a look
        await asyncio.sleep(0.1)
        assert made._poller.crowded
        assert [each.awaited for each in made._connections] == [0, 0], "they were read as they were"
        for raw in raws:
            await asyncio.to_thread(raw.ask, PAIR[50:], REPLY)
        for _ in range(70):  # more than are timed together
            for raw in raws:
                raw.sock.sendall(PAIR)
            for raw in raws:
                await asyncio.to_thread(raw.ask, b"", REPLY)
        assert [each.awaited for each in made._connections] == [0, 0], "staying awake was given up"
        for raw in raws:
            raw.sock.close()


async def test_a_mistake_of_ours_costs_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    met: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: met.append(context))
    try:
        async with serving(False, None) as (made, info):
            real = made.store.monitor
            made.store.monitor = lambda key, what: 1 / 0  # type: ignore[assignment, method-assign]
            unlucky = await AsyncClient.connect(info.addresses)
            other = await AsyncClient.connect(info.addresses)
            unlucky.monitor(b"m", b"", "p")
            async with asyncio.timeout(10):
                await asyncio.shield(unlucky.lost)
                other.put(b"k", VALUE)
                assert await other.get(b"k") == VALUE
            made.store.monitor = real  # type: ignore[method-assign]
            assert isinstance(met[0]["exception"], ZeroDivisionError)
            await other.close()
    finally:
        loop.set_exception_handler(before)


GATHER_S = 0.4


async def test_what_comes_soon_after_is_read_together_when_it_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kvsstcp.server._WELCOME_S", 0.0)
    sock = socket.create_server(("127.0.0.1", 0))
    server = Server()
    await server.serve(sock)
    clients = [await AsyncClient.connect([sock.getsockname()[:2]]) for _ in range(2)]

    async def ask(client: AsyncClient) -> float:
        """Seconds for a put and a get."""
        begin = time.monotonic()
        client.put(b"k", VALUE)
        assert await client.get(b"k") == VALUE
        return time.monotonic() - begin

    try:
        await ask(clients[0])
        server.gather(GATHER_S)
        quick, slow, both = [], [], []
        for _ in range(3):
            quick.append(await ask(clients[0]))  # nothing has come for a while: at once
            slow.append(await ask(clients[1]))
            both.append(max(await asyncio.gather(*map(ask, clients))))
            await asyncio.sleep(2 * GATHER_S)
        assert min(quick) < GATHER_S / 2 < min(slow)
        assert GATHER_S / 2 < min(both) < 1.5 * GATHER_S  # one wait for both
        server.gather(0.0)
        await ask(clients[0])
        assert min([await ask(clients[1]) for _ in range(3)]) < GATHER_S / 2
    finally:
        for client in clients:
            client.abort()
        await server.close()


async def test_a_server_that_gathers_lets_in_whoever_comes_without_a_wait() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    server = Server(token=TOKEN)
    await server.serve(sock)
    server.gather(PROMPT_S)
    clients = []
    try:
        begin = time.monotonic()
        for _ in range(3):
            clients.append(await AsyncClient.connect([sock.getsockname()[:2]], token=TOKEN))
            clients[-1].put(b"k", VALUE)
            assert await clients[-1].get(b"k") == VALUE
        assert time.monotonic() - begin < PROMPT_S
    finally:
        for client in clients:
            client.abort()
        await server.close()

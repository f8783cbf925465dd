"""The server's own process learns which reader of a key is gone, however it went."""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from kvsstcp import wire
from kvsstcp.aclient import AsyncClient
from kvsstcp.auth import Certificate, make_certificate
from kvsstcp.client import Client
from kvsstcp.infofile import Info
from kvsstcp.limits import Limits
from kvsstcp.server import Server
from kvsstcp.values import Value

TOKEN = bytes(range(32))
VALUE = Value(b"ASTR", b"x" * 100)
LIMITS = Limits(close_flush_s=0.5)


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return make_certificate()


class Watch:
    """What `on_lost` told of one key."""

    def __init__(self, server: Server, key: bytes):
        self.reasons: list[str] = []
        server.local.on_lost(key, self.reasons.append)


@contextlib.asynccontextmanager
async def serving(certificate: Certificate | None = None) -> AsyncIterator[tuple[Server, Info]]:
    server = Server(token=TOKEN if certificate else None, certificate=certificate, limits=LIMITS)
    sock = socket.create_server(("127.0.0.1", 0))
    await server.serve(sock)
    pem = certificate.certificate_pem if certificate else None
    try:
        yield server, Info((sock.getsockname(),), TOKEN if certificate else None, "", pem)
    finally:
        await server.close()


async def until(condition: Callable[[], bool], what: str, deadline_s: float = 20.0) -> None:
    end = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"waited in vain for: {what}"
        await asyncio.sleep(0.005)


async def connect(info: Info) -> AsyncClient:
    return await AsyncClient.connect(
        info.addresses, token=info.token, certificate_pem=info.certificate_pem, timeout_s=10
    )


@pytest.mark.parametrize("secure", [False, True])
async def test_a_reader_that_breaks_while_its_get_waits(secure: bool, certificate: Certificate) -> None:
    async with serving(certificate if secure else None) as (server, info):
        watch, other = Watch(server, b"down"), Watch(server, b"down 2")
        client = await connect(info)
        waiting = asyncio.ensure_future(client.get(b"down"))
        await until(lambda: bool(list(server.store.waiters())), "the get to wait")
        client.put(b"last word", VALUE)
        await client.drain()
        client.abort()
        await until(lambda: bool(watch.reasons), "the news")
        assert server.local.take(b"last word") == VALUE, "what it sent before its end is there"
        assert watch.reasons[0].startswith("127.0.0.1:") and not other.reasons
        with pytest.raises(ConnectionError):
            await waiting
        await until(lambda: server.connection_count == 0, "the connection to be gone")
        assert len(watch.reasons) == 1


async def test_a_reader_that_breaks_between_two_gets() -> None:
    async with serving() as (server, info):
        watch = Watch(server, b"down")
        server.local.put(b"down", VALUE)
        client = await connect(info)
        assert await client.get(b"down") == VALUE
        assert not list(server.store.waiters())
        client.abort()
        await until(lambda: bool(watch.reasons), "the news")


async def test_a_reader_that_views_counts_too_and_one_that_says_goodbye() -> None:
    async with serving() as (server, info):
        watch = Watch(server, b"down")
        server.local.put(b"down", VALUE)
        client = await connect(info)
        assert await client.view(b"down") == VALUE
        await client.close()
        await until(lambda: bool(watch.reasons), "the news")


async def test_a_reset_and_a_cut_off_are_told_by_name() -> None:
    async with serving() as (server, info):
        watch = Watch(server, b"k")
        for farewell in (b"", b"rubbish!"):
            watch.reasons.clear()
            reader, writer = await asyncio.open_connection(*info.addresses[0])
            writer.write(wire.encode_keyed(wire.GET, b"k"))
            await until(lambda: bool(list(server.store.waiters())), "the get to wait")
            if farewell:
                writer.write(farewell)
                await reader.read()
            else:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()
            await until(lambda: bool(watch.reasons), "the news")
            assert ("rubb" if farewell else os.strerror(104)) in watch.reasons[0]


async def test_who_asked_for_another_key_since_is_no_reader_of_the_first() -> None:
    async with serving() as (server, info):
        first, second = Watch(server, b"1"), Watch(server, b"2")
        for key in (b"1", b"2"):
            server.local.put(key, VALUE)
        client = await connect(info)
        await client.get(b"1")
        await client.get(b"2")
        client.abort()
        await until(lambda: bool(second.reasons), "the news")
        assert not first.reasons


async def test_taken_away_and_closing_servers_tell_nothing() -> None:
    async with serving() as (server, info):
        gone, kept = Watch(server, b"1"), Watch(server, b"2")
        server.local.on_lost(b"1", None)
        for key in (b"1", b"2"):
            server.local.put(key, VALUE)
        clients = [await connect(info) for _ in range(2)]
        await clients[0].get(b"1")
        await clients[1].get(b"2")
        clients[0].abort()
        await until(lambda: server.connection_count == 1, "the first to be gone")
    assert not gone.reasons and not kept.reasons
    await asyncio.shield(clients[1].lost)


async def test_a_callback_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    met: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: met.append(context))
    caplog.set_level(logging.INFO)
    try:
        async with serving() as (server, info):
            server.local.on_lost(b"k", lambda reason: 1 / 0)  # type: ignore[arg-type, return-value]
            client, other = await connect(info), await connect(info)
            waiting = asyncio.ensure_future(client.get(b"k"))
            await until(lambda: bool(list(server.store.waiters())), "the get to wait")
            client.abort()
            await until(lambda: bool(met), "the loop to hear of it")
            assert isinstance(met[0]["exception"], ZeroDivisionError) and "b'k'" in str(met[0]["message"])
            with pytest.raises(ConnectionError):
                await waiting
            other.put(b"x", VALUE)
            assert await other.get(b"x") == VALUE
            await other.close()
    finally:
        loop.set_exception_handler(before)


OPTIONS = {
    "TCP_NODELAY": 1,
    "TCP_KEEPIDLE": LIMITS.keepalive_idle_s,
    "TCP_KEEPINTVL": LIMITS.keepalive_interval_s,
    "TCP_USER_TIMEOUT": LIMITS.silent_s * 1000,
}


def test_the_blocking_client_asks_whether_the_server_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, Client(listening.getsockname()) as client:
        sock = client._sock
        assert sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert {
            name: bool(sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)))
            if name == "TCP_NODELAY"
            else sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in OPTIONS
        } == OPTIONS

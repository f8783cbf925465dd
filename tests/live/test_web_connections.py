"""Connections to the web page that are slow, silent, or sent to another name: they keep nobody out and do not stay."""

import asyncio
import contextlib
import itertools
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from disbatch_runs import DEADLINE_S, Bench, Run

from disbatch.web.access import Access
from disbatch.web.connections import LIMITS, Limits
from disbatch.web.control import Order
from disbatch.web.hub import Hub
from disbatch.web.server import Behind, PageServer

WAIT = "until [ -e go ]; do sleep 0.02; done\n"
STRANGERS = LIMITS.connections + 10
AT_ONCE_S = 2.0  # a viewer is let in, on a busy machine too


class Client:
    """One connection, on which everything is written by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    async def send(self, text: str) -> None:
        self._writer.write(text.encode("latin-1"))
        await self._writer.drain()

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def status(self) -> int:
        """That of an answer which is read to its end."""
        head = await self.head()
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        await self.reader.readexactly(length)
        return int(head.split()[1])

    async def ended(self) -> bool:
        """Wait until the other end hangs up; True if nothing more was said."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read(1) == b""
        return True

    def close(self) -> None:
        self._writer.transport.abort()


async def nothing_known(task_id: int) -> dict[str, Any]:
    return {}


class Place:
    """A page served in this process, with limits of its own, that takes orders."""

    def __init__(self, limits: Limits, whole: str = "{}") -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self._sock.setblocking(False)
        self.port = self._sock.getsockname()[1]
        self.access = Access()
        self.hub = Hub(lambda: whole)
        self.orders: list[Order] = []
        self.log = logging.getLogger("test_web_connections")
        behind = Behind(lambda: None, lambda: None, lambda: "", nothing_known, self._ordered)
        self.server = PageServer(self._sock, self.access, self.hub, behind, self.log, limits)
        self._clients: list[Client] = []

    def _ordered(self, order: Order) -> str:
        self.orders.append(order)
        return "done"

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Place"]:
        await self.server.start()
        try:
            yield self
        finally:
            for client in self._clients:
                client.close()
            await self.server.close()
            self._sock.close()

    async def client(self, limit: int = 2**16) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=limit))
        self._clients.append(client)
        return client

    def request(
        self, path: str, *headers: str, method: str = "GET", known: bool = True, host: str = ""
    ) -> str:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.port}'}", *headers]
        if known:
            lines.append(f"Authorization: Bearer {self.access.token}")
        return "\r\n".join(lines) + "\r\n\r\n"


def served(work: Callable[[Place], Awaitable[None]], limits: Limits = LIMITS, whole: str = "{}") -> None:
    async def serving() -> None:
        async with Place(limits, whole).open() as place:
            await work(place)

    asyncio.run(asyncio.wait_for(serving(), DEADLINE_S))


# -- beside a run


def test_a_crowd_of_slow_strangers_keeps_no_viewer_out(bench: Bench) -> None:
    run = bench.start_here(1, "-w", tasks=WAIT)
    host, port, token = where(run)

    async def crowd() -> None:
        first = await asked(host, port, token)
        slow = [Client(*await asyncio.open_connection(host, port)) for _ in range(STRANGERS)]
        try:
            for number, letter in enumerate("GPH"):  # some say a byte now and then, the others nothing
                for client in slow[number::7]:
                    await client.send(letter)
            began = time.monotonic()
            viewers = await asyncio.gather(*(asked(host, port, token) for _ in range(5)))
            assert time.monotonic() - began < AT_ONCE_S
            assert {first, *viewers} == {200}
            assert await slow[0].ended()  # those that came first have made room
        finally:
            for client in slow:
                client.close()

    asyncio.run(asyncio.wait_for(crowd(), DEADLINE_S))
    bench.file("go", "")
    assert run.end().code == 0
    assert bench.read("run_driver.txt").count("make room") == 1


def where(run: Run) -> tuple[str, int, str]:
    """Host, port, and the token for programs."""
    url = run.bench.path / "run_url"
    run.until(url.exists, "the page's address")
    parts = urlsplit(url.read_text().strip())
    assert parts.hostname and parts.port
    return parts.hostname, parts.port, run.bench.read("run_webtoken").strip()


async def asked(host: str, port: int, token: str) -> int:
    """The status of an answer to a viewer that comes anew."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        f"GET /picture HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    return int(head.split()[1])


def test_a_page_for_all_interfaces_is_served_under_the_names_of_its_machine(bench: Bench) -> None:
    run = bench.start_here(1, "-w", "--web-address", "0.0.0.0:0", tasks=WAIT)
    name, port, token = where(run)

    async def ask(host: str) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /picture HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        return int(head.split()[1])

    async def asks() -> None:
        hosts = (f"{name}:{port}", f"localhost:{port}", "localhost:1", f"127.0.0.1:{port}")
        assert [await ask(host) for host in hosts] == [200] * 4
        others = ("evil.example", f"evil.example:{port}", f"{name}:{port - 1}", f"0.0.0.0:{port}")
        assert [await ask(host) for host in others] == [403] * 4

    asyncio.run(asyncio.wait_for(asks(), DEADLINE_S))
    bench.file("go", "")
    assert run.end().code == 0


# -- with little time


def test_a_stranger_has_ten_seconds() -> None:
    assert LIMITS.stranger_s == 10.0


@pytest.mark.parametrize(
    "sent",
    ["", "GET", "GET / HTTP/1.1\r\nHost: localhost\r\n", "POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"],
)  # fmt: skip
def test_a_stranger_is_given_little_time_whatever_it_sends(sent: str) -> None:
    async def waits(place: Place) -> None:
        client = await place.client()
        await client.send(sent)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
            assert await client.status() == 403
        assert await client.ended()

    served(waits, Limits(stranger_s=0.2, answer_s=1000, idle_s=1000))


def test_a_header_that_comes_byte_by_byte_renews_nothing() -> None:
    async def drips(place: Place) -> None:
        client = await place.client()
        with contextlib.suppress(ConnectionError):
            for letter in itertools.cycle("GET / HTTP/1.1\r\nHost: localhost\r\nX: "):
                await client.send("x" if letter == "\r" else letter)
                if client.reader.at_eof():
                    break
                await asyncio.sleep(0.01)

    served(drips, Limits(stranger_s=0.2, idle_s=1000))


def test_the_oldest_stranger_makes_room_and_viewers_do_not() -> None:
    async def crowds(place: Place) -> None:
        viewer = await place.client()
        await viewer.send(place.request("/events"))
        await viewer.head()
        strangers = [await place.client() for _ in range(3)]
        assert await strangers[0].ended()
        await strangers[1].send(place.request("/picture"))  # no stranger any more
        assert await strangers[1].status() == 200
        more = [await place.client() for _ in range(2)]
        assert await strangers[2].ended() and await more[0].ended()
        place.hub.publish(1, '{"still":"there"}')
        while b"still" not in await viewer.reader.readline():
            pass
        await strangers[1].send(place.request("/picture"))
        assert await strangers[1].status() == 200

    served(crowds, Limits(connections=3))


def test_where_all_are_viewers_one_more_is_refused() -> None:
    async def crowds(place: Place) -> None:
        viewers = [await place.client() for _ in range(2)]
        for viewer in viewers:
            await viewer.send(place.request("/picture"))
            assert await viewer.status() == 200
        assert await (await place.client()).ended()
        await viewers[0].send(place.request("/picture"))
        assert await viewers[0].status() == 200

    served(crowds, Limits(connections=2))


def test_a_known_connection_that_says_nothing_more_ends() -> None:
    async def idles(place: Place) -> None:
        for begun in ("", "GET /pic"):
            client = await place.client()
            await client.send(place.request("/picture"))
            assert await client.status() == 200
            await client.send(begun)
            assert await client.ended()

    served(idles, Limits(idle_s=0.2))


def test_an_order_that_does_not_come_is_not_waited_for() -> None:
    async def orders(place: Place) -> None:
        client = await place.client()
        await client.send(place.request("/control", "Content-Length: 17", method="POST") + '{"what"')
        assert await client.status() == 408
        assert await client.ended() and not place.orders
        client = await place.client()
        await client.send(
            place.request("/control", "Content-Length: 17", method="POST") + '{"what": "drain"}'
        )
        assert await client.status() == 200 and place.orders == [Order("drain")]

    served(orders, Limits(body_s=0.2, linger_s=0.1))


def test_a_viewer_that_takes_nothing_is_given_up() -> None:
    whole = json.dumps({"all": "x" * 20_000_000})  # more than two kernels hold

    async def stalls(place: Place) -> None:
        client = await place.client(limit=1024)
        await client.send(place.request("/events"))
        await client.head()
        while not place.hub.viewers:
            await asyncio.sleep(0)
        number = itertools.count(1)
        while place.hub.viewers:  # the stream notices at its next event
            place.hub.publish(next(number), "{}")
            await asyncio.sleep(0.01)
        assert len(place.server.connections) == 0

    served(stalls, Limits(stalled_s=0.3, answer_s=1000), whole)


def test_a_viewer_that_reads_stays_however_long_an_answer_may_take() -> None:
    async def reads(place: Place) -> None:
        client = await place.client()
        await client.send(place.request("/events"))
        began, number = time.monotonic(), itertools.count(1)
        while time.monotonic() - began < 1.0:
            place.hub.publish(next(number), "{}")
            assert await client.reader.readline()

    served(reads, Limits(answer_s=0.2, stalled_s=0.2, stranger_s=0.2, idle_s=0.2))


def test_an_answer_that_nobody_takes_is_given_up() -> None:
    async def leaves(place: Place) -> None:
        client = await place.client(limit=1024)
        await client.send(place.request("/plotly.min.js") * 8)
        while len(place.server.connections) == 0:
            await asyncio.sleep(0)
        while len(place.server.connections):
            await asyncio.sleep(0.01)

    served(leaves, Limits(answer_s=0.3))


# -- requests that make no sense


@pytest.mark.parametrize(
    "origin",
    ["http://[::1", "null", "http://", "http://127.0.0.1:{port}/path", "http://user@127.0.0.1:{port}", "http://[v1.x]:1", "",
     "https://127.0.0.1:{port}", "\xff\xfe"],
)  # fmt: skip
def test_an_order_from_elsewhere_is_refused(origin: str) -> None:
    async def asks(place: Place) -> None:
        client = await place.client()
        head = place.request(
            "/control",
            f"Origin: {origin.format(port=place.port)}",
            "Content-Length: 17",
            method="POST",
        )
        await client.send(head + '{"what": "drain"}')
        assert await client.status() == 403 and not place.orders

    served(asks)


def test_an_order_through_a_tunnel_is_the_pages_own() -> None:
    async def asks(place: Place) -> None:
        client = await place.client()
        for origin, status in (("http://localhost:9999", 200), (f"http://localhost:{place.port}", 403)):
            head = place.request(
                "/control", f"Origin: {origin}", "Content-Length: 17",
                method="POST", host="localhost:9999",
            )  # fmt: skip
            await client.send(head + '{"what": "drain"}')
            assert await client.status() == status
        assert place.orders == [Order("drain")]

    served(asks)


@pytest.mark.parametrize(
    ("request_line", "headers"),
    [
        ("GET /events HTTP/1.1", ["Last-Event-ID: " + "9" * 5000]),
        ("GET /?token=%ED%A0%80&token=%ff HTTP/1.1", []),
        ("GET /%ff%00/..;/ HTTP/1.1", []),
        ("GET http://[::1/ HTTP/1.1", []),
        ("GET http://evil.example/picture HTTP/1.1", []),
        ("GET //evil.example/picture HTTP/1.1", []),
        ("GET /picture HTTP/9.9", []),
        ("FETCH /picture HTTP/1.1", []),
        ("OPTIONS * HTTP/1.1", []),
        ("CONNECT evil.example:80 HTTP/1.1", []),
        ("GET /picture HTTP/1.1", ["Range: bytes=9-1,-,x", "If-Range: x", "If-Modified-Since: never"]),
        ("GET /plotly.min.js HTTP/1.1", ["Range: bytes=99999999999999999999-", "If-Modified-Since: never"]),
        ("GET /plotly.min.js HTTP/1.1", ["Range: lines=1-", "If-None-Match: \xff"]),
        ("GET /picture HTTP/1.1", ["Authorization: Bearer \xff\xfe", "Cookie: =;=;disbatch_1=\xff"]),
        ("GET /picture HTTP/1.1", ["Expect: the worst"]),
        ("POST /control HTTP/1.1", ["Content-Type: application/json; charset=nothing", "Content-Length: 0"]),
        ("POST /control HTTP/1.1", ["Transfer-Encoding: chunked", "Trailer: x", "", "zz"]),
        ("POST /control HTTP/1.1", ["Content-Encoding: gzip", "Content-Length: 5", "", "plain"]),
        ("POST /control HTTP/1.1", ["Content-Encoding: deflate", "Content-Length: 5", "", "plain"]),
        ("\xff\x00 / HTTP/1.1", []),
        ("GET /picture HTTP/1.1", ["X" * 9000 + ": y"]),
    ],
)
def test_nonsense_is_no_defect(request_line: str, headers: list[str], tmp_path: Path) -> None:
    """No answer has a status of 500 and above, and the log stays short: everybody who reaches the port writes it."""
    seen = tmp_path / "log"
    handler = logging.FileHandler(seen)

    async def asks(place: Place) -> None:
        place.log.addHandler(handler)
        try:
            for known in (False, True):
                client = await place.client()
                secret = [f"Authorization: Bearer {place.access.token}"] if known else []
                lines = [request_line, f"Host: 127.0.0.1:{place.port}", *secret, *headers, "", ""]
                await client.send("\r\n".join(lines))
                first = await client.reader.read(100)
                assert first == b"" or int(first.split()[1]) < 500, first
                client.close()
        finally:
            place.log.removeHandler(handler)
            handler.close()

    served(asks)
    assert "Traceback" not in seen.read_text()

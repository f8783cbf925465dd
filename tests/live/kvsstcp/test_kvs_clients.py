"""Both clients against a server in a process of its own, in every mode; deadlines, cancelling, reconnecting."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvsstcp.aclient import AsyncClient
from kvsstcp.client import Client
from kvsstcp.errors import ConnectionFailed, ConnectionLost, DeadlinePassed, UsageError
from kvsstcp.infofile import Info, read_info
from kvsstcp.server import Server
from kvsstcp.values import Value, json_value, text_value


def until(condition: Callable[[], bool], what: str, deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.005)


@contextlib.contextmanager
def server_process(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[bytes]", Info]]:
    path = folder / "info"
    path.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "kvsstcp",
        "server",
        "-H",
        "127.0.0.1",
        "--info-file",
        str(path),
        *options,
    ]
    process = subprocess.Popen([*command, "-l", str(folder / "log")])
    try:
        until(lambda: path.exists() or process.poll() is not None, "the info file")
        yield process, read_info(path)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module", params=["plain", "secure"])
def info(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Info]:
    with server_process(
        tmp_path_factory.mktemp("server"), *(["--plain"] if request.param == "plain" else [])
    ) as found:
        yield found[1]


def test_each_operation_of_the_blocking_client(info: Info) -> None:
    with Client(info, timeout_s=10) as client, client.clone() as other:
        client.monitor("M", "op", "gpvw")
        client.put("op", "é")
        client.put("op", json_value([1]))
        client.put("op", Value(b"PYPK", b"\x80\x04N."))
        assert client.view("op").coding == b"PYPK"  # a reply says that all before it is done, for everybody
        assert other.view("op") == (b"PYPK", b"\x80\x04N."), "a pickle stays bytes"
        assert other.get("op") == text_value("é") and other.get("op").json() == [1]
        assert client.get("M").text() == "(b'put', b'op')"
        assert other.take("op") is not None and other.take("op") is None
        assert client.exchange([("x", "1"), ("y", "2")], ["y", "z", "x"]) == [
            text_value("2"),
            None,
            text_value("1"),
        ]
        document = client.dump()
        assert document["counts"]["puts"] >= 5
        assert client.dump_pickle().startswith(b"\x80")
        client.exchange([], ["M"] * 20)
        client.monitor("M", "op", "")


def test_large_values_and_batches(info: Info) -> None:
    with Client(info, timeout_s=30) as client:
        large = Value(b"\x00\xff\x01\x02", os.urandom(20 << 20))
        client.put("large", large)
        assert client.get("large") == large
        some = [("k", b"%d" % number * 100) for number in range(5_000)]
        assert client.exchange(some, ["k"] * 5_001) == [text_value(data) for _, data in some] + [None]


def test_a_deadline_leaves_the_value_there(info: Info) -> None:
    with Client(info, timeout_s=10) as client:
        with pytest.raises(DeadlinePassed):
            client.get("late", timeout_s=0.05)
        client.put("late", "1")
        assert client.get("late") == text_value("1")
        with pytest.raises(DeadlinePassed):
            client.view("late", timeout_s=0.05)
        assert client.dump()["waits"] == []


def test_a_get_waits_for_another_clients_put(info: Info) -> None:
    with Client(info, timeout_s=10) as client, Client(info, timeout_s=10) as other:
        got: list[Value] = []
        thread = threading.Thread(target=lambda: got.append(client.get("soon")))
        thread.start()
        until(lambda: ["soon", 1] in other.dump()["waits"], "the get to wait")
        other.put("soon", "here")
        thread.join(10)
        assert got == [text_value("here")]


def test_a_lost_connection_is_named_and_made_again(tmp_path: Path) -> None:
    with server_process(tmp_path, "--plain") as (process, info):
        client = Client(info, timeout_s=5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(ConnectionLost):
            client.get("k")
        with pytest.raises(ConnectionFailed, match=str(info.port)):
            client.put("k", "v")
    with server_process(tmp_path, "--plain", "-p", str(info.port)):
        client.put("k", "v")
        assert client.get("k") == text_value("v")
        client.close()


def test_every_candidate_is_named_when_none_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    info = Info((("127.0.0.1", port), ("127.0.0.1", 1)))
    with pytest.raises(ConnectionFailed, match=rf"127.0.0.1:{port}.*127.0.0.1:1:"):
        Client(info)


def test_the_second_candidate_is_taken(info: Info) -> None:
    with Client(info._replace(addresses=(("127.0.0.1", 1), info.addresses[0])), timeout_s=10) as client:
        client.put("k", "v")
        assert client.get("k") == text_value("v")


def test_what_the_caller_gets_wrong(info: Info, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(info) as client:
        for wrong in (lambda: client.put("k" * 70_000, "v"), lambda: client.monitor("m", "k", "z")):
            with pytest.raises(UsageError):
                wrong()
    for name in ("KVSSTCP_INFO", "KVSSTCP_HOST", "KVSSTCP_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="KVSSTCP_INFO"):
        Client()


async def connect(info: Info) -> AsyncClient:
    return await AsyncClient.connect(info.addresses, token=info.token, certificate_pem=info.certificate_pem)


async def test_each_operation_of_the_asyncio_client(info: Info) -> None:
    client, other = await connect(info), await connect(info)
    client.monitor(b"AM", b"a", "p")
    waiting = asyncio.ensure_future(other.get(b"a"))
    await asyncio.sleep(0)
    with pytest.raises(UsageError):
        await other.view(b"b")
    for number in range(3):
        client.put(b"a", text_value(str(number)))
    await client.drain()
    assert await waiting == text_value("0") and await other.view(b"a") == text_value("2")
    assert await other.take(b"a") == text_value("1") and await other.get(b"a") == text_value("2")
    assert await other.take(b"a") is None
    assert await client.get(b"AM") == text_value("(b'put', b'a')")
    client.monitor(b"AM", b"a", "")
    for _ in range(2):
        await client.take(b"AM")
    assert client.peer_address == info.addresses[0] and client.local_address[1] > 0
    client.put(b"last", text_value("word"))
    await client.close()
    assert client.closed and await client.lost
    with pytest.raises(ConnectionLost):
        client.put(b"a", text_value("x"))
    assert await other.get(b"last") == text_value("word"), "what was put before the close arrived"
    await other.close()


async def test_a_cancelled_get_loses_nothing(info: Info) -> None:
    client, other = await connect(info), await connect(info)
    for _ in range(50):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.0005):
                await client.get(b"c")
        other.put(b"c", text_value("v"))
        assert await client.get(b"c") == text_value("v")
    await client.close()
    await other.close()


async def test_a_take_does_not_overtake_a_waiting_get(info: Info) -> None:
    """The server answers a take at once: behind a get that waits its answer would be taken for that one's."""
    client = await AsyncClient.connect(info.addresses, token=info.token, certificate_pem=info.certificate_pem)
    client.put(b"there", text_value("x"))
    waiting = asyncio.ensure_future(client.get(b"later"))
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="another one is needed"):
        async with asyncio.timeout(10):
            await client.take(b"there")
    client.put(b"later", text_value("y"))
    async with asyncio.timeout(10):
        assert await waiting == text_value("y")
        assert await client.take(b"there") == text_value("x")
    await client.close()


async def test_waiting_requests_learn_that_the_server_went(tmp_path: Path) -> None:
    server = Server()
    sock = socket.create_server(("127.0.0.1", 0))
    await server.serve(sock)
    client = await AsyncClient.connect([sock.getsockname()])
    waiting = asyncio.ensure_future(client.get(b"never"))
    async with asyncio.timeout(10):
        while not list(server.store.waiters()):
            await asyncio.sleep(0.001)
    await server.close()
    with pytest.raises(ConnectionLost):
        await waiting
    assert "closed" in await client.lost


async def test_the_local_client() -> None:
    server = Server()
    local, seen = server.local, []
    local.put(b"k", text_value("0"))

    def callback(value: Value) -> None:
        seen.append(value.text())
        if value.text() == "again":
            local.put(b"k", text_value("from the callback"))
        if value.text() == "fault":
            raise RuntimeError("a mistake in the callback")

    failures: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    local.subscribe(b"k", callback)
    with pytest.raises(UsageError):
        local.subscribe(b"k", callback)
    for text in ("again", "fault", "1"):
        local.put(b"k", text_value(text))
    assert seen == ["0", "again", "from the callback", "fault", "1"] and len(failures) == 1
    local.unsubscribe(b"k")
    local.put(b"k", text_value("2"))
    local.replace(b"k", text_value("3"))
    assert local.take(b"k") == text_value("3") and local.take(b"k") is None
    local.put(b"k", text_value("4"))
    local.drop(b"k")
    assert local.take(b"k") is None and len(seen) == 5
    server.store.check_invariants()
    loop.set_exception_handler(before)
    await server.close()


async def test_local_puts_reach_waiting_clients(info: Info) -> None:
    server = Server()
    sock = socket.create_server(("127.0.0.1", 0))
    await server.serve(sock)
    client = await AsyncClient.connect([sock.getsockname()])
    server.local.subscribe(b"in", lambda value: server.local.put(b"out", value))
    waiting = asyncio.ensure_future(client.get(b"out"))
    await asyncio.sleep(0)
    client.put(b"in", text_value("x"))
    assert await waiting == text_value("x")
    await client.close()
    await server.close()


steps = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(("put", "take", "view", "clone")), st.sampled_from(("a", "b"))
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_several_clients_see_one_store(info: Info, sequence: list[tuple[int, str, str]]) -> None:
    model: dict[str, list[Value]] = {"a": [], "b": []}
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(info, timeout_s=10)) for _ in range(3)]
        for key in model:
            while clients[0].take(key) is not None:
                pass
        for number, (who, what, key) in enumerate(sequence):
            client, value = clients[who], text_value(str(number))
            if what == "put":
                client.put(key, value)
                model[key].append(value)
                # A put is not answered: only its own connection knows when it has been done.
                assert client.view(key) == value
            elif what == "take":
                assert client.take(key) == (model[key].pop(0) if model[key] else None)
            elif what == "view" and model[key]:
                assert client.view(key) == model[key][-1]

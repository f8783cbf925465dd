"""Old clients and servers: the predecessor's Python client, and a C program that knows nothing but sockets.

The predecessor is found through DISBATCH_PEER_PYTHON, a Python interpreter that has disBatch 3.0 installed.
"""

import asyncio
import contextlib
import os
import pickle
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kvsstcp.client import Client
from kvsstcp.errors import ConnectionLost, DeadlinePassed
from kvsstcp.server import Server
from kvsstcp.values import text_value

PEER = os.environ.get("DISBATCH_PEER_PYTHON", "")
needs_peer = pytest.mark.skipif(
    not PEER, reason="DISBATCH_PEER_PYTHON names no interpreter that has disBatch 3.0 installed"
)

OLD_CLIENT = """
import sys, threading, time
from disbatch.kvsstcp import KVSClient
c, d = KVSClient(sys.argv[1], int(sys.argv[2])), KVSClient('%s:%s' % (sys.argv[1], sys.argv[2]))
c.put('s', 'text', False); assert d.view('s', False) == b'text' and d.get('s', False) == b'text'
c.put('p', {'a': [1, None]}); assert d.view('p') == {'a': [1, None]}
c.put('j', '{"a": 1}', 'JSON'); assert d.get('j', False) == b'{"a": 1}'
c.put('p', 'second'); assert d.get('p') == {'a': [1, None]} and d.get('p') == 'second'
big = 'x' * 3000000
c.put('big', big, False); assert d.get('big', False) == big.encode()
got = []
t = threading.Thread(target=lambda: got.append(d.get('later'))); t.start()
while not c.dump()[1]: time.sleep(0.001)
assert c.dump()[1] == [(b'later', 1)]
c.put('later', 42); t.join(); assert got == [42]
c.monkey('M', 'q:gp'); c.put('q', '1', False); c.get('q', False)
assert c.get('M', False) == b"(b'put', b'q')" and c.get('M', False) == b"(b'get', b'q')"
c.put('shown', 'x' * 80, False); c.put('raw', b'\\xff', False)
counts, waits, values = c.dump()
assert counts[1] >= 8 and waits == [] and sorted(v[0] for v in values) == [b'raw', b'shown'], values
e = c.clone(); e.close()
d.close()
c.shutdown()
print('all done')
"""

OLD_SERVER = """
import sys
from disbatch.kvsstcp import KVSServerThread
server = KVSServerThread('127.0.0.1', 0)
print('%s:%d' % server.cinfo, flush=True)
sys.stdin.readline()
"""


@contextlib.asynccontextmanager
async def plain_server() -> AsyncIterator[tuple[Server, int]]:
    server = Server()
    sock = socket.create_server(("127.0.0.1", 0))
    await server.serve(sock)
    try:
        yield server, sock.getsockname()[1]
    finally:
        await server.close()


async def run(*command: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/"
    )
    try:
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, out.decode()


@needs_peer
@pytest.mark.peer
async def test_the_old_client_with_our_server() -> None:
    async with plain_server() as (server, port):
        code, out = await run(PEER, "-I", "-c", OLD_CLIENT, "127.0.0.1", str(port))
        assert (code, out) == (0, "all done\n"), out
        async with asyncio.timeout(10):
            await server.wait_closed()


@pytest.fixture
def old_server() -> Iterator[str]:
    process = subprocess.Popen(
        [PEER, "-I", "-c", OLD_SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd="/",
    )
    assert process.stdin is not None and process.stdout is not None
    yield process.stdout.readline().strip()
    process.stdin.close()
    process.stdout.close()
    process.wait(10)


@needs_peer
@pytest.mark.peer
def test_our_client_with_the_old_server(old_server: str) -> None:
    with Client(old_server, timeout_s=10) as client, Client(old_server, timeout_s=10) as other:
        client.put("k", "1")
        client.put("k", "2")
        assert other.view("k", timeout_s=10) == text_value("2")
        assert other.get("k") == text_value("1") and other.get("k") == text_value("2")
        client.monitor("M", "q", "gpvw")
        client.put("q", b"x" * 2_000_000)
        assert len(other.get("q").data) == 2_000_000
        with pytest.raises(DeadlinePassed):
            other.get("nothing", timeout_s=0.1)
        client.put("nothing", "still there")
        assert other.get("nothing") == text_value("still there")
        counts, _, _ = pickle.loads(client.dump_pickle())
        assert counts[1] >= 4
        with pytest.raises(ConnectionLost, match="jdmp"):
            client.dump()
        client.put("after", "a new connection")
        assert client.get("after") == text_value("a new connection")
        client.down()


C_PROGRAM = Path(__file__).with_name("oldclient.c")


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
async def test_a_c_program_over_plain_sockets(tmp_path: Path) -> None:
    program = tmp_path / "oldclient"
    code, out = await run("cc", "-std=c99", "-Wall", "-Werror", "-o", str(program), str(C_PROGRAM))
    assert code == 0, out
    async with plain_server() as (server, port):
        code, out = await run(str(program), "127.0.0.1", str(port))
        assert (code, out) == (0, "task source name: cgen\nwork: echo 1\nwork: echo 2\nwork: DONE\n"), out
        async with asyncio.timeout(10):
            await server.wait_closed()

"""Servers to be measured, and what they are loaded with: clients of either kind. Comparisons belong to `kvs.py`."""

import contextlib
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from kvsstcp.auth import client_context, make_certificate, server_context
from kvsstcp.client import Client
from kvsstcp.infofile import Info, parse_address, read_info
from kvsstcp.values import Value

ROOT = Path(__file__).resolve().parent.parent
Result = TypeVar("Result")

# Runs under the predecessor's interpreter (isolated, so that it does not find our packages): its own client, unchanged.
# Each starts when a line arrives on stdin.
_PEER_CLIENT = """
import sys, time
from disbatch.kvsstcp import KVSClient
host, port, key, pairs = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
client = KVSClient(host, port)
value = 'x' * 100
client.put(key, value, False); client.get(key, False)
print('ready', flush=True); sys.stdin.readline()
start = time.monotonic()
for _ in range(pairs):
    client.put(key, value, False)
    client.get(key, False)
print(start, time.monotonic(), flush=True)
"""

_PEER_SERVER = """
import sys, threading
from disbatch.kvsstcp import KVSServerThread
server = KVSServerThread('127.0.0.1', 0)
print('%s:%d' % server.cinfo, flush=True)
sys.stdin.readline()
"""


class Run(NamedTuple):
    """One measurement. `cpu_us`: microseconds of server CPU for each operation; `rate`: operations a second."""

    rate: float
    cpu_us: float


class ServerProcess:
    """A server in a process of its own. `kind`: peer (disBatch 3.0), plain or tls (ours), floor or floor-whole
    (`kvsfloor.c`)."""

    def __init__(self, kind: str, peer_python: str):
        self.kind = kind
        self.folder = tempfile.TemporaryDirectory(prefix="kvsbench.")
        path = os.path.join(self.folder.name, "info")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        if kind == "peer" or kind.startswith("floor"):
            command = [peer_python, "-I", "-c", _PEER_SERVER] if kind == "peer" else self._floor()
            self.process = subprocess.Popen(command, **pipes, text=True)
            assert self.process.stdout is not None
            self.info = Info((parse_address(self.process.stdout.readline()),))
            return
        extra = ["--plain"] if kind == "plain" else []
        command = [sys.executable, "-m", "kvsstcp", "server", "-H", "127.0.0.1", "--info-file", path, *extra]
        self.process = subprocess.Popen(command, **pipes, text=True, cwd=ROOT)
        wait_for(lambda: os.path.exists(path), "the server's info file")
        self.info = read_info(path)

    def _floor(self) -> list[str]:
        program = os.path.join(self.folder.name, "kvsfloor")
        subprocess.run(["cc", "-O2", "-o", program, str(ROOT / "benchmarks/kvsfloor.c")], check=True)
        return [program, *self.kind.split("-")[1:]]

    def threads(self) -> list[Path]:
        return list(Path(f"/proc/{self.process.pid}/task").iterdir())

    def cpu_s(self) -> float:
        # Of all threads, in nanoseconds; /proc/PID/stat counts in hundredths of a second.
        return sum(int((task / "schedstat").read_text().split()[0]) for task in self.threads()) / 1e9

    def memory_kb(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError("no VmRSS")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.folder.cleanup()


@contextlib.contextmanager
def on_cores(servers: set[int], client: set[int], *processes: ServerProcess) -> Iterator[None]:
    """All threads of these servers on the cores `servers`, this process on `client`."""
    before = os.sched_getaffinity(0)
    for thread in (thread for each in processes for thread in each.threads()):
        os.sched_setaffinity(int(thread.name), servers)
    os.sched_setaffinity(0, client)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {deadline_s:g} s in vain for {what}")
        time.sleep(0.01)


def peer_clients(server: ServerProcess, peer_python: str, count: int, pairs: int) -> Run:
    """The predecessor's clients, `pairs` put+get pairs each."""
    host, port = server.info.addresses[0]
    clients = [
        subprocess.Popen(
            [peer_python, "-I", "-c", _PEER_CLIENT, host, str(port), f"key{number}", str(pairs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for client in clients:
        assert client.stdout is not None
        client.stdout.readline()
    cpu = server.cpu_s()
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    times = []
    for client in clients:
        assert client.stdout is not None and client.stdin is not None
        times.append([float(word) for word in client.stdout.readline().split()])
        client.stdin.close()
        client.stdout.close()
        client.wait()
    cpu = server.cpu_s() - cpu
    took = max(end for _, end in times) - min(start for start, _ in times)
    operations = 2 * pairs * count
    return Run(operations / took, cpu / operations * 1e6)


def batches(server: ServerProcess, batch: int, rounds: int, size: int) -> Run:
    """Our own client: batches of puts and as many takes."""
    value = Value(b"ASTR", b"x" * size)
    with Client(server.info) as client:
        client.exchange([("key", value)], ["key"])
        cpu, start = server.cpu_s(), time.monotonic()
        puts, takes = [("key", value)] * batch, ["key"] * batch
        for _ in range(rounds):
            client.exchange(puts, takes)
        took, cpu = time.monotonic() - start, server.cpu_s() - cpu
    operations = 2 * batch * rounds
    return Run(operations / took, cpu / operations * 1e6)


def pairs(server: ServerProcess, count: int, size: int) -> Run:
    """Our own client: a put, then a get, again and again."""
    value = Value(b"ASTR", b"x" * size)
    with Client(server.info) as client:
        client.put("key", value)
        client.get("key")
        cpu, start = server.cpu_s(), time.monotonic()
        for _ in range(count):
            client.put("key", value)
            client.get("key")
        took, cpu = time.monotonic() - start, server.cpu_s() - cpu
    return Run(2 * count / took, cpu / (2 * count) * 1e6)


def openssl_us(count: int, size: int) -> float:
    """Microseconds that OpenSSL's own calls take a server for one operation of `pairs`, with nothing around them."""
    certificate = make_certificate()
    ends = []
    for context, server_side in (
        (server_context(certificate), True),
        (client_context(certificate.certificate_pem), False),
    ):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends.append((context.wrap_bio(incoming, outgoing, server_side), incoming, outgoing))
    (server, to_server, from_server), (client, to_client, from_client) = ends
    for _ in range(4):
        for end, other_in, out in ((client, to_server, from_client), (server, to_client, from_server)):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            other_in.write(out.read())
    put, get = bytes(size + 46), bytes(20)
    took = 0.0
    for _ in range(count):
        client.write(put)
        client.write(get)
        sent = from_client.read()
        start = time.perf_counter()
        to_server.write(sent)
        server.read(16_384)
        server.read(to_server.pending)
        server.write(put)
        reply = from_server.read()
        took += time.perf_counter() - start
        to_client.write(reply)
        client.read(16_384)
    return took / (2 * count) * 1e6


_CROWD = """
import asyncio, sys, time
sys.path.insert(0, sys.argv[1])
from kvsstcp.aclient import AsyncClient
from kvsstcp.infofile import read_info
from kvsstcp.values import Value
async def main():
    info, count = read_info(sys.argv[2]), int(sys.argv[3])
    start = time.monotonic()
    slots = asyncio.Semaphore(200)
    async def one(number):
        async with slots:
            return await AsyncClient.connect(info.addresses, token=info.token, certificate_pem=info.certificate_pem)
    clients = await asyncio.gather(*map(one, range(count)))
    took = time.monotonic() - start
    for number, client in enumerate(clients):
        if info.token is not None:
            client.put(b'k%d' % number, Value(b'ASTR', b'x' * 10000))
            await client.get(b'k%d' % number)
    print(took, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for client in clients:
        client.abort()
asyncio.run(main())
"""


def crowd(server: ServerProcess, count: int, measure: Callable[[], Result]) -> tuple[float, Result]:
    """Connections that do nothing, from another process, while `measure` runs; and how long letting them in took."""
    path = os.path.join(server.folder.name, "info")
    command = [sys.executable, "-c", _CROWD, str(ROOT), path, str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdin is not None
    took = float(process.stdout.readline())
    result = measure()
    process.communicate("done\n")
    return took, result

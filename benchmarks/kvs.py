"""Speed and cost of the kvsstcp server, measured side by side with the server that disBatch 3.0 ships.

Prints a table of ratios against what is wanted. Figures of one run belong together: runs of both sides alternate, and
of each figure the median counts. Not a test: on a busy machine single figures are worth little.

    python benchmarks/kvs.py --peer-python /path/to/venv-with-disbatch-3.0/bin/python [--quick]

Base is the other server or client, or plain service, or the same without a crowd; ratio is ours to base.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kvsstcp.client import Client  # noqa: E402
from kvsstcp.infofile import Info, parse_address, read_info  # noqa: E402
from kvsstcp.values import Value  # noqa: E402

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
    """A server of either kind, in a process of its own."""

    def __init__(self, kind: str, peer_python: str):
        self.kind = kind
        self.folder = tempfile.TemporaryDirectory(prefix="kvsbench.")
        path = os.path.join(self.folder.name, "info")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        if kind == "peer":
            self.process = subprocess.Popen([peer_python, "-I", "-c", _PEER_SERVER], **pipes, text=True)
            assert self.process.stdout is not None
            self.info = Info((parse_address(self.process.stdout.readline()),))
            return
        extra = ["--plain"] if kind == "plain" else []
        command = [sys.executable, "-m", "kvsstcp", "server", "-H", "127.0.0.1", "--info-file", path, *extra]
        self.process = subprocess.Popen(command, **pipes, text=True, cwd=ROOT)
        wait_for(lambda: os.path.exists(path), "the server's info file")
        self.info = read_info(path)

    def cpu_s(self) -> float:
        # Of all threads, in nanoseconds; /proc/PID/stat counts in hundredths of a second.
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

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


def alternate(repeats: int, *measures: Callable[[], Run]) -> list[Run]:
    """The median of each measure, taken in turns."""
    runs: list[list[Run]] = [[] for _ in measures]
    for _ in range(repeats):
        for index, measure in enumerate(measures):
            runs[index].append(measure())
    return [
        Run(statistics.median(r.rate for r in each), statistics.median(r.cpu_us for r in each))
        for each in runs
    ]


class Table:
    """Rows of what was measured and what is wanted."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []
        print(f"{'figure':<66} {'base':>10} {'ours':>10} {'ratio':>7}  wanted")

    def add(self, what: str, base: float, ours: float, wanted: str, met: bool) -> None:
        ratio = ours / base if base else float("nan")
        self.rows.append(
            {"what": what, "base": base, "ours": ours, "ratio": ratio, "wanted": wanted, "met": met}
        )
        print(
            f"{what:<66} {base:>10.1f} {ours:>10.1f} {ratio:>7.2f}  {wanted:<9} {'ok' if met else 'MISSED'}"
        )
        sys.stdout.flush()


def compare_with_peer(table: Table, peer_python: str, quick: bool) -> None:
    peer, plain = ServerProcess("peer", peer_python), ServerProcess("plain", peer_python)
    repeats = 3 if quick else 5
    try:
        for count, least in ((1, 1.0), (8, 1.2), (64, 1.0)):
            pairs = (8_000 if quick else 40_000) // count
            theirs, ours = alternate(
                repeats,
                lambda count=count, pairs=pairs: peer_clients(peer, peer_python, count, pairs),  # type: ignore[misc]
                lambda count=count, pairs=pairs: peer_clients(plain, peer_python, count, pairs),  # type: ignore[misc]
            )
            what = f"old client x {count}, 100 B"
            ratio = ours.cpu_us / theirs.cpu_us
            table.add(f"{what}: server CPU us/operation", theirs.cpu_us, ours.cpu_us, "<= 0.6", ratio <= 0.6)
            ratio = ours.rate / theirs.rate
            table.add(f"{what}: operations/s", theirs.rate, ours.rate, f">= {least:g}", ratio >= least)
        rounds = 100 if quick else 400
        theirs, ours = alternate(
            repeats,
            lambda: peer_clients(peer, peer_python, 1, 8_000),
            lambda: batches(plain, 100, rounds, 100),
        )
        what = "batches of 100, own client : old client, operations/s"
        table.add(what, theirs.rate, ours.rate, ">= 5", ours.rate >= 5 * theirs.rate)
    finally:
        peer.stop()
        plain.stop()


def compare_tls(table: Table, quick: bool) -> None:
    plain, secure = ServerProcess("plain", ""), ServerProcess("tls", "")
    rounds = 3_000 if quick else 10_000
    try:
        base, ours = alternate(5, lambda: pairs(plain, rounds, 10_000), lambda: pairs(secure, rounds, 10_000))
        ratio = ours.cpu_us / base.cpu_us
        table.add(
            "TLS : plain, 10 KB put+get pairs, server CPU us/operation",
            base.cpu_us,
            ours.cpu_us,
            "<= 1.4",
            ratio <= 1.4,
        )
    finally:
        plain.stop()
        secure.stop()


def many_connections(table: Table, peer_python: str | None, quick: bool) -> None:
    """Memory of a TLS connection, how fast many are let in, and what idle ones cost the others."""
    count = 300 if quick else 1_000
    idle = 500 if quick else 2_000
    secure = ServerProcess("tls", "")
    try:
        with Client(secure.info) as first:
            first.exchange([("key", b"x" * 10_000)], ["key"])
            before_kb = secure.memory_kb()
            took_s = crowd(secure, count, lambda: None)[0]
            per_kb = (crowd(secure, count, secure.memory_kb)[1] - before_kb) / count
        table.add(f"{count} TLS clients let in, s", 5.0, took_s, "<= 1", took_s <= 5)
        table.add("memory of a TLS connection, KB", 100.0, per_kb, "<= 1", per_kb <= 100)
    finally:
        secure.stop()
    plain = ServerProcess("plain", "")
    rounds = 200 if quick else 1_000
    try:
        rates = [("batches of 100", lambda: batches(plain, 100, rounds, 100))]
        if peer_python:
            rates.append(("old client x 8", lambda: peer_clients(plain, peer_python, 8, rounds * 10)))
        for name, measure in rates:
            base, ours = with_and_without(plain, idle, measure)
            what = f"{name} beside {idle} idle connections: operations/s"
            table.add(what, base, ours, ">= 0.9", ours >= 0.9 * base)
    finally:
        plain.stop()


def with_and_without(
    server: ServerProcess, idle: int, measure: Callable[[], Run], repeats: int = 5
) -> tuple[float, float]:
    """Rates alone, and beside connections that do nothing; in turns, medians."""
    base: list[float] = []
    beside: list[float] = []
    for _ in range(repeats):
        base.append(measure().rate)
        beside.append(crowd(server, idle, measure)[1].rate)
    return statistics.median(base), statistics.median(beside)


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


def flat_memory(table: Table, quick: bool) -> None:
    plain = ServerProcess("plain", "")
    pairs = 100_000 if quick else 1_000_000
    try:
        batches(plain, 100, 200, 100)
        before = plain.memory_kb()
        batches(plain, 100, pairs // 100, 100)
        after = plain.memory_kb()
        table.add(f"server memory after {pairs} pairs, KB", before, after, "<= 1.05", after <= 1.05 * before)
    finally:
        plain.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer-python", help="an interpreter that has disBatch 3.0; without it only ours is measured"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer operations and connections: some two minutes instead of ten",
    )
    parser.add_argument("--json", metavar="FILE", help="write the rows to this file, too")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="servers and clients go before all other work on the machine (needs root), which steadies the CPU figures",
    )
    options = parser.parse_args()
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; CPU is that of all threads of the server")
    table = Table()
    if options.peer_python:
        compare_with_peer(table, options.peer_python, options.quick)
    compare_tls(table, options.quick)
    many_connections(table, options.peer_python, options.quick)
    flat_memory(table, options.quick)
    if options.json:
        Path(options.json).write_text(json.dumps(table.rows, indent=1))
    return 0 if all(row["met"] for row in table.rows) else 1


if __name__ == "__main__":
    sys.exit(main())

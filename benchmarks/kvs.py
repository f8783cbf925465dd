"""Speed and cost of the kvsstcp server, measured side by side with the server that disBatch 3.0 ships.

Prints a table of ratios against what is wanted. Figures of one run belong together: runs of both sides alternate, and
the median of the ratios of neighbours counts. Not a test: on a busy machine single figures are worth little.

    python benchmarks/kvs.py --install-peer                                everything, some five minutes
    python benchmarks/kvs.py --quick --peer-python VENV/bin/python         a minute or two, with a disBatch 3.0 that is there

Base is the other server or client, or plain service, or the same without a crowd; ratio is ours to base. Rows that are set
in are only to be known: the least that could be, on this machine.

What the machine does in between counts. A pair costs the server one read, one write and a quarter of an `epoll_wait` with
eight clients (one with a single client), and 4 us of Python while caches are warm (6 before requests were read by tables).
They seldom are: with one client Python is cold after each switch, so that a function call less is felt several times over.
The rest is the kernel's: sending over loopback, and waking who waits.

What waking costs decides two rows, and each the other way. On a virtual machine whose idle cores halt at once it is dear. With
one old client a C server that looks at nothing (`kvsfloor.c`; the rows that are set in) then takes 0.41 to 0.48 of the old
server's CPU, and it is as quick as the old one only where it reads each piece as it comes, for 0.45 to 0.58: of 0.6 little is left
for Python. Ours compares both ways as it runs (`kvsstcp/rhythm.py`) and takes the quicker: 0.8 of the CPU, 1.1 of
the rate, where the C server has 1.17. Waiting for whole requests it would be 0.72 and 0.78; compiled with mypyc a tenth less of
the CPU. Where cores wait for work before they halt (`guest_halt_poll_ns` of the kernel's haltpoll set to 200000 does that) waking
is cheap, and ours takes 0.33 of the CPU for 1.3 of the rate.

With TLS and 10 KB it is the other way round: where waking is dear it hides a part of what TLS adds (1.3 to 1.6 of plain service),
where it is cheap it does not (1.6), and where both share a core nobody has to be woken (1.8 to 2.1). Left alone the kernel
changes between one core and two as it likes; so with TLS each is measured by itself.

TLS adds 10 to 30 us to a pair of 10 KB, by the machine: a third to a half of it OpenSSL's own calls (the row that is set in has
nothing else on top of plain service: 1.15 to 1.2 on two cores, 1.4 to 1.5 on one), the rest spread over more memory and code that a core has
to find again after each switch. From OpenSSL 3.1 on AES takes a third of that (VAES): with 3.5 the ratio
was 1.4 to 1.5 where waking is cheap, 1.25 where it is dear, 1.9 on one core. Pyca's build of it, called through pyOpenSSL,
loses as much to its calls, so that is for the Python of the machine to bring.

Machines that others use, too, are half as quick for some seconds now and then: only neighbours can be compared.
"""

import argparse
import json
import os
import shutil
import ssl
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import peers
from kvsload import ROOT, Run, ServerProcess, batches, crowd, on_cores, openssl_us, pairs, peer_clients

from kvsstcp.client import Client


def alternate(rounds: int, reference: Callable[[], Run], *others: Callable[[], Run]) -> list[Run]:
    """Measure in turns. Of the reference the median counts; of each other one that, times the median of its ratios to the
    run of the reference in the same round: a machine that others use, too, is half as quick for seconds at a time."""
    runs = [[measure() for measure in (reference, *others)] for _ in range(rounds)]

    def settled(which: int, field: int) -> float:
        base = statistics.median(each[0][field] for each in runs)
        return base * statistics.median(each[which][field] / each[0][field] for each in runs)

    return [Run(settled(which, 0), settled(which, 1)) for which in range(1 + len(others))]


class Table:
    """Rows of what was measured and what is wanted."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []
        print(f"{'figure':<66} {'base':>10} {'ours':>10} {'ratio':>7}  wanted")

    def add(self, what: str, base: float, ours: float, wanted: str | None, met: bool) -> None:
        """`wanted`: None for a row that is only to be known."""
        ratio = ours / base if base else float("nan")
        self.rows.append(
            {"what": what, "base": base, "ours": ours, "ratio": ratio, "wanted": wanted, "met": met}
        )
        verdict = "" if wanted is None else f"{wanted:<9} {'reached' if met else 'not reached'}"
        print(f"{what:<66} {base:>10.1f} {ours:>10.1f} {ratio:>7.2f}  {verdict}")
        sys.stdout.flush()

    def sum_up(self) -> int:
        """Returns the exit code: 0 when everything that is wanted was reached."""
        asked = [row for row in self.rows if row["wanted"] is not None]
        missed = [row for row in asked if not row["met"]]
        print(f"{len(asked) - len(missed)} of {len(asked)} reached")
        return 1 if missed else 0


_FLOORS = ("C that looks at nothing, reads pieces", "C that looks at nothing, reads whole requests")


def compare_with_peer(table: Table, peer_python: str, quick: bool) -> None:
    peer, plain = ServerProcess("peer", peer_python), ServerProcess("plain", peer_python)
    kinds = ("floor", "floor-whole") if shutil.which("cc") else ()
    floors = {kind: ServerProcess(kind, "") for kind in kinds}
    try:
        for count, least, rounds, total in ((1, 1.0, 9, 16_000), (8, 1.2, 9, 24_000), (64, 1.0, 5, 40_000)):
            if quick:
                rounds, total = 3, total // 2
            servers = [peer, plain, *(floors.values() if count == 1 else ())]
            theirs, ours, *least_ones = alternate(
                rounds,
                *(partial(peer_clients, server, peer_python, count, total // count) for server in servers),
            )
            what = f"old client x {count}, 100 B"
            ratio = ours.cpu_us / theirs.cpu_us
            table.add(f"{what}: server CPU us/operation", theirs.cpu_us, ours.cpu_us, "<= 0.6", ratio <= 0.6)
            ratio = ours.rate / theirs.rate
            table.add(f"{what}: operations/s", theirs.rate, ours.rate, f">= {least:g}", ratio >= least)
            for name, floor in zip(_FLOORS, least_ones, strict=False):
                table.add(f"  {name}: server CPU us/operation", theirs.cpu_us, floor.cpu_us, None, True)
                table.add(f"  {name}: operations/s", theirs.rate, floor.rate, None, True)
        theirs, ours = alternate(
            3 if quick else 5,
            lambda: peer_clients(peer, peer_python, 1, 8_000),
            lambda: batches(plain, 100, 100 if quick else 400, 100),
        )
        what = "batches of 100, own client : old client, operations/s"
        table.add(what, theirs.rate, ours.rate, ">= 5", ours.rate >= 5 * theirs.rate)
    finally:
        for each in (peer, plain, *floors.values()):
            each.stop()


def compare_tls(table: Table, peer_python: str | None, quick: bool) -> None:
    """Server CPU of put+get pairs of 10 KB, beside our own plain service and beside the old server's."""
    plain, secure = ServerProcess("plain", ""), ServerProcess("tls", "")
    others = [ServerProcess("peer", peer_python)] if peer_python else []
    first, *rest = sorted(os.sched_getaffinity(0))
    # Left alone the kernel puts server and client on one core now and then, for as long as it likes.
    places = [("two cores", set(rest))] if rest else []
    places.append(("one core", {first}))
    try:
        for place, client_cores in places:
            with on_cores({first}, client_cores, plain, secure, *others):
                measures = [partial(pairs, each, 3_000, 10_000) for each in (secure, plain, *others)]
                ours, *bases = alternate(5 if quick else 15, *measures)
                least_us = bases[0].cpu_us + openssl_us(10_000, 10_000)
            for name, base, limit in zip(("plain", "disBatch 3.0"), bases, (1.4, None), strict=False):
                table.add(
                    f"TLS : {name}, 10 KB pairs, {place}: server CPU us/operation",
                    base.cpu_us,
                    ours.cpu_us,
                    None if limit is None else f"<= {limit:g}",
                    limit is None or ours.cpu_us <= limit * base.cpu_us,
                )
            what = f"  plain and OpenSSL's own calls : plain, {place}: us/operation"
            table.add(what, bases[0].cpu_us, least_us, None, True)
    finally:
        for each in (plain, secure, *others):
            each.stop()


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


def peer_python_of(folder: Path) -> str:
    """The interpreter of a venv with disBatch 3.0, which is made if need be."""
    peers.install(folder, ["disbatch"])
    python = folder / "disbatch/bin/python"
    if not (folder / "disbatch/.installed").exists():
        raise SystemExit("disBatch 3.0 could not be installed; --peer-python says where it is")
    return str(python)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer-python", help="an interpreter that has disBatch 3.0; without it only ours is measured"
    )
    parser.add_argument(
        "--install-peer",
        action="store_true",
        help="put disBatch 3.0 into a venv of its own (.venv-peers) first",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer operations and connections: a minute or two instead of five",
    )
    parser.add_argument("--json", metavar="FILE", help="write the rows to this file, too")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="servers and clients go before all other work on the machine (needs root), which steadies the CPU figures",
    )
    options = parser.parse_args()
    if options.install_peer and not options.peer_python:
        options.peer_python = peer_python_of(ROOT / ".venv-peers")
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {ssl.OPENSSL_VERSION}; "
        "CPU is that of all threads of the server"
    )
    table = Table()
    if options.peer_python:
        compare_with_peer(table, options.peer_python, options.quick)
    compare_tls(table, options.peer_python, options.quick)
    many_connections(table, options.peer_python, options.quick)
    flat_memory(table, options.quick)
    if options.json:
        Path(options.json).write_text(json.dumps(table.rows, indent=1))
    return table.sum_up()


if __name__ == "__main__":
    sys.exit(main())

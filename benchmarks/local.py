#!/usr/bin/env python3
"""How fast disBatch is on one machine, beside other programs that run lists of commands.

    benchmarks/local.py --install-peers            everything, about a quarter of an hour
    benchmarks/local.py --scenario noop --quick    a first impression
    benchmarks/local.py --markdown                 the same as a table for a README

disBatch and a peer run in turns, so that whatever else happens on the machine hits both; times are medians, a ratio is
the median of the ratios of the pairs (disBatch / peer: below 1, disBatch was faster). Needs only the standard library.
"""

import argparse
import datetime
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import measure
import peers
from measure import RunFailed
from peers import Absent, Peer

ROOT = Path(__file__).resolve().parent.parent
SLOTS = 2
MAX_RATIO_NOOP = 1.0  # against everybody: no other tool gets through a list of short commands faster
MAX_RATIO_ONE = 3.0  # against GNU parallel
SLEEP_IDEAL_S, MAX_RATIO_SLEEP = 1.3, 1.2  # 100 tasks of 0.1 s on 8 slots are 13 rounds
MAX_RSS_MB, MAX_GROWTH_MB = 120.0, 5.0
MAX_BIGLIST_S = 1.0
MAX_DRIVER_SHARE = 1 / 20  # of the CPU time of a bash


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `met` is None where nothing is wanted, or nothing could be measured."""

    what: str
    against: str
    ours: str
    theirs: str
    value: str
    wanted: str = ""
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """What all scenarios share: the program under test, the peers, sizes, and fresh folders."""

    program: Path
    others: list[Peer | Absent]
    pairs: int
    count: int
    quick: bool
    work: Path
    numbers: Iterator[int]

    def folder(self) -> Path:
        folder = self.work / f"run{next(self.numbers)}"
        folder.mkdir()
        return folder

    def home(self, name: str) -> Path:
        return self.work / "homes" / name.replace(" ", "-")

    def tasks(self, lines: Iterator[str] | list[str]) -> Path:
        path = self.work / f"tasks{next(self.numbers)}"
        with path.open("w") as file:
            file.writelines(f"{line}\n" for line in lines)
        return path

    def argv(self, tasks: Path, slots: int, folder: Path) -> list[str]:
        return [str(self.program), "-s", f"localhost:{slots}", "-p", str(folder / "run"), str(tasks)]

    def ours_s(self, tasks: Path, slots: int, expected: int) -> float:
        folder = self.folder()
        taken = measure.wall_s(self.argv(tasks, slots, folder), folder, self.home("disBatch"))
        recorded = status_lines(folder)
        if recorded != expected:
            raise RunFailed(f"disBatch recorded {recorded} of {expected} tasks")
        shutil.rmtree(folder)
        return taken

    def theirs_s(self, peer: Peer, tasks: Path, slots: int) -> float:
        folder = self.folder()
        feed = tasks if peer.feed else None
        taken = measure.wall_s(peer.argv(tasks, slots, folder), folder, self.home(peer.name), feed)
        shutil.rmtree(folder)
        return taken


def status_lines(folder: Path) -> int:
    try:
        return (folder / "run_status.txt").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def compare(bench: Bench, peer: Peer, tasks: Path, number: int) -> tuple[float, float, float]:
    """Medians of ours, theirs and the ratio, after one run of each that does not count."""
    tell(f"{peer.name}, {number} x: warming up")
    warm = bench.tasks(["true"])
    bench.ours_s(warm, SLOTS, 1)
    bench.theirs_s(peer, warm, SLOTS)
    pairs = []
    for n in range(bench.pairs):
        pairs.append((bench.ours_s(tasks, SLOTS, number), bench.theirs_s(peer, tasks, SLOTS)))
        tell(
            f"{peer.name}, {number} x, pair {n + 1} of {bench.pairs}: {pairs[-1][0]:.2f} s, {pairs[-1][1]:.2f} s"
        )
    ours, theirs = (measure.median(list(column)) for column in zip(*pairs, strict=True))
    return ours, theirs, measure.median([a / b for a, b in pairs])


def against_all(bench: Bench, number: int, wanted: Callable[[str], float | None]) -> list[Row]:
    rows = []
    for peer in bench.others:
        if isinstance(peer, Absent):
            rows.append(Row(f"{number:,} × `true`", peer.name, "", "", f"not runnable here: {peer.why}"))
            continue
        size = min(number, peer.max_count or number)
        what = f"{size:,} × `true`"
        try:
            ours, theirs, ratio = compare(bench, peer, bench.tasks(["true"] * size), size)
        except RunFailed as error:
            rows.append(Row(what, peer.name, "", "", f"not measured: {error}"))
            continue
        limit = wanted(peer.name)
        verdict = ("", None) if limit is None else (f"≤ {limit:g}", ratio <= limit)
        rows.append(Row(what, peer.name, f"{ours:.2f} s", f"{theirs:.2f} s", f"{ratio:.2f}", *verdict))
    return rows


def noop(bench: Bench) -> list[Row]:
    return against_all(bench, bench.count, lambda name: MAX_RATIO_NOOP)


def one(bench: Bench) -> list[Row]:
    return against_all(bench, 1, lambda name: MAX_RATIO_ONE if name == "GNU parallel" else None)


def sleep(bench: Bench) -> list[Row]:
    tasks = bench.tasks(["sleep 0.1"] * 100)
    taken = measure.median([bench.ours_s(tasks, 8, 100) for _ in range(bench.pairs)])
    ratio = taken / SLEEP_IDEAL_S
    what = "100 × `sleep 0.1`, 8 slots"
    met = ratio <= MAX_RATIO_SLEEP
    return [
        Row(
            what, "ideal", f"{taken:.2f} s", f"{SLEEP_IDEAL_S} s", f"{ratio:.2f}", f"≤ {MAX_RATIO_SLEEP}", met
        )
    ]


def memory(bench: Bench) -> list[Row]:
    early, late, after_s = (1_000, 3_000, 5.0) if bench.quick else (1_000, 15_000, 20.0)
    folder, tasks = bench.folder(), bench.tasks(["#DISBATCH REPEAT 10000000 true"])
    begin = time.perf_counter()
    with measure.started(bench.argv(tasks, SLOTS, folder), folder, bench.home("disBatch")) as driver:
        measure.wait_until(lambda: status_lines(folder) >= early, f"{early} finished tasks", 120, driver)
        below = measure.engine_processes(driver.pid)
        names = {driver.pid: "driver"} | {pid: f"engine process {n + 1}" for n, pid in enumerate(below)}
        if not below:
            raise RunFailed("no engine process found below the driver")
        first = {pid: measure.rss_mb(pid) for pid in names}
        measure.wait_until(lambda: status_lines(folder) >= late, f"{late} finished tasks", 300, driver)
        last = {pid: measure.rss_mb(pid) for pid in names}
        measure.wait_until(lambda: time.perf_counter() - begin >= after_s, "the moment to look", 300, driver)
        sizes = {pid: measure.rss_mb(pid) for pid in names}
        everything = [driver.pid, *measure.descendants(driver.pid)]
        driver.send_signal(signal.SIGTERM)
        code = driver.wait(60)
    rows = [
        Row(
            f"REPEAT 10,000,000: memory of the {names[pid]}",
            f"after {after_s:.0f} s",
            f"{mb:.0f} MB",
            "",
            f"{mb:.0f} MB",
            f"< {MAX_RSS_MB:.0f} MB",
            mb < MAX_RSS_MB,
        )
        for pid, mb in sizes.items()
    ]
    growth = max(last[pid] - first[pid] for pid in names)
    what = f"the same: largest growth from {early:,} to {late:,} finished"
    rows.append(
        Row(what, "", "", "", f"{growth:.1f} MB", f"< {MAX_GROWTH_MB:.0f} MB", growth < MAX_GROWTH_MB)
    )
    left = measure.alive(everything)
    rows.append(
        Row("the same: left over after SIGTERM", "", f"exit {code}", "", f"{len(left)}", "0", not left)
    )
    return rows


def first_task_s(bench: Bench, lines: int) -> float:
    """From the start of disBatch to the first task's first command, in a list of so many lines."""
    folder = bench.folder()
    tasks = folder / "tasks"
    with tasks.open("w") as file:
        file.write("touch started\n")
        whole, rest = divmod(lines - 1, 1_000_000)
        for _ in range(whole):
            file.write("true\n" * 1_000_000)
        file.write("true\n" * rest)
    begin = time.perf_counter()
    with measure.started(bench.argv(tasks, SLOTS, folder), folder, bench.home("disBatch")) as driver:
        measure.wait_until((folder / "started").exists, "the first task", 120, driver)
        taken = time.perf_counter() - begin
        driver.send_signal(signal.SIGTERM)
        driver.wait(60)
    shutil.rmtree(folder)
    return taken


def biglist(bench: Bench) -> list[Row]:
    lines = 1_000_000 if bench.quick else 10_000_000
    pairs = [(first_task_s(bench, lines), first_task_s(bench, 10)) for _ in range(bench.pairs)]
    long, short = (measure.median(list(column)) for column in zip(*pairs, strict=True))
    extra = measure.median([a - b for a, b in pairs])
    what = f"first task of {lines:,} lines"
    met = extra < MAX_BIGLIST_S
    return [
        Row(what, "of 10 lines", f"{long:.2f} s", f"{short:.2f} s", f"+{extra:.2f} s", "< 1 s later", met)
    ]


def drivercpu(bench: Bench) -> list[Row]:
    many, single = bench.tasks(["true"] * bench.count), bench.tasks(["true"])
    totals: list[float] = []
    starts: list[float] = []
    shells: list[float] = []
    for _ in range(bench.pairs):
        for tasks, into in ((many, totals), (single, starts)):
            folder = bench.folder()
            into.append(
                measure.cpu_until_end_s(bench.argv(tasks, SLOTS, folder), folder, bench.home("disBatch"))
            )
        shells.append(measure.bash_cpu_s())
    each, shell = measure.median(totals) / bench.count, measure.median(shells)
    after_start = max(0.0, measure.median(totals) - measure.median(starts)) / bench.count
    wanted = f"≤ {MAX_DRIVER_SHARE:g}"
    what = f"CPU time of the driver for each of {bench.count:,} × `true`"
    return [
        Row(what, label, f"{s * 1e6:.0f} µs", f"{shell * 1e6:.0f} µs", f"{s / shell:.3f}", limit, met)
        for label, s, limit, met in (
            ("one `bash -c true`", each, wanted, each <= shell * MAX_DRIVER_SHARE),
            ("the same, start-up apart", after_start, "", None),
        )
    ]


SCENARIOS: dict[str, Callable[[Bench], list[Row]]] = {
    "noop": noop,
    "one": one,
    "sleep": sleep,
    "memory": memory,
    "biglist": biglist,
    "drivercpu": drivercpu,
}
HEADINGS = ("what", "against", "disBatch", "the other", "ratio or value", "wanted", "met")


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def cells(row: Row) -> tuple[str, ...]:
    met = "" if row.met is None else "yes" if row.met else "NO"
    return (row.what, row.against, row.ours, row.theirs, row.value, row.wanted, met)


def plain_table(rows: list[Row]) -> str:
    lines = [HEADINGS, *(tuple(cell.replace("`", "") for cell in cells(row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown_table(rows: list[Row]) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS), *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def footnotes(bench: Bench, scenarios: Collection[str]) -> Iterator[str]:
    today = datetime.date.today().isoformat()
    yield (
        f"Measured on {today}: {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}; medians of {bench.pairs} runs of each, in turns; "
        f"{SLOTS} slots where nothing else is said."
    )
    for peer in bench.others:
        if isinstance(peer, Absent) or not {"noop", "one"} & set(scenarios):
            continue
        if peer.note:
            yield f"{peer.name}: {peer.note}."
        if "noop" in scenarios and peer.max_count and peer.max_count < bench.count:
            yield f"{peer.name} was given {peer.max_count} commands, because of the time it takes; disBatch the same."


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--disbatch", type=Path, default=ROOT / ".venv/bin/disBatch", help="the program under test"
    )
    parser.add_argument(
        "--peers-dir", type=Path, default=ROOT / ".venv-peers", help="a folder with a venv for each peer"
    )
    parser.add_argument("--install-peers", action="store_true", help="make those venvs first")
    parser.add_argument(
        "--scenario", choices=SCENARIOS, action="append", help="only this one (may be repeated)"
    )
    parser.add_argument(
        "--peer", action="append", help="only this peer, by the name in the table (may be repeated)"
    )
    parser.add_argument("--count", type=int, help="commands in the long list (default: 10000)")
    parser.add_argument("--pairs", type=int, help="runs of each side (default: 5)")
    parser.add_argument(
        "--quick", action="store_true", help="short lists and two pairs: a first impression, no result"
    )
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended, too
    peers_dir = args.peers_dir.resolve()
    if args.install_peers:
        peers.install(peers_dir)
    if not args.disbatch.exists():
        tell(f"no disBatch at {args.disbatch}: run scripts/setup-venv, or say --disbatch PATH")
        return 2
    chosen = [p for p in peers.find(peers_dir) if not args.peer or p.name in args.peer]
    pairs = args.pairs or (2 if args.quick else 5)
    number = args.count or (1_000 if args.quick else 10_000)
    rows: list[Row] = []
    broken = False
    with tempfile.TemporaryDirectory(prefix="disBatch-benchmark-") as work:
        bench = Bench(args.disbatch.absolute(), chosen, pairs, number, args.quick, Path(work), count())
        scenarios: Collection[str] = args.scenario or SCENARIOS
        for name in scenarios:
            tell(f"scenario {name}")
            try:
                rows += SCENARIOS[name](bench)
            except RunFailed as error:
                rows.append(Row(name, "", "", "", f"not measured: {error}"))
                broken = True
        print(markdown_table(rows) if args.markdown else plain_table(rows))
        print()
        print("\n\n".join(footnotes(bench, scenarios)))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

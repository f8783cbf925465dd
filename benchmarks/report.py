"""Time and memory of `disbatch-report` on status files of a million lines, against what is wanted.

    python benchmarks/report.py [--lines N]

The files are made up: 100 nodes of 40 slots; barriers; one task in fifty fails, half of these with a message of its own.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
WANTED_S, WANTED_MB = 30.0, 1000.0
NODES, SLOTS = 100, 40
EPOCH_S = 1_750_000_000.0


class Cost(NamedTuple):
    wall_s: float
    cpu_s: float
    peak_mb: float


def lines(count: int, seed: int) -> Iterator[str]:
    """Status lines in the order in which tasks end, more or less; a barrier after every tenth part."""
    rng = random.Random(seed)
    free = [EPOCH_S + rng.random() for _ in range(NODES * SLOTS)]
    for number in range(count):
        if number and number % (count // 10) == 0:
            met = max(free)
            yield f"B    \t{number}\t{number + 1}\t-1\tlogin\t9\t0\t{met - min(free):.3f}\t{min(free):.3f}\t{met:.3f}\t0\t''\t0\t''\t#DISBATCH BARRIER\n"
            free = [met + 0.01] * len(free)
            continue
        slot = number % len(free)
        start, took = free[slot], rng.expovariate(0.2)
        free[slot] = start + took + 0.003
        kind = rng.random()
        code, err = (
            (1, f"sample {number} is bad\\n" if kind < 0.01 else "no licence\\n") if kind < 0.02 else (0, "")
        )
        out = "done\\n" if kind > 0.99 else ""
        flags = f"{'R' if code else ' '}{'O' if out else ' '}{'E' if err else ' '} "
        yield (
            f"{flags}\t{number}\t{number + 1}\t-1\tnode{slot // SLOTS:03}\t{4000 + slot}\t{code}\t{took:.3f}\t{start:.3f}\t"
            f"{start + took:.3f}\t{len(out)}\t'{out}'\t{len(err)}\t'{err}'\t"
            f"cd /data/project; ./analyse --sample {number:07} --seed {seed} > out/{number:07}.log\n"
        )


def usage_lines(status: Path) -> Iterator[str]:
    """The usage file that goes with a status file."""
    yield "Kind\tTaskID\tRepeatIndex\tAttempt\tNode\tSlot\tCores\tReturnCode\tStart\tElapsed\tCPUSeconds\tPeakKiB\n"
    for node in range(NODES):
        yield f"#node\tnode{node:03}\t{node}\t{SLOTS}\t{2 * SLOTS}\t{256 << 20}\tcontext0\n"
    with open(status) as file:
        for line in file:
            f = line.split("\t", 10)
            if f[0][0] != "B":
                took = float(f[7])
                yield f"task\t{f[1]}\t-1\t1\t{f[4]}\t0\t2\t{f[6]}\t{f[8]}\t{f[7]}\t{1.7 * took:.3f}\t{30000 + int(1000 * took)}\n"


def cost(*arguments: str) -> Cost:
    """What one run of the report takes."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "disbatch.report", *arguments],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"disbatch-report ended with {process.returncode}")
    return Cost(time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    count = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, second = folder / "a_status.txt", folder / "b_status.txt"
        first.write_text("".join(lines(count, 1)))
        skipped = (line.replace("    \t", "   S\t", 1) for line in lines(count // 2, 1))
        second.write_text("".join(skipped) + "".join(lines(count // 2, 2)))
        cases = [
            ("tables", [str(first)]),
            ("tables and page", [str(first), "--html", str(folder / "page.html")]),
            ("1.5 times that, in two files", [str(first), str(second)]),
        ]
        print(
            f"{count:,} lines, {first.stat().st_size / 1e6:.0f} MB; wanted: {WANTED_S:.0f} s, {WANTED_MB:.0f} MB"
        )
        print(f"{'what':28} {'time':>8} {'CPU':>8} {'memory':>10}")
        for what, arguments in cases:
            print_cost(what, cost(*arguments))
        (folder / "a_usage.txt").write_text("".join(usage_lines(first)))
        print_cost("tables and page, with usage", cost(*cases[1][1]))


def print_cost(what: str, c: Cost) -> None:
    good = c.wall_s <= WANTED_S and c.peak_mb <= WANTED_MB
    print(
        f"{what:28} {c.wall_s:6.1f} s {c.cpu_s:6.1f} s {c.peak_mb:7.0f} MB  {'as wanted' if good else 'TOO MUCH'}",
        flush=True,
    )


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What it costs a run to be watched: CPU time of the driver for each task, with five viewers against none.

    benchmarks/viewers.py                 ten pairs of runs for each row that something is wanted of
    benchmarks/viewers.py --quick         a first impression
    benchmarks/viewers.py --only 3        one row of the table; the third is web pages alone

Viewers are three monitors (connections to the KVS that ask as `--mon` does) and two browsers on the web page (its stream
of events), in a process of their own. A list of short tasks is run with and without them in turns; the ratio is the
median of the ratios of the pairs. The CPU time of a run of one task is taken off both, so that it is the tasks that are
compared and not the start. The list is short tasks, as only these make a driver work at all: with tasks of minutes, it
sleeps, whoever looks.

What profiles have shown, for whoever changes this part:
* A viewer costs the driver one small request and one reply a second: some 0.1 ms. The first one costs what the snapshot
  does: 0.04 ms to take it, 0.07 ms to encode it; on an idle machine, with cold caches, three times as much.
* Fifty failures were three quarters of both before they were kept as they are shown (`core.picture`, `core.snapshot`),
  and the history of the run is most of what is left of the encoding: hence its length (`core.history`).
* On an idle run, with cold caches: 0.45 ms of each second without viewers, 1.1 with three monitors, 1.2 with five, 1.8
  with three monitors and two pages. That is what the ratio comes from: a list whose driver uses 40 ms of each second
  pays some 3 %. On a machine that is busy otherwise, single pairs are off by 20 % either way.
* Ten thousand engines: 0.03 s to take the snapshot, 0.05 s to encode its 2 MB; `runtime.publish` then shows one every 7 s.
* With web pages and thousands of short tasks, a look at each row was most of it: 1.1 µs a task in warm caches, 1.9 in a
  run. Drawn as a crowd (`web.picture.timeline`) it is a third of that.
* A turn of the event loop costs more than most of what is done in it: so counts and rows are published in one turn, and
  viewers ask again every few seconds, not for every snapshot.
"""

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import measure
from measure import RunFailed

ROOT = Path(__file__).resolve().parent.parent
MAX_RATIO = 1.05
SLOTS = 2
FILE_S = 60.0  # for a run to begin
POLL_S = 0.01


class Case(NamedTuple):
    """Who looks, and what the run is started with whether anybody looks or not."""

    name: str
    monitors: int
    pages: int
    options: tuple[str, ...]
    wanted: float | None


CASES = (
    Case("3 monitors, 2 web pages", 3, 2, ("-w",), MAX_RATIO),
    Case("5 monitors", 5, 0, (), MAX_RATIO),
    Case("5 web pages", 0, 5, ("-w",), None),
)


# -- the viewers' process


async def view(prefix: str, monitors: int, pages: int) -> list[int]:
    """Looks until the run is over; returns how often each viewer was shown something."""
    await _file(prefix + "_kvsinfo.txt")
    return await asyncio.gather(
        *[_monitor(prefix) for _ in range(monitors)], *[_page(prefix) for _ in range(pages)]
    )


async def _monitor(prefix: str) -> int:
    from disbatch.core.errors import MachineError
    from disbatch.monitor.looking import Looker, load_info

    looker = await Looker.connect(load_info(prefix + "_kvsinfo.txt"))
    seen = 0
    try:
        while not (await looker.look()).over:
            seen += 1
    except MachineError:  # the end came between two looks
        pass
    finally:
        await looker.close()
    return seen


async def _page(prefix: str) -> int:
    import aiohttp

    url = urlsplit(await _file(prefix + "_url"))
    headers = {"Authorization": f"Bearer {url.query.removeprefix('token=')}"}
    forever = aiohttp.ClientTimeout(total=None)
    seen = 0
    async with aiohttp.ClientSession(f"http://{url.netloc}", headers=headers, timeout=forever) as session:
        try:
            async with session.get("/events") as answer:
                async for line in answer.content:
                    seen += line.startswith(b"event: ")
        except aiohttp.ClientError:
            pass
    return seen


async def _file(path: str) -> str:
    """The content of a file once it is there and complete."""
    deadline = time.monotonic() + FILE_S
    while time.monotonic() < deadline:
        if os.path.exists(path):
            text = Path(path).read_text()
            if text.endswith("\n"):
                return text.strip()
        await asyncio.sleep(POLL_S)
    raise SystemExit(f"{path} has not come")


@contextmanager
def viewers(python: Path, prefix: Path, case: Case) -> Iterator[None]:
    """They wait for the run before it is there. Raises RunFailed when one of them has seen nothing."""
    argv = [str(python), __file__, "--view", str(prefix), str(case.monitors), str(case.pages)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it has started
        yield
        seen = process.communicate(timeout=FILE_S)[0].split()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    if process.returncode or len(seen) != case.monitors + case.pages or "0" in seen:
        raise RunFailed(f"the viewers have seen {seen or 'nothing'}")


# -- the runs


class Bench(NamedTuple):
    program: Path
    python: Path
    work: Path
    count: int

    def driver_s(self, case: Case, count: int, *, watched: bool) -> float:
        """CPU time of the driver for a run of so many tasks."""
        folder = self.work / "run"
        folder.mkdir()
        tasks = folder / "Tasks"
        tasks.write_text("true\n" * count)
        argv = [
            str(self.program),
            "-s",
            f"localhost:{SLOTS}",
            "-p",
            str(folder / "run"),
            *case.options,
            str(tasks),
        ]
        if watched:
            with viewers(self.python, folder / "run", case):
                taken = measure.cpu_until_end_s(argv, folder, self.work / "home")
        else:
            taken = measure.cpu_until_end_s(argv, folder, self.work / "home")
        shutil.rmtree(folder)
        return taken


def compare(bench: Bench, case: Case, pairs: int) -> tuple[float, float, float]:
    """Medians of the microseconds for each task, without and with viewers, and of their ratios."""
    start_s = measure.median([bench.driver_s(case, 1, watched=False) for _ in range(3)])
    found = []
    for number in range(pairs):
        order = (False, True) if number % 2 == 0 else (True, False)  # what heats the machine up hits both
        taken = {watched: bench.driver_s(case, bench.count, watched=watched) for watched in order}
        alone, watched = ((taken[each] - start_s) / bench.count * 1e6 for each in (False, True))
        found.append((alone, watched))
        tell(f"{case.name}, pair {number + 1} of {pairs}: {alone:.1f} µs alone, {watched:.1f} µs watched")
    alone, watched = (measure.median(list(column)) for column in zip(*found, strict=True))
    return alone, watched, measure.median([b / a for a, b in found])


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--disbatch", type=Path, default=ROOT / ".venv/bin/disBatch", help="the program under test"
    )
    parser.add_argument("--pairs", type=int, help="runs of each side (default: 10)")
    parser.add_argument("--count", type=int, help="tasks in the list (default: 10000)")
    parser.add_argument("--quick", action="store_true", help="short lists and three pairs: no result")
    parser.add_argument(
        "--only", type=int, choices=range(1, len(CASES) + 1), help="only this row of the table"
    )
    parser.add_argument("--view", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if args.view:
        print(flush=True)
        print(*asyncio.run(view(args.view[0], int(args.view[1]), int(args.view[2]))))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended, too
    if not args.disbatch.exists():
        tell(f"no disBatch at {args.disbatch}: run scripts/setup-venv, or say --disbatch PATH")
        return 2
    pairs, count = args.pairs or (3 if args.quick else 10), args.count or (3_000 if args.quick else 10_000)
    chosen = [c for c in CASES if c.wanted is not None] if args.only is None else [CASES[args.only - 1]]
    missed = False
    print(f"{'who looks':26} {'alone':>9} {'watched':>9} {'ratio':>6}  wanted")
    with tempfile.TemporaryDirectory(prefix="disBatch-benchmark-") as work:
        program = args.disbatch.absolute()
        bench = Bench(program, program.parent / "python", Path(work), count)
        for case in chosen:
            try:
                alone, watched, ratio = compare(bench, case, pairs)
            except RunFailed as error:
                print(f"{case.name:26} not measured: {error}")
                missed = True
                continue
            wanted = (
                ""
                if case.wanted is None
                else f"≤ {case.wanted:.2f}: {'reached' if ratio <= case.wanted else 'NOT reached'}"
            )
            print(f"{case.name:26} {alone:6.1f} µs {watched:6.1f} µs {ratio:6.3f}  {wanted}", flush=True)
            missed |= case.wanted is not None and ratio > case.wanted
    print(
        f"CPU time of the driver for each of {count:,} tasks `true` on {SLOTS} slots, medians of {pairs} interleaved pairs."
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""A task file of ten million lines: the driver core's memory while all of it is run, and what resuming from it takes.

    .venv/bin/python benchmarks/tenmillion.py [--lines N] [--engines N] [--folder DIR]

The task file is read as the driver reads it; engines and time are those of simscale.py; each line of the status file is
written as the driver writes it, so tasks stand there in the order in which they ended, and some have failed. Then a
process of its own reads that file as `-r` does, in turns with a loop that splits its lines. Needs 200 bytes of disk a line.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from simscale import Simulation

from disbatch.core.status import StatusRecord, format_record
from disbatch.runtime.resume import ResumeFiles
from disbatch.runtime.sources import FileSource

SLOTS = 100
POINTS = 20  # at which memory is looked at
WANTED_GROWTH = 1.1  # from a tenth of the run to any later point
WANTED_RATIO = 3.0
WANTED_MB = 500.0
FAILED_EVERY = 100
SHORT = 2_000_000  # lines up to which reading is measured five times, three times above


def memory_mb(name: str) -> float:
    """Of this process: VmRSS is what it has, VmHWM the most it had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) / 1e3


class Run(Simulation):
    """A simulation that reads a task file and writes a status file."""

    def __init__(self, engines: int, tasks: int, task_file: BinaryIO, status_file: BinaryIO) -> None:
        self.status_file = status_file
        self.done = 0
        self.step = max(1, tasks // POINTS)
        self.points: list[float] = []
        super().__init__(engines, SLOTS, tasks, 0.0, 1)
        self.recorded = bytearray(b"\0") * tasks  # all of it in memory from the beginning
        source: Any = FileSource(task_file, task_file.name)
        source.check()
        self.to_read = source.items()

    def record(self, rows: list[StatusRecord]) -> None:
        super().record(rows)
        for row in rows:
            if row.task_id % FAILED_EVERY == 0:
                row = row._replace(
                    flags="R E ", returncode=1, err_bytes=21, err_snippet="no such case: give up"
                )
            self.status_file.write(format_record(row))
            self.done += 1
            if self.done % self.step == 0:
                self.points.append(memory_mb("VmRSS"))


def run_all(tasks: int, engines: int, folder: Path) -> bool:
    """Runs a task file of so many lines. Whether memory stayed flat."""
    with open(folder / "Tasks", "wb") as task_file:
        task_file.writelines(b"./simulate --case %08d --out r/%08d\n" % (n, n) for n in range(tasks))
    began = time.process_time()
    with open(folder / "Tasks", "rb") as task_file, open(folder / "status.txt", "wb") as status_file:
        run = Run(engines, tasks, task_file, status_file)
        run.run()
    seconds = time.process_time() - began
    assert bytes(run.recorded) == b"\1" * tasks, "not every task has one line"
    tenth, most = run.points[POINTS // 10 - 1], max(run.points[POINTS // 10 :])
    print(
        f"{tasks} lines on {engines} engines of {SLOTS} slots: each has one line in the status file; {seconds:.0f} s CPU"
    )
    print(
        "memory of driver core and engines, each twentieth of the run, MB: "
        + " ".join(f"{p:.0f}" for p in run.points)
    )
    return verdict(
        f"memory after a tenth: {tenth:.1f} MB, most later: {most:.1f} MB",
        most / tenth,
        WANTED_GROWTH,
        "times",
    )


def read_again(tasks: int, folder: Path) -> bool:
    """Reads the status file in a process of its own. Whether time and memory are as wanted."""
    rounds = 5 if tasks <= SHORT else 3
    argv = [sys.executable, __file__, "--read", str(folder / "status.txt"), str(rounds)]
    found = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    assert found["last_task_id"] == tasks - 1, f"the last task read is {found['last_task_id']}"
    size_mb = (folder / "status.txt").stat().st_size / 1e6
    pairs = ", ".join(f"{ours:.2f} : {split:.2f} s" for ours, split in found["pairs"])
    ratio = statistics.median(ours / split for ours, split in found["pairs"])
    quick = verdict(
        f"reading {size_mb:.0f} MB, and splitting it: {pairs}, median ratio", ratio, WANTED_RATIO, ""
    )
    return verdict("memory of the process that read it", found["peak_mb"], WANTED_MB, "MB") and quick


def verdict(what: str, value: float, wanted: float, unit: str) -> bool:
    said = "reached" if value <= wanted else "NOT REACHED"
    print(f"{what}: {value:.2f} {unit} (wanted <= {wanted:g}: {said})", flush=True)
    return value <= wanted


def cpu_s(what: Callable[[], object]) -> float:
    began = time.process_time()
    what()
    return time.process_time() - began


def reader(path: str, rounds: int) -> dict[str, Any]:
    """CPU time of reading as `-r` does and of splitting, by turns; and the most memory the former took."""

    last_task_id = -1

    def resume() -> None:
        nonlocal last_task_id
        files = ResumeFiles((path,), retry_failed=False, by_id_only=False)
        last_task_id = files.last_task_id
        files.close()

    def split() -> None:
        with open(path, "rb") as file:
            for line in file:
                line.split(b"\t", 14)

    pairs = [(cpu_s(resume), cpu_s(split)) for _ in range(rounds)]
    return {"pairs": pairs, "peak_mb": memory_mb("VmHWM"), "last_task_id": last_task_id}


def main() -> int:
    parser = argparse.ArgumentParser(description="Ten million lines: run, and read again.")
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--engines", type=int, default=10)
    parser.add_argument(
        "--folder", help="where the files are for a while; the default is the usual one for such"
    )
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(reader(options.read[0], int(options.read[1]))))
        return 0
    if options.lines < 2 * options.engines * SLOTS * POINTS:
        parser.error(
            f"give at least {2 * options.engines * SLOTS * POINTS} lines, so that all slots are busy at each point"
        )
    with tempfile.TemporaryDirectory(prefix="tenmillion-", dir=options.folder) as folder:
        flat = run_all(options.lines, options.engines, Path(folder))
        return 0 if read_again(options.lines, Path(folder)) and flat else 1


if __name__ == "__main__":
    sys.exit(main())

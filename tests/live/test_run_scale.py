"""Long lists cost no memory and no time before they start."""

import time
from pathlib import Path

import pytest
from disbatch_runs import PYTHON, Bench, Run

pytestmark = pytest.mark.slow
LIMIT_KIB = 120_000
GROWTH_KIB = 5_000


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def lines_written(bench: Bench) -> int:
    path = bench.path / "run_status.txt"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def stop(run: Run) -> None:
    run.signal(2)
    assert run.end().code == 130


@pytest.mark.parametrize("how", ["repeat", "lines", "pipe"])
def test_memory_does_not_grow_with_the_number_of_tasks(bench: Bench, how: str) -> None:
    if how == "pipe":
        bench.file("Tasks", "true\n" * 200_000)
        run = bench.start(
            f"exec 0< <(cat Tasks); exec {' '.join(PYTHON)} -s localhost:2 -p run -",
            program=["/bin/bash", "-c"],
        )
    else:
        run = bench.start_here(
            2, tasks="#DISBATCH REPEAT 10000000 true" if how == "repeat" else "true\n" * 1_000_000
        )
    run.until(lambda: lines_written(bench) >= 1000, "a thousand tasks are done")
    pids = [run.pid, run.engine_pids()[1]]
    before = [resident_kib(pid) for pid in pids]
    run.until(lambda: lines_written(bench) >= 4000, "three thousand more are done")
    after = [resident_kib(pid) for pid in pids]
    assert max(after) < LIMIT_KIB
    assert all(late - early < GROWTH_KIB for early, late in zip(before, after, strict=True)), (before, after)
    stop(run)


def seconds_to_first_line(bench: Bench, tasks: bytes) -> float:
    bench.file("Tasks", tasks)
    (bench.path / "run_status.txt").unlink(missing_ok=True)
    for path in bench.path.glob("run_*"):
        path.unlink()
    begun = time.monotonic()
    run = bench.start_here(1, "Tasks")
    run.until(lambda: lines_written(bench) >= 1, "the first task is done")
    taken = time.monotonic() - begun
    if run.process.poll() is None:
        stop(run) if len(tasks) > 1000 else run.end()
    return taken


def test_a_list_of_ten_million_lines_starts_as_soon_as_one_of_ten(bench: Bench) -> None:
    short = min(seconds_to_first_line(bench, b"true\n" * 10) for _ in range(3))
    long = min(seconds_to_first_line(bench, b"true\n" * 10_000_000) for _ in range(3))
    assert long - short < 1.0, (short, long)

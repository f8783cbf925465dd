"""The usage file of real runs: what tasks took is what they were made to take."""

import os
import socket
import sys

import pytest
from disbatch_runs import Bench

HEADER = [
    "Kind",
    "TaskID",
    "RepeatIndex",
    "Attempt",
    "Node",
    "Slot",
    "Cores",
    "ReturnCode",
    "Start",
    "Elapsed",
    "CPUSeconds",
    "PeakKiB",
    "PeakIs",
]
# some 0.3 s of work by the process, and 0.3 s by a child that it waits for
WORK = (
    "python3 -c 'import time, os; t = time.process_time\n"
    "while t() < 0.3: pass\n"
    "if os.fork(): os.wait()\n"
    "else:\n"
    "  while t() < 0.3: pass'"
).replace("\n", "\\n")
EAT = "python3 -c 'x = bytearray(120 << 20)'"


def usage(bench: Bench) -> list[dict[str, str]]:
    header, *lines = bench.read("run_usage.txt").splitlines()
    assert header.split("\t") == HEADER
    return [dict(zip(HEADER, line.split("\t"), strict=True)) for line in lines if not line.startswith("#")]


def test_time_memory_and_the_fields_of_the_status_file(bench: Bench) -> None:
    bench.file("work.sh", WORK.replace("\\n", "\n"))
    tasks = f"#DISBATCH PERENGINE START :\n#DISBATCH PERENGINE STOP exit 4\n. ./work.sh\n{EAT}\n#DISBATCH REPEAT 1 start 7 exit 3\n"
    assert bench.here(1, "-c", "1", tasks=tasks).code == 0
    start, work, eat, repeated, stop = usage(bench)
    assert [row["Kind"] for row in (start, work, eat, repeated, stop)] == [
        "START",
        "task",
        "task",
        "task",
        "STOP",
    ]
    assert 0.55 < float(work["CPUSeconds"]) < 5
    assert 120 << 10 < int(eat["PeakKiB"]) < 300 << 10
    assert (repeated["RepeatIndex"], repeated["ReturnCode"], repeated["Slot"]) == ("7", "3", "0")
    assert (start["Slot"], stop["Slot"], stop["ReturnCode"]) == ("-1", "-1", "4")
    for row, line in zip(usage(bench), bench.read("run_status.txt").splitlines(), strict=True):
        _, task, _, repeat, node, _, code, elapsed, begin = line.split("\t")[:9]
        assert [task, repeat, node, code, elapsed, begin] == [
            row[name] for name in ("TaskID", "RepeatIndex", "Node", "ReturnCode", "Elapsed", "Start")
        ]


def test_memory_that_the_task_did_not_take_itself_is_a_bound(bench: Bench) -> None:
    """`sleep` takes some 2 MiB; what the kernel counts for it begins with the size of the engine."""
    assert bench.here(1, tasks=f"sleep 0.05\n{EAT}\n").code == 0
    small, eat = usage(bench)
    assert (small["PeakIs"], eat["PeakIs"]) == ("<=", "=")
    report = bench.run("run_status.txt", program=[sys.executable, "-m", "disbatch.report"])
    assert report.code == 0, report.err
    assert "median <= " in report.out and "largest 1" in report.out


def test_what_the_node_has_stands_before_its_tasks(bench: Bench) -> None:
    assert bench.here(2, tasks="true\n" * 4).code == 0
    _, remark, *_ = bench.read("run_usage.txt").splitlines()
    word, node, rank, slots, cpus, memory, label = remark.split("\t")
    assert (word, node, rank, slots, label) == ("#node", socket.gethostname(), "0", "2", "SSH0")
    assert int(cpus) == len(os.sched_getaffinity(0))
    assert 0 < int(memory) * 1024 <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert {row["Slot"] for row in usage(bench)} <= {"0", "1"}


def test_no_usage(bench: Bench) -> None:
    assert bench.here(1, "--no-usage", tasks="true").code == 0
    assert not (bench.path / "run_usage.txt").exists()


def test_a_usage_file_that_cannot_be_written_costs_one_warning(bench: Bench) -> None:
    run = bench.start_here(1, "-", stdin=-1)
    run.until_exists("run_status.txt")
    os.symlink("/nowhere/file", bench.path / "run_usage.txt")
    run.feed("true\n")
    run.until(lambda: bench.done() == [0], "the first task is done")
    run.feed("true\n" * 20)
    result = run.end()
    assert result.code == 0 and bench.done() == list(range(21))
    assert result.err.count("run_usage.txt") == 1 and "goes on without it" in result.err


@pytest.mark.parametrize("taken", ["run_usage.txt"])
def test_a_usage_file_of_another_run_is_not_touched(bench: Bench, taken: str) -> None:
    bench.file(taken, "mine\n")
    assert bench.here(1, tasks="true").code == 0
    assert bench.read("run.1_usage.txt") == "mine\n" and bench.read(taken) not in ("", "mine\n")

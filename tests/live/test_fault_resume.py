"""A driver that is killed at any moment, and what `-r` makes of it: every task once, and never a twin."""

import os
import random
import signal
import time
from collections import Counter

import pytest
from disbatch_runs import AFTER_A_KILL_S, DEADLINE_S, Bench, children, observed, wait_until

KILLS = int(os.environ.get("DISBATCH_KILLS", "10"))
TASKS = 40 * KILLS  # more than all runs that are killed get done
# A lock that goes with its holder: a second one beside it leaves a file.
TASK = (
    "exec 8>lock.$DISBATCH_TASKID; flock -n 8 || echo $DISBATCH_TASKID >> twins; "
    "echo $DISBATCH_TASKID >> begun; sleep 0.03; true"
)
LIST = f"#DISBATCH REPEAT {TASKS // 2} {TASK}\n#DISBATCH BARRIER\n#DISBATCH REPEAT {TASKS // 2} {TASK}\n"


def whole_lines(bench: Bench, name: str) -> list[int]:
    """Ids of the tasks that have a whole line."""
    data = (bench.path / name).read_bytes()
    rows = [line.split(b"\t") for line in data.split(b"\n")[:-1]]
    return [int(row[1]) for row in rows if row[0][:1] not in b"BC"]


def size_of(bench: Bench, name: str) -> int:
    path = bench.path / name
    return path.stat().st_size if path.exists() else 0


def gone_after(bench: Bench) -> float:
    """Seconds until no process of this bench is left."""
    began = time.monotonic()
    wait_until(lambda: not bench.left_running(), "nothing is left", seconds=AFTER_A_KILL_S, logs=bench.logs)
    return time.monotonic() - began


def test_a_driver_that_is_killed_at_random_moments_and_resumed(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resumed at once, or once nothing of it is left."""
    chance = random.Random(os.environ.get("DISBATCH_KILL_SEED", "1"))
    bench.file("Tasks", LIST)
    previous: list[str] = []
    written: dict[int, int] = {}  # how often each task had begun when its line was first seen
    gone_s: list[float] = []
    hit = 0
    for number in range(KILLS):
        prefix = f"r{number}"
        resume = [word for name in previous for word in ("-r", name)]
        run = bench.start("-s", "localhost:3", "-p", prefix, *resume, "Tasks")
        if number == 0:
            run.until_exists(f"{prefix}_status.txt")
        if number % 3 == 0:
            moment = time.monotonic() + chance.uniform(0.15, 0.9)
        else:  # a machine that is busy has hardly begun by then
            size = size_of(bench, "begun")
            run.until(lambda s=size: size_of(bench, "begun") > s, "it starts tasks")
            moment = time.monotonic() + chance.uniform(0.0, 0.5)
        wait_until(lambda m=moment, r=run: time.monotonic() > m or r.process.poll() is not None, "the moment")
        hit += run.process.poll() is None
        run.kill()
        if number % 2:
            gone_s.append(gone_after(bench))
        status = f"{prefix}_status.txt"
        if not (bench.path / status).exists():
            continue  # killed before it had begun
        lines = whole_lines(bench, status)
        assert len(lines) == len(set(lines))
        previous.append(status)
        before = Counter(bench.read("begun").split()) if (bench.path / "begun").exists() else Counter()
        for i in lines:
            assert before[str(i)] >= 1
            written.setdefault(i, before[str(i)])
    assert hit == KILLS
    resume = [word for name in previous for word in ("-r", name)]
    last = bench.start("-s", "localhost:3", "-p", "last", *resume, "Tasks").end(DEADLINE_S + TASKS / 20)
    assert last.code == 0, last.err
    assert bench.done("last_status.txt") == sorted([*range(TASKS // 2), *range(TASKS // 2 + 1, TASKS + 1)])
    after = Counter(bench.read("begun").split())
    assert all(after[str(i)] == count for i, count in written.items()), (
        "a task whose line was written ran again"
    )
    assert not (bench.path / "twins").exists(), bench.read("twins")
    with capsys.disabled():
        print(
            f"\n[{KILLS} kills: {len(written)} of {TASKS} tasks were written before the last run, none of them ran again; "
            f"{sum(after.values()) - TASKS} attempts were killed; nothing left after at most {max(gone_s):.2f} s] ",
            end="",
        )


def test_a_run_is_not_resumed_beside_its_living_driver(bench: Bench) -> None:
    run = bench.start_here(1, tasks="touch 0.runs; until [ -e go ]; do sleep 0.02; done\ntrue\n")
    run.until_exists("0.runs")
    refused = bench.run("-s", "localhost:1", "-p", "next", "-r", "run_status.txt", "Tasks")
    assert refused.code == 2 and "is not over" in refused.err and str(run.pid) in refused.err
    assert not (bench.path / "next_status.txt").exists()
    os.kill(run.pid, signal.SIGSTOP)  # it answers nobody, and lives
    refused = bench.run("-s", "localhost:1", "-p", "next", "-r", "run_status.txt", "Tasks")
    os.kill(run.pid, signal.SIGCONT)
    assert refused.code == 2 and "is not over" in refused.err
    bench.file("go", "")
    assert run.end().code == 0


def test_what_a_crashed_run_has_left_is_killed_before_it_is_resumed(bench: Bench) -> None:
    """Engine and guard are stopped, so nobody notices that the driver is dead; the task runs on."""
    run = bench.start_here(1, tasks=f"{TASK.replace('0.03', '1000')}\n")
    run.until((bench.path / "begun").exists, "the task runs")
    guard = children(run.pid)[0]
    (engine,) = children(guard)
    for pid in (guard, engine):
        os.kill(pid, signal.SIGSTOP)
    run.kill()
    assert bench.task_pids()
    began = time.monotonic()
    bench.file("Tasks", f"{TASK.replace('0.03', '1000')}\n")
    again = bench.start("-s", "localhost:1", "-p", "next", "-r", "run_status.txt", "Tasks")
    wait_until(
        lambda: bench.read("begun").count("0") == 2, "it runs again", seconds=DEADLINE_S, logs=again.logs
    )
    observed("-r after a crash, engine and guard stopped on the driver's host", began)
    assert not (bench.path / "twins").exists() and len(bench.task_pids()) == 1
    assert "has crashed; nothing of it runs any more" in again.err()
    again.signal(signal.SIGTERM)
    assert again.end().code == 143


def test_a_run_that_ended_in_order_is_resumed_at_once(bench: Bench) -> None:
    assert bench.here(1, tasks="true\n").code == 0
    again = bench.run("-s", "localhost:1", "-p", "next", "-r", "run_status.txt", tasks="true\n")
    assert again.code == 0 and "crashed" not in again.err

"""Placement on two unequal engines, read off the status file: no slower than the greedy schedule, nobody waits beside a free slot."""

import random
import sys
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sim"))

from disbatch_runs import Bench
from schedule import Interval, greedy_s, longest_wait_s

SCRIPT = ["./run_dbUtil.sh"]
SLOTS = {"0": 2, "1": 8}
TRIES = 3  # a machine that is busy with something else makes a run slower than its tasks


def mixed_tasks(count: int) -> str:
    """From 10 ms to 5 s, the short ones first, which make engines hold tasks ahead."""
    chance = random.Random(7)
    short = [0.01 * 2 ** chance.random() for _ in range(count // 2)]
    mixed = [0.01 * 500 ** chance.random() for _ in range(count // 2)]
    head = "#DISBATCH PREFIX echo $DISBATCH_ENGINE_RANK > $DISBATCH_TASKID.rank; exec sleep \n"
    return head + "".join(f"{seconds:.3f}\n" for seconds in short + mixed)


def run_once(bench: Bench, count: int) -> tuple[float, float]:
    """Makespan as a ratio to the greedy schedule of the measured durations, and the longest wait, in seconds."""
    for path in bench.path.iterdir():
        path.unlink()
    run = bench.start("-S", "-p", "run", tasks=mixed_tasks(count))
    run.until_exists("run_kvsinfo.txt", "run_dbUtil.sh")
    for slots in SLOTS.values():  # the order of joining is that of the ranks
        bench.start("-s", f"localhost:{slots}", program=SCRIPT)
        run.until(lambda n=slots: f", {n} slots" in run.err(), "it has joined")
    assert run.end().code == 0
    rows = sorted(bench.rows(), key=lambda row: row.task_id)
    runs = [Interval(bench.read(f"{r.task_id}.rank").strip(), r.start_s, r.finish_s) for r in rows]
    both = max(min(r.start_s for r in runs if r.engine == engine) for engine in SLOTS)
    makespan = max(r.end_s for r in runs) - both
    # what the first engine began alone, and has not ended, holds its slot when the other comes
    held = [r.finish_s - both for r in rows if r.start_s < both < r.finish_s]
    greedy = greedy_s([*held, *(r.elapsed_s for r in rows if r.start_s >= both)], sum(SLOTS.values()))
    seen = [Interval(r.engine, max(r.start_s, both), r.end_s) for r in runs if r.end_s > both]
    return makespan / greedy, longest_wait_s(seen, SLOTS)


def test_two_unequal_engines_do_as_well_as_the_greedy_schedule(bench: Bench) -> None:
    seen = []
    for _ in range(TRIES):
        seen.append(run_once(bench, 120))
        ratio, wait_s = seen[-1]
        if ratio < 1.05 and wait_s < 0.2:
            return
    raise AssertionError(f"(makespan / greedy, longest wait in s) of {TRIES} runs: {seen}")


def test_an_engine_that_joins_late_has_work_within_a_second(bench: Bench) -> None:
    task = "#DISBATCH REPEAT 30 echo $DISBATCH_ENGINE_RANK > $DISBATCH_TASKID.rank; sleep 0.2\n"
    run = bench.start_here(1, tasks=task)
    run.until_exists("0.rank", "run_dbUtil.sh")
    bench.start("-s", "localhost:4", program=SCRIPT)
    assert run.end().code == 0
    log = bench.read("run_driver.txt").splitlines()
    joined = next(line for line in log if "engine 1 on" in line and "has signed in" in line)
    moment = datetime.strptime(joined[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp()
    starts = [r.start_s for r in bench.rows() if bench.read(f"{r.task_id}.rank").strip() == "1"]
    print(f"{min(starts) - moment:.3f} s")
    assert min(starts) - moment < 1.0

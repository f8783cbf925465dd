"""Runs very many seeds of the fault simulation in parallel processes, and prints what they had in them.

    nice -n 19 python tests/sim/long_run.py FIRST COUNT [PROCESSES]

Each seed that breaks a rule is printed; `python tests/sim/long_run.py SEED` shows the whole story of one.
"""

import sys
import time
from collections import Counter
from multiprocessing import Pool
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from faulthouse import FaultHouse  # noqa: E402
from faultworld import Broken  # noqa: E402

CHUNK = 200


def some(first: int) -> "tuple[int, Counter[str], list[str]]":
    """Events, what happened how often, and what was broken, of CHUNK seeds."""
    counts: Counter[str] = Counter()
    broken = []
    events = 0
    for seed in range(first, first + CHUNK):
        house = FaultHouse(seed)
        try:
            house.run()
        except Broken as error:
            broken.append(str(error))
        except Exception as error:
            broken.append(f"seed {seed}: {type(error).__name__}: {error}")
        events += house.world.events
        counts += house.world.counts
        counts["drivers"] += len(house.drivers)
        counts["tasks"] += len(house.world.tasks)
        counts["processes"] += len(house.world.processes)
    return events, counts, broken


def many(first: int, count: int, processes: int) -> int:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    events = seeds = failures = 0
    with Pool(processes) as pool:
        for more, found, broken in pool.imap_unordered(some, range(first, first + count, CHUNK)):
            seeds += CHUNK
            events += more
            counts += found
            failures += len(broken)
            for text in broken:
                print(text, flush=True)
            if seeds % (5 * CHUNK) == 0:
                print(f"... {seeds} seeds, {failures} broken, {time.monotonic() - began:.0f} s", flush=True)
    print(
        f"{seeds} seeds from {first}: {failures} broken; {events} events in {time.monotonic() - began:.0f} s"
    )
    print(", ".join(f"{name} {number}" for name, number in counts.most_common()))
    return 1 if failures else 0


def story(seed: int) -> int:
    house = FaultHouse(seed)
    code = 0
    try:
        house.run()
    except Broken as error:
        print(error)
        code = 1
    print("\n".join(house.world.trace))
    return code


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    sys.exit(story(numbers[0]) if len(numbers) == 1 else many(numbers[0], numbers[1], *numbers[2:] or [2]))

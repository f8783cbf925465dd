"""What --fsync costs: wall time of a run of `:` tasks with each of its values, as ratios to none, side by side.

    python benchmarks/fsync.py [TASKS] [ROUNDS] [FOLDER]

FOLDER is on the file system that is of interest; a disk that is shared with others gives what they leave of it.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from subprocess import run

ROOT = Path(__file__).parents[1]
VALUES = ("none", "interval", "always")


def once(folder: str, tasks: int, value: str) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        Path(place, "Tasks").write_text(f"#DISBATCH REPEAT {tasks} :\n")
        argv = [sys.executable, "-m", "disbatch", "-s", "localhost:2", "--quiet", "--fsync", value, "Tasks"]
        begin = time.perf_counter()
        run(argv, cwd=place, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
        return time.perf_counter() - begin


def main() -> None:
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    folder = sys.argv[3] if len(sys.argv) > 3 else "."
    times: dict[str, list[float]] = {value: [] for value in VALUES}
    for number in range(rounds):
        for value in VALUES[number % 3 :] + VALUES[: number % 3]:
            times[value].append(once(folder, tasks, value))
    base = statistics.median(times["none"])
    for value in VALUES:
        median = statistics.median(times[value])
        print(f"{value:9} {median:7.3f} s  {median / base:.3f} of none")


if __name__ == "__main__":
    main()

"""What it costs a run to be looked at: processor time of the driver for each task, with and without viewers.

    python benchmarks/viewers.py [--tasks 5000] [--rounds 10] [--viewers 5]

Runs one list of short tasks again and again, in turn: without a web page, with one that nobody looks at, and with some
viewers, each a client of the page's stream as a browser is one. Prints medians, and ratios to a page without viewers.
"""

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DRIVER_TIME = re.compile(r"processor time of the driver: ([\d.]+) s")
SLOTS = 2


async def look(url: str) -> int:
    """Reads the stream of a page to its end; returns how many events came."""
    import aiohttp

    base, token = url.split("/?token=")
    seen = 0
    async with (
        aiohttp.ClientSession(base, read_bufsize=1 << 24) as session,
        session.get(
            "/events",
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer,
    ):
        async for line in answer.content:
            seen += line.startswith(b"event: ")
    return seen


async def run_once(folder: Path, tasks: Path, viewers: int | None) -> float:
    """Processor seconds of the driver; `viewers` None: without a page."""
    argv = [sys.executable, "-m", "disbatch", "--quiet", "-s", f"localhost:{SLOTS}", "-p", f"{folder}/run"]
    argv += [] if viewers is None else ["-w"]
    process = await asyncio.create_subprocess_exec(
        *argv, str(tasks), cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    looks: list[asyncio.Task[int]] = []
    if viewers:
        url = folder / "run_url"
        while not (url.exists() and url.read_text().endswith("\n")):
            await asyncio.sleep(0.01)
        looks = [asyncio.create_task(look(url.read_text().strip())) for _ in range(viewers)]
    code = await process.wait()
    assert code == 0, f"disBatch ended with {code}"
    for events in await asyncio.gather(*looks):
        assert events > 2, "a viewer has seen nothing"
    found = DRIVER_TIME.search((folder / "run_driver.txt").read_text())
    assert found is not None
    for path in folder.glob("run_*"):
        path.unlink()
    return float(found[1])


async def measure(tasks: int, rounds: int, viewers: int) -> None:
    cases: dict[str, int | None] = {"no page": None, "nobody looks": 0, f"{viewers} viewers": viewers}
    taken: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Tasks").write_text("true\n" * tasks)
        for _ in range(rounds):
            for case, count in cases.items():
                taken[case].append(await run_once(folder, folder / "Tasks", count) / tasks * 1e6)
    base = statistics.median(taken["nobody looks"])
    for case, values in taken.items():
        middle = statistics.median(values)
        print(
            f"{case:14} {middle:7.1f} us a task ({min(values):.1f} to {max(values):.1f}), {middle / base:.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--viewers", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(measure(options.tasks, options.rounds, options.viewers))


if __name__ == "__main__":
    main()

"""For tests: whether calls can be made to fail here, and several cases side by side."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.inject.bed import Bed, Outcome, run_case
from tests.inject.calls import Case

SIDE_BY_SIDE = 2  # runs mostly wait: for strace, for a process to begin


def why_not() -> str:
    """Return why nothing can be traced here, or nothing."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    waits = [sys.executable, "-c", "input()"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        attach = ["timeout", "2", "strace", "-o", "/dev/null", "-p", str(process.pid)]
        said = subprocess.run(attach, capture_output=True, text=True).stderr
        process.kill()
    return "" if "attached" in said else f"strace may not attach to a process here: {said.strip()}"


def broken(cases: list[Case], folder: Path, make_bed: Callable[[Path], Bed]) -> str:
    """Runs these cases; returns what each one has broken of the contract, in lines."""

    def one(number: int) -> Outcome:
        return run_case(make_bed(folder / str(number)), cases[number])

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        outcomes = list(pool.map(one, range(len(cases))))
    pairs = zip(cases, outcomes, strict=True)
    return "\n".join(f"{case}: {o.why}\n{o.said}" for case, o in pairs if o.ended == "failed")

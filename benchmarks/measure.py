"""Timed runs and looks into /proc. Knows nothing of peers or scenarios."""

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
POLL_S = 0.005
_CPU_CLOCK_OF_A_PROCESS = (
    2  # CPUCLOCK_SCHED: how clock_getcpuclockid(3) makes the id, which Python does not offer
)


class RunFailed(Exception):
    """A measured program ended badly, so that its time means nothing."""


def environment(home: Path) -> dict[str, str]:
    """Everybody gets the same: bash, and a home of their own that keeps caches from one run to the next."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DISBATCH_", "SLURM_", "PYTHON"))}
    return kept | {"HOME": str(home), "SHELL": "/bin/bash"}


@contextmanager
def started(
    argv: list[str], folder: Path, home: Path, feed: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, running in `folder`, its output in files there. Killed on the way out if it still runs."""
    with (
        open(feed or os.devnull, "rb") as stdin,
        open(folder / "stdout", "wb") as stdout,
        open(folder / "stderr", "wb") as stderr,
    ):
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environment(home),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wall_s(
    argv: list[str], folder: Path, home: Path, feed: Path | None = None, limit_s: float = 600
) -> float:
    """Start to finish of a program that has to end with 0."""
    begin = time.perf_counter()
    with started(argv, folder, home, feed) as process:
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"not done after {limit_s:.0f} s: {argv[0]}") from None
        taken = time.perf_counter() - begin
    if code != 0:
        last = (folder / "stderr").read_text(errors="replace").strip().splitlines()[-1:] or [""]
        raise RunFailed(f"exit code {code} from {Path(argv[0]).name}: {last[0]}")
    return taken


def wait_until(
    condition: Callable[[], bool], what: str, limit_s: float, process: subprocess.Popen[bytes]
) -> None:
    """Returns as soon as the condition holds; raises RunFailed at the limit, or when the program is gone."""
    deadline = time.perf_counter() + limit_s
    while not condition():
        if process.poll() is not None and not condition():
            raise RunFailed(f"ended with {process.returncode} before {what}")
        if time.perf_counter() > deadline:
            raise RunFailed(f"no sign of {what} after {limit_s:.0f} s")
        time.sleep(POLL_S)


def cpu_s(pid: int) -> float:
    """CPU time of one process and its threads, without its children; also of one that ended and is not yet reaped.

    By the process's own clock, to the nanosecond: /proc has it in hundredths of a second, rounded down twice. That is 2 %
    of what the driver of a short list takes.
    """
    return time.clock_gettime(((~pid) << 3) | _CPU_CLOCK_OF_A_PROCESS)


def cpu_until_end_s(argv: list[str], folder: Path, home: Path) -> float:
    """Runs a program to its end and gives its own CPU time."""
    with started(argv, folder, home) as process:
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        taken = cpu_s(process.pid)
        process.wait()
    if ended is None or ended.si_status != 0:
        raise RunFailed(f"ended badly: {argv[0]}")
    return taken


def bash_cpu_s(rounds: int = 500) -> float:
    """CPU time of one `bash -c true`, from its start to its end."""
    total = 0.0
    for _ in range(rounds):
        pid = os.posix_spawn("/bin/bash", ["bash", "-c", "true"], os.environ)
        usage = os.wait4(pid, 0)[2]
        total += usage.ru_utime + usage.ru_stime
    return total / rounds


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


def descendants(pid: int) -> list[int]:
    """All processes below one, as far as they can be seen now."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:  # it ended while we looked
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def engine_processes(driver: int) -> list[int]:
    """Processes below the driver that run the same executable and stay: a task's shell is that for a moment only."""
    looks = []
    for _ in range(3):
        looks.append(set(_same_program(driver, descendants(driver))))
        time.sleep(0.1)
    return sorted(set.intersection(*looks))


def _same_program(pid: int, others: list[int]) -> list[int]:
    found = []
    for other in others:
        try:
            if os.readlink(f"/proc/{other}/exe") == os.readlink(f"/proc/{pid}/exe"):
                found.append(other)
        except OSError:
            continue
    return found


def alive(pids: list[int]) -> list[int]:
    """Those that still exist and are not mere zombies."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(pid)
    return found


def median(values: list[float]) -> float:
    return statistics.median(values)

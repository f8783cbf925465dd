"""Helpers of the live tests: run disBatch as a person does, look at its files and processes, wait for conditions."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).parents[2]
PYTHON = [sys.executable, "-m", "disbatch"]
DEADLINE_S = 30.0
DRIVER_KILLED = "driver.killed"
AFTER_A_KILL_S = 5.0  # what is promised: no process is left after so long
AFTER_AN_END_S = 1.0


class Row(NamedTuple):
    """One line of a status file, cut at its tabs and not interpreted further."""

    flags: str
    task_id: int
    line_no: int
    repeat_index: int
    node: str
    pid: int
    returncode: int
    elapsed_s: float
    start_s: float
    finish_s: float
    out_bytes: int
    out: str
    err_bytes: int
    err: str
    command: str


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line of standard output."""
        lines = self.out.splitlines()
        return lines[-1] if lines else ""

    @property
    def resume(self) -> str:
        """The command that the last words give."""
        _, found, command = self.last.partition(": ")
        assert found and " -r " in command, f"the last line is no resume command: {self.last!r}\n{self.err}"
        return command


def wait_until(
    condition: Callable[[], object],
    what: str,
    *,
    seconds: float = DEADLINE_S,
    logs: Callable[[], str] | None = None,
) -> None:
    """Returns when the condition holds; fails with `what` and the logs when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            if condition():
                return
            raise AssertionError(f"not within {seconds} s: {what}\n{logs() if logs else ''}")
        time.sleep(0.005)


def observed(what: str, since: float) -> float:
    """Seconds since that moment of time.monotonic(). Kept in the file that DISBATCH_OBSERVED names, for the docs."""
    seconds = time.monotonic() - since
    name = os.environ.get("DISBATCH_OBSERVED")
    if name:
        with open(name, "a") as file:
            file.write(f"{seconds:6.2f} s  {what}\n")
    return seconds


def processes_of(mark: str) -> list[int]:
    """Every process that has `mark` in its environment or as its working folder, this one excepted."""
    wanted = os.fsencode(mark)
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            environ = Path(f"/proc/{name}/environ").read_bytes()
            if wanted in environ or os.fsencode(os.readlink(f"/proc/{name}/cwd")).startswith(wanted):
                found.append(int(name))
    return found


def read_environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def leads_session(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Run:
    """disBatch, started and not waited for."""

    def __init__(self, bench: "Bench", process: subprocess.Popen[bytes], name: str) -> None:
        self.bench = bench
        self.process = process
        self._name = name

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def feed(self, text: str) -> None:
        self.stdin.write(text.encode())
        self.stdin.flush()

    def signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    def kill(self) -> None:
        """SIGKILL. What it had started may take AFTER_A_KILL_S to end; the look behind the test waits for that."""
        self.bench.io(DRIVER_KILLED).touch()
        self.process.kill()
        self.process.wait()

    def out(self) -> str:
        return self.bench.io(self._name + ".out").read_text(errors="replace")

    def err(self) -> str:
        return self.bench.io(self._name + ".err").read_text(errors="replace")

    def end(self, seconds: float = DEADLINE_S) -> Result:
        """Waits for the end."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        wait_until(lambda: self.process.poll() is not None, "disBatch ends", seconds=seconds, logs=self.logs)
        return Result(self.process.returncode, self.out(), self.err())

    def until(self, condition: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
        def or_over() -> bool:
            over = self.process.poll() is not None
            if not condition():
                assert not over, f"disBatch has ended before: {what}\n{self.logs()}"
                return False
            return True

        wait_until(or_over, what, seconds=seconds, logs=self.logs)

    def until_ended(self, seconds: float = DEADLINE_S) -> None:
        """Waits for the end and leaves standard input open."""
        wait_until(lambda: self.process.poll() is not None, "disBatch ends", seconds=seconds, logs=self.logs)

    def until_exists(self, *names: str) -> None:
        for name in names:
            self.until(lambda name=name: (self.bench.path / name).exists(), f"{name} exists")

    def logs(self) -> str:
        return f"--- standard output\n{self.out()}\n--- standard error\n{self.err()}\n{self.bench.logs()}"

    def engine_pids(self) -> list[int]:
        """Guard and engine proper, in this order; empty before they are there."""
        for guard in children(self.pid):
            for engine in children(guard):
                return [guard, engine]
        return []


def children(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    return found


class Bench:
    """A folder to run disBatch in, with an environment that knows nothing of Slurm or of other runs."""

    def __init__(self, path: Path) -> None:
        self.path = path / "w"
        self.path.mkdir()
        self._io = path / "io"
        self._io.mkdir()
        self._runs: list[Run] = []
        foreign = ("SLURM", "DISBATCH", "KVSSTCP", "PYTEST")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        self.env |= {"PYTHONPATH": str(ROOT), "TEST_MARK": str(path)}

    def io(self, name: str) -> Path:
        return self._io / name

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, name: str) -> str:
        return (self.path / name).read_text(errors="replace")

    def start(
        self,
        *arguments: str,
        tasks: str | bytes | None = None,
        stdin: "int | IO[bytes]" = subprocess.DEVNULL,
        program: list[str] | None = None,
        env: dict[str, str] | None = None,
        **more: object,
    ) -> Run:
        """Starts disBatch; `tasks` becomes the task file `Tasks` and the last argument."""
        if tasks is not None:
            self.file("Tasks", tasks)
            arguments = (*arguments, "Tasks")
        name = f"run{len(self._runs)}"
        with open(self.io(name + ".out"), "wb") as out, open(self.io(name + ".err"), "wb") as err:
            process = subprocess.Popen(
                [*(program or PYTHON), *arguments],
                cwd=self.path,
                env=self.env | (env or {}),
                stdin=stdin,
                stdout=out,
                stderr=err,
                **more,  # type: ignore[call-overload]
            )
        run = Run(self, process, name)
        self._runs.append(run)
        return run

    def run(self, *arguments: str, tasks: str | bytes | None = None, **more: object) -> Result:
        return self.start(*arguments, tasks=tasks, **more).end()  # type: ignore[arg-type]

    def here(self, slots: int, *arguments: str, tasks: str | bytes | None = None, **more: object) -> Result:
        """Runs to the end on localhost with the prefix `run`."""
        return self.run("-s", f"localhost:{slots}", "-p", "run", *arguments, tasks=tasks, **more)

    def start_here(
        self, slots: int, *arguments: str, tasks: str | bytes | None = None, **more: object
    ) -> Run:
        return self.start("-s", f"localhost:{slots}", "-p", "run", *arguments, tasks=tasks, **more)  # type: ignore[arg-type]

    def shell(self, command: str) -> Result:
        """Runs a command line as a person would paste it."""
        return self.run(command, program=["/bin/bash", "-c"])

    def rows(self, name: str = "run_status.txt") -> list[Row]:
        return list(self._rows(name))

    def _rows(self, name: str) -> Iterator[Row]:
        data = (self.path / name).read_bytes()
        assert not data or data.endswith(b"\n"), "a torn line"
        for line in data.decode("utf-8").split("\n")[:-1]:
            f = line.split("\t", 14)
            assert len(f) == 15, line
            yield Row(
                f[0], int(f[1]), int(f[2]), int(f[3]), f[4], int(f[5]), int(f[6]), float(f[7]), float(f[8]), float(f[9]),
                int(f[10]), f[11], int(f[12]), f[13], f[14],
            )  # fmt: skip

    def row(self, task_id: int, name: str = "run_status.txt") -> Row:
        (found,) = [r for r in self.rows(name) if r.task_id == task_id and r.flags[3] != "P"]
        return found

    def done(self, name: str = "run_status.txt") -> list[int]:
        """Ids of the tasks that have a line, sorted; per-engine commands and barriers are none."""
        return sorted(r.task_id for r in self.rows(name) if r.flags[3] != "P" and r.flags[0] not in "BC")

    def task_pids(self) -> set[int]:
        """Process ids of the tasks of this bench that run now: of their bash, not of what that has started.

        A task leads its session; a child of its bash looks the same until it has become what it is to be.
        """
        return {
            pid
            for pid in processes_of(str(self.path.parent))
            if command_line(pid).startswith("/bin/bash -c")
            and b"DISBATCH_TASKID=" in read_environ(pid)
            and leads_session(pid)
        }

    def left_running(self) -> list[str]:
        return [command_line(pid) for pid in processes_of(str(self.path.parent))]

    def logs(self) -> str:
        texts = [
            f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}"
            for path in sorted(self.path.glob("*_*.txt"))
        ]
        return "\n".join([*texts, "--- processes", *self.left_running()])

    def close(self) -> None:
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
            if run.process.stdin is not None:
                with contextlib.suppress(OSError):
                    run.process.stdin.close()

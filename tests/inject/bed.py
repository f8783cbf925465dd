"""One run of disBatch with one call that fails, and the contract that it has to keep.

Contract: it ends in time, with all rows and exit code 0, or with a sentence on standard error, another exit code and a
resume that completes it. No task is done twice, nothing is left running, there is no traceback anywhere.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.inject.calls import MEMORY, Case, parse_counts
from tests.inject.gate import SSH_TARGETS

ROOT = Path(__file__).parents[2]
GATE = Path(__file__).with_name("gate.py")
LIMIT_S = 30.0
LEFT_S = 5.0  # as after any unexpected end: what is left over has to be gone by then
PAUSE_S = 0.003

# By id. All that an engine does with a task is there: quick, printing, long enough to be watched, a background process.
TASKS = """\
echo 0 >> ran
echo 1 >> ran; echo out; echo err >&2
sleep 0.06; echo 2 >> ran; echo late
#DISBATCH BARRIER
echo 4 >> ran; sleep 0.05 & sleep 0.03
echo 5 >> ran
"""
IDS = frozenset((0, 1, 2, 4, 5))


class Outcome(NamedTuple):
    """How one case went. `ended` is complete, resumed or failed; `why` says of the last what was broken."""

    ended: str
    why: str
    code: int | None
    said: str
    reached: bool
    seconds: float


class Broken(Exception):
    """The contract was not kept."""


class Bed:
    """A folder for one run, by which all its processes are found. `nodes` is where its engine is; a `search_path` has an
    ssh that knows them."""

    def __init__(self, folder: Path, nodes: str = "localhost:2", search_path: str | None = None) -> None:
        self.folder = folder
        self.path = folder / "w"
        self.path.mkdir(parents=True)
        self.fifo = folder / "fifo"
        self.trace = folder / "trace"
        self._nodes = nodes
        (self.path / "Tasks").write_text(TASKS)
        drop = ("SLURM", "DISBATCH", "KVSSTCP", "PYTEST", "PYTHON")
        self._env = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
        self._env |= {"TEST_MARK": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        if search_path is not None:
            self._env["PATH"] = search_path

    # -- runs

    def count(self, target: str) -> dict[str, int]:
        """The calls that this process makes in a run without a failure."""
        with self._traced(target, ()) as process:
            code = self._end(process)
        if code != 0:
            raise Broken(f"a run without a failure ended with {code}: {self._text('run.err')}")
        return parse_counts(self.trace.read_text(errors="replace").splitlines())

    def inject(self, case: Case) -> Outcome:
        """Runs, and looks whether the contract was kept."""
        began = time.monotonic()
        code, why, ended = None, "", "failed"
        inject = f"inject={case.call}:error={case.error}:when={case.k}"
        try:
            with self._traced(case.target, ("-e", f"trace={case.call}", "-e", inject)) as process:
                code = self._end(process)
            ended = self._judge(code, silent=case.call in MEMORY and code < 0)
        except Broken as broken:
            why = str(broken)
        finally:
            self.kill_left()
        reached = "(INJECTED)" in self._read(self.trace)
        return Outcome(ended, why, code, self._text("run.err")[-600:], reached, time.monotonic() - began)

    @contextlib.contextmanager
    def _traced(self, target: str, expressions: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
        """A run whose `target` is traced from its beginning."""
        os.mkfifo(self.fifo)
        reader = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)
        strace = None
        try:
            gate = [str(GATE), str(ROOT), target.removeprefix("ssh-"), str(self.fifo)]
            python = self._python_there(gate) if target in SSH_TARGETS[1:] else "-"
            process = self._start("run", [*gate, python], "-p", "run", "Tasks")
            found = _read_ids(reader, process)
            self.fifo.unlink()
            if found:
                strace = self._attach(*(found if python == "-" else self._outside(*found)), expressions)
            yield process
        finally:
            os.close(reader)
            self._let_go(strace)

    def _python_there(self, gate: list[str]) -> str:
        """A program that stands for python on other hosts."""
        path = self.folder / "python"
        path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, *gate])} --python "$@"\n')
        path.chmod(0o755)
        return str(path)

    def _outside(self, pid: int, tid: int) -> tuple[int, int]:
        """The number here of a process that has this one on a host with process ids of its own."""
        for found in self._left():
            status = self._read(Path(f"/proc/{found}/status"))
            ids = re.search(r"(?m)^NSpid:(.*)$", status)
            if ids and len(ids[1].split()) > 1 and ids[1].split()[-1] == str(pid):
                return found, found
        raise Broken("the process that is to be traced is not found")

    def _attach(self, pid: int, tid: int, expressions: tuple[str, ...]) -> subprocess.Popen[bytes]:
        _until(lambda: _state(tid) == "T", "the process stops itself")
        argv = ["strace", "-b", "execve", "-o", str(self.trace), *expressions, "-p", str(tid)]
        with open(self.folder / "strace.err", "wb") as err:
            strace = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=err)
        _until(lambda: b"attached" in (self.folder / "strace.err").read_bytes(), "strace attaches")
        os.kill(pid, signal.SIGCONT)
        return strace

    def _let_go(self, strace: "subprocess.Popen[bytes] | None") -> None:
        if strace is None:
            return
        try:
            strace.wait(LEFT_S)
        except subprocess.TimeoutExpired:
            strace.kill()
            strace.wait()

    def _start(self, name: str, program: list[str], *arguments: str) -> subprocess.Popen[bytes]:
        with open(self.path / f"{name}.out", "wb") as out, open(self.path / f"{name}.err", "wb") as err:
            return subprocess.Popen(
                [sys.executable, *program, "-s", self._nodes, *arguments],
                cwd=self.path,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Broken(f"no end within {LIMIT_S:.0f} s") from None

    # -- the contract

    def _judge(self, code: int, *, silent: bool) -> str:
        self._look_for_left("the run")
        self._look_for_tracebacks()
        ran, done = self._ran(), self._done()
        self._look_for_doubles(ran, done)
        if code == 0:
            if done.keys() != IDS:
                raise Broken(f"exit code 0 without the rows of tasks {sorted(IDS - done.keys())}")
            return "complete"
        if not silent and not re.search(r"(?m)^disBatch: \S", self._text("run.err")):
            raise Broken(f"exit code {code} without a sentence on standard error")
        self._resume(ran, done)
        return "resumed"

    def _resume(self, ran: Counter[int], done: Counter[int]) -> None:
        status = sorted(self.path.glob("run*_status.txt"))
        resume = ["-r", status[-1].name] if status else []
        root = f"import sys; sys.path[0] = {str(ROOT)!r}; from disbatch.cli import program; program()"
        code = self._end(self._start("again", ["-c", root], "-p", "run", *resume, "Tasks"))
        if code != 0:
            raise Broken(f"the resume ended with {code}: {self._text('again.err')}")
        self._look_for_left("the resume")
        self._look_for_tracebacks()
        ran_now, done_now = self._ran(), self._done()
        again = [task_id for task_id in done if ran_now[task_id] != ran[task_id]]
        if again:
            raise Broken(f"tasks {again} were recorded as done and done again by the resume")
        if done_now.keys() != IDS:
            raise Broken(f"after the resume tasks {sorted(IDS - done_now.keys())} have no row")

    def _look_for_left(self, what: str) -> None:
        with contextlib.suppress(Broken):
            _until(lambda: not self._left(), "", LEFT_S)
        left = self._left()
        if left:
            raise Broken(f"{what} left processes: {'; '.join(map(_command_line, left))}")

    def _look_for_tracebacks(self) -> None:
        for path in sorted(self.path.iterdir()):
            text = path.read_text(errors="replace")
            if "Traceback" in text or "Exception ignored" in text:
                last = text[text.find("Traceback") :].strip().splitlines()
                raise Broken(f"a traceback in {path.name}: {last[-1][:200]}")

    def _look_for_doubles(self, ran: Counter[int], done: Counter[int]) -> None:
        doubled = [task_id for task_id, times in ran.items() if times > 1]
        logs = self._text("run.err") + "".join(map(self._read, self.path.glob("run*_driver*")))
        if doubled and not re.search(r"\blost\b", logs):
            raise Broken(f"tasks {doubled} ran twice in one run, and no engine was lost")
        unrun = [task_id for task_id in done if not ran[task_id]]
        if unrun:
            raise Broken(f"tasks {unrun} are recorded as done and did not run")

    def _done(self) -> Counter[int]:
        """Tasks that a row says have ended well, in all status files of this folder; copies of the resume count once."""
        done: Counter[int] = Counter()
        for path in self.path.glob("*_status.txt"):
            rows = path.read_bytes()
            if rows and not rows.endswith(b"\n"):
                rows = rows[: rows.rfind(b"\n") + 1]  # as a resume does
            here: Counter[int] = Counter()
            for line in rows.decode("utf-8", "replace").splitlines():
                fields = line.split("\t", 14)
                if len(fields) == 15 and fields[0][0] not in "BC" and fields[6] == "0":
                    here[int(fields[1])] += 1
            doubled = [task_id for task_id, times in here.items() if times > 1]
            if doubled:
                raise Broken(f"{path.name} has tasks {doubled} twice")
            done |= here
        return done

    def _ran(self) -> Counter[int]:
        return Counter(int(word) for word in self._text("ran").split())

    def _text(self, name: str) -> str:
        return self._read(self.path / name)

    def _read(self, path: Path) -> str:
        with contextlib.suppress(OSError):
            return path.read_text(errors="replace")
        return ""

    # -- what is left

    def _left(self) -> list[int]:
        return processes_of(str(self.folder))

    def kill_left(self) -> None:
        for pid in self._left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def run_case(bed: Bed, case: Case, keep: Path | None = None) -> Outcome:
    """One case. The bed's folder is removed afterwards, or moved to `keep` when it failed."""
    try:
        outcome = bed.inject(case)
    except Broken as broken:
        outcome = Outcome("failed", f"the test itself: {broken}", None, "", False, 0.0)
    if outcome.ended == "failed" and keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        os.rename(bed.folder, keep / f"{case}-{time.time():.0f}")
    bed.remove()
    return outcome


def processes_of(mark: str) -> list[int]:
    """Every process that has `mark` in its environment, or works in that folder, this one excepted."""
    wanted, found = b"TEST_MARK=" + os.fsencode(mark) + b"\0", []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            works_there = os.readlink(f"/proc/{name}/cwd").startswith(mark + "/")
            if works_there or wanted in Path(f"/proc/{name}/environ").read_bytes():
                found.append(int(name))
    return [pid for pid in found if pid != os.getpid()]


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode()[:80]}"
    return str(pid)


def _state(tid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{tid}/stat").read_text().rpartition(") ")[2][:1]
    return ""


def _read_ids(reader: int, process: subprocess.Popen[bytes]) -> tuple[int, int] | None:
    """Process and thread that wait for strace; None when the run has ended without such a process."""
    data = b""
    end = time.monotonic() + LIMIT_S
    while not data.endswith(b"\n"):
        if time.monotonic() > end:
            raise Broken("the process that is to be traced does not begin")
        over = process.poll() is not None
        with contextlib.suppress(BlockingIOError):
            data += os.read(reader, 100)
        if over and not data:
            return None
        time.sleep(PAUSE_S)
    pid, tid = data.split()
    return int(pid), int(tid)


def _until(condition: "object", what: str, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise Broken(f"not within {seconds:.0f} s: {what}")
        time.sleep(PAUSE_S)

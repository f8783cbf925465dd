"""Executors among processes: forked children, SIGCHLD, the end of the interpreter, programs that are killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from disbatch_runs import AFTER_A_KILL_S, Bench, Run, processes_of, wait_until

from disbatch import DisBatcher, Executor, RunFailed
from disbatch.core.errors import UsageError

LIMIT_S = 30


def start(bench: Bench, text: str, *options: str) -> Run:
    scratch = bench.path / "scratch"
    scratch.mkdir(exist_ok=True)
    program = [sys.executable, *options, str(bench.file("prog.py", text))]
    return bench.start(program=program, env={"TMPDIR": str(scratch)})


def scratch(bench: Bench) -> list[str]:
    return os.listdir(bench.path / "scratch")


FORKING = """
import os, sys
from disbatch import DisBatcher, Executor
with Executor("localhost:1") as executor, DisBatcher("mine", ["-s", "localhost:1", "-p", "db"]) as db:
    executor.submit("true").result()
    pid = os.fork()
    if not pid:
        for function in (lambda: executor.submit("true"), lambda: executor.add("localhost:1"),
                lambda: db.submit("true"), db.wait_one_task, lambda: db.syncTasks([0])):
            try:
                function()
            except RuntimeError as error:
                print(type(error).__name__, "belongs to process" in str(error), flush=True)
        executor.terminate()
        executor.shutdown()
        db.done()
        db.close()
        with executor:
            pass
        del executor
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    print(executor.submit("exit 4").result().returncode)
    db.submit("exit 5")
    print(db.wait_one_task()["ReturnCode"])
"""


def test_a_forked_child_has_no_part_in_the_run(bench: Bench) -> None:
    done = start(bench, FORKING).end()
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [*["RuntimeError True"] * 5, "7", "4", "5"]
    assert scratch(bench) == []


OUTLIVED = """
import multiprocessing, time
from disbatch import Executor

def child():
    open("child.pid", "w").write(str(multiprocessing.current_process().pid) + "\\n")
    while True:
        time.sleep(1)

executor = Executor("localhost:1")
executor.submit("echo > started; exec tail -f /dev/null")
while not executor.snapshot().running:
    time.sleep(0.01)
multiprocessing.get_context("fork").Process(target=child).start()
time.sleep(100)
"""


def test_a_forked_child_keeps_no_run_alive(bench: Bench) -> None:
    """When the program is killed, disBatch ends, and removes the private folder with its secrets."""
    run = start(bench, OUTLIVED)
    run.until_exists("started", "child.pid")
    run.until(lambda: bench.read("child.pid").endswith("\n"), "the child is there")
    assert scratch(bench) != []
    run.kill()
    child = int(bench.read("child.pid"))
    wait_until(
        lambda: set(processes_of(str(bench.path.parent))) <= {child}, "disBatch ends", seconds=AFTER_A_KILL_S
    )
    wait_until(lambda: scratch(bench) == [], "the folder is removed", seconds=AFTER_A_KILL_S)
    os.kill(child, signal.SIGKILL)


LASTING = "echo > started; exec tail -f /dev/null"
STARTED = "while not os.path.exists('started'): time.sleep(0.01)\n    "
REAPING = """
import os, signal, sys, time
from disbatch import DisBatcher, RunFailed

def reap(signum, frame):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

signal.signal(signal.SIGCHLD, {handler})
db = DisBatcher("mine", ["-s", "localhost:1", "-p", "run", *sys.argv[1:]])
try:
    db.submit({task!r})
    {then}
    db.done()
except RunFailed as error:
    print(error)
print(db.returncode)
"""


@pytest.mark.parametrize("handler", ["reap", "signal.SIG_IGN"])
def test_exit_codes_where_the_program_takes_those_of_its_children(bench: Bench, handler: str) -> None:
    text = REAPING.format(handler=handler, task="true", then="pass")
    done = start(bench, text).end()
    assert (done.code, done.out, done.err) == (0, "0\n", "")
    text = REAPING.format(handler=handler, task=LASTING, then=STARTED + "os.kill(db._own.pid, 15)")
    done = start(bench, text.replace('"run"', '"other"')).end()
    assert "disBatch has ended with exit code 143" in done.out and done.out.endswith("\n143\n")
    (bench.path / "started").unlink()
    text = REAPING.format(handler=handler, task=LASTING, then=STARTED + "os.kill(db._own.pid, 9)")
    done = start(bench, text.replace('"run"', '"third"')).end()
    # "killed" only where this program was quicker than its own handler
    unknown = "disBatch has ended, with an exit code that is not known\nNone\n"
    killed = "disBatch was killed by SIGKILL\n-9\n"
    assert done.out.endswith((unknown, killed) if handler == "reap" else unknown)


BLOCKED = """
import os, signal, time
from disbatch import Executor, RunFailed
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD])
executor = Executor("localhost:1")
future = executor.submit("echo > started; exec tail -f /dev/null")
while not os.path.exists("started"):
    time.sleep(0.01)
executor.terminate()
try:
    future.result(20)
except RunFailed as error:
    print(error)
executor.shutdown()
"""


def test_signals_that_the_program_has_blocked_reach_disbatch(bench: Bench) -> None:
    done = start(bench, BLOCKED).end()
    assert done.code == 0 and "exit code 143" in done.out


FAILING_FIRST = """
import os, signal
from disbatch import DisBatcher
first = DisBatcher("first", ["-s", "localhost:1", "-p", "first"])
first.submit("echo $PPID > first.started; exec tail -f /dev/null")
while not os.path.exists("first.started"):
    pass
os.kill(first._own.pid, signal.SIGKILL)
second = DisBatcher("second", ["-s", "localhost:1", "-p", "second"])
second.submit("sleep 0.5; echo done")
"""


def test_a_session_that_fails_at_exit_keeps_no_other_from_its_tasks(bench: Bench) -> None:
    run = start(bench, FAILING_FIRST)
    done = run.end()
    assert "RunFailed" in done.err and "SIGKILL" in done.err
    assert bench.row(0, "second_status.txt").out == "'done\\n'"
    assert scratch(bench) == []
    wait_until(lambda: not bench.left_running(), "all are gone", seconds=AFTER_A_KILL_S, logs=bench.logs)


INTERRUPTED = """
from disbatch import Executor
first, second = Executor("localhost:1"), Executor("localhost:1")
for number, executor in enumerate((first, second)):
    executor.submit(f"echo > started{number}; exec tail -f /dev/null")
"""


def test_ctrl_c_at_the_end_leaves_no_secret(bench: Bench) -> None:
    run = start(bench, INTERRUPTED)
    run.until_exists("started0", "started1")
    assert len(scratch(bench)) == 2
    run.signal(signal.SIGINT)
    run.end()
    assert [path for path in (bench.path / "scratch").rglob("server_*")] == []
    wait_until(lambda: not bench.left_running(), "all are gone", seconds=AFTER_A_KILL_S, logs=bench.logs)
    assert scratch(bench) == []


LEFT = """
import gc, os, sys, time
from disbatch import Executor
executor = Executor("localhost:1")
pid = executor._session.pid
future = executor.submit("exit 6")
del executor
print(future.result().returncode)
deadline = time.monotonic() + 20
while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
    time.sleep(0.01)
print(os.path.exists(f"/proc/{pid}"))
"""


def test_an_executor_that_nobody_holds_ends_its_run(bench: Bench) -> None:
    done = start(bench, LEFT, "-W", "default").end()
    assert (done.code, done.out) == (0, "6\nFalse\n")
    assert "ResourceWarning: an Executor was not shut down" in done.err


def test_an_executor_that_was_shut_down_warns_of_nothing(bench: Bench) -> None:
    text = 'from disbatch import Executor\nwith Executor("localhost:1") as executor: pass\n'
    done = start(bench, text, "-W", "error").end()
    assert (done.code, done.err) == (0, "")


def test_sys_exit_in_a_callback_fails_all_futures(here: Path) -> None:
    executor = Executor("localhost:1")
    waiting = executor.submit("exec tail -f /dev/null")
    pending = executor.submit("true")
    executor.submit("true").cancel()
    quick = Executor("localhost:1")
    other = [quick.submit("sleep 0.2"), quick.submit("exec tail -f /dev/null"), quick.submit("true")]
    other[0].add_done_callback(lambda future: sys.exit("leaving"))
    for future in other[1:]:
        with pytest.raises(RunFailed, match="left the thread of this session by SystemExit: leaving"):
            future.result(LIMIT_S)
    with pytest.raises(RunFailed, match="SystemExit"):
        quick.submit("true")
    quick.shutdown()
    assert not waiting.done() and not pending.done()
    executor.terminate()
    executor.shutdown()


def test_a_start_that_fails_leaves_nothing_open(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **more: object) -> None:
        raise BlockingIOError("no process can be had")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(subprocess, "Popen", fails)
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            Executor("localhost:1")
        with pytest.raises(BlockingIOError):
            DisBatcher("mine", ["-s", "localhost:1"])
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_address_that_cannot_be_listened_at_leaves_nothing(here: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for address in ("203.0.113.1:5000", "nonsense"):
        with pytest.raises(UsageError, match="--use-address"):
            Executor("localhost:1", args=["--use-address", address])
    assert len(os.listdir("/proc/self/fd")) == before

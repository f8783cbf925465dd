"""`Executor` with real runs: futures as concurrent.futures promises them, cancellation, and every way to end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ALL_COMPLETED, BrokenExecutor, CancelledError, Future, as_completed, wait
from contextlib import contextmanager
from pathlib import Path

import pytest
from disbatch_runs import AFTER_A_KILL_S, Bench, command_line, processes_of, wait_until

from disbatch import Executor, RunFailed, TaskFailed, TaskResult
from disbatch.core.errors import UsageError

LIMIT_S = 30  # for what takes a moment


def gate(name: str = "gate") -> str:
    """A task that runs until `open_gate`."""
    if not os.path.exists(name):
        os.mkfifo(name)
    return f"read < {name}"


def open_gate(name: str = "gate") -> None:
    Path(name).write_text("\n")


@contextmanager
def ended_if_it_fails(executor: Executor) -> Iterator[None]:
    """So that a test that fails does not wait for its tasks."""
    try:
        yield
    except BaseException:
        executor.terminate()
        raise


def test_a_result(here: Path) -> None:
    before = time.time()
    with Executor("localhost:2") as executor:
        result = executor.submit("echo out; echo err >&2; exit 3").result(LIMIT_S)
    assert isinstance(result, TaskResult)
    assert (result.returncode, result.task_id, result.flags) == (3, 0, "ROE ")
    assert (result.out_bytes, result.out_snippet, result.err_bytes, result.err_snippet) == (
        4,
        "out\n",
        4,
        "err\n",
    )
    assert result.command == "echo out; echo err >&2; exit 3"
    assert result.host == os.uname().nodename and result.pid > 1
    assert before - 1 < result.start <= result.end < time.time() + 1
    assert result.elapsed == pytest.approx(result.end - result.start, abs=0.002)
    assert list(here.iterdir()) == []  # its files were elsewhere, and are gone (see `here`)


def test_check_and_signals(here: Path) -> None:
    with Executor("localhost:2") as executor:
        good, bad, killed = (
            executor.submit(c, check=True) for c in ("true", "echo why >&2; exit 4", "kill -9 $$")
        )
        assert good.result(LIMIT_S).returncode == 0
        with pytest.raises(TaskFailed, match=r"task 1: exit code 4: .*\n    why") as caught:
            bad.result(LIMIT_S)
        assert caught.value.result.returncode == 4
        with pytest.raises(TaskFailed, match="killed by SIGKILL"):
            killed.result(LIMIT_S)


def test_what_is_no_command_is_refused_and_costs_nothing(here: Path) -> None:
    with Executor("localhost:1") as executor:
        for line in ("a\nb", "#DISBATCH BARRIER", "# x", "", "a\0"):
            with pytest.raises(ValueError, match=r"command|directive"):
                executor.submit(line)
        assert executor.submit("echo DisBatcher done!").result(LIMIT_S).task_id == 0


def test_as_completed_over_short_tasks(here: Path) -> None:
    with Executor("localhost:2") as executor:
        futures = {executor.submit("exit", i % 7): i for i in range(200)}
        seen = set()
        for future in as_completed(futures, timeout=LIMIT_S):
            assert future.result().returncode == futures[future] % 7
            assert future.result().task_id == futures[future]
            seen.add(future)
    assert len(seen) == 200


def test_map(here: Path) -> None:
    with Executor("localhost:2") as executor:
        assert [r.out_snippet for r in executor.map("echo", ["a b", "$x"], [1, 2, 3])] == [
            "a b 1\n",
            "$x 2\n",
        ]
        assert [r.returncode for r in executor.map(f"exit {i}" for i in range(5))] == list(range(5))
        assert list(executor.map([])) == []
        with pytest.raises(TaskFailed):
            list(executor.map(["exit 1"], check=True))
        with pytest.raises(TypeError):
            executor.map(["exit 1"], [2])
        with pytest.raises(TimeoutError):
            list(executor.map([gate()], timeout=0.01))
        open_gate()


def test_all_slots_are_used_at_once(here: Path) -> None:
    """Each of three tasks waits for the other two."""
    meet = "touch {0}; until [ -e a -a -e b -a -e c ]; do sleep 0.01; done"
    with Executor("localhost:3") as executor:
        results = list(executor.map([meet.format(name) for name in "abc"], timeout=LIMIT_S))
        assert [r.returncode for r in results] == [0, 0, 0]


def test_long_tasks_do_not_hold_up_short_ones(here: Path) -> None:
    with Executor("localhost:2") as executor:
        list(executor.map(["true"] * 50))  # so that it prefetches
        long = executor.submit(gate())
        assert len(list(executor.map(["true"] * 100, timeout=LIMIT_S))) == 100
        assert not long.done()
        open_gate()
        assert long.result(LIMIT_S).returncode == 0


def test_cancel_before_the_start(here: Path) -> None:
    with Executor("localhost:1") as executor:
        first = executor.submit(gate())
        rest = [executor.submit(f"touch ran{i}") for i in range(5)]
        wait_until(first.running, "the first one runs")
        assert not first.cancel()
        assert [future.cancel() for future in rest[:4]] == [True] * 4
        # as_completed and wait hear of it although the slot is still taken
        assert wait(rest[:4], timeout=LIMIT_S).not_done == set()
        with pytest.raises(CancelledError):
            rest[0].result()
        open_gate()
        assert rest[4].result(LIMIT_S).task_id == 1
    assert [path.name for path in here.iterdir() if path.name.startswith("ran")] == ["ran4"]


def test_cores_per_task_count(here: Path) -> None:
    """With two cores for each task only two of four run, and a third can be cancelled."""
    with Executor("localhost:4", args=("-c", "2")) as executor:
        futures = [executor.submit(gate(f"gate{i}")) for i in range(3)]
        wait_until(futures[1].running, "two run")
        assert futures[2].cancel()
        for i in range(2):
            open_gate(f"gate{i}")


def test_shutdown_cancels_what_has_not_begun(here: Path) -> None:
    executor = Executor("localhost:1")
    first = executor.submit(gate())
    rest = [executor.submit("touch ran") for _ in range(3)]
    wait_until(first.running, "the first one runs")
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in rest)
    assert wait(rest, timeout=LIMIT_S, return_when=ALL_COMPLETED).not_done == set()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit("true")
    open_gate()
    executor.shutdown()
    assert first.result(0).returncode == 0
    assert not Path("ran").exists()


def test_shutdown_waits_for_everything(here: Path) -> None:
    executor = Executor("localhost:2")
    futures = [executor.submit("true") for _ in range(20)]
    executor.shutdown(wait=False)
    executor.shutdown()
    assert all(future.done() and not future.cancelled() for future in futures)
    executor.shutdown()


def test_nothing_to_do(here: Path) -> None:
    with Executor("localhost:1"):
        pass


def test_a_callback_may_submit(here: Path) -> None:
    last: Future[TaskResult] = Future()
    with Executor("localhost:1") as executor:

        def again(future: Future[TaskResult]) -> None:
            if future.result().returncode < 3:
                executor.submit("exit", future.result().returncode + 1).add_done_callback(again)
            else:
                last.set_result(future.result())

        executor.submit("exit 0").add_done_callback(again)
        assert last.result(LIMIT_S).task_id == 3


def test_many_threads_submit(here: Path) -> None:
    futures: list[Future[TaskResult]] = []
    with Executor("localhost:2") as executor:

        def submit(start: int) -> None:
            futures.extend(executor.submit("echo", start + i) for i in range(25))

        threads = [threading.Thread(target=submit, args=(100 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for future in futures:
        assert future.result().out_snippet == future.result().command.removeprefix("echo ") + "\n"
    assert sorted(future.result().task_id for future in futures) == list(range(100))


def test_a_prefix_keeps_the_files(here: Path) -> None:
    with Executor("localhost:1", prefix="kept") as executor:
        executor.submit("exit 5").result(LIMIT_S)
    names = {path.name for path in here.iterdir()}
    assert {"kept_status.txt", "kept_driver.txt"} <= names
    assert "kept_kvsinfo.txt" not in names
    assert "\texit 5\n" in (here / "kept_status.txt").read_text()


def test_killed_mid_run(here: Path) -> None:
    with Executor("localhost:2") as executor, ended_if_it_fails(executor):
        done = executor.submit("sleep 0.3")  # nothing to prefetch much for
        done.result(LIMIT_S)
        futures = [executor.submit("echo $$ >> started; exec tail -f /dev/null") for _ in range(2)]
        futures += [executor.submit("touch ran") for _ in range(50)]
        wait_until(
            lambda: Path("started").exists() and len(Path("started").read_text().split()) == 2, "two run"
        )
        cancelled = futures.pop()
        assert cancelled.cancel()
        os.kill(executor._session.pid, signal.SIGKILL)
        assert wait([*futures, cancelled], timeout=LIMIT_S).not_done == set()
        for future in futures:
            with pytest.raises(RunFailed, match="did not finish: disBatch was killed by SIGKILL"):
                future.result()
        with pytest.raises(BrokenExecutor, match="SIGKILL"):
            executor.submit("true")
        assert done.result().returncode == 0 and cancelled.cancelled()
    wait_until(
        lambda: not processes_of(os.environ["TEST_MARK"]),
        "the engine and its tasks are gone",
        seconds=AFTER_A_KILL_S,
    )
    assert not Path("ran").exists()


def test_terminate(here: Path) -> None:
    executor = Executor("localhost:1")
    future = executor.submit("echo > started; exec tail -f /dev/null")
    wait_until(Path("started").exists, "it runs")
    executor.terminate()
    with pytest.raises(RunFailed, match="exit code 143"):
        future.result(LIMIT_S)
    executor.shutdown()
    assert processes_of(os.environ["TEST_MARK"]) == []


def test_wrong_hosts_and_options(here: Path) -> None:
    with pytest.raises(UsageError, match="localhost:4"):
        Executor("localhost")
    with Executor("localhost:1", args=["--no-such-option"]) as executor:
        try:
            future = executor.submit("true")
            with pytest.raises(RunFailed, match=r"exit code 2\n.*--no-such-option"):
                future.result(LIMIT_S)
        except RunFailed as error:  # it was quicker than we
            assert "--no-such-option" in str(error)


FORGETFUL = """
from disbatch import Executor
executor = Executor("localhost:1", prefix="run")
executor.submit("read < gate; echo done")
"""
LONG = """
from disbatch import Executor
with Executor("localhost:2", prefix="run") as executor:
    for _ in range(2):
        executor.submit("echo $$ >> started; while true; do read -t 1 < gate; done")
    for _ in range(3):
        executor.submit("touch ran")
    executor.submit("true").result()
"""


def test_a_program_that_forgets_shutdown_waits(bench: Bench) -> None:
    os.mkfifo(bench.path / "gate")
    run = bench.start(program=[sys.executable, str(bench.file("prog.py", FORGETFUL))])
    (bench.path / "gate").write_text("\n")
    done = run.end()
    assert (done.code, done.err) == (0, "")
    assert bench.row(0).out == "'done\\n'"


def test_a_killed_program_leaves_no_process(bench: Bench) -> None:
    os.mkfifo(bench.path / "gate")
    run = bench.start(
        program=[sys.executable, str(bench.file("prog.py", LONG))], env={"TMPDIR": str(bench.path)}
    )
    run.until(
        lambda: (bench.path / "started").exists() and len(bench.read("started").split()) == 2, "tasks run"
    )
    assert len(bench.left_running()) >= 5
    run.kill()
    wait_until(lambda: not bench.left_running(), "all are gone", seconds=AFTER_A_KILL_S, logs=bench.logs)
    assert not (bench.path / "ran").exists()
    assert bench.rows() == []


def test_interrupts_end_it(bench: Bench) -> None:
    """The first Ctrl-C cancels what has not begun, the second ends what runs."""
    os.mkfifo(bench.path / "gate")
    scratch = bench.path / "scratch"
    scratch.mkdir()
    program = [sys.executable, str(bench.file("prog.py", LONG))]
    run = bench.start(program=program, env={"TMPDIR": str(scratch)})
    run.until(
        lambda: (bench.path / "started").exists() and len(bench.read("started").split()) == 2, "tasks run"
    )
    pressed = 0.0

    def ended() -> bool:
        """A person who presses it every second."""
        nonlocal pressed
        if time.monotonic() - pressed > 1:
            run.signal(signal.SIGINT)
            pressed = time.monotonic()
        return run.process.poll() is not None

    wait_until(ended, "it ends", logs=run.logs)
    wait_until(lambda: not bench.left_running(), "all are gone", seconds=AFTER_A_KILL_S, logs=bench.logs)
    assert list(scratch.iterdir()) == [], run.err()
    assert not (bench.path / "ran").exists()
    assert "KeyboardInterrupt" in run.err()


def test_what_ps_shows(here: Path) -> None:
    with Executor("localhost:1") as executor:
        executor.submit("true").result(LIMIT_S)
        line = command_line(executor._session.pid)
    assert "disbatch" in line and "--taskserver" in line and "localhost:1" in line

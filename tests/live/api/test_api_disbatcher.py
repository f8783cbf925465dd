"""`DisBatcher` with real runs: every call, what crosses the KVS, and the ways in which a run can end under it."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from disbatch_runs import AFTER_A_KILL_S, Bench, kill_all, processes_of, wait_until

from disbatch import DisBatcher, RunFailed, disBatch
from disbatch.api.session import JoinedSession
from disbatch.core.errors import UsageError
from kvsstcp.errors import ConnectionFailed
from kvsstcp.infofile import read_info

ARGS = ["-s", "localhost:2", "-p", "run"]
FIELDS = {
    "Flags": str, "TaskId": int, "TaskStreamIndex": int, "TaskRepIndex": int, "Host": str, "PID": int, "ReturnCode": int,
    "Elapsed": float, "Start": float, "End": float, "OutBytes": int, "OutData": str, "ErrBytes": int, "ErrData": str,
    "TaskCmd": str,
}  # fmt: skip


@contextmanager
def batcher(**more: Any) -> Iterator[DisBatcher]:
    db = DisBatcher(args=ARGS, **more)
    try:
        yield db
    finally:
        db.close()


def in_thread(function: Any, *arguments: Any) -> "threading.Thread":
    """The result, or the exception, is in `outcome`."""

    def run() -> None:
        try:
            thread.outcome = function(*arguments)  # type: ignore[attr-defined]
        except BaseException as error:
            thread.outcome = error  # type: ignore[attr-defined]

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def outcome_of(thread: threading.Thread) -> Any:
    thread.join(30)
    assert not thread.is_alive(), "it hangs"
    return thread.outcome  # type: ignore[attr-defined]


def pid_of(db: DisBatcher) -> int:
    assert db._own is not None
    return db._own.pid


def test_every_call(here: Path) -> None:
    with batcher(tasksname="mine") as db:
        assert (db.donetask, db.resultkey, db.taskkey) == ("mine done!", "mine result", "mine task")
        assert db.submit("echo hi; echo oh >&2; exit 3") is None  # type: ignore[func-returns-value]
        record = db.wait_one_task()
        assert {name: type(value) for name, value in record.items()} == FIELDS
        assert list(record) == list(FIELDS)
        assert (record["Flags"], record["TaskId"], record["TaskStreamIndex"], record["TaskRepIndex"]) == (
            "ROE ",
            0,
            1,
            -1,
        )
        assert (record["ReturnCode"], record["OutData"], record["ErrData"]) == (3, "hi\n", "oh\n")
        assert (record["OutBytes"], record["ErrBytes"]) == (3, 3)
        assert record["TaskCmd"] == "echo hi; echo oh >&2; exit 3"
        for code in (4, 5):
            db.submit(f"exit {code}")
        records = db.syncTasks([2, 1, 2])
        assert {i: r["ReturnCode"] for i, r in records.items()} == {1: 4, 2: 5}
        assert db.syncTasks([0])[0] == record == db.tid2status[0]
        assert db.syncTasks([]) == {}
        assert db.done() is None  # type: ignore[func-returns-value]
        assert db.returncode == 0
        db.done()
        with pytest.raises(UsageError, match="after done"):
            db.submit("true")
    rows = (here / "run_status.txt").read_text().splitlines()
    fields = rows[0].split("\t")
    assert fields[0] == record["Flags"]
    assert float(fields[7]) == record["Elapsed"] and float(fields[8]) == record["Start"]
    assert len(rows) == 3


def test_repeat_lines_and_barriers(here: Path) -> None:
    with batcher() as db:
        db.submit("#DISBATCH REPEAT 3 start 10 step 5 exit $DISBATCH_REPEAT_INDEX")
        db.submit(b"#DISBATCH BARRIER here\n# nothing\nexit 1\nexit 2\n")
        assert db.kvs.get("here") == b"3"
        records = db.syncTasks(range(3))
        assert [(r["TaskRepIndex"], r["ReturnCode"], r["TaskStreamIndex"]) for r in records.values()] == [
            (10, 10, 1), (15, 15, 1), (20, 20, 1)
        ]  # fmt: skip
        records = db.syncTasks([4, 5])
        assert [(r["ReturnCode"], r["TaskStreamIndex"]) for r in records.values()] == [(1, 2), (2, 2)]
        db.submit("#DISBATCH PREFIX echo a")
        db.submit("b")
        assert db.wait_one_task()["OutData"] == "ab\n"
        db.done()


def test_a_barrier_holds_back_what_follows(here: Path) -> None:
    os.mkfifo("gate")
    with batcher() as db:
        db.submit("read < gate\n#DISBATCH BARRIER met\necho after")
        waiting = in_thread(db.kvs.get, "met")
        db.submit("echo also after")
        assert waiting.is_alive()
        Path("gate").write_text("\n")
        assert outcome_of(waiting) == b"1"
        first, *behind = [db.wait_one_task() for _ in range(3)]
        # those behind it run beside each other: either may end first, neither began before the barrier was met
        assert first["TaskId"] == 0 and sorted(row["TaskId"] for row in behind) == [2, 3]
        assert min(row["Start"] for row in behind) >= first["End"]
        db.done()


def test_a_check_ends_the_run_and_says_so(here: Path) -> None:
    with batcher() as db:
        db.submit("exit 9\n#DISBATCH BARRIER CHECK ok\necho never")
        assert db.kvs.get("ok") == b"1"  # also when the run is over by then
        assert db.wait_one_task()["ReturnCode"] == 9
        with pytest.raises(
            RunFailed, match=r"no finished task is left: disBatch has ended with exit code 1\n.*CHECK"
        ):
            db.wait_one_task()
        with pytest.raises(RunFailed, match="nothing was put under 'other'"):
            db.kvs.get("other")
        db.done()
        assert db.returncode == 1


def test_sync_keeps_what_it_meets(here: Path) -> None:
    with batcher() as db:
        db.submit("exit 1")
        db.submit("exit 2")
        db.submit("#DISBATCH BARRIER")
        db.submit("exit 4")
        db.syncTasks([3])
        assert sorted(db.tid2status) == [0, 1, 3]
        db.done()
        with pytest.raises(RunFailed, match="no finished task is left: disBatch has ended with exit code 0"):
            db.wait_one_task()


def test_records_can_be_asked_for_after_the_end(here: Path) -> None:
    with batcher() as db:
        for code in range(5):
            db.submit(f"exit {code}")
        db.done()
        assert sorted(db.wait_one_task()["ReturnCode"] for _ in range(5)) == list(range(5))
        with pytest.raises(RunFailed, match="these tasks have not finished: 7, 8"):
            db.syncTasks([0, 7, 8])


def test_wrong_options_are_told(here: Path) -> None:
    with DisBatcher(args=["-s", "localhost:none"]) as db:
        waiting = in_thread(db.wait_one_task)
        error = outcome_of(waiting)
        assert isinstance(error, RunFailed)
        assert "exit code 2" in str(error) and "localhost:none" in str(error)
        with pytest.raises(RunFailed, match="takes no more tasks"):
            db.submit("true")
        with pytest.raises(RunFailed, match="not everything was done"):
            db.done()
        db.done = lambda: None  # type: ignore[method-assign]
    assert list(here.iterdir()) == []


def test_a_bad_directive_is_told(here: Path) -> None:
    with batcher() as db:
        db.submit("true")
        assert db.wait_one_task()["ReturnCode"] == 0
        db.submit("#DISBATCH REPEAT none true")
        with pytest.raises(RunFailed, match=r"(?s)exit code 2.*REPEAT"):
            db.syncTasks([0, 1])


def test_killed_while_all_calls_wait(here: Path) -> None:
    with batcher() as db:
        db.submit("echo $$ > started; read < /dev/tty; exec tail -f /dev/null")
        other = db.kvs.clone()
        threads = [
            in_thread(db.wait_one_task),
            in_thread(db.syncTasks, [0]),
            in_thread(db.kvs.get, "k"),
            in_thread(other.view, "v"),
        ]
        wait_until((here / "started").exists, "the task runs")
        os.kill(pid_of(db), signal.SIGKILL)
        for thread in threads:
            error = outcome_of(thread)
            assert isinstance(error, RunFailed) and "killed by SIGKILL" in str(error)
        with pytest.raises(RunFailed, match="SIGKILL"):
            db.done()
        other.close()
    wait_until(
        lambda: not processes_of(os.environ["TEST_MARK"]),
        "the engine and its task are gone",
        seconds=AFTER_A_KILL_S,
    )


def test_an_exception_ends_the_run_with_its_tasks(here: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with DisBatcher(args=ARGS) as db:
            db.submit("echo $$ > started; exec tail -f /dev/null")
            wait_until((here / "started").exists, "the task runs")
            _ = 1 / 0
    assert db.returncode == 143
    assert processes_of(os.environ["TEST_MARK"]) == []
    assert (here / "run_status.txt").read_text() == ""


def test_a_server_that_is_not_there(here: Path) -> None:
    with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:1: "):
        DisBatcher(kvsserver="127.0.0.1:1")
    with pytest.raises(ValueError, match="HOST:PORT"):
        DisBatcher(kvsserver="nonsense")
    assert disBatch.DisBatcher is DisBatcher


@pytest.mark.parametrize("plain", [False, True])
def test_a_server_that_runs_already(here: Path, bench_server: Any, plain: bool) -> None:
    bench, where, server = bench_server(plain)
    run = bench.start_here(2, "--taskserver", where)
    db = DisBatcher("elsewhere", [], where)
    db.submit("exit 7\n#DISBATCH BARRIER k")
    assert db.wait_one_task()["ReturnCode"] == 7
    assert db.kvs.get("k") == b"1"
    db.submit("exit 8")
    db.done()
    result = run.end()
    assert (result.code, bench.done()) == (0, [0, 2])
    assert db.syncTasks([2])[2]["ReturnCode"] == 8
    waiting = in_thread(db.wait_one_task)
    kill_all([server.pid])
    error = outcome_of(waiting)
    assert isinstance(error, RunFailed) and "the connection to disBatch is gone" in str(error)
    with pytest.raises(RunFailed, match="'k'"):
        db.kvs.get("k")
    db.close()


def test_a_loss_that_is_told_when_the_session_has_ended_is_none(here: Path, bench_server: Any) -> None:
    _, where, _ = bench_server(False)

    told: list[str] = []

    class Listener:
        def record_came(self, record: Any) -> None: ...

        def status_came(self, snapshot: Any) -> None: ...

        def run_ended(self, ended: Any) -> None:
            told.append(ended.said)
            # The loop has one more turn, and after it only what is left to be tidied up.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, session._lost, "too late")

    session = JoinedSession("elsewhere", read_info(where), Listener())
    session.close()
    session.wait()
    assert told == ["closed by this program"]
    assert session._ending is not None and session._ending.done(), "a task was made that nobody will run"


@pytest.fixture
def bench_server(here: Path, tmp_path: Path) -> Iterator[Any]:
    """Starts a KVS server of its own; gives a bench, what names the server, and its process."""
    (tmp_path / "b").mkdir()
    bench = Bench(tmp_path / "b")

    def start(plain: bool) -> Any:
        flags = ("--plain", "-a", "where") if plain else ("--info-file", "where")
        server = bench.start("server", "-H", "127.0.0.1", *flags, program=[sys.executable, "-m", "kvsstcp"])
        server.until_exists("where")
        path = bench.path / "where"
        server.until(lambda: path.read_text().strip(), "the address is written")
        return bench, path.read_text().split()[0] if plain else str(path), server

    yield start
    bench.close()


PREDECESSORS = """
import json, sys
from disbatch import disBatch

def main():
    db = disBatch.DisBatcher(tasksname='prog', args=['-s', 'localhost:2', '-p', sys.argv[1]])
    for i in range(3):
        db.submit('echo out%d; exit %d' % (i, i))
    db.submit('#DISBATCH BARRIER barrier')  # disBatch 3 starts a task when the next line is there
    first = db.syncTasks([0, 1, 2])
    db.submit('exit 5')
    where = int(db.kvs.get('barrier'))
    db.submit('sleep 0.5; exit 6')
    seen = [db.wait_one_task()]
    for i in range(2):
        db.submit('exit %d' % (i + 7))
    seen += db.syncTasks([5]).values()
    assert set(db.tid2status) >= set(list(first) + [s['TaskId'] for s in seen])
    db.done()
    records = [first[i] for i in sorted(first)] + sorted(seen, key=lambda s: s['TaskId'])
    for r in records:
        for name in ('PID', 'Elapsed', 'Start', 'End'):
            assert r.pop(name) > 0
    json.dump([where, records], open(sys.argv[1] + '.json', 'w'))

if __name__ == '__main__':
    main()
"""
OLD_PYTHON = os.environ.get("DISBATCH_PEER_PYTHON", "")


def test_a_program_of_the_predecessor_runs_unchanged(bench: Bench) -> None:
    program = bench.file("prog.py", PREDECESSORS)
    ours = bench.start(program=[sys.executable, str(program), "new"]).end()
    assert (ours.code, ours.err) == (0, "")
    barrier, records = json.loads(bench.read("new.json"))
    assert barrier == 3
    assert [(r["TaskId"], r["ReturnCode"]) for r in records] == [(0, 0), (1, 1), (2, 2), (4, 5), (5, 6)]
    assert bench.done("new_status.txt") == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.peer
@pytest.mark.skipif(
    not OLD_PYTHON, reason="DISBATCH_PEER_PYTHON names no Python with disBatch 3.0 (scripts/test sets it)"
)
def test_the_predecessor_gives_the_same(bench: Bench) -> None:
    program = bench.file("prog.py", PREDECESSORS)
    old = bench.start(program=[OLD_PYTHON, str(program), "old"], env={"PYTHONPATH": ""}).end()
    assert old.code == 0, old.err
    assert bench.start(program=[sys.executable, str(program), "new"]).end().code == 0
    assert json.loads(bench.read("old.json")) == json.loads(bench.read("new.json"))


def test_a_program_that_forgets_done(bench: Bench) -> None:
    text = "from disbatch import DisBatcher\nDisBatcher(args=['-s', 'localhost:1', '-p', 'run']).submit('sleep 0.3; echo x')\n"
    done = bench.start(program=[sys.executable, str(bench.file("prog.py", text))]).end()
    assert (done.code, done.err) == (0, "")
    assert bench.row(0).out == "'x\\n'"


def test_the_thread_of_the_run_ends_with_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As programs for disBatch 3.0 wait for it."""
    monkeypatch.chdir(bench.path)
    with batcher() as db:
        thread = db.db_thread
        assert thread is not None and thread is db.db_thread
        db.submit("true")
        assert db.wait_one_task()["ReturnCode"] == 0
        thread.join(0.05)
        assert thread.is_alive()
        db.done()
        thread.join(30)
        assert not thread.is_alive() and db.returncode == 0

"""How programs that feed tasks at a server elsewhere learn of the end of disBatch, and disBatch of the end of the server."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disbatch_runs import Bench, Run, wait_until

from disbatch import DisBatcher, RunFailed
from disbatch.api import endwatch
from kvsstcp.client import Client
from kvsstcp.infofile import info_from_argument

LIVELY = "import sys, disbatch.cli, disbatch.runtime.feedsession as f; f.ALIVE_S = 0.1; sys.exit(disbatch.cli.main())"
LONG = "echo > started{0}; exec tail -f /dev/null"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Elsewhere:
    """A KVS server at an address of its own, which can be started again there, and a bench for disBatch."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.address = f"127.0.0.1:{free_port()}"
        self.server = self.serve()

    def serve(self) -> Run:
        host, port = self.address.split(":")
        program = [sys.executable, "-m", "kvsstcp"]
        server = self.bench.start("server", "--plain", "-H", host, "-p", port, program=program)

        def answers() -> bool:
            with socket.socket() as sock:
                return sock.connect_ex((host, int(port))) == 0

        server.until(answers, "the server answers")
        return server

    def start(self, *arguments: str, **more: Any) -> Run:
        return self.bench.start_here(2, "--taskserver", self.address, *arguments, **more)

    def until(self, name: str) -> None:
        wait_until((self.bench.path / name).exists, f"{name} exists", logs=self.bench.logs)


@pytest.fixture
def elsewhere(here: Path, tmp_path: Path) -> Iterator[Elsewhere]:
    (tmp_path / "b").mkdir()
    bench = Bench(tmp_path / "b")
    yield Elsewhere(bench)
    bench.close()


def outcome(function: Callable[[], object]) -> Callable[[], object]:
    """Calls it in a thread; what is returned waits for what came of it."""
    found: list[object] = []

    def call() -> None:
        try:
            found.append(function())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()

    def result() -> object:
        thread.join(30)
        assert not thread.is_alive(), "it still waits"
        return found[0]

    return result


def test_a_server_that_comes_back_on_its_port_is_another_one(elsewhere: Elsewhere) -> None:
    """Engines find it there, and would wait for their driver until their lease ends."""
    run = elsewhere.start("--grace", "1")
    db = DisBatcher("mine", [], elsewhere.address)
    db.submit(LONG.format(0))
    elsewhere.until("started0")
    elsewhere.server.process.kill()
    elsewhere.server.process.wait()
    elsewhere.serve()
    since = time.monotonic()
    done = run.end(10)
    assert done.code == 3 and "the connection to the KVS server is gone" in done.err
    assert time.monotonic() - since < 8
    assert not elsewhere.bench.task_pids()
    with pytest.raises(RunFailed, match="connection to disBatch is gone"):
        db.wait_one_task()
    db.close()


def test_a_joined_program_hears_of_the_end(elsewhere: Elsewhere) -> None:
    run = elsewhere.start()
    db = DisBatcher("mine", [], elsewhere.address)
    db.submit("exit 5")
    db.submit(LONG.format(1))
    elsewhere.until("started1")
    waiting = outcome(lambda: (db.wait_one_task(), db.wait_one_task()))
    run.signal(signal.SIGTERM)
    assert run.end().code == 143
    error = waiting()
    assert isinstance(error, RunFailed) and "disBatch has ended with exit code 143: terminated" in str(error)
    assert db.tid2status[0]["ReturnCode"] == 5
    assert db.returncode == 143
    with pytest.raises(RunFailed, match="143"):
        db.submit("true")
    db.close()


def test_a_joined_program_hears_when_disbatch_is_killed(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 30 s without a sign of life; two here, in which there would be twenty."""
    monkeypatch.setattr(endwatch, "LOOK_S", 0.1)
    monkeypatch.setattr(endwatch, "SILENT_LOOKS", 20)
    run = elsewhere.start(program=[sys.executable, "-c", LIVELY])
    db = DisBatcher("mine", [], elsewhere.address)
    db.submit(LONG.format(2))
    elsewhere.until("started2")
    waiting = outcome(db.wait_one_task)
    run.kill()
    error = waiting()
    assert isinstance(error, RunFailed) and "nothing was heard of disBatch" in str(error)
    db.close()


def test_what_an_earlier_run_has_said_is_forgotten(elsewhere: Elsewhere) -> None:
    for number in range(2):
        run = elsewhere.start()
        db = DisBatcher("mine", [], elsewhere.address)
        db.submit(f"exit {number}")
        db.done()
        assert run.end().code == 0
        assert db.wait_one_task()["ReturnCode"] == number
        db.close()


def test_a_second_program_is_turned_away_and_the_run_says_so(elsewhere: Elsewhere) -> None:
    run = elsewhere.start()
    first = DisBatcher("first", [], elsewhere.address)
    first.submit("true")
    assert first.wait_one_task()["ReturnCode"] == 0
    second = DisBatcher("second", [], elsewhere.address)
    second.submit("echo > second.ran")
    error = outcome(second.wait_one_task)()
    assert isinstance(error, RunFailed) and "takes its tasks from one program, here first" in str(error)
    second.close()
    first.done()
    done = run.end()
    assert done.code == 3
    assert "a second program, second, has signed in, and its tasks are not taken" in done.err
    assert not (elsewhere.bench.path / "second.ran").exists()
    first.close()


def test_tasks_behind_the_end_of_the_list_are_told(elsewhere: Elsewhere) -> None:
    run = elsewhere.start()
    db = DisBatcher("mine", [], elsewhere.address)
    os.mkfifo(elsewhere.bench.path / "gate")
    db.submit("echo > started; read < gate")
    # what the other client sends may overtake what this one does
    elsewhere.until("started")
    db.done()
    with Client(info_from_argument(elsewhere.address)) as kvs:
        kvs.put("mine task", "mine done!")  # once more: no task
        kvs.put("mine task", "echo > late.ran")
    run.until(lambda: "behind the text that ends its list" in run.err(), "it is told")
    (elsewhere.bench.path / "gate").write_text("\n")
    done = run.end()
    assert done.code == 3 and not (elsewhere.bench.path / "late.ran").exists()
    db.close()


def test_a_program_that_signs_in_twice_loses_nothing_before_its_end(elsewhere: Elsewhere) -> None:
    run = elsewhere.start()
    twice = [DisBatcher("mine", [], elsewhere.address) for _ in range(2)]
    for number, db in enumerate(twice):
        db.submit(f"echo > ran{number}")
        elsewhere.until(f"ran{number}")
    twice[1].done()
    done = run.end()
    assert (done.code, done.err) == (0, "")
    for db in twice:
        db.close()


def test_a_program_that_signs_in_again_behind_its_end(elsewhere: Elsewhere) -> None:
    run = elsewhere.start()
    db = DisBatcher("mine", [], elsewhere.address)
    os.mkfifo(elsewhere.bench.path / "gate")
    db.submit("read < gate")
    db.done()
    again = DisBatcher("mine", [], elsewhere.address)
    again.submit("true")
    run.until(lambda: "end of its list: its tasks" in run.err() or "ends its list" in run.err(), "it is told")
    (elsewhere.bench.path / "gate").write_text("\n")
    assert run.end().code == 3
    again.close()
    db.close()


def test_a_command_of_more_than_16_mib_is_refused(elsewhere: Elsewhere) -> None:
    run = elsewhere.start()
    db = DisBatcher("mine", [], elsewhere.address)
    with pytest.raises(ValueError, match="more than 16 MiB"):
        db.submit("echo " + 17_000_000 * "x")
    db.submit("true")
    assert db.wait_one_task()["ReturnCode"] == 0
    with Client(info_from_argument(elsewhere.address)) as kvs:
        kvs.put("mine task", "echo " + 17_000_000 * "x")
    done = run.end()
    assert done.code == 2 and "mine, line 2: a line of more than 16 MiB" in done.err
    db.close()

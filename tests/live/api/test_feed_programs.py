"""Programs in three languages that feed tasks, through --taskcommand."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from disbatch_runs import Bench

C_SOURCE = Path(__file__).with_name("feed_plain.c")

IN_BASH = """
set -e
test -z "$KVSSTCP_HOST$KVSSTCP_PORT"
kvs() { "$PYTHON" -m kvsstcp client -T 30 "$@"; }
kvs -p 'task source name' mygen -p 'task source done task' XXDONE -p 'task source result key' myres -p 'task source task key' mytask
kvs -p mytask 'echo hello; exit 3'
id=$(kvs -g 'myres done tasks')
kvs -g "myres $id" > record
kvs -p mytask '#DISBATCH REPEAT 2 start 5 exit $DISBATCH_REPEAT_INDEX' -p mytask '#DISBATCH BARRIER CHECK'
kvs -p mytask XXDONE
"""
IN_PYTHON = """
import json, os
from kvsstcp import Client
with Client(timeout_s=30) as kvs:
    for key, value in zip(("name", "done task", "result key", "task key"), ("py", "end", "res", "task")):
        kvs.put("task source " + key, value)
    for i in range(10):
        kvs.put("task", f"exit {i}")
    codes = {}
    while len(codes) < 10:
        i = int(kvs.get("res done tasks").data)
        codes[i] = kvs.get(f"res {i}").json()["ReturnCode"]
    assert codes == {i: i for i in range(10)}, codes
    kvs.put("task", "echo last\\necho very last")
    kvs.put("task", "end")
"""
BY_DISBATCHER = """
import os
from disbatch import DisBatcher
with DisBatcher("feed", kvsserver=os.environ["KVSSTCP_INFO"]) as db:
    for i in range(5):
        db.submit(f"exit {i}")
    assert {i: r["ReturnCode"] for i, r in db.syncTasks(range(5)).items()} == {i: i for i in range(5)}
    db.submit("true")
    db.done()
    assert db.wait_one_task()["TaskId"] == 5
"""
WITHOUT_A_BLOCK = """
import os
from disbatch import DisBatcher
db = DisBatcher("feed", kvsserver=os.environ["KVSSTCP_INFO"])
for i in range(2000):
    db.submit(f"true {i}")
db.done()
"""


def feed(bench: Bench, name: str, program: str, *more: str, interpreter: str = "bash") -> int:
    """Runs disBatch with the program as its --taskcommand; returns the exit code."""
    bench.file(name, program)
    done = bench.here(2, "--taskcommand", f"{interpreter} {name}", *more, env={"PYTHON": sys.executable})
    assert done.code != 3, done.err
    return done.code


def test_in_bash(bench: Bench) -> None:
    assert feed(bench, "feed.sh", IN_BASH) == 1  # the CHECK
    record = json.loads(bench.read("record"))
    assert (record["TaskId"], record["ReturnCode"], record["OutData"], record["TaskCmd"]) == (
        0,
        3,
        "hello\n",
        "echo hello; exit 3",
    )
    assert [(bench.row(i).returncode, bench.row(i).repeat_index) for i in range(3)] == [
        (3, -1),
        (5, 5),
        (6, 6),
    ]


@pytest.mark.parametrize(
    "program", [IN_PYTHON, BY_DISBATCHER, WITHOUT_A_BLOCK], ids=["Client", "DisBatcher", "exit"]
)
def test_in_python(bench: Bench, program: str) -> None:
    assert feed(bench, "feed.py", program, interpreter=sys.executable) == 0
    assert bench.done()[:6] == list(range(6))


@pytest.fixture(scope="module")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc)")
    target = tmp_path_factory.mktemp("c") / "feed_plain"
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-o", str(target), str(C_SOURCE)], check=True)
    return target


def test_in_c_over_plain_sockets(bench: Bench, c_program: Path) -> None:
    done = bench.here(2, "--insecure-kvs", "--taskcommand", f"{c_program} 25 > said")
    assert done.code == 0, done.err
    assert "--insecure-kvs: whoever reaches 127.0.0.1:" in done.err
    assert bench.done() == list(range(25))
    records = [json.loads(line) for line in bench.read("said").splitlines()]
    assert sorted((r["TaskId"], r["ReturnCode"]) for r in records) == [(i, i % 5) for i in range(25)]


def test_c_without_plain_service_is_not_let_in(bench: Bench, c_program: Path) -> None:
    done = bench.here(2, "--taskcommand", f"{c_program} 1")
    assert done.code == 3
    assert "ended with exit code 2" in done.err and "KVSSTCP_HOST" in done.err
    assert done.err.count("\n") <= 3


SLOWLY = """
import os, time
from disbatch import DisBatcher
with DisBatcher("slow", kvsserver=os.environ["KVSSTCP_INFO"]) as db:
    for i in range(3):
        submitted = time.time()
        db.submit("true")
        record = db.wait_one_task()
        print(i, record["TaskId"], record["Start"] - submitted, flush=True)
"""


def test_a_task_is_dispatched_when_it_arrives(bench: Bench) -> None:
    """Nothing more comes before the task has finished: would it wait for a next line, this would hang."""
    bench.file("feed.py", SLOWLY)
    done = bench.here(1, "--taskcommand", f"{sys.executable} feed.py")
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines()[:3]]
    assert [line[:2] for line in lines] == [[str(i), str(i)] for i in range(3)]
    assert all(float(line[2]) < 5 for line in lines)


@pytest.mark.parametrize("option", ["--taskserver", "--kvsserver"])
@pytest.mark.parametrize("where", ["127.0.0.1:1", "info"])
def test_an_unreachable_server_is_one_line_within_seconds(bench: Bench, option: str, where: str) -> None:
    bench.file("info", "127.0.0.1:1\ntoken " + "ab" * 32 + "\n")
    more = ["--taskcommand", "true"] if option == "--kvsserver" else []
    start = time.monotonic()
    done = bench.here(1, option, where, *more)
    assert time.monotonic() - start < 15
    assert done.code == 3
    assert done.err.count("\n") == 1 and "127.0.0.1:1" in done.err
    assert [path.name for path in bench.path.iterdir()] == ["info"]


def test_the_environment_names_the_server(bench: Bench) -> None:
    server = bench.start(
        "server", "-H", "127.0.0.1", "--info-file", "info", program=[sys.executable, "-m", "kvsstcp"]
    )
    server.until_exists("info")
    env = {"KVSSTCP_INFO": str(bench.path / "info")}
    run = bench.start_here(2, "--taskserver", env=env)
    feeder = bench.start(program=[sys.executable, str(bench.file("feed.py", IN_PYTHON))], env=env)
    assert feeder.end().code == 0, feeder.logs()
    assert run.end().code == 0
    assert bench.done() == list(range(12))

"""File descriptors: many strangers, too few for the hosts that are wanted, and the limit that commands get."""

import contextlib
import re
import shlex
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from disbatch_runs import PYTHON, Bench, Run, observed, wait_until

PROGRAM = shlex.join(PYTHON)
STRANGERS = 400


def limited(bench: Bench, limits: str, *arguments: str) -> Run:
    return bench.start(
        "-c", f"ulimit {limits}; exec {PROGRAM} {shlex.join(arguments)}", program=["/bin/bash"]
    )


def port_of(bench: Bench) -> int:
    first, _, _ = bench.read("run_kvsinfo.txt").partition("\n")
    return int(first.rpartition(":")[2])


@contextlib.contextmanager
def strangers(port: int) -> Iterator[list[socket.socket]]:
    """Connections that never say anything."""
    found: list[socket.socket] = []
    try:
        for _ in range(STRANGERS):
            found.append(socket.create_connection(("127.0.0.1", port), 20))
        yield found
    finally:
        for each in found:
            each.close()


def soft_limit(pid: int) -> tuple[int, int]:
    text = Path(f"/proc/{pid}/limits").read_text()
    soft, hard = re.findall(r"^Max open files\s+(\d+)\s+(\d+)", text, re.M)[0]
    return int(soft), int(hard)


def fake_ssh(bench: Bench) -> None:
    """Another host that is this one."""
    folder = bench.path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text('#!/bin/bash\nexec bash -c "${@: -1}"\n')
    (folder / "ssh").chmod(0o755)
    bench.env["PATH"] = f"{folder}:{bench.env['PATH']}"


def test_strangers_shut_nobody_out(bench: Bench) -> None:
    bench.file("Tasks", "while [ ! -e go ]; do sleep 0.05; done\n" * 4)
    run = limited(bench, "-n 256", "-s", "localhost:1", "-p", "run", "Tasks")
    run.until(bench.task_pids, "the first task runs")
    with strangers(port_of(bench)):
        began = time.monotonic()
        shown = bench.run("--status", program=["./run_dbUtil.sh"])
        assert shown.code == 0 and "running" in shown.out, shown.err
        observed("strangers on the port: a viewer is shown the run", began)
        joined = bench.start("-s", "localhost:3", program=["./run_dbUtil.sh"])
        wait_until(
            lambda: len(bench.task_pids()) == 4, "the engine that has joined runs tasks", logs=run.logs
        )
        (bench.path / "go").touch()
        result = run.end()
        assert joined.end().code == 0, joined.logs()
    assert result.code == 0 and bench.done() == [0, 1, 2, 3], run.logs()
    assert "Traceback" not in run.logs()


def test_too_few_for_the_hosts_is_said_before_anything_runs(bench: Bench) -> None:
    bench.file("Tasks", "touch ran\n")
    hosts = ",".join(f"n{number}:1" for number in range(1, 13))
    result = limited(bench, "-n 50", "-s", hosts, "-p", "run", "Tasks").end()
    assert result.code == 3 and result.out == ""
    (line,) = result.err.splitlines()
    assert "for 12 engines" in line and "may have 50" in line
    needed = int(re.findall(r"ulimit -n (\d+)", line)[0])
    assert 50 < needed < 120
    assert sorted(path.name for path in bench.path.iterdir()) == ["Tasks"]


def test_what_is_asked_for_suffices(bench: Bench) -> None:
    """The number in the message is enough for that run."""
    fake_ssh(bench)
    bench.file("Tasks", "sleep 0.1\n" * 12)
    hosts = ",".join(f"n{number}:1" for number in range(1, 5))
    refused = limited(bench, "-n 30", "-s", hosts, "-p", "run", "Tasks").end()
    needed = re.findall(r"ulimit -n (\d+)", refused.err)[0]
    run = limited(bench, f"-n {needed}", "-s", hosts, "-p", "run", "Tasks")
    result = run.end()
    assert result.code == 0 and result.err == "", run.logs()
    assert len(bench.done()) == 12


def test_the_driver_has_more_and_commands_have_what_the_user_had(bench: Bench) -> None:
    fake_ssh(bench)
    bench.file("Tasks", "ulimit -Sn > $DISBATCH_TASKID.out; while [ ! -e go ]; do sleep 0.02; done\n" * 2)
    hook = "ulimit -Sn >> hook.out"
    options = ["-s", "localhost:1,other:1", "--on-event", hook, "-p", "run", "Tasks"]
    run = limited(bench, "-Sn 200 && ulimit -Hn 3000", *options)
    run.until(lambda: len(bench.task_pids()) == 2, "both tasks run")
    assert soft_limit(run.pid) == (3000, 3000)
    (bench.path / "go").touch()
    assert run.end().code == 0
    assert [bench.read(f"{number}.out") for number in range(2)] == ["200\n"] * 2
    assert set(bench.read("hook.out").split()) == {"200"}


def test_an_engine_with_many_slots_has_what_they_need(bench: Bench) -> None:
    """Two pipes for each of 150 tasks do not fit into 200 descriptors."""
    bench.file("Tasks", "ulimit -Sn >> limits; while [ ! -e go ]; do sleep 0.2; done\n" * 150)
    run = limited(bench, "-Sn 200 && ulimit -Hn 3000", "-s", "localhost:150", "-p", "run", "Tasks")
    limits = bench.path / "limits"
    run.until(lambda: limits.exists() and len(limits.read_text().split()) == 150, "all tasks run")
    (bench.path / "go").touch()
    assert run.end().code == 0
    assert set(limits.read_text().split()) == {"200"}

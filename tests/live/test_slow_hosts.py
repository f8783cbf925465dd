"""Hosts that hang, one and many: they are named, and nobody waits for one whose tasks are done, or not wanted any more."""

import asyncio
import signal
import sys
import time
from pathlib import Path

import pytest
from disbatch_runs import Bench

from disbatch.contexts.launchwords import REACHED
from disbatch.runtime import launches as module
from disbatch.runtime.launches import Launches, LaunchOrder

QUICK_S = 8.0  # far less than the minute that a host gets, and enough for a busy machine


def hanging_ssh(bench: Bench) -> None:
    """No connection ever comes about; `hosta` and any other host hang alike."""
    folder = bench.path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text("#!/bin/bash\necho $$ >> ssh.pids\nexec sleep 100\n")
    (folder / "ssh").chmod(0o755)
    bench.env["PATH"] = f"{folder}:{bench.env['PATH']}"


def test_nobody_waits_for_a_host_that_hangs_when_all_is_done(bench: Bench) -> None:
    hanging_ssh(bench)
    began = time.monotonic()
    done = bench.run("-s", "localhost:1,hosta:1", "-p", "run", tasks="true\ntrue\n")
    assert time.monotonic() - began < QUICK_S
    assert done.code == 0 and bench.done() == [0, 1]
    assert "hosta" not in done.err, "nothing has failed"
    assert not (bench.path / "run_kvsinfo.txt").exists(), "no engine was left out of sight"
    assert not any(Path(f"/proc/{pid}").exists() for pid in bench.read("ssh.pids").split())


@pytest.mark.parametrize("hosts", ["hosta:1", "localhost:1,hosta:1"])
def test_nobody_waits_for_a_host_that_hangs_after_sigterm(bench: Bench, hosts: str) -> None:
    hanging_ssh(bench)
    run = bench.start("-s", hosts, "-p", "run", tasks="touch on; sleep 100\n" * 2)
    run.until((bench.path / "ssh.pids").exists, "ssh is started")
    if "localhost" in hosts:
        run.until_exists("on")
    began = time.monotonic()
    run.signal(signal.SIGTERM)
    assert run.end().code == 143
    assert time.monotonic() - began < QUICK_S


PATIENT = "import sys, disbatch.cli, disbatch.runtime.launches as l; assert l.LATE_S == 10; l.LATE_S = .5; sys.exit(disbatch.cli.main())"


def test_hosts_that_hang_are_named_together_and_once(bench: Bench) -> None:
    hanging_ssh(bench)
    program = [sys.executable, "-c", PATIENT]
    tasks = "until [ -e go ]; do sleep 0.05; done\n"
    run = bench.start("-s", "localhost:1,hosta:1,hostb:1", "-p", "run", tasks=tasks, program=program)
    run.until(lambda: "waiting for hosta, hostb (ssh)\n" in run.err(), "they are named")
    bench.file("go", "")
    done = run.end()
    assert done.code == 0 and done.err.count("waiting for") == 1


def test_those_that_start_later_are_named_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LATE_S", 0.05)
    monkeypatch.setattr(module, "AT_ONCE", 2)

    async def scene() -> list[str]:
        told: list[str] = []
        launches = Launches(lambda rank, why: None, told.append)
        for rank in range(3):
            launches.order(LaunchOrder(rank, f"n{rank}", 1, "X", ("/bin/cat",), {}, ""))
        while len(told) < 1:
            await asyncio.sleep(0.01)
        launches.signed_in(0)
        while len(told) < 2:
            await asyncio.sleep(0.01)
        await launches.finish()
        return told

    assert asyncio.run(asyncio.wait_for(scene(), 20)) == ["waiting for n0, n1 (cat)", "waiting for n2 (cat)"]


def end_of(script: str, *, sign_in_s: float = 60.0) -> str:
    """What is said of a login that runs this script in place of an engine."""

    async def scene() -> str:
        gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        launches = Launches(lambda rank, why: gone.set_result(why), print)
        launches.order(LaunchOrder(0, "n", 1, "X", ("/bin/bash", "-c", script), {}, "", logs_in=True))
        return await asyncio.wait_for(gone, 20)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SIGN_IN_S", sign_in_s)
        return asyncio.run(scene())


def test_a_login_that_ends_or_hangs_before_its_command_is_explained() -> None:
    exits = end_of("echo welcome; exit 0")
    assert exits.startswith(
        "welcome (exit code 0: a start file of the login shell there (~/.bashrc) has ended"
    )
    hangs = end_of("exec cat", sign_in_s=0.2)
    assert "hangs, or a start file of the login shell there (~/.bashrc) waits for input" in hangs


def test_of_a_login_that_has_come_to_its_command_nothing_is_guessed() -> None:
    filler = "x" * 9000
    assert end_of(f"echo {REACHED}; echo {filler}; echo no python; exit 3").endswith(
        "no python (exit code 3)"
    )
    assert "bashrc" not in end_of(f"echo {REACHED}; exec cat", sign_in_s=0.5)
    assert end_of("echo Permission denied; exit 255") == "Permission denied (exit code 255)"


def test_an_own_name_needs_no_ssh(bench: Bench) -> None:
    hanging_ssh(bench)
    name = bench.shell("hostname").out.strip()
    done = bench.run("-s", f"{name}:1,127.0.0.1:1", "-p", "run", tasks="true\n" * 3)
    assert done.code == 0 and {row.node for row in bench.rows()} == {name}
    assert not (bench.path / "ssh.pids").exists()


def test_a_context_whose_hosts_hang_ends_with_the_run(bench: Bench) -> None:
    hanging_ssh(bench)
    run = bench.start("-s", "localhost:1", "-p", "run", tasks="until [ -e go ]; do sleep 0.05; done\n")
    run.until_exists("run_dbUtil.sh")
    run.until(bench.task_pids, "the task runs")
    context = bench.start("-s", "hosta:1", program=["./run_dbUtil.sh"])
    context.until((bench.path / "ssh.pids").exists, "ssh is started")
    bench.file("go", "")
    assert run.end().code == 0
    ended = context.end(QUICK_S)
    assert ended.code == 0 and "has ended" in ended.err
    assert "no engine could be started" not in ended.err and "is gone" not in ended.err

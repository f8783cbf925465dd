"""disBatch from Python programs, on hosts that are reached by ssh, and in jobs of a real Slurm."""

import os
import sys
from pathlib import Path

import pytest
from disbatch_runs import Bench, Result
from slurmbed import SlurmBed
from sshbed import SshBed

EXECUTOR = """
from disbatch import Executor
with Executor({arguments}) as executor:
    results = list(executor.map(["sleep 0.2; hostname"] * 8))
    print(*sorted({{result.out_snippet.strip() for result in results}}))
    print(*sorted({{result.host for result in results}}))
"""
ASYNC = """
import asyncio
from disbatch import AsyncExecutor

async def main():
    async with AsyncExecutor({arguments}) as executor:
        results = await asyncio.gather(*(executor.run("sleep 0.2; hostname") for _ in range(8)))
        print(*sorted({{result.out_snippet.strip() for result in results}}))
        print(*sorted({{result.host for result in results}}))

asyncio.run(main())
"""
DISBATCHER = """
from disbatch import DisBatcher
with DisBatcher("mine", args=["-p", "run", {arguments}]) as db:
    db.submit("#DISBATCH REPEAT 8 sleep 0.2; hostname")
    records = db.syncTasks(range(8)).values()
print(*sorted({{record["OutData"].strip() for record in records}}))
print(*sorted({{record["Host"] for record in records}}))
"""


def run_program(bench: Bench, text: str, env: dict[str, str]) -> Result:
    program = [sys.executable, str(bench.file("prog.py", text))]
    return bench.run(program=program, env=env)


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (EXECUTOR, '"nodea:2,nodeb:2"'),
        (ASYNC, '"nodea:2,nodeb:2"'),
        (DISBATCHER, '"-s", "nodea:2,nodeb:2"'),
    ],
    ids=["Executor", "AsyncExecutor", "DisBatcher"],
)
def test_every_class_reaches_other_hosts(ssh_bed: SshBed, bench: Bench, program: str, arguments: str) -> None:
    done = run_program(bench, program.format(arguments=arguments), {"PATH": ssh_bed.search_path()})
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == ["nodea nodeb"] * 2
    assert [path.name for path in bench.path.iterdir() if path.name.startswith(".")] == []


def test_this_machine_and_another_one(ssh_bed: SshBed, bench: Bench) -> None:
    done = run_program(
        bench, EXECUTOR.format(arguments='"localhost:1,nodea:1"'), {"PATH": ssh_bed.search_path()}
    )
    assert (done.code, done.err) == (0, "")
    assert done.out.split()[0] == done.out.split()[2] or set(done.out.split()) == {
        os.uname().nodename,
        "nodea",
    }
    assert "nodea" in done.out and os.uname().nodename in done.out


def test_the_address_that_is_given_is_the_one_that_is_used(ssh_bed: SshBed, bench: Bench) -> None:
    """And no other one: with loopback alone the other host finds nothing."""
    program = """
from disbatch import Executor, RunFailed
with Executor("nodea:1", "run", args=["--use-address", "{address}"]) as executor:
    try:
        print(executor.submit("hostname").result().out_snippet.strip())
    except RunFailed as error:
        print("failed:", error)
"""
    env = {"PATH": ssh_bed.search_path()}
    done = run_program(bench, program.format(address=f"{ssh_bed.driver_address}:24017"), env)
    assert (done.code, done.out, done.err) == (0, "nodea\n", "")
    done = run_program(bench, program.format(address="127.0.0.1:24018"), env)
    assert done.out.startswith("failed:") and "no engine could be started on nodea" in done.err


ADDING = """
import time
from disbatch import Executor
with Executor("localhost:1", prefix="run") as executor:
    executor.add("nodea:1,nodeb:1")
    deadline = time.monotonic() + 30
    while executor.snapshot().slots < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    results = list(executor.map(["sleep 0.3; hostname"] * 9))
print(*sorted({result.host for result in results}))
"""


def test_machines_are_added_to_an_executor(ssh_bed: SshBed, bench: Bench) -> None:
    done = run_program(bench, ADDING, {"PATH": ssh_bed.search_path()})
    assert (done.code, done.err) == (0, "")
    assert set(done.out.split()) == {os.uname().nodename, "nodea", "nodeb"}


SCRIPTED = """
import subprocess, time
from disbatch import Executor
with Executor("localhost:1", prefix="run") as executor:
    executor.submit("true").result()
    added = subprocess.Popen(["./run_dbUtil.sh", "-s", "nodea:2"])
    deadline = time.monotonic() + 30
    while executor.snapshot().slots < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    results = list(executor.map(["sleep 0.3"] * 6))
print(*sorted({result.host for result in results}), added.wait())
"""


def test_the_script_adds_machines_to_an_executor(ssh_bed: SshBed, bench: Bench) -> None:
    done = run_program(bench, SCRIPTED, {"PATH": ssh_bed.search_path()})
    assert done.code == 0
    assert set(done.out.split()) == {os.uname().nodename, "nodea", "0"}


LOSING = """
import logging
from disbatch import Executor
logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
with Executor("localhost:1,nowhere:1") as executor:
    print(executor.submit("sleep 0.5").result().returncode)
"""


def test_a_host_that_cannot_be_reached_is_told(ssh_bed: SshBed, bench: Bench) -> None:
    done = run_program(bench, LOSING, {"PATH": ssh_bed.search_path()})
    assert (done.code, done.out) == (0, "0\n")
    assert "ERROR disbatch " in done.err and "no engine could be started on nowhere" in done.err


@pytest.mark.parametrize(
    ("program", "arguments"),
    [(EXECUTOR, "None"), (ASYNC, "None"), (DISBATCHER, "")],
    ids=["Executor", "AsyncExecutor", "DisBatcher"],
)
def test_every_class_uses_the_nodes_of_a_job(
    slurm: SlurmBed, bench: Bench, tmp_path: Path, program: str, arguments: str
) -> None:
    bench.file("prog.py", program.format(arguments=arguments))
    root = Path(__file__).parents[2]
    script = f"export PYTHONPATH={root}\nexec {sys.executable} prog.py > out 2> err"
    job = slurm.sbatch("-n", "3", "--ntasks-per-node", "1", script=script, cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert (bench.read("err"), bench.read("out").splitlines()) == ("", ["node1 node2 node3"] * 2)

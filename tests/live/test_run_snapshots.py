"""The snapshots of a run in its KVS, as a viewer outside the driver gets them: on request, at the end, by any server."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from disbatch_runs import Bench, wait_until

from disbatch.core.snapshot import STATUS_KEY, RunSnapshot
from disbatch.monitor.looking import Looker, load_info
from kvsstcp.client import Client
from kvsstcp.infofile import read_info

WAIT = "until [ -e go ]; do sleep 0.02; done"


def look(path: Path) -> RunSnapshot:
    async def once() -> RunSnapshot:
        looker = await Looker.connect(load_info(str(path)))
        try:
            return await looker.look()
        finally:
            await looker.close()

    return asyncio.run(asyncio.wait_for(once(), 20))


def last_look(path: Path) -> list[RunSnapshot]:
    """Looks until the run is over; releases it after the first snapshot."""

    async def all_of_them() -> list[RunSnapshot]:
        looker = await Looker.connect(load_info(str(path)))
        seen = []
        while not seen or not seen[-1].over:
            seen.append(await looker.look())
            (path.parent / "go").touch()
        await looker.close()
        return seen

    return asyncio.run(asyncio.wait_for(all_of_them(), 20))


def test_everything_is_there_for_who_looks(bench: Bench) -> None:
    tasks = f"echo no such thing >&2; exit 3\n{WAIT}; echo long\n{WAIT}\ntrue\ntrue\n"
    run = bench.start_here(2, tasks=tasks)
    run.until_exists("run_status.txt", "run_kvsinfo.txt")
    run.until(bench.rows, "the first task has failed")
    s = look(bench.path / "run_kvsinfo.txt")
    assert s.detail and not s.over and s.state == "running"
    assert (s.done, s.failed, s.running, s.total, s.slots) == (0, 1, 2, 5, 2)
    (engine,) = s.engines
    assert (engine.state, engine.slots, engine.busy, engine.failed) == ("RUNNING", 2, 2, 1)
    assert engine.silent_s is not None and engine.silent_s < 20
    assert engine.load is not None and engine.cpus
    assert engine.mem_used_kib is not None and 0 < engine.mem_used_kib < (engine.mem_total_kib or 0)
    (context,) = s.contexts
    assert (context.label, context.engines, context.slots, context.busy) == ("SSH0", 1, 2, 2)
    assert [t.command for t in s.tasks] == [f"{WAIT}; echo long", WAIT]
    (failure,) = s.failures
    assert (failure.task_id, failure.returncode, failure.error) == (0, 3, "no such thing")
    assert s.history and s.history[0].elapsed_s < 1
    bench.file("go", "")
    assert run.end().code == 0


def test_the_key_for_outside_monitors_has_the_counts_and_rows_when_somebody_looks(bench: Bench) -> None:
    run = bench.start_here(2, tasks=f"{WAIT}\n")
    run.until_exists("run_kvsinfo.txt")
    with Client(read_info(bench.path / "run_kvsinfo.txt")) as client:

        def status() -> dict[str, object]:
            return json.loads(client.view(STATUS_KEY).data)

        run.until(lambda: status()["running"] == 1, "the task runs")
        assert status()["engines"] == [] and status()["detail"] is False
        look(bench.path / "run_kvsinfo.txt")
        assert status()["detail"] is True
    bench.file("go", "")
    run.end()


def test_who_looks_at_the_end_sees_the_final_figures(bench: Bench) -> None:
    run = bench.start_here(2, tasks=f"{WAIT}\n" + "true\n" * 20 + "false\n")
    run.until_exists("run_kvsinfo.txt")
    seen = last_look(bench.path / "run_kvsinfo.txt")
    assert (seen[-1].done, seen[-1].failed, seen[-1].running) == (21, 1, 0)
    assert seen[-1].state == "all tasks have been done" and not seen[0].over
    assert run.end().code == 0


def test_several_look_at_once(bench: Bench) -> None:
    run = bench.start_here(1, tasks=f"{WAIT}\n")
    run.until_exists("run_kvsinfo.txt")
    info = load_info(str(bench.path / "run_kvsinfo.txt"))

    async def together() -> list[RunSnapshot]:
        lookers = [await Looker.connect(info) for _ in range(5)]
        for _ in range(2):
            seen = await asyncio.gather(*[looker.look() for looker in lookers])
        for looker in lookers:
            await looker.close()
        return seen

    seen = asyncio.run(asyncio.wait_for(together(), 20))
    assert {s.running for s in seen} == {1}
    bench.file("go", "")
    run.end()


@pytest.fixture
def server(bench: Bench):
    """A KVS server that runs already; its info file."""
    info = bench.path / "server.txt"
    process = subprocess.Popen(
        [sys.executable, "-m", "kvsstcp", "server", "-H", "127.0.0.1", "--info-file", str(info)],
        env=bench.env,
        cwd=bench.path,
    )
    wait_until(info.exists, "the server is there")
    yield info
    process.terminate()
    process.wait(10)


def test_by_a_server_that_runs_already(bench: Bench, server: Path) -> None:
    run = bench.start_here(2, "--kvsserver", str(server), tasks=f"{WAIT}\nfalse\n")
    run.until_exists("run_kvsinfo.txt")
    seen = last_look(bench.path / "run_kvsinfo.txt")
    assert (seen[-1].done, seen[-1].failed, seen[-1].over) == (1, 1, True)
    assert len(seen[-1].engines) == 1
    assert run.end().code == 0

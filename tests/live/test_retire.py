"""The command that gives nodes back: real bash, what it is told, failures, retries, and the end of a run."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disbatch_runs import processes_of

from disbatch.runtime import retire
from disbatch.runtime.retire import Retirement

DEADLINE_S = 20.0


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Works in the test's own folder, and waits less than a real run would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(retire, "RETIRE_GATHER_S", 0.05)
    monkeypatch.setattr(retire, "RETIRE_WAITS_S", (0.05, 0.1))
    yield


class Pool:
    """A retirement of three nodes, the driver on the first, and what it told the user."""

    def __init__(self, command: str | None, path: Path) -> None:
        self.warned: list[str] = []
        self.noted: list[str] = []
        self.path = path
        environ = {**os.environ, "SLURM_JOB_ID": "41", "TEST_MARK": str(path)}
        nodes = ["n1", "n2", "n3"]
        self.it = Retirement(command, nodes, "n1", self.warned.append, environ, self.noted.append)

    async def until(self, name: str, lines: int = 1) -> list[str]:
        """The lines of a file in the test's folder, once there are so many."""
        for _ in range(int(DEADLINE_S / 0.01)):
            file = self.path / name
            found = file.read_text().splitlines() if file.exists() else []
            if len(found) >= lines:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"{name} has less than {lines} lines; {self.warned} {self.noted}")


TELL = 'echo "$NODES|$ACTIVE|$RETIRED|$RETCODES|$DRIVER_NODE|$SLURM_JOBID" >> told'


def test_what_ends_together_is_one_call_and_what_comes_later_the_next(tmp_path: Path) -> None:
    async def scene() -> None:
        pool = Pool(TELL, tmp_path)
        pool.it.ended("n2")
        pool.it.ended("n1", 3)
        assert await pool.until("told") == ["n2|n3|n2,n1|0|n1|41"]
        pool.it.ended("n3", 9)
        assert (await pool.until("told", 2))[1] == "n3||n2,n1,n3|9|n1|41"
        await pool.it.finish(1.0)
        assert pool.warned == []

    asyncio.run(scene())


def test_calls_never_overlap(tmp_path: Path) -> None:
    async def scene() -> None:
        pool = Pool("echo in >> log; until [ -e go ]; do sleep 0.02; done; echo out >> log", tmp_path)
        pool.it.ended("n2")
        await pool.until("log")
        pool.it.ended("n3")
        (tmp_path / "go").touch()
        assert await pool.until("log", 4) == ["in", "out"] * 2
        await pool.it.finish(1.0)

    asyncio.run(scene())


def test_a_failure_is_told_once_with_its_last_line_and_tried_again(tmp_path: Path) -> None:
    async def scene() -> None:
        command = TELL + "; echo some noise; echo 'no such job' >&2; test -e good"
        pool = Pool(command, tmp_path)
        pool.it.ended("n2")
        await pool.until("told", 2)
        (tmp_path / "good").touch()
        await pool.until("told", 3)
        while not pool.noted or "given back: n2" not in pool.noted[-1]:
            await asyncio.sleep(0.01)
        await pool.it.finish(1.0)
        assert len(pool.warned) == 1
        assert "giving back n2 failed: exit code 1: no such job" in pool.warned[0]

    asyncio.run(scene())


def test_it_gives_up_and_takes_it_up_again_with_the_next_node(tmp_path: Path) -> None:
    async def scene() -> None:
        pool = Pool(TELL + "; exit 4", tmp_path)
        pool.it.ended("n2")
        while len(pool.warned) < 2:
            await asyncio.sleep(0.01)
        assert "not tried again" in pool.warned[1]
        assert len(await pool.until("told", 3)) == 3
        pool.it.ended("n3")
        assert (await pool.until("told", 4))[3].startswith("n2,n3|")
        await pool.it.finish(0.0)

    asyncio.run(scene())


def test_the_end_of_the_run_does_not_wait_for_a_command_that_hangs(tmp_path: Path) -> None:
    async def scene() -> None:
        pool = Pool("touch on; trap '' TERM; while true; do sleep 0.1; done", tmp_path)
        pool.it.ended("n2")
        while not (tmp_path / "on").exists():
            await asyncio.sleep(0.01)
        started = time.monotonic()
        await pool.it.finish(0.2)
        assert time.monotonic() - started < 2.0
        assert processes_of(str(tmp_path)) == []

    asyncio.run(scene())


def test_nothing_is_given_back_once_the_run_is_over(tmp_path: Path) -> None:
    async def scene() -> None:
        pool = Pool(TELL, tmp_path)
        pool.it.ended("n2")
        await pool.it.finish(1.0)
        assert not (tmp_path / "told").exists()

    asyncio.run(scene())


def test_what_scontrol_leaves_in_the_folder_is_removed_and_nothing_else(tmp_path: Path) -> None:
    async def scene() -> None:
        (tmp_path / "slurm_job_41_resize.csh").write_text("the user's own")
        pool = Pool("touch slurm_job_4{1,2}_resize.{sh,csh}; " + TELL, tmp_path)
        pool.it.ended("n2")
        await pool.until("told")
        await pool.it.finish(5.0)
        left = sorted(path.name for path in tmp_path.glob("slurm_job*"))
        assert left == ["slurm_job_41_resize.csh", "slurm_job_42_resize.csh", "slurm_job_42_resize.sh"]

    asyncio.run(scene())


@pytest.mark.parametrize("command", [None, ""])
def test_without_a_command_nothing_happens(tmp_path: Path, command: str | None) -> None:
    async def scene() -> None:
        pool = Pool(command, tmp_path)
        pool.it.ended("n2")
        await pool.it.finish(1.0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scene())

"""No secret where others, or a task, could read it: arguments, environments, logs, files."""

import os
import stat
import sys
from pathlib import Path

import pytest
from disbatch_runs import Bench, processes_of, wait_until

from disbatch import Executor
from kvsstcp.infofile import Info, read_info

FEED = """
import os
from disbatch import DisBatcher
with DisBatcher("feed", kvsserver=os.environ["KVSSTCP_INFO"]) as db:
    db.submit("env > task_env; tr '\\\\0' '\\\\n' < /proc/$PPID/environ > engine_env; echo > running; read < gate")
    db.wait_one_task()
"""


def secrets_of(info: Info) -> list[bytes]:
    """Forms in which the secret could turn up."""
    assert info.token is not None and len(info.token) == 32
    return [info.token, info.token.hex().encode(), info.token.hex().upper().encode()]


def leaks(pids: list[int], folders: list[Path], secrets: list[bytes], allowed: str) -> list[str]:
    """Where a secret can be read, apart from files whose name ends with `allowed`."""
    places = [Path(f"/proc/{pid}/{what}") for pid in pids for what in ("environ", "cmdline")]
    places += [
        p for folder in folders for p in folder.rglob("*") if p.is_file() and not p.name.endswith(allowed)
    ]
    found = []
    for place in places:
        try:
            data = place.read_bytes()
        except OSError:
            continue  # a process that has just ended
        found += [str(place)] * any(secret in data for secret in secrets)
    return found


def test_the_look_sees_a_leak(tmp_path: Path) -> None:
    info = Info((("h", 1),), b"s" * 32)
    (tmp_path / "log").write_text("token " + info.token.hex())  # type: ignore[union-attr]
    assert leaks([], [tmp_path], secrets_of(info), "_kvsinfo.txt") == [str(tmp_path / "log")]
    assert leaks([os.getpid()], [], [b"python"], "_kvsinfo.txt") != []


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_with_a_feeding_command(bench: Bench, level: str) -> None:
    bench.file("feed.py", FEED)
    os.mkfifo(bench.path / "gate")
    run = bench.start_here(2, "--loglevel", level, "--taskcommand", f"{sys.executable} feed.py")
    run.until_exists("running")
    info_path = bench.path / "run_kvsinfo.txt"
    assert stat.S_IMODE(info_path.stat().st_mode) == 0o600
    secrets = secrets_of(read_info(info_path))
    pids = processes_of(str(bench.path.parent))
    assert len(pids) >= 5  # driver, guard, engine, task, feeding program
    assert leaks(pids, [bench.path.parent], secrets, "_kvsinfo.txt") == []
    (bench.path / "gate").write_text("\n")
    assert run.end().code == 0, run.logs()
    assert not info_path.exists()
    assert leaks([], [bench.path.parent], secrets, "nothing") == []
    assert "DISBATCH_TASKID=0" in bench.read("task_env")
    for name in ("task_env", "engine_env"):
        assert "token" not in bench.read(name).lower()


def test_with_an_executor(here: Path) -> None:
    os.mkfifo("gate")
    with Executor("localhost:1", prefix="run", args=["--loglevel", "DEBUG"]) as executor:
        future = executor.submit("env; echo > running; read < gate")
        wait_until(Path("running").exists, "the task runs")
        scratch = Path(os.environ["TMPDIR"])
        infos = [*here.glob("*_kvsinfo.txt"), *scratch.rglob("*_kvsinfo.txt")]
        assert len(infos) == 2  # ours, for disBatch, and the one of the run
        assert [stat.S_IMODE(path.stat().st_mode) for path in infos] == [0o600] * 2
        assert [stat.S_IMODE(path.stat().st_mode) for path in scratch.iterdir()] == [0o700]
        secrets = secrets_of(executor._session.info)
        pids = processes_of(os.environ["TEST_MARK"])
        assert len(pids) >= 4
        assert leaks(pids, [here, scratch], secrets, "_kvsinfo.txt") == []
        Path("gate").write_text("\n")
        assert future.result(30).returncode == 0
    assert leaks([], [here.parent], secrets, "nothing") == []

"""disBatch 3.0 resumes from our status files, and we from its. DISBATCH_PEER_PYTHON names the interpreter it is in."""

import os
from pathlib import Path

import pytest
from disbatch_runs import Bench, Row

pytestmark = pytest.mark.peer

TASKS = r"""#DISBATCH PERENGINE START true
touch ran0; echo hello
[ -e ok ] || exit 3
#DISBATCH REPEAT 2 start 5 touch r$DISBATCH_REPEAT_INDEX
#DISBATCH PREFIX touch
 x; printf 'it'"'"'s\t\n'
#DISBATCH BARRIER
 y;	true
 z; printf 'é'; head -c 100 /dev/zero | tr '\0' x >&2
"""


@pytest.fixture(scope="session")
def peer() -> list[str]:
    """The command of disBatch 3.0."""
    python = os.environ.get("DISBATCH_PEER_PYTHON")
    if not python:
        pytest.skip("DISBATCH_PEER_PYTHON is not set: no disBatch 3.0 to compare with")
    script = Path(python).parent / "disBatch"
    if not script.exists():
        pytest.skip(f"there is no {script}: no disBatch 3.0 to compare with")
    return [python, str(script)]


def run_peer(bench: Bench, peer: list[str], *arguments: str):
    """The peer runs on localhost through ssh-less forking of its own; it writes PREFIX_status.txt."""
    return bench.start("-s", "localhost:2", *arguments, "Tasks", program=peer, env={"PYTHONPATH": ""}).end(60)


def comparable(row: Row) -> Row:
    """Without what differs from run to run."""
    return row._replace(pid=0, elapsed_s=0.0, start_s=0.0, finish_s=0.0)


def tasks_only(rows: list[Row]) -> dict[int, Row]:
    return {row.task_id: row for row in rows if row.flags[0] not in "BC" and row.flags[3] != "P"}


def test_the_same_list_gives_the_same_rows(bench: Bench, peer: list[str]) -> None:
    assert bench.here(2, "--status-header", tasks=TASKS).code == 0
    assert run_peer(bench, peer, "-p", "theirs", "--status-header").code == 0
    ours, theirs = bench.path / "run_status.txt", bench.path / "theirs_status.txt"
    assert ours.read_bytes().split(b"\n")[0] == theirs.read_bytes().split(b"\n")[0]
    for path in (ours, theirs):
        path.write_bytes(path.read_bytes().split(b"\n", 1)[1])

    def rows(name: str) -> list[Row]:
        return sorted(comparable(row) for row in bench.rows(name))

    assert rows("run_status.txt") == rows("theirs_status.txt")


def test_the_predecessor_resumes_from_our_status_file(bench: Bench, peer: list[str]) -> None:
    bench.here(2, tasks=TASKS)
    for name in ("ran0", "r5", "r6", "x", "y", "z"):
        (bench.path / name).unlink()
    bench.file("ok", "")
    result = run_peer(bench, peer, "-p", "theirs", "-r", "run_status.txt", "-R")
    assert result.code == 0, result.err
    assert not any((bench.path / name).exists() for name in ("ran0", "r5", "r6", "x", "y", "z"))
    assert tasks_only(bench.rows("theirs_status.txt"))[1].returncode == 0


def test_we_resume_from_a_status_file_of_the_predecessor(bench: Bench, peer: list[str]) -> None:
    bench.file("Tasks", TASKS)
    result = run_peer(bench, peer, "-p", "theirs")
    assert result.code == 0, result.err
    theirs = tasks_only(bench.rows("theirs_status.txt"))
    for name in ("ran0", "r5", "r6", "x", "y", "z"):
        (bench.path / name).unlink()
    bench.file("ok", "")
    assert bench.here(2, "-R", "-r", "theirs_status.txt", tasks=TASKS).code == 0
    assert not any((bench.path / name).exists() for name in ("ran0", "r5", "r6", "x", "y", "z"))
    ours = tasks_only(bench.rows())
    assert ours[1].returncode == 0
    for task_id in set(theirs) - {1}:
        assert ours[task_id] == theirs[task_id]._replace(flags=theirs[task_id].flags[:3] + "S")


def test_there_and_back_again(bench: Bench, peer: list[str]) -> None:
    """Ours, resumed by the predecessor, resumed by us: what was done once stays done."""
    bench.here(2, tasks=TASKS)
    run_peer(bench, peer, "-p", "theirs", "-r", "run_status.txt")
    for name in ("ran0", "r5", "r6", "x", "y", "z"):
        (bench.path / name).unlink(missing_ok=True)
    result = bench.here(2, "-r", "run_status.txt", "-r", "theirs_status.txt", tasks=TASKS)
    assert result.code == 0
    assert not any((bench.path / name).exists() for name in ("ran0", "r5", "r6", "x", "y", "z"))

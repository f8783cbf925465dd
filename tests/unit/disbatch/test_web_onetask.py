"""What the page knows of one task: its rows among many, and a command that really runs it again."""

import subprocess
from pathlib import Path

import pytest
from monitor_builders import running, snapshot
from report_builders import barrier, row, write

from disbatch.core.status import HEADER
from disbatch.web import onetask
from disbatch.web.onetask import MOST_ROWS, command_again, known_of, read_rows


@pytest.mark.parametrize("block", [1, 7, 100, 1 << 20])
def test_its_rows_are_found_wherever_blocks_are_cut(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onetask, "BLOCK", block)
    lines = [
        HEADER + b"\n", row(71, 0, 1), row(7, 0, 7, code=1), row(8, 0, 1, line_no=7), barrier(7, 1, 2), b"\t7\tnonsense\n",
        row(7, 0, 1, flags="   P"), row(9, 0, 1, command="echo\t7\t"), row(7, 8, 9),
    ]  # fmt: skip
    path = write(tmp_path / "s", *lines, row(7, 10, 11)[:-1])  # the last one is not complete
    assert [(r.task_id, r.returncode) for r in read_rows(path, 7)] == [(7, 1), (7, 0)]
    assert read_rows(path, 70) == []


def test_the_latest_attempts_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "s", *[row(7, n, n + 1) for n in range(MOST_ROWS + 5)])
    rows = read_rows(path, 7)
    assert len(rows) == MOST_ROWS and rows[-1].finish_s > rows[0].finish_s


@pytest.mark.parametrize("name", ["plain", "with blank", "a'b", "x\x1b[2J\u202ey", "new\nline"])
def test_the_command_runs_it_again(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    task = "printf %s \"$PWD|$DISBATCH_TASKID|$DISBATCH_TASKID_ZP|$DISBATCH_STREAM_INDEX|$DISBATCH_REPEAT_INDEX|'$0'\""
    line = command_again(str(folder), 7, 3, -1, task)
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert done.stdout.decode() == f"{folder}|7|000007|3|-1|'bash'"


def test_what_cannot_be_written_is_not() -> None:
    assert command_again("/w", 1, 1, -1, "b'\\xff'") == "" and command_again("/w", 1, 1, -1, "a\0b") == ""
    s = snapshot(tasks=(running(5, command="x" * 200),))
    assert known_of(5, [], s, "/w")["again"] == ""
    known = known_of(5, [], snapshot(tasks=(running(5, command="true"),)), "/w")
    assert known["running"]["command"] == "true" and known["again"].endswith("bash -c true")

"""Reading status files for a report: every form that counts as one, and errors that say what is wrong where."""

import os
from pathlib import Path

import pytest
from report_builders import barrier, report_of, row, write

from disbatch.core.errors import StatusFileError
from disbatch.core.status import HEADER
from disbatch.report.reader import StatusFiles
from disbatch.report.rows import Kind


def test_every_kind_of_row(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x",
        HEADER + b"\n",
        row(0, 0, 1),
        row(1, 0, 1, flags="   S"),
        row(2, 0, 1, flags="   Z"),
        row(0, 0, 1, flags="   P"),
        barrier(3, 0, 1),
        row(3, 0, 1, flags="C    "),
        HEADER + b"\r\n",
        row(4, 0, 1, out="a", err="b", code=1).replace(b"\n", b"\r\n"),
    )
    with StatusFiles([path]) as files:
        rows = files.rows
        assert [Kind(kind) for kind in rows.kind] == [
            Kind.TASK, Kind.SKIPPED, Kind.LATE, Kind.SETUP, Kind.BARRIER, Kind.BARRIER, Kind.TASK,
        ]  # fmt: skip
        assert files.record(0).command == "work 0"
        assert files.record(6).command == "work 4"
        assert files.record(4).command == "#DISBATCH BARRIER"
        assert files.notes == []


def test_the_form_of_the_manual(tmp_path: Path) -> None:
    old = b'R   \t5\t7\t-1\tworker1\t99\t2\t1.5\t1486405263.3212\t1486405264.8212\t0\t""\t4\t"bad\\n"\t"cd /tmp; exit 2"\n'
    r = report_of(write(tmp_path / "x", old))
    assert (r.tasks, r.failed, r.failures[0].message) == (1, 1, "bad")
    assert r.durations is not None and r.durations.longest_s == 1.5


def test_a_long_command_is_fetched_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "x", row(0, 0, 1, command="a" * 100_000 + "\tb"), row(1, 0, 1))
    with StatusFiles([path]) as files:
        assert files.record(0).command == "a" * 100_000 + "\tb"
        assert files.record(1).command == "work 1"


@pytest.mark.parametrize("cut", [1, 3, 5, 20, 60])
def test_a_torn_last_line_is_ignored_with_a_note(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "x", row(0, 0, 1), row(1, 0, 1, code=1)[:cut])
    with StatusFiles([path]) as files:
        assert len(files.rows) == 1
        assert files.notes == [f"{path}, line 2: the last line is not complete (yet), it is ignored"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"echo one\necho two\n", "line 1: not a status line: 1 tab-separated fields instead of 15"),
        (b"echo one", "line 1: not a status line: 'echo one'"),
        (row(0, 0, 1) + b"\n", "line 2: not a status line"),
        (row(0, 0, 1) + row(1, 0, 1).replace(b"\t77\t", b"\tx\t"), "line 2: not a status line"),
        (row(0, 0, 1).replace(b"    \t", b"QQQQ\t"), "line 1: not a status line: unknown flags"),
        (row(0, 0, 1).replace(b"\t1.000\t", b"\tnan\t"), "line 1: not a status line: times that cannot be"),
        (row(10**30, 0, 1), "line 1: not a status line"),
        (row(0, 0, 1, code=1).replace(b"''", b"'a"), "line 1: not a status line"),
        (
            row(0, 0, 1, code=1).replace(b"''", b"word"),
            "line 1: not a status line: a snippet that is no quoted text: b'word'",
        ),
        (b"\0" * 100 + b"\n", "line 1: not a status line"),
    ],
)
def test_what_is_no_status_file(tmp_path: Path, content: bytes, why: str) -> None:
    path = write(tmp_path / "x", content)
    with pytest.raises(StatusFileError) as caught:
        StatusFiles([path])
    assert f"{path}, {why}" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "run_status.txt", row(0, 0, 1))
    with pytest.raises(
        StatusFileError, match=r"run: No such file or directory; there is .*/run_status\.txt$"
    ):
        StatusFiles([str(tmp_path / "run")])
    with pytest.raises(StatusFileError, match=r"cannot read the status file .*: Is a directory"):
        StatusFiles([str(tmp_path)])


def test_a_file_given_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "x", row(0, 0, 1))
    os.link(path, tmp_path / "y")
    with StatusFiles([path, str(tmp_path / "y"), path]) as files:
        assert len(files.rows) == 1
        assert files.paths == [path]
        assert len(files.notes) == 2


def test_a_pipe_can_be_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, row(0, 0, 1) + row(1, 0, 1))
    os.close(writing)
    try:
        with StatusFiles([f"/dev/fd/{reading}"]) as files:
            assert files.record(1).task_id == 1
    finally:
        os.close(reading)


def test_a_clock_that_was_set_back_gives_no_negative_time(tmp_path: Path) -> None:
    r = report_of(write(tmp_path / "x", row(0, 10, 4), row(1, 10, 11)))
    assert r.durations is not None and r.durations.shortest_s == 0.0
    assert r.wall_s == 1.0

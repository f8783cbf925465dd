"""Which tasks count for which limited context: the file, what a death leaves of it, and the info file's lines."""

import errno
import os
from pathlib import Path
from queue import SimpleQueue

import pytest

from disbatch.core.errors import MachineError
from disbatch.core.takeover import JoinedContext
from disbatch.runtime.appendfile import AppendFile
from disbatch.runtime.charges import ChargesFile, count_charges, read_charges
from disbatch.runtime.roster import Entries, entry_lines, read_entries
from disbatch.runtime.statusfile import StatusWriter


def everybody(task_id: int) -> bool:
    return True


def test_tasks_with_a_status_line_count_once_and_for_the_last_that_had_them() -> None:
    lines = [b"0 a\n", b"1 a\n", b"2 b\n", b"1 b\n", b"3 a\n", b"9 a\n"]
    assert count_charges(lines, lambda task_id: task_id != 3, 8) == {"a": 1, "b": 2}


def test_torn_and_odd_lines_count_for_nobody() -> None:
    lines = [b"0 a\n", b"1\n", b"2 \n", b"\xff a\n", b"-1 a\n", b"\n", b"3 a"]
    assert count_charges(lines, everybody, 8) == {"a": 1}


def test_what_a_death_has_torn_stays_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    path.write_bytes(b"0 a\n1")
    file = ChargesFile(str(path))
    file.append(b"2 a\n")
    file.append(b"3 a\n")
    assert path.read_bytes() == b"0 a\n1\n2 a\n3 a\n"
    assert read_charges(str(path), everybody, 12) == {"a": 3}


def test_no_file_is_made_without_lines_and_none_is_missed(tmp_path: Path) -> None:
    ChargesFile(str(tmp_path / "limits")).sync()
    assert [*tmp_path.iterdir()] == []
    assert read_charges(str(tmp_path / "limits"), everybody, 3) == {}


def test_trouble_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "limits"
    with pytest.raises(OSError, match=str(path)) as caught:
        ChargesFile(str(path)).append(b"0 a\n")
    assert caught.value.errno == errno.ENOENT
    os.mkdir(tmp_path / "gone")
    path.mkdir()
    with pytest.raises(MachineError, match=r"cannot read .*limits: it is a folder"):
        read_charges(str(path), everybody, 3)


def test_the_roster_says_again_what_was_written(tmp_path: Path) -> None:
    contexts = (
        JoinedContext("c0", "SSH", 0, range(2)),
        JoinedContext("c1", "night shift\nranks 1", 40, range(2, 5)),
    )
    path = tmp_path / "info"
    path.write_text("\n".join(("driver vm 1 2", *entry_lines(5, contexts))) + "\n")
    assert read_entries(str(path)) == Entries(5, contexts)


def test_a_status_line_waits_for_what_has_to_be_noted_before_it(tmp_path: Path) -> None:
    """Its folder is not there; once it is, both are written."""
    status, limits = tmp_path / "status", tmp_path / "later" / "limits"
    descriptor = os.open(status, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    trouble: SimpleQueue[str] = SimpleQueue()
    written: SimpleQueue[list[int]] = SimpleQueue()
    writer = StatusWriter(
        AppendFile(descriptor, str(status)), written.put, trouble.put, before=ChargesFile(str(limits))
    )
    writer.append(1, b"a line\n", before=b"0 c0\n")
    assert trouble.get(timeout=10) == f"No such file or directory ({limits})"
    assert status.read_bytes() == b"" and written.empty()
    limits.parent.mkdir()
    assert trouble.get(timeout=10) == "" and written.get(timeout=10) == [1]
    assert writer.close(10)
    assert (status.read_bytes(), limits.read_bytes()) == (b"a line\n", b"0 c0\n")

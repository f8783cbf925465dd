"""A file that is appended to, and that another program empties, shortens, overwrites or writes to: no line of ours is lost
without a word."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disbatch.runtime import appendfile, keptlines
from disbatch.runtime.appendfile import AppendFile, FileChange

KEPT = 100  # bytes: ten lines
LINES = [b"line %04d\n" % i for i in range(40)]


class Bed:
    """A file with what was told of it."""

    def __init__(self, path: Path, content: bytes = b"") -> None:
        self.path = path
        path.write_bytes(content)
        self.told: list[FileChange] = []
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
        self.file = AppendFile(fd, str(path), self.told.append, KEPT)

    def write(self, start: int, end: int) -> None:
        for line in LINES[start:end]:
            self.file.append(line)

    def has(self, start: int, end: int) -> bool:
        return self.path.read_bytes() == b"".join(LINES[start:end])

    @property
    def lost(self) -> int:
        return sum(change.lost_lines for change in self.told)

    def close(self) -> None:
        os.close(self.file.fd)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path / "status.txt")
    yield made
    made.close()


@pytest.mark.parametrize("size", [0, 10, 15, 49])
@pytest.mark.parametrize("finish", [False, True])
def test_what_was_cut_off_is_written_again(bed: Bed, size: int, finish: bool) -> None:
    bed.write(0, 5)
    os.truncate(bed.path, size)
    if finish:
        bed.file.settle(all_kept=True)
        assert bed.has(0, 5)
    bed.write(5, 8)
    assert bed.has(0, 8) and bed.lost == 0
    (change,) = bed.told
    assert change.path == str(bed.path)
    assert change.what == f"was shortened from 50 to {size} bytes by another program"


@pytest.mark.parametrize("size", [200, 205, 290])
def test_cut_within_what_is_kept(bed: Bed, size: int) -> None:
    bed.write(0, 30)
    os.truncate(bed.path, size)
    bed.write(30, 31)
    assert bed.has(0, 31) and bed.lost == 0 and len(bed.told) == 1


@pytest.mark.parametrize(("size", "lost"), [(0, 20), (100, 10), (105, 10), (195, 1)])
def test_more_was_cut_off_than_is_kept(bed: Bed, size: int, lost: int) -> None:
    bed.write(0, 30)
    os.truncate(bed.path, size)
    bed.write(30, 31)
    there = size // 10
    assert bed.path.read_bytes() == b"".join(LINES[:there] + LINES[20:31]) and bed.lost == lost
    os.truncate(bed.path, there * 10 + 10)  # what is left counts as what was written
    bed.write(31, 32)
    assert bed.path.read_bytes() == b"".join(LINES[:there] + LINES[20:32]) and bed.lost == lost


@pytest.mark.parametrize("content", [b"x\n", b"x" * 50, b"line 0000\nline 0001\nxxxx", b"other\n" * 100])
def test_overwritten_lines_are_restored(bed: Bed, content: bytes) -> None:
    bed.write(0, 5)
    bed.path.write_bytes(content)
    bed.write(5, 6)
    assert bed.has(0, 6) and bed.lost == 0 and len(bed.told) == 1


def test_a_line_in_the_middle_is_overwritten(bed: Bed) -> None:
    """Size and end are as they were: this is seen at the end of the run."""
    bed.write(0, 5)
    bed.path.write_bytes(bed.path.read_bytes().replace(b"0002", b"XXXX"))
    bed.write(5, 6)
    bed.file.settle(all_kept=True)
    assert bed.has(0, 6) and bed.lost == 0
    assert [change.what for change in bed.told] == ["was overwritten by another program"]


def test_lines_that_are_not_kept_are_overwritten(bed: Bed) -> None:
    bed.write(0, 30)
    bed.path.write_bytes(b"other\n" * 100)
    bed.write(30, 31)
    assert bed.lost == 20 and bed.path.read_bytes().endswith(b"\n" + b"".join(LINES[20:31]))


@pytest.mark.parametrize("foreign", [b"a line\n", b"half a line", b"x" * 1000, b"y\n" * 1000])
def test_what_another_program_has_appended_stays(
    bed: Bed, foreign: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appendfile, "CHUNK", 64)
    bed.write(0, 5)
    with open(bed.path, "ab") as file:
        file.write(foreign)
    bed.write(5, 8)
    whole = foreign if foreign.endswith(b"\n") else foreign + b"\n"
    assert bed.path.read_bytes() == b"".join(LINES[:5]) + whole + b"".join(LINES[5:8])
    (change,) = bed.told
    assert "another program has appended" in change.what and change.lost_lines == 0
    bed.file.settle(all_kept=True)
    os.truncate(bed.path, bed.path.stat().st_size - 15)
    bed.write(8, 9)
    assert bed.path.read_bytes() == b"".join(LINES[:5]) + whole + b"".join(LINES[5:9])


def test_a_batch_larger_than_what_is_kept(bed: Bed) -> None:
    bed.write(0, 5)
    bed.file.append(b"".join(LINES[5:35]))
    os.truncate(bed.path, 60)
    bed.write(35, 36)
    assert bed.has(0, 36) and bed.lost == 0


def test_a_removed_file_that_was_emptied_before(bed: Bed) -> None:
    bed.write(0, 5)
    os.truncate(bed.path, 0)
    bed.path.unlink()
    bed.write(5, 6)
    assert bed.has(0, 6) and bed.lost == 0


def test_a_file_that_is_gone_at_the_end_is_there_again(bed: Bed) -> None:
    bed.write(0, 30)
    bed.path.unlink()
    bed.file.settle(all_kept=True)
    assert bed.has(0, 30)


@pytest.mark.parametrize("older", [3, 30])
def test_a_file_that_another_driver_has_begun(
    tmp_path: Path, older: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of it is kept as well."""
    monkeypatch.setattr(keptlines, "BLOCK", 10)
    bed = Bed(tmp_path / "status.txt", b"".join(LINES[:older]))
    os.truncate(bed.path, older * 10 - 15)
    bed.write(older, older + 1)
    assert bed.has(0, older + 1) and bed.lost == 0
    os.truncate(bed.path, 0)
    bed.write(older + 1, older + 2)
    assert bed.lost == {3: 0, 30: 21}[older]
    bed.close()


def test_a_disk_that_is_full_while_lines_are_written_again(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed.write(0, 30)
    os.truncate(bed.path, 0)
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda fd, data: write(fd, data[:7]) and os.stat("/nowhere"))
        for _ in range(3):
            with pytest.raises(OSError):
                bed.write(30, 31)
    assert bed.told == []
    bed.write(30, 31)
    assert bed.has(20, 31)
    # what was lost is told once
    assert bed.lost == 20


def test_a_file_that_was_shortened_is_never_made_longer_by_a_failing_write(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.write(0, 5)
    write = os.write

    def shortened(fd: int, data: bytes) -> int:
        os.truncate(bed.path, 0)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="No space"):
        broken.setattr(os, "write", shortened)
        bed.write(5, 6)
    assert bed.path.read_bytes() == b""
    assert os.write is write
    bed.write(5, 6)
    assert bed.has(0, 6)


STEPS: dict[str, Callable[[Bed], None]] = {
    "empty": lambda bed: os.truncate(bed.path, 0),
    "cut": lambda bed: os.truncate(bed.path, max(0, bed.path.stat().st_size - 17)),
    "overwrite": lambda bed: bed.path.write_bytes(b"something else\n" * 3),
    "remove": lambda bed: bed.path.unlink(),
    "nothing": lambda bed: None,
}


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(sorted(STEPS))), max_size=12))
def test_whatever_is_done_to_it_all_lines_are_there_or_their_loss_was_told(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]]
) -> None:
    bed = Bed(tmp_path_factory.mktemp("kept") / "status.txt")
    at = 0
    for count, step in steps:
        bed.write(at, at + count)
        at += count
        if not bed.path.exists():
            continue
        STEPS[step](bed)
    bed.file.settle(all_kept=True)
    found = bed.path.read_bytes().splitlines(keepends=True)
    bed.close()
    missing = [line for line in LINES[:at] if line not in found]
    assert not missing or bed.lost
    assert [line for line in found if line in LINES] == [line for line in LINES[:at] if line in found]


def test_counting_goes_block_by_block(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keptlines, "BLOCK", 7)
    bed.write(0, 30)
    os.truncate(bed.path, 105)
    bed.write(30, 31)
    assert bed.lost == 10 and bed.path.read_bytes() == b"".join(LINES[:10] + LINES[20:31])

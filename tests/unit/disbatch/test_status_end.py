"""The end of a run looks whether all rows are there: what was acknowledged may have been cut off since."""

import os
import threading
from pathlib import Path

import pytest
from disbatch_builders import Driver, items

from disbatch.core.driver_events import Ending, ListFailed, RowsLost
from disbatch.runtime import statusfile
from disbatch.runtime.appendfile import AppendFile, FileChange
from disbatch.runtime.filechanges import FileChanges
from disbatch.runtime.statusfile import StatusWriter

DEADLINE_S = 10.0


class Bed:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(statusfile, "WRITE_RETRY_S", 0.01)
        self.path = folder / "status.txt"
        self.troubles: list[str] = []
        self.changes: list[FileChange] = []
        self._acknowledged = threading.Event()
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        file = AppendFile(fd, str(self.path), self.changes.append)
        self.writer = StatusWriter(
            file, lambda batches: self._acknowledged.set(), self.troubles.append, None, "none"
        )
        self.writer.append(1, b"one\ntwo\n")
        assert self._acknowledged.wait(DEADLINE_S)


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    return Bed(tmp_path, monkeypatch)


def test_rows_that_were_cut_off_after_they_were_acknowledged(bed: Bed) -> None:
    os.truncate(bed.path, 5)
    assert bed.writer.close(DEADLINE_S) and bed.writer.complete
    assert bed.path.read_bytes() == b"one\ntwo\n" and len(bed.changes) == 1


def test_a_file_that_is_gone_at_the_end(bed: Bed) -> None:
    bed.path.unlink()
    assert bed.writer.close(DEADLINE_S) and bed.writer.complete
    assert bed.path.read_bytes() == b"one\ntwo\n"


def test_rows_that_cannot_be_brought_back(bed: Bed) -> None:
    bed.path.unlink()
    bed.path.write_bytes(b"another file\n")
    assert not bed.writer.close(0.1) and not bed.writer.complete
    assert bed.troubles == ["another file has taken its place"]


def test_a_run_whose_rows_are_lost_goes_on_and_ends_with_3() -> None:
    d = Driver()
    d.engine()
    d.lists(*items(b"one\ntwo\n"))
    d.finishes(0)
    d.happens(RowsLost("lines of status.txt are lost"))
    assert "lines of status.txt are lost" in d.texts("error") and d.over is None
    d.finishes(1, demand=0)
    d.up(demand=0, bye="over")
    assert d.over is not None and d.over.ending is Ending.ROWS_LOST and d.over.ending.exit_code == 3
    assert d.core.left and not d.core.read_whole


def test_rows_that_are_found_lost_when_the_run_is_over() -> None:
    d = Driver()
    d.engine()
    d.lists(*items(b"one\n"))
    d.finishes(0, demand=0)
    d.up(demand=0, bye="over")
    assert d.over is not None and d.core.ending is Ending.COMPLETE and not d.core.left
    d.happens(RowsLost("lines of status.txt are lost"))
    assert d.core.ending is Ending.ROWS_LOST and d.core.left


@pytest.mark.parametrize("ending", [Ending.LIST_CHANGED, Ending.LIST_UNREADABLE])
def test_a_list_that_cannot_be_read_on_lets_finish_what_runs(ending: Ending) -> None:
    d = Driver()
    d.engine()
    d.lists(*items(b"one\ntwo\nthree\n"), end=False)
    d.happens(ListFailed("Tasks changed", ending))
    assert "Tasks changed" in d.texts("error")
    d.finishes(0, demand=0)
    d.up(demand=0, bye="over")
    assert [row.task_id for row in d.rows] == [0]
    assert d.over is not None and d.over.ending is ending and ending.exit_code == 3 and d.core.left


def test_what_is_said_of_changed_files() -> None:
    lost: list[str] = []
    told: list[str] = []
    changes = FileChanges("s", lost.append, lambda text, level: told.append(text))
    for _ in range(3):
        changes.happened(FileChange("s", "was shortened from 2 to 1 bytes by another program"))
        changes.happened(FileChange("s", "has 5 bytes that another program has appended"))
        changes.happened(FileChange("u", "was overwritten by another program"))
    assert len(told) == 3 and not lost
    changes.happened(FileChange("u", "was overwritten by another program", 7))
    changes.happened(FileChange("s", "was overwritten by another program", 1234))
    assert "at least 7 of its lines are lost" in told[-1] and len(told) == 4
    assert "at least 1,234 of its lines are lost" in lost[0] and "exit code 3" in lost[0]

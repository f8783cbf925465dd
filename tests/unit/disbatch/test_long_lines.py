"""Lines that no run can have written are refused before they take the memory of the machine."""

import resource
from itertools import repeat
from pathlib import Path

import pytest

from disbatch.core.errors import StatusFileError
from disbatch.report.usage import read_usage
from disbatch.runtime.resume import STATUS_LINE_LIMIT, ResumeFiles


def test_a_status_file_of_nothing_but_nuls(tmp_path: Path) -> None:
    """2 GB of them took 4.2 GB of memory. A hole in a file takes no room on the disk."""
    path = tmp_path / "x_status.txt"
    with open(path, "wb") as file:
        file.truncate(2 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        StatusFileError, match=r"x_status.txt: a line of more than 64 MiB; is this a status file\?"
    ):
        ResumeFiles((str(path),), retry_failed=False, by_id_only=False)
    more_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert more_kib * 1024 < 3 * STATUS_LINE_LIMIT


def test_nuls_at_the_end_are_a_line_that_is_torn_off(tmp_path: Path) -> None:
    path = tmp_path / "x_status.txt"
    path.write_bytes(1_000_000 * b"\0")
    files = ResumeFiles((str(path),), retry_failed=False, by_id_only=False)
    assert files.notes == [f"{path}, line 1: the last line is torn off, it is ignored"]
    files.close()


def test_a_usage_file_of_nothing_but_nuls() -> None:
    with pytest.raises(StatusFileError, match="x, line 1: not a line of a usage file: it does not end"):
        read_usage(repeat(bytes(1 << 18)), "x")

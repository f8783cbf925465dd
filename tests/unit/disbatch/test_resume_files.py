"""Reading status files from disk: headers, torn and CRLF lines, what is refused, and lines copied as skipped."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disbatch_builders import barrier, outcome, per_engine, task

from disbatch.core.errors import StatusFileError
from disbatch.core.resume import Verdict
from disbatch.core.status import HEADER, barrier_record, format_record, task_record
from disbatch.runtime.resume import ResumeFiles


def row(task_id: int, code: int = 0, command: bytes = b"true") -> bytes:
    return format_record(task_record(task(task_id, command), "vm", outcome(code)))


Read = Callable[..., ResumeFiles]


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Read]:
    """Writes its arguments as status files and reads them."""
    opened: list[ResumeFiles] = []

    def read_contents(*contents: bytes, retry: bool = False) -> ResumeFiles:
        paths = [tmp_path / f"s{number}_status.txt" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        opened.append(ResumeFiles(tuple(map(str, paths)), retry_failed=retry, by_id_only=False))
        return opened[-1]

    yield read_contents
    for files in opened:
        files.close()


def verdicts(files: ResumeFiles, count: int) -> str:
    shown = {Verdict.RUN: "r", Verdict.SKIP_DONE: "d", Verdict.SKIP_FAILED: "f"}
    return "".join(shown[files.judge(task(i))[0]] for i in range(count))


def test_an_empty_file(read: Read) -> None:
    files = read(b"")
    assert verdicts(files, 2) == "rr" and files.notes == [] and files.last_task_id == -1


def test_a_header_may_stand_anywhere(read: Read) -> None:
    content = HEADER + b"\n" + row(0) + HEADER + b"\n" + row(2, 1) + HEADER + b"\r\n"
    assert verdicts(read(content), 4) == "drfr"


def test_rows_of_barriers_and_per_engine_commands_are_no_tasks(read: Read) -> None:
    content = format_record(task_record(per_engine("START", 0, b"true"), "vm", outcome()))
    content += format_record(barrier_record(barrier(1), "vm", 1, 1.0, 2.0))
    assert verdicts(read(content), 2) == "rr"


def test_a_torn_last_line_is_ignored_with_a_note(read: Read) -> None:
    for cut in range(1, len(row(1))):
        files = read(row(0) + row(1)[:-cut])
        assert verdicts(files, 2) == "dr"
        assert len(files.notes) == 1 and "line 2" in files.notes[0]


def test_crlf_line_ends(read: Read) -> None:
    files = read(row(0)[:-1] + b"\r\n" + row(1, 3)[:-1] + b"\r\n")
    assert verdicts(files, 3) == "dfr"
    place = files.judge(task(0))[1]
    assert place is not None
    assert files.skipped_lines([place])[0] == b"   S" + row(0)[4:]


def test_a_copied_line_changes_in_its_fourth_flag_only(read: Read) -> None:
    long_command = b"echo \t" + b"x" * 100_000
    failed = format_record(
        task_record(task(1, long_command), "vm", outcome(3, err_bytes=2, err_snippet="é\n"))
    )
    files = read(row(0) + failed)
    verdict, place = files.judge(task(1, long_command))
    assert verdict is Verdict.SKIP_FAILED and place is not None
    assert files.skipped_lines([place])[0] == failed[:3] + b"S" + failed[4:]


def test_a_skipped_line_counts_when_it_is_read_back(read: Read) -> None:
    content = row(0).replace(b"    ", b"   S", 1) + row(1, 5).replace(b"R   ", b"R  S", 1)
    assert verdicts(read(content), 3) == "dfr"
    assert verdicts(read(content, retry=True), 3) == "drr"


def test_several_files(read: Read) -> None:
    files = read(row(0, 1) + row(1), row(0) + row(1, 1) + row(2, 1))
    assert verdicts(files, 4) == "ddfr"


def test_bytes_that_are_no_utf8_anywhere_in_the_command(read: Read) -> None:
    content = row(0)[:-1].replace(b"true", b"echo \xff") + b"\n"
    files = read(content)
    with pytest.raises(StatusFileError, match="task 0"):
        files.judge(task(0))


@pytest.mark.parametrize(
    "bad",
    [
        b"hello\n",
        b"\n",
        b"echo a; echo b\n",
        row(1).replace(b"\t-1\t", b"\tx\t"),
        row(1).replace(b"\t0.500\t", b"\t\t"),
        row(1).replace(b"\t0\t''", b"\t0\tjunk", 1),
        row(1).replace(b"\t1\t2\t", b"\t-1\t2\t"),
        row(1).replace(b"\t1\t2\t", b"\t1\t-2\t"),
        row(1).replace(b"\t1\t2\t", b"\t1\t%d\t" % 2**70),
        row(1).replace(b"    ", b"hell", 1),
        row(1).replace(b"    ", b"\xff   ", 1),
    ],
)
def test_anything_else_is_an_error_that_names_file_and_line(read: Read, bad: bytes) -> None:
    with pytest.raises(StatusFileError, match=r"s0_status\.txt, line 2: "):
        read(row(0) + bad + row(2))


def test_a_file_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(StatusFileError, match=str(path)):
            ResumeFiles((str(path),), retry_failed=False, by_id_only=False)

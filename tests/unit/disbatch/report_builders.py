"""Status files for tests of the report: rows with defaults, written as lines, and read as the program reads them."""

from pathlib import Path

from disbatch.core.status import StatusRecord, format_record
from disbatch.monitor.digest import how_ended
from disbatch.report.figures import make_report
from disbatch.report.model import Report
from disbatch.report.reader import StatusFiles
from disbatch.report.usage import UsageTable

EPOCH_S = 1_800_000_000.0


def row(
    task_id: int,
    start: float,
    finish: float,
    *,
    node: str = "n1",
    code: int = 0,
    flags: str | None = None,
    command: str | None = None,
    pid: int = 77,
    out: str = "",
    err: str = "",
    line_no: int | None = None,
    repeat: int = -1,
) -> bytes:
    """The line of a task that ran from `start` to `finish`, in seconds since the beginning of the test's time."""
    usual = ("R" if code else " ") + ("O" if out else " ") + ("E" if err else " ") + " "
    return format_record(
        StatusRecord(
            usual if flags is None else flags,
            task_id,
            task_id + 1 if line_no is None else line_no,
            repeat,
            node,
            pid,
            code,
            finish - start,
            EPOCH_S + start,
            EPOCH_S + finish,
            len(out),
            out,
            len(err),
            err,
            f"work {task_id}" if command is None else command,
        )
    )


def barrier(task_id: int, reached: float, met: float) -> bytes:
    return row(task_id, reached, met, flags="B    ", command="#DISBATCH BARRIER")


def write(path: Path, *lines: bytes) -> str:
    path.write_bytes(b"".join(lines))
    return str(path)


def report_of(*paths: str, usages: list[UsageTable | None] | None = None, top: int = 10) -> Report:
    """The report of some status files."""
    with StatusFiles(paths) as files:
        tables = usages or [None] * len(files.paths)
        return make_report(files.rows, files.paths, files.notes, tables, files.record, how_ended, top)[0]

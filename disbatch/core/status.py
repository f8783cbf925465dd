"""The status file: one record a line, to the byte what disBatch 3.0 writes, and the older forms when reading.

Format: 15 fields separated by TAB, the last (the command) may hold TABs itself. Source: docs/status.md.
Opening, appending and syncing belong to `runtime.statusfile`.
"""

import ast
from typing import NamedTuple

from disbatch.core.errors import StatusFileError
from disbatch.core.model import NO_REPEAT, Barrier, Outcome, PerEngine, Task, quick

HEADER = (
    b"ROE[ PSZ]\tTaskID\tLineNum\tRepeatIndex\tNode\tPID\tReturnCode\tElapsed\tStart\tFinish\t"
    b"BytesOfLeakedOutput\tOutputSnippet\tBytesOfLeakedError\tErrorSnippet\tCommand"
)
FIELDS = 15
BOM = b"\xef\xbb\xbf"  # some editors put it before the first line
SNIPPET_END = 40  # bytes kept of the beginning and of the end of leaked output (formats: Snippets)
FLAGS = b"ROEPSZBC "
_HEADER_START = b"ROE["
_FINE = "    "  # flags of a task that went well and said nothing


class StatusRecord(NamedTuple):
    """One line. `flags` is stored stripped of nothing: four characters for a task, five for a barrier."""

    flags: str
    task_id: int
    line_no: int
    repeat_index: int
    node: str
    pid: int
    returncode: int
    elapsed_s: float
    start_s: float
    finish_s: float
    out_bytes: int
    out_snippet: str
    err_bytes: int
    err_snippet: str
    command: str  # as `command_text` gives it


def command_text(command: bytes) -> str:
    """How a command stands in the file: as text, or as the Python literal of its bytes when it is not UTF-8."""
    try:
        return command.decode("utf-8")
    except UnicodeDecodeError:
        return repr(command)


def task_flags(outcome: Outcome, fourth: str = " ") -> str:
    """R: non-zero exit, O: leaked output, E: leaked error output; then P (per engine), S (skipped) or a blank."""
    failed = "R" if outcome.returncode else " "
    return failed + ("O" if outcome.out_bytes else " ") + ("E" if outcome.err_bytes else " ") + fourth


def task_record(task: Task | PerEngine, node: str, outcome: Outcome) -> StatusRecord:
    """The record of a finished attempt at a task, or of a per-engine command."""
    pid, code, elapsed_s, start_s, finish_s, out_n, out, err_n, err, _, _, _ = outcome
    if isinstance(task, Task):
        task_id, line_no, repeat_index, command = task
        flags = task_flags(outcome) if code or out_n or err_n else _FINE
    else:
        _, task_id, line_no, command = task
        flags, repeat_index = task_flags(outcome, "P"), NO_REPEAT
    text = command_text(command)
    row: StatusRecord = quick(StatusRecord, (
        flags, task_id, line_no, repeat_index, node, pid, code, elapsed_s, start_s, finish_s, out_n, out, err_n, err, text,
    ))  # fmt: skip
    return row


def barrier_record(barrier: Barrier, node: str, pid: int, reached_s: float, met_s: float) -> StatusRecord:
    """The record of a barrier that was met. `node` and `pid` are the driver's."""
    flags = ("C" if barrier.check else "B") + "    "
    text = command_text(barrier.text)
    ids = (barrier.task_id, barrier.line_no, NO_REPEAT)
    return StatusRecord(flags, *ids, node, pid, 0, met_s - reached_s, reached_s, met_s, 0, "", 0, "", text)


def format_record(r: StatusRecord) -> bytes:
    """The line, with its end."""
    # One %-format of the whole tuple: 1.8 µs against 2.4 for an f-string; with one line a task it is worth it.
    text = "%s\t%d\t%d\t%d\t%s\t%d\t%d\t%.3f\t%.3f\t%.3f\t%d\t%r\t%d\t%r\t%s\n" % r
    return text.encode("utf-8", "surrogateescape")


def parse_record(line: bytes, where: str) -> StatusRecord | None:
    """The record on a complete line (without its line end), None for a header. `where` names file and line in errors.

    Raises StatusFileError for anything that is no status line.
    """
    if line.startswith(_HEADER_START):
        return None
    fields = line.removesuffix(b"\r").split(b"\t", FIELDS - 1)
    if len(fields) < FIELDS:
        raise StatusFileError(
            f"{where}: not a status line: {len(fields)} tab-separated fields instead of {FIELDS}"
        )
    try:
        if fields[0].translate(None, FLAGS):
            raise ValueError(f"unknown flags {fields[0]!r}")
        (
            flags,
            task_id,
            line_no,
            repeat,
            node,
            pid,
            code,
            elapsed,
            start,
            finish,
            out_n,
            out,
            err_n,
            err,
            command,
        ) = fields
        return StatusRecord(
            flags.decode("ascii"),
            int(task_id),
            int(line_no),
            int(repeat),
            node.decode("utf-8", "replace"),
            int(pid),
            int(code),
            float(elapsed),
            float(start),
            float(finish),
            int(out_n),
            _snippet(out),
            int(err_n),
            _snippet(err),
            command.decode("utf-8", "surrogateescape"),
        )
    except (ValueError, SyntaxError) as error:
        raise StatusFileError(f"{where}: not a status line: {error}") from None


def _snippet(field: bytes) -> str:
    if field in (b"''", b'""'):
        return ""
    try:
        value = ast.literal_eval(field.decode("utf-8", "replace"))
    except (ValueError, SyntaxError):
        value = None
    if not isinstance(value, str):
        raise ValueError(f"a snippet that is no quoted text: {field[:60]!r}")
    return value


def unquoted_command(command: str) -> str | None:
    """The command that the manual's older form writes as a quoted Python literal, or None when it is not one."""
    if len(command) < 2 or command[0] not in "'\"" or command[-1] != command[0]:
        return None
    try:
        value = ast.literal_eval(command)
    except (ValueError, SyntaxError):
        return None
    return value if isinstance(value, str) else None


def as_skipped(line: bytes) -> bytes:
    """A task's line with the fourth flag set to S and everything else unchanged. `line` has no line end."""
    flags, rest = line.removesuffix(b"\r").split(b"\t", 1)
    return flags[:3].ljust(3) + b"S\t" + rest + b"\n"

"""All that is known of one task: its rows in the status file, whether it runs, and the command that runs it again.

The file is read in a thread, by the block: bytes are looked for, and only lines that have the task's number are parsed.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from disbatch.core.errors import StatusFileError
from disbatch.core.printable import shell_line, shell_word
from disbatch.core.snapshot import COMMAND_CHARS, RunSnapshot
from disbatch.core.status import StatusRecord, parse_record

SCHEMA = 1
BLOCK = 1 << 20
MOST_ROWS = 20  # the latest attempts
MOST_DIGITS = 18


def read_rows(path: str, task_id: int) -> list[StatusRecord]:
    """The latest rows of a task in a status file, the oldest first; barriers and per-engine commands are no tasks. Raises OSError."""
    found: deque[StatusRecord] = deque(maxlen=MOST_ROWS)
    for line in _lines_with(path, b"\t%d\t" % task_id):
        try:
            row = parse_record(line, path)
        except StatusFileError:
            continue  # of somebody else's making: the run itself says so
        if row and row.task_id == task_id and row.flags[0] not in "BC" and row.flags[3:4] != "P":
            found.append(row)
    return list(found)


def _lines_with(path: str, wanted: bytes) -> Iterator[bytes]:
    """Complete lines that have this somewhere."""
    rest = b""
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            complete, end, tail = block.rpartition(b"\n")
            if not end:
                rest += block
                continue
            data, rest = rest + complete + end, tail
            at = data.find(wanted)
            while at >= 0:
                stop = data.index(b"\n", at)
                yield data[data.rfind(b"\n", 0, at) + 1 : stop]
                at = data.find(wanted, stop)


def known_of(task_id: int, rows: list[StatusRecord], now: RunSnapshot, folder: str) -> dict[str, Any]:
    """For JSON. `again` is empty where the command is not known in full."""
    running = next((task for task in now.tasks if task.task_id == task_id), None)
    again = ""
    if rows:
        last = rows[-1]
        again = command_again(folder, task_id, last.line_no, last.repeat_index, last.command)
    elif running and len(running.command) < COMMAND_CHARS:
        again = command_again(folder, task_id, running.line_no, running.repeat_index, running.command)
    return {
        "schema": SCHEMA,
        "task_id": task_id,
        "running": running._asdict() if running else None,
        "rows": [row._asdict() for row in rows],
        "again": again,
    }


def command_again(folder: str, task_id: int, line_no: int, repeat_index: int, command: str) -> str:
    """Return a line for bash that runs a task by hand, in its folder and with its numbers; empty where that cannot be written."""
    if command.startswith(("b'", 'b"')) or "\0" in command:
        return ""  # bytes that are no UTF-8: the file has them as text
    numbers = {"TASKID": task_id, "STREAM_INDEX": line_no, "REPEAT_INDEX": repeat_index}
    variables = [f"DISBATCH_{name}={value}" for name, value in numbers.items()]
    variables += [f"DISBATCH_{name}_ZP={value:06d}" for name, value in numbers.items()]
    return f"cd {shell_word(folder)} && {shell_line(['env', *variables, 'bash', '-c', command])}"

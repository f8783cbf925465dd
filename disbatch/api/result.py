"""What is known of a finished task: the record as it crosses the KVS, and its typed form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
"""Flags, TaskId, TaskStreamIndex, TaskRepIndex, Host, PID, ReturnCode, Elapsed, Start, End, OutBytes, OutData, ErrBytes,
ErrData, TaskCmd (formats: Programs that feed tasks)."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How a task went. `start` and `end` are seconds since the epoch, `elapsed` is in seconds.

    `returncode` is negative for a signal. `out_bytes` counts what the task wrote to its standard output; `out_snippet`
    has the beginning and end of it: all of up to 40 bytes, else the first 40, "...", and the last 40 at most. The same
    for standard error. `flags` are four characters: R (non-zero exit code), O (output), E (error output), S (skipped).
    """

    returncode: int
    task_id: int
    host: str
    pid: int
    start: float
    end: float
    elapsed: float
    out_bytes: int
    out_snippet: str
    err_bytes: int
    err_snippet: str
    command: str
    flags: str


def result_from(record: Mapping[str, Any]) -> TaskResult:
    """The typed form. Raises KeyError for a record that is none."""
    return TaskResult(
        returncode=record["ReturnCode"],
        task_id=record["TaskId"],
        host=record["Host"],
        pid=record["PID"],
        start=record["Start"],
        end=record["End"],
        elapsed=record["Elapsed"],
        out_bytes=record["OutBytes"],
        out_snippet=record["OutData"],
        err_bytes=record["ErrBytes"],
        err_snippet=record["ErrData"],
        command=record["TaskCmd"],
        flags=record["Flags"],
    )

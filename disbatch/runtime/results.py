"""What programs that feed tasks are told of each finished task (formats: Programs that feed tasks)."""

import json

from disbatch.core.resume import NO_TASK_FLAGS
from disbatch.core.status import StatusRecord
from disbatch.runtime.kvs import Kvs
from kvsstcp.values import Value

ALIVE_S = 5.0  # between two signs of life for a program that waits for results


def result_json(record: StatusRecord) -> str:
    """The record of a finished task as the JSON object that `DisBatcher` hands out."""
    r = record
    return json.dumps(
        {
            "Flags": r.flags,
            "TaskId": r.task_id,
            "TaskStreamIndex": r.line_no,
            "TaskRepIndex": r.repeat_index,
            "Host": r.node,
            "PID": r.pid,
            "ReturnCode": r.returncode,
            "Elapsed": round(r.elapsed_s, 3),
            "Start": round(r.start_s, 3),
            "End": round(r.finish_s, 3),
            "OutBytes": r.out_bytes,
            "OutData": r.out_snippet,
            "ErrBytes": r.err_bytes,
            "ErrData": r.err_snippet,
            "TaskCmd": r.command,
        }
    )


def alive_key(result_key: bytes) -> bytes:
    """The key under which a fresh value comes every ALIVE_S seconds while disBatch runs."""
    return result_key + b" alive"


def end_value(exit_code: int | None, text: str) -> Value:
    """What is put under the result key itself at the end of a run; without an exit code where no tasks are taken."""
    return Value(b"JSON", json.dumps({"ExitCode": exit_code, "Ending": text}).encode("ascii"))


class ResultPublisher:
    """Puts records under the program's result key once they are in the status file, the record before the id."""

    def __init__(self, kvs: Kvs) -> None:
        self.result_key: bytes | None = None  # known when the program has signed in
        self._kvs = kvs
        self._batches: dict[int, list[StatusRecord]] = {}

    def remember(self, batch: int, rows: list[StatusRecord]) -> None:
        """These rows will be written as this batch."""
        # barriers and per-engine commands are no tasks; a skipped task is one that has finished
        tasks = [row for row in rows if not (NO_TASK_FLAGS - {"S"}) & set(row.flags)]
        if tasks:
            self._batches[batch] = tasks

    def written(self, batch: int) -> None:
        for record in self._batches.pop(batch, ()):
            key = self.result_key or b""
            task_id = b"%d" % record.task_id
            self._kvs.put(key + b" " + task_id, Value(b"JSON", result_json(record).encode("ascii")))
            self._kvs.put(key + b" done tasks", Value(b"ASTR", task_id))

    def alive(self) -> None:
        """A sign of life."""
        if self.result_key is not None:
            self._kvs.publish(alive_key(self.result_key), Value(b"ASTR", b"running"))

    def ended(self, exit_code: int, text: str) -> None:
        """Nothing more will come."""
        if self.result_key is not None:
            self._kvs.put(self.result_key, end_value(exit_code, text))

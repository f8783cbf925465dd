"""What a command of --on-event is told: for each event one JSON object, with the same fields for all and its own.

The names are part of the interface (docs: Mail and hooks): fields may be added, none may change.
"""

from dataclasses import asdict, dataclass

from disbatch.core.driver_events import EngineAside, EngineLost
from disbatch.core.notable import BarrierMet, FirstFailure, RunEnd
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.status import StatusRecord

EVENTS = ("first-failure", "barrier", "engine-lost", "engine-aside", "end")
MAX_CAUSES = 20
_COMMAND_CHARS = 10_000  # a task may be megabytes long; whoever needs all of it has the status file
Facts = dict[str, object]
Hooked = FirstFailure | BarrierMet | EngineLost | EngineAside | RunEnd


@dataclass(frozen=True, slots=True)
class Origin:
    """Which run speaks."""

    job_id: str
    task_name: str
    host: str
    folder: str
    status_file: str


def facts(event: Hooked, origin: Origin, wall_s: float, snapshot: RunSnapshot) -> Facts:
    """The whole object, ready for JSON."""
    name, own = _own(event)
    s = snapshot
    counts: Facts = {"done": s.done, "failed": s.failed, "skipped": s.skipped, "running": s.running}
    times: Facts = {"time_s": round(wall_s, 3), "elapsed_s": round(s.elapsed_s, 3)}
    return {"event": name, **times, **asdict(origin), **counts, "total": s.total, **own}


def _own(event: Hooked) -> tuple[str, Facts]:
    if isinstance(event, FirstFailure):
        return "first-failure", {"task": _task(event.record)}
    if isinstance(event, BarrierMet):
        return "barrier", {"barrier": _barrier(event.record)}
    engine: Facts
    if isinstance(event, EngineLost):
        engine = {"rank": event.rank, "node": event.node, "context": event.label}
        return "engine-lost", {"engine": {**engine, "running": event.running, "why": event.why}}
    if isinstance(event, EngineAside):
        engine = {"rank": event.rank, "node": event.node, "context": event.label}
        return "engine-aside", {"engine": {**engine, "why": event.why}}
    causes = [
        {"exit_code": g.returncode, "error": g.last_line, "count": g.count, "task_id": g.task_id}
        for g in event.failures[:MAX_CAUSES]
    ]
    how: Facts = {"ending": event.ending, "text": event.text, "exit_code": event.exit_code}
    return "end", {**how, "tasks_left": event.left, "failures": causes}


def _task(r: StatusRecord) -> Facts:
    who: Facts = {"task_id": r.task_id, "line": r.line_no, "repeat_index": r.repeat_index}
    where: Facts = {"node": r.node, "pid": r.pid, "exit_code": r.returncode}
    when: Facts = {"elapsed_s": round(r.elapsed_s, 3), "start_s": r.start_s, "finish_s": r.finish_s}
    output: Facts = {"output_bytes": r.out_bytes, "output": r.out_snippet}
    errors: Facts = {"error_bytes": r.err_bytes, "error": r.err_snippet}
    return {**who, **where, **when, **output, **errors, "command": r.command[:_COMMAND_CHARS]}


def _barrier(r: StatusRecord) -> Facts:
    who: Facts = {"task_id": r.task_id, "line": r.line_no, "check": r.flags[0] == "C"}
    return {**who, "reached_s": r.start_s, "met_s": r.finish_s, "text": r.command}

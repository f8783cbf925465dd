"""The usage file: what each command took of its node, one line each. `docs/status.md` describes it for users.

Beside the status file, whose format is fixed. Opening and writing belong to `runtime.usagefile`.
"""

from disbatch.core.fleet import Engine
from disbatch.core.messages import Report, ReportKind
from disbatch.core.model import NO_REPEAT, PerEngine, Task

HEADER = b"Kind\tTaskID\tRepeatIndex\tAttempt\tNode\tSlot\tCores\tReturnCode\tStart\tElapsed\tCPUSeconds\tPeakKiB\tPeakIs\n"
KINDS: dict[ReportKind, str] = {"T": "task", "A": "START", "Z": "STOP"}


def usage_line(task: Task | PerEngine, engine: Engine, report: Report) -> str:
    """One command that has ended. Start and duration are the same text as in the status file."""
    o = report.outcome
    return "%s\t%d\t%d\t%d\t%s\t%d\t%d\t%d\t%.3f\t%.3f\t%.3f\t%d\t%s\n" % (
        KINDS[report.kind],
        task.task_id,
        NO_REPEAT if isinstance(task, PerEngine) else task.repeat_index,
        report.attempt,
        engine.node,
        report.slot,
        engine.means.cores_per_task,
        o.returncode,
        o.start_s,
        o.elapsed_s,
        o.cpu_s,
        o.peak_kib,
        "=" if o.peak_own else "<=",
    )


def node_line(engine: Engine) -> str:
    """A remark for readers: what the node of an engine has, once, before the lines of its commands."""
    m = engine.means
    fields = (engine.node, engine.rank, engine.slots, m.cpus, m.memory_kib, engine.label)
    return "#node\t%s\t%d\t%d\t%d\t%d\t%s\n" % fields

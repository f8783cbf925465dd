"""`--dry-run`: everything is checked as before a run, and told; nothing is run and no file is written."""

import sys
from collections import Counter

from disbatch.core.model import NO_REPEAT, Task
from disbatch.core.plural import counted
from disbatch.core.printable import printable
from disbatch.core.resume import Verdict
from disbatch.core.status import command_text
from disbatch.runtime.prepare import open_resume, open_source
from disbatch.runtime.settings import RunSettings
from disbatch.runtime.sources import FileSource, StreamSource

SHOWN = 3  # commands of the beginning and of the end


def dry_run(settings: RunSettings) -> int:
    """Prints slots, counts and the first and last commands to standard output; returns the exit code."""
    source = open_source(settings)
    resume = open_resume(settings, source, lambda text: _tell(f"note: {text}"))
    for warning in (*settings.allocation.warnings, *settings.warnings):
        _tell(f"warning: {warning}")
    for node in settings.allocation.nodes:
        _tell(f"{node.name}: {counted(node.slots, 'slot')} ({counted(node.cores, 'core')})")
    first: list[Task] = []
    last: list[Task] = []
    counts: Counter[str] = Counter()
    if isinstance(source, FileSource):
        items = source.items()
    else:
        while isinstance(source, StreamSource) and not source.ended:
            source.read()
        items = iter(source.take(sys.maxsize))
    for item in items:
        if isinstance(item, Task):
            counts["tasks"] += 1
            counts["skipped"] += resume is not None and resume.judge(item)[0] is not Verdict.RUN
            (first if len(first) < SHOWN else last).append(item)
            del last[:-SHOWN]
    for text in source.cleaner.notes:
        _tell(f"note: {text}")
    done = f", {counts['skipped']} of them finished in earlier runs" if resume else ""
    _tell(f"{settings.taskfile}: {counted(counts['tasks'], 'task')}{done}")
    for name, count in sorted(source.stream.directives.items()):
        _tell(f"  {name}: {count}")
    for number, task in enumerate(first + last):
        if number == len(first) and counts["tasks"] > 2 * SHOWN:
            print("  …")
        repeated = f", repeat index {task.repeat_index}" if task.repeat_index != NO_REPEAT else ""
        _tell(f"  task {task.task_id} (line {task.line_no}{repeated}): {command_text(task.command)}")
    print("nothing was run (--dry-run)")
    return 0


def _tell(line: str) -> None:
    print(printable(line))

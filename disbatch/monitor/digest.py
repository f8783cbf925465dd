"""The words at the end of a run: what was done, why tasks failed, and the command that goes on from here."""

import os
import sys
from collections.abc import Sequence

from disbatch.core.driver_events import Ending
from disbatch.core.failures import FailureGroup
from disbatch.core.model import LOST
from disbatch.core.plural import counted
from disbatch.core.printable import printable, shell_line
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.totals import totals
from disbatch.monitor.progress import clock

SHOWN_GROUPS = 10
SLURM_COPY = "slurm_script"  # what sbatch calls its copy of a script, which is gone when the job is
SHORT_WITH_VALUE = "prCcklst"  # options of one letter that take a value


def digest(
    snapshot: RunSnapshot, failures: Sequence[FailureGroup], ending: Ending, status_path: str
) -> list[str]:
    """The lines of the digest, without the command that resumes."""
    s = snapshot
    run = s.done + s.failed
    lines: list[str] = []
    if ending is not Ending.COMPLETE:
        lines.append(f"The run ended early: {ending.text}.")
    elif s.finished == 0:
        return ["There was no task to run.", f"Status file: {printable(status_path)}"]
    rate = run / s.elapsed_s if s.elapsed_s > 0 else 0.0
    took = clock(s.elapsed_s) if s.elapsed_s >= 60 else f"{s.elapsed_s:.2f} s"
    lines.append(f"{totals(s)}; {took}, {rate:.1f} tasks/s")
    for group in failures[:SHOWN_GROUPS]:
        message = f": {group.last_line}" if group.last_line else ""
        example = f"task {group.task_id}" if group.count == 1 else f"e.g. task {group.task_id}"
        lines.append(f"  {group.count} x {how_ended(group.returncode)}{message}  ({example})")
    if len(failures) > SHOWN_GROUPS:
        rest = sum(group.count for group in failures[SHOWN_GROUPS:])
        lines.append(f"  {rest} more, for {counted(len(failures) - SHOWN_GROUPS, 'other reason')}")
    lines.append(f"Status file: {printable(status_path)}")
    return lines


def resume_line(
    arguments: Sequence[str],
    status_path: str,
    ending: Ending,
    *,
    left: bool,
    failed: int,
    piped: bool,
    pipe: str = "",
    earlier: Sequence[str] = (),
) -> str:
    """The last line: the command that resumes, or nothing when nothing is left to do.

    The list was `piped` into standard input, or came through the `pipe` of that name: then it has to be given again.
    `earlier` are status files that this run resumed from, and whose lines have not all come into its own.
    """
    if not left and not failed:
        return ""
    # a CHECK, or --fail-fast, would end the next run at once if the failed tasks stood
    retry = not left or ending in (Ending.CHECK, Ending.FAIL_FAST)
    what = "To run the failed tasks again" if not left else "To go on from here"
    if retry and left:
        what += ", the failed tasks included"
    fed = " (with the same tasks on standard input)" if piped else ""
    if pipe:
        fed = f" (with the same tasks again: {printable(pipe)} was a pipe)"
    return f"{what}{fed}: {resume_command(arguments, status_path, earlier, retry=retry)}"


def resume_command(
    arguments: Sequence[str], status_path: str, earlier: Sequence[str] = (), *, retry: bool
) -> str:
    """The command line of this run, resuming from its status file, and from those of `earlier` runs still needed."""
    files = [word for path in (*earlier, status_path) for word in ("-r", path)]
    extra = files + (["-R"] if retry else [])
    return shell_line([*_program(), *extra, *_without_resume(arguments)])


def _without_resume(arguments: Sequence[str]) -> list[str]:
    """The arguments less -r and -R in all the forms that argparse takes. --force-resume stays: it is still needed."""
    kept: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*kept, argument, *rest]
        if argument == "--resume-from":
            del rest[:1]
        elif argument.startswith("--"):
            if argument != "--retry" and not argument.startswith("--resume-from="):
                kept.append(argument)
        elif argument.startswith("-") and argument != "-":
            kept += _cluster_without_resume(argument, rest)
        else:
            kept.append(argument)
    return kept


def _cluster_without_resume(cluster: str, rest: list[str]) -> list[str]:
    """`-eRr FILE` and the like, letter by letter; takes a value that belongs to it off `rest`."""
    kept = "-"
    for number, letter in enumerate(cluster[1:], 2):
        if letter in SHORT_WITH_VALUE:
            value = [cluster[number:]] if cluster[number:] else rest[:1]
            if not cluster[number:]:
                del rest[:1]
            flags = [kept] if kept != "-" else []
            return flags if letter == "r" else [*flags, "-" + letter, *value]
        if letter != "R":
            kept += letter
    return [kept] if kept != "-" else []


def _program() -> list[str]:
    import shutil  # 4 ms, for runs that leave something to do

    path = sys.argv[0]
    name = os.path.basename(path)
    if name == "__main__.py":
        return [sys.executable, "-m", "disbatch"]
    if name == SLURM_COPY:
        return ["disBatch"] if shutil.which("disBatch") else [sys.executable, "-m", "disbatch"]
    found = shutil.which(name)
    same = found is not None and os.path.realpath(found) == os.path.realpath(path)
    return [name if same else path]


def how_ended(returncode: int) -> str:
    """A return code in words."""
    if returncode >= 0:
        return f"exit code {returncode}"
    import signal

    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return "engine lost" if returncode == LOST else f"killed by signal {-returncode}"

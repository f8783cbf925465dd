"""The text of a mail: subject and body, from what has been collected and the picture of the run."""

from dataclasses import dataclass

from disbatch.core.mailbag import Parcel, plain, task_lines
from disbatch.core.notable import RunEnd
from disbatch.core.notices import tasks
from disbatch.core.printable import printable
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.totals import ended, totals

_CAUSES = 10  # causes of failures in the last mail
_NAME_CHARS = 60


@dataclass(frozen=True, slots=True)
class Sender:
    """Which run writes, and from where."""

    task_name: str
    job_id: str
    host: str
    status_path: str  # absolute: who reads the mail is not in the folder of the run


def letter(sender: Sender, parcel: Parcel, now: float, snapshot: RunSnapshot) -> tuple[str, str]:
    """Subject and body of a mail during the run."""
    name = plain(sender.task_name, _NAME_CHARS)
    subject = f"disBatch {name}: {ended(snapshot.ok, snapshot.failed_in_all)} so far"
    lines = [*_head(sender), *_since(parcel, now), "", *_so_far(snapshot), *_lists(parcel), *_foot(sender)]
    return subject, "\n".join(lines) + "\n"


def last_letter(sender: Sender, parcel: Parcel, now: float, end: RunEnd) -> tuple[str, str]:
    """Subject and body of the mail at the end of the run."""
    name, snapshot = plain(sender.task_name, _NAME_CHARS), end.snapshot
    how = "ended early" if end.ending != "COMPLETE" else "has ended"
    subject = f"disBatch {name} {how}: {ended(snapshot.ok, snapshot.failed_in_all)}"
    lines = [*_head(sender), f"The run {how} after {_clock(snapshot.elapsed_s)}: {end.text}."]
    lines += [f"The exit code of disBatch is {end.exit_code}.", "", *_so_far(snapshot)]
    if end.failures:
        lines += ["", "Why tasks failed:"]
    for group in end.failures[:_CAUSES]:
        said = f": {group.last_line}" if group.last_line else ""
        lines.append(f"  {group.count} x exit code {group.returncode}{said} (e.g. task {group.task_id})")
    if len(end.failures) > _CAUSES:
        lines.append(f"  and {len(end.failures) - _CAUSES} other causes")
    if parcel.finished:
        lines += ["", *_since(parcel, now), *_lists(parcel)]
    if end.left:
        lines += ["", "Not all tasks are done. To go on, run disBatch with -r and the status file."]
    return subject, "\n".join([*lines, *_foot(sender)]) + "\n"


def _head(sender: Sender) -> list[str]:
    return [
        f"Run {printable(sender.job_id)} of {plain(sender.task_name, 200)}, driver on {printable(sender.host)}",
        "",
    ]


def _since(parcel: Parcel, now: float) -> list[str]:
    skipped = f", {parcel.skipped} skipped as done earlier" if parcel.skipped else ""
    when = _clock(max(0.0, now - parcel.since_s))
    start = "start" if parcel.first else "last mail"
    return [f"Since the {start} ({when}): {ended(parcel.finished - parcel.failed, parcel.failed)}{skipped}."]


def _so_far(s: RunSnapshot) -> list[str]:
    text = f"In all: {totals(s, of_all=True)}, {s.running} running"
    lines = [text + f"; {_clock(s.elapsed_s)} since the start."]
    if s.barrier:
        before = s.running + s.ready
        them = (
            f" {tasks(before)} before it {'has' if before == 1 else 'have'} to end first." if before else ""
        )
        lines.append(f"The run waits at {plain(s.barrier, 200)}.{them}")
    return lines


def _lists(parcel: Parcel) -> list[str]:
    lines = []
    if parcel.failed:
        lines += ["", "Failed:", *task_lines(parcel.failures, parcel.failed)]
    fine = parcel.finished - parcel.failed
    if fine:
        lines += ["", "Went well:", *task_lines(parcel.fine, fine)]
    return lines


def _foot(sender: Sender) -> list[str]:
    return ["", f"Status file: {printable(sender.status_path)} on {printable(sender.host)}"]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"

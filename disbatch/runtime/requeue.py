"""A Slurm job that was requeued starts again with its id and its files: it goes on where it was stopped.

Which status files are its own is read off the logs of the runs that wrote them, as a prefix given with -p may have been
used by other jobs before.
"""

import os
from collections.abc import Callable, Mapping

from disbatch.contexts.slurm import restarts
from disbatch.runtime.files import claimed_before
from disbatch.runtime.settings import RunSettings
from kvsstcp.trustedfile import open_trusted


def first_words(job_id: str, task_name: str, status: str) -> str:
    """How the log of a run begins."""
    return f"run {job_id} of {task_name} begins; status file {status}"


def files_to_resume(
    settings: RunSettings, environ: Mapping[str, str], note: Callable[[str], None]
) -> tuple[str, ...]:
    """The status files given with -r, and those that this job has written before it was requeued."""
    given = settings.resume_from
    count = restarts(environ)
    if not count or settings.job_id is None:
        return given
    own = [path for path in _own(settings, settings.job_id) if path not in given]
    if own:
        note(f"job {settings.job_id} was requeued (restart {count}): it goes on from {', '.join(own)}")
    return (*given, *own)


def _own(settings: RunSettings, job_id: str) -> list[str]:
    """All of them: one that was stopped early does not have every line of the one before it."""
    name = f"{settings.task_name}_{job_id}"
    found = []
    for prefix, suffix in claimed_before(settings.prefix, name):
        status = prefix + "_status.txt"
        log = settings.logfile or prefix + "_driver.txt"
        words = first_words(job_id + suffix, settings.task_name, status)
        named = os.path.basename(prefix) == name + suffix
        if os.path.isfile(status) and (named or _says(log, words)):
            found.append(status)
    return found


def _says(path: str, words: str) -> bool:
    try:
        with os.fdopen(open_trusted(path), encoding="utf-8", errors="surrogateescape") as file:
            return any(line.rstrip("\n").endswith(words) for line in file)
    except OSError:
        return False

"""A Slurm job that was requeued starts again with its id and its files: it goes on where it was stopped.

Which status files are its own is read off the logs of the runs that wrote them, as a prefix given with -p may have been
used by other jobs before.
"""

import os
from collections.abc import Callable, Mapping

from disbatch.contexts.slurm import restarts
from disbatch.runtime.files import STATUS, claimed_before, names_a_run
from disbatch.runtime.settings import RunSettings
from kvsstcp.trustedfile import open_trusted

BEGINS = " begins; status file "


def first_words(job_id: str, task_name: str, status: str) -> str:
    """How the log of a run begins."""
    return f"run {job_id} of {task_name}{BEGINS}{status}"


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
    claimed = claimed_before(settings.prefix, name)
    given = settings.prefix if settings.prefix is not None and names_a_run(settings.prefix) else None
    found = []
    for runs_since, (prefix, suffix) in enumerate(reversed(claimed)):
        status = prefix + STATUS
        # runs of a name given with -p had it plain, whatever their files are called by now
        plain = given or prefix
        words = first_words(job_id + suffix, settings.task_name, plain + STATUS)
        named = os.path.basename(prefix) == name + suffix
        if settings.logfile and plain != prefix:
            mine = _says(settings.logfile, words, BEGINS + plain + STATUS, runs_since)
        else:
            mine = _says(settings.logfile or prefix + "_driver.txt", words)
        if os.path.isfile(status) and (named or mine):
            found.append(status)
    return found[::-1]


def _says(path: str, words: str, about: str = "", runs_since: int = 0) -> bool:
    """Whether the log has these words; with `about`, as the last but `runs_since` of all that begin a run with that status file."""
    try:
        with os.fdopen(open_trusted(path), encoding="utf-8", errors="surrogateescape") as file:
            found = [line.rstrip("\n") for line in file if line.rstrip("\n").endswith(about or words)]
    except OSError:
        return False
    if not about:
        return bool(found)
    return len(found) > runs_since and found[-1 - runs_since].endswith(words)

"""Taking a prefix for a run, so that no run ever touches another's files."""

import os

from disbatch.core.errors import MachineError, UsageError
from disbatch.runtime.files import STATUS, RunFiles, is_taken, names_a_run, prefix_path
from disbatch.runtime.renaming import claim_name
from kvsstcp.ownfile import create_file, open_named

MAX_TRIES = 10_000


def claim(
    prefix: str | None, task_name: str, job_id: str, logfile: str | None, *, requeued: bool = False
) -> tuple[RunFiles, int]:
    """Take a prefix for this run alone. Return the names of its files and the open status file, which is locked for as long
    as the run lasts.

    `prefix` is what -p gave. `DIR/NAME` is taken as it is, and the files of an earlier run of that name are renamed
    (`renaming`). A folder keeps the default name, of which the first free one is taken. `requeued`: this Slurm job has been
    started before. Raises UsageError when the folder is missing, the logfile cannot be opened or the earlier run is not over,
    MachineError when nothing can be created.
    """
    wanted = prefix_path(prefix, f"{task_name}_{job_id}")
    folder = os.path.dirname(wanted) or "."
    if logfile is not None:
        _try_log(logfile)
    if not os.path.isdir(folder):
        raise UsageError(f"-p {prefix}: there is no folder {folder}; create it first")
    if prefix is not None and names_a_run(prefix):
        aside, descriptor = claim_name(wanted, job_id if requeued else "")
        log = logfile or wanted + "_driver.txt"
        return RunFiles(wanted, "", job_id, log, os.path.basename(wanted), aside), descriptor
    for number in range(1, MAX_TRIES):
        suffix = f".{number}" if number > 1 else ""
        candidate = wanted + suffix
        if is_taken(candidate, folder):
            continue
        try:
            descriptor = create_file(candidate + STATUS, flags=os.O_RDWR | os.O_APPEND)
        except FileExistsError:
            continue
        except OSError as error:
            raise MachineError(f"cannot create {candidate}{STATUS}: {error.strerror}") from None
        log = logfile or candidate + "_driver.txt"
        return RunFiles(candidate, suffix, job_id + suffix, log), descriptor
    raise MachineError(f"{wanted}: {MAX_TRIES} runs have taken this prefix; give another with -p")


def _try_log(path: str) -> None:
    try:
        os.close(open_named(path))
    except OSError as error:
        raise UsageError(f"--logfile {path}: {error.strerror}") from None

"""When a Slurm job ends, and how long its processes may take about it: what to ask, and what the answers mean.

Pure: `runtime.jobend` asks. The times are Slurm's, so that they can be compared with the clock of any of its machines.
"""

from collections.abc import Mapping

from disbatch.core.errors import UsageError

TIME_FORMAT = {
    "SLURM_TIME_FORMAT": "%s"
}  # seconds since the epoch; the usual form is local time without a zone
KILL_WAIT_QUESTION = ("scontrol", "show", "config")
KILL_MARGIN_S = 5.0  # of KillWait, for the last reports, the status file and good-byes
LEAST_GRACE_S = 1.0


def job_name(environ: Mapping[str, str]) -> str:
    """What names this job and no other: the id of the first job of an array stands for all of them."""
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else environ["SLURM_JOB_ID"]


def end_question(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The command that tells when the job will end, to be run with TIME_FORMAT."""
    return ("squeue", "--noheader", "--jobs", job_name(environ), "--format", "%e")


def end_time(printed: str) -> float | None:
    """Seconds since the epoch, None for a job without a limit. Of several (a heterogeneous job) the first counts."""
    times = [float(word) for word in printed.split() if word.isdigit()]
    return min(times, default=None)


def look_again_s(end_s: float | None, before_s: float, now_s: float, every_s: float) -> float:
    """When to ask once more, as the end can be moved; 0: the job is that near its end now."""
    if end_s is None:
        return every_s
    return min(every_s, max(0.0, end_s - before_s - now_s))


def kill_wait_s(printed: str) -> float | None:
    """KillWait in the output of KILL_WAIT_QUESTION: seconds between TERM and KILL at the end of a job."""
    for line in printed.splitlines():
        name, _, value = line.partition("=")
        number = value.split()[:1]
        if name.strip() == "KillWait" and number and number[0].isdigit():
            return float(number[0])
    return None


def bounded_grace(wished_s: float, kill_wait: float | None, *, given: bool) -> tuple[float, str]:
    """Seconds between our own TERM and KILL, which have to pass before Slurm's KILL; a warning where a wish is cut."""
    if kill_wait is None:
        return wished_s, ""
    most_s = max(LEAST_GRACE_S, kill_wait - KILL_MARGIN_S)
    if wished_s <= most_s:
        return wished_s, ""
    text = (
        f"--grace {wished_s:g}: Slurm sends KILL {kill_wait:g} s after TERM (KillWait); "
        f"tasks get {most_s:g} s, so that what is known of them is still written"
    )
    return most_s, text if given else ""


def check_drain(before_s: float | None, environ: Mapping[str, str]) -> None:
    """Raises UsageError where --drain-before means nothing."""
    if before_s is not None and not environ.get("SLURM_JOB_ID"):
        raise UsageError("--drain-before needs to know when the job ends, and this is no Slurm job")

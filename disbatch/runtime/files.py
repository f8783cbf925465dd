"""The names of a run's files, and claiming a prefix so that no run ever touches another's files."""

import os
import time
from dataclasses import dataclass

from disbatch.core.errors import MachineError, UsageError
from kvsstcp.ownfile import create_file, open_named, remove_own

LIMITS = "_limits.txt"
_ENDINGS = (
    "_status.txt",
    "_driver.txt",
    "_engine.txt",
    "_dbUtil.sh",
    "_kvsinfo.txt",
    "_url",
    "_usage.txt",
    LIMITS,
)
MAX_TRIES = 10_000


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run. `suffix` is what was added to the prefix because it was taken (".2"), or nothing."""

    prefix: str
    suffix: str
    job_id: str
    log: str

    @property
    def status(self) -> str:
        return self.prefix + "_status.txt"

    @property
    def dbutil(self) -> str:
        return self.prefix + "_dbUtil.sh"

    @property
    def usage(self) -> str:
        return self.prefix + "_usage.txt"

    @property
    def limits(self) -> str:
        return self.prefix + LIMITS

    @property
    def url(self) -> str:
        return self.prefix + "_url"

    @property
    def kvsinfo(self) -> str:
        return self.prefix + "_kvsinfo.txt"


def engine_log(prefix: str, node: str, label: str) -> str:
    """The log of an engine; with the label of its context where the plain name is taken."""
    plain = f"{prefix}_{node}_engine.txt"
    return f"{prefix}_{label}_{node}_engine.txt" if os.path.lexists(plain) else plain


def make_job_id() -> str:
    """Date, time and something random: unique among runs that start in one folder in the same second."""
    return time.strftime("%Y%m%d%H%M%S_") + os.urandom(2).hex()


def claim(prefix: str | None, task_name: str, job_id: str, logfile: str | None) -> tuple[RunFiles, int]:
    """Takes the first free prefix by creating its status file; returns the names and the open status file.

    `prefix` is what -p gave: a folder keeps the default name, anything else is the beginning of the names. Raises
    UsageError when the folder is missing or the logfile cannot be opened, MachineError when nothing can be created.
    """
    wanted = _prefix_path(prefix, f"{task_name}_{job_id}")
    folder = os.path.dirname(wanted) or "."
    if logfile is not None:
        _try_log(logfile)
    if not os.path.isdir(folder):
        raise UsageError(f"-p {prefix}: there is no folder {folder}; create it first")
    for number in range(1, MAX_TRIES):
        suffix = f".{number}" if number > 1 else ""
        candidate = wanted + suffix
        if _taken(candidate, folder):
            continue
        try:
            descriptor = create_file(candidate + "_status.txt", flags=os.O_RDWR | os.O_APPEND)
        except FileExistsError:
            continue
        except OSError as error:
            raise MachineError(f"cannot create {candidate}_status.txt: {error.strerror}") from None
        log = logfile or candidate + "_driver.txt"
        return RunFiles(candidate, suffix, job_id + suffix, log), descriptor
    raise MachineError(f"{wanted}: {MAX_TRIES} runs have taken this prefix; give another with -p")


def claimed_before(prefix: str | None, name: str) -> list[tuple[str, str]]:
    """Prefixes, with their suffixes, that earlier runs have claimed with these arguments, in this order."""
    wanted = _prefix_path(prefix, name)
    folder = os.path.dirname(wanted) or "."
    found: list[tuple[str, str]] = []
    while os.path.isdir(folder):
        suffix = f".{len(found) + 1}" if found else ""
        if not _taken(wanted + suffix, folder):
            break
        found.append((wanted + suffix, suffix))
    return found


def write_secret(path: str, text: str) -> None:
    """Creates a file that only this user can read, in the place of one of the driver before. Raises OSError."""
    remove_own(path)
    with os.fdopen(create_file(path, 0o600), "w") as file:
        file.write(text)


def _try_log(path: str) -> None:
    try:
        os.close(open_named(path))
    except OSError as error:
        raise UsageError(f"--logfile {path}: {error.strerror}") from None


def _prefix_path(prefix: str | None, name: str) -> str:
    if prefix is None:
        return os.path.join(".", name)
    if prefix.endswith("/") or os.path.isdir(prefix):
        return os.path.join(prefix, name)
    return prefix


def _taken(candidate: str, folder: str) -> bool:
    start = os.path.basename(candidate) + "_"
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise MachineError(f"cannot read the folder {folder}: {error.strerror}") from None
    return any(name.startswith(start) and name.endswith(_ENDINGS) for name in names)

"""The names of a run's files, and which of the names in a folder are of this kind. `claim` takes them for a run."""

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from disbatch.core.errors import MachineError
from kvsstcp.ownfile import MODE, check_replaceable, create_file, remove_own

LIMITS = "_limits.txt"
STATUS = "_status.txt"
INFO = "_kvsinfo.txt"
_ENDINGS = (
    STATUS,
    "_driver.txt",
    "_dbUtil.sh",
    INFO,
    "_url",
    "_webtoken",
    "_page.html",
    "_usage.txt",
    LIMITS,
)
_ENGINE_LOG = "_engine.txt"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run. `suffix` is what was added to the prefix because it was taken (".2"), or nothing.

    `own_name` is the NAME of `-p DIR/NAME`, or nothing; `aside` is the prefix that the files of the earlier run of that name
    were given, if there were any.
    """

    prefix: str
    suffix: str
    job_id: str
    log: str
    own_name: str = ""
    aside: str = ""

    @property
    def tasks_job_id(self) -> str:
        """DISBATCH_JOBID of tasks."""
        return self.own_name or self.job_id

    @property
    def status(self) -> str:
        return self.prefix + STATUS

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
    def webtoken(self) -> str:
        return self.prefix + "_webtoken"

    @property
    def page(self) -> str:
        return self.prefix + "_page.html"

    @property
    def kvsinfo(self) -> str:
        return self.prefix + INFO


def engine_log(prefix: str, node: str, label: str) -> str:
    """The log of an engine; with the label of its context where the plain name is taken."""
    plain = f"{prefix}_{node}_engine.txt"
    return f"{prefix}_{label}_{node}_engine.txt" if os.path.lexists(plain) else plain


def make_job_id() -> str:
    """Date, time and something random: unique among runs that start in one folder in the same second."""
    return time.strftime("%Y%m%d%H%M%S_") + os.urandom(2).hex()


def files_of_run(names: Iterable[str], base: str) -> list[str]:
    """Those of the names in a folder that a run writes whose prefix ends in `base`.

    An engine's log may look like one of a run with a longer name: `a_b_n1_engine.txt` belongs to `a_b` if there is `a_b_status.txt`.
    """
    begun = [name for name in names if name.startswith(base + "_")]
    fixed = [name for name in begun if name[len(base) :] in _ENDINGS]
    longer = tuple(
        name.removesuffix(STATUS) + "_" for name in begun if name.endswith(STATUS) and name not in fixed
    )
    logs = [
        name for name in begun if name.endswith(_ENGINE_LOG) and len(name) > len(base) + 1 + len(_ENGINE_LOG)
    ]
    return fixed + [name for name in logs if not name.startswith(longer)]


def numbers_of(names: Iterable[str], base: str) -> list[int]:
    """The numbers behind `base` under which there are files of runs, in order."""
    pattern = re.compile(re.escape(base) + r"\.([1-9][0-9]{0,8})_")
    found: dict[int, list[str]] = {}
    for name in names:
        match = pattern.match(name)
        if match:
            found.setdefault(int(match[1]), []).append(name)
    return sorted(number for number, some in found.items() if files_of_run(some, f"{base}.{number}"))


def list_folder(folder: str) -> list[str]:
    """Raises MachineError."""
    try:
        return os.listdir(folder)
    except OSError as error:
        raise MachineError(f"cannot read the folder {folder}: {error.strerror}") from None


def claimed_before(prefix: str | None, name: str) -> list[tuple[str, str]]:
    """Prefixes, with their suffixes, that earlier runs have claimed with these arguments, in this order."""
    wanted = prefix_path(prefix, name)
    folder = os.path.dirname(wanted) or "."
    if not os.path.isdir(folder):
        return []
    if prefix is not None and names_a_run(prefix):
        base = os.path.basename(wanted)
        earlier = [(f"{wanted}.{number}", "") for number in numbers_of(list_folder(folder), base)]
        return earlier + ([(wanted, "")] if is_taken(wanted, folder) else [])
    found: list[tuple[str, str]] = []
    while True:
        suffix = f".{len(found) + 1}" if found else ""
        if not is_taken(wanted + suffix, folder):
            return found
        found.append((wanted + suffix, suffix))


def replace_secret(path: str, text: str) -> None:
    """Put a file that only this user can read in the place of one of ours. Raises OSError."""
    replace_file(path, text, 0o600)


def replace_file(path: str, text: str, mode: int = MODE) -> None:
    """Put a file in the place of one of ours; who reads sees the one or the other. Raises OSError."""
    check_replaceable(path)
    part = f"{path}.part"
    remove_own(part)
    with os.fdopen(create_file(part, mode), "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
    os.replace(part, path)


def names_a_run(prefix: str) -> bool:
    """Whether this is DIR/NAME, and no folder."""
    return not prefix.endswith("/") and not os.path.isdir(prefix)


def prefix_path(prefix: str | None, name: str) -> str:
    """The prefix of a run for what -p gave; `name` is the default one."""
    if prefix is None:
        return os.path.join(".", name)
    return prefix if names_a_run(prefix) else os.path.join(prefix, name)


def is_taken(candidate: str, folder: str) -> bool:
    """Whether there are files of a run with this prefix. Raises MachineError."""
    return bool(files_of_run(list_folder(folder), os.path.basename(candidate)))

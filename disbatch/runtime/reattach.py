"""`--reattach`: the same command, given again after its driver has died, goes on as that driver: with its files, and with
the engines that contexts have brought, which have waited for it.

What the new one does with their tasks is decided in `core.takeover`.
"""

import contextlib
import fcntl
import os
from dataclasses import dataclass, replace

from disbatch.core.errors import MachineError, UsageError
from disbatch.core.plural import counted
from disbatch.core.takeover import Inheritance
from disbatch.runtime.charges import read_charges
from disbatch.runtime.crashed import Crashed, look
from disbatch.runtime.files import INFO, LIMITS, RunFiles, claimed_before
from disbatch.runtime.folder import is_same_folder, working_folder
from disbatch.runtime.resume import ResumeFiles
from disbatch.runtime.roster import Entries, read_entries
from disbatch.runtime.settings import RunSettings
from disbatch.runtime.sources import FileSource, KvsSource, StreamSource
from kvsstcp.trustedfile import open_trusted

BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A run whose driver is dead, as its files show it."""

    crashed: Crashed
    suffix: str
    entries: Entries

    @property
    def prefix(self) -> str:
        return self.crashed.prefix

    @property
    def status(self) -> str:
        return self.prefix + "_status.txt"

    def inheritance(self, status: ResumeFiles) -> Inheritance:
        """For the core of the new driver. Raises MachineError."""
        contexts = self.entries.contexts
        if any(each.task_limit for each in contexts):
            ran = read_charges(self.prefix + LIMITS, status.has_line, status.last_own_task_id)
            contexts = tuple([replace(each, ran=ran[each.cid]) for each in contexts])
        return Inheritance(
            self.entries.next_rank,
            contexts,
            frozenset(status.barriers),
            frozenset(status.commands),
        )

    def claim(self, logfile: str | None) -> tuple[RunFiles, int]:
        """The names of the run's files, and its status file to be written on; a line that the death has torn is taken
        off. Raises MachineError, and UsageError when another driver has come first."""
        try:
            descriptor = open_trusted(self.status, flags=os.O_RDWR | os.O_APPEND)
            self._be_the_only_one(descriptor)
            os.ftruncate(descriptor, _whole_lines(descriptor))
        except OSError as error:
            raise MachineError(f"cannot go on with {self.status}: {error.strerror}") from None
        log = logfile or self.prefix + "_driver.txt"
        name = os.path.basename(self.prefix)
        return RunFiles(self.prefix, self.suffix, self.crashed.job_id, log, name), descriptor

    def _be_the_only_one(self, descriptor: int) -> None:
        """Of two commands given at the same moment, one goes on. The lock is kept at least until the info file says
        who that is."""
        taken = False
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                taken = True
        if taken or look(self.prefix) != self.crashed:
            raise UsageError(f"--reattach: another driver goes on with the run {self.prefix} already")

    def words(self, lease_s: float) -> str:
        """For the user."""
        joined = len(self.entries.contexts)
        if not joined:
            return f"going on with the run {self.prefix}, whose driver has died; it had no machines"
        return (
            f"going on with the run {self.prefix}, whose driver has died: {counted(joined, 'context')} may have "
            f"engines. What none of them has is handed out when all are back, or in {lease_s:g} s (--lease)"
        )


def list_line(settings: RunSettings, source: FileSource | StreamSource | KvsSource) -> str:
    """For the info file: which list this run has; empty without --reattach. Raises UsageError."""
    if not settings.reattach:
        return ""
    if not isinstance(source, FileSource):
        raise UsageError("--reattach reads the list once more: it needs a task file, not a pipe")
    return f"list {source.fingerprint()}"


def find_predecessor(settings: RunSettings, list_line: str) -> Predecessor | None:
    """The run that this command has to go on with; None when there is none. Raises UsageError when its driver lives, or
    may be living, or was given other settings, or another list."""
    if not settings.reattach:
        return None
    for prefix, suffix in reversed(claimed_before(settings.prefix, settings.task_name)):
        if prefix != settings.prefix:
            return None  # files of runs before the newest one
        crashed = look(prefix)
        if crashed is None:
            return None  # the newest run of this name has ended, or was none that can be taken over
        crashed.refuse_living(prefix + "_status.txt")
        if crashed.host != os.uname().nodename:
            raise UsageError(
                f"--reattach: the driver of {prefix} ran on {crashed.host}; start it there, "
                f"or resume without its engines: -r {prefix}_status.txt"
            )
        if not crashed.reattach:
            raise UsageError(
                f"{prefix}: this run was started without --reattach, so its engines have ended with its driver; "
                f"resume it with -r {prefix}_status.txt"
            )
        # Empty: an earlier version did not say it.
        if crashed.folder and not is_same_folder(crashed.folder, "."):
            raise UsageError(
                f"--reattach: the run {prefix} was started in {crashed.folder}, not in {working_folder()}, "
                "and its tasks run there; start it there"
            )
        if crashed.lease_s != settings.losses.lease_s:
            raise UsageError(f"--reattach: the run {prefix} was started with --lease {crashed.lease_s:g}")
        if f"list {crashed.fingerprint}" != list_line:
            raise UsageError(
                f"--reattach: the task file is not as it was when the run {prefix} began; "
                f"its engines may have tasks of it. Restore it, or resume: -r {prefix}_status.txt"
            )
        return Predecessor(crashed, suffix, read_entries(prefix + INFO))
    return None


def _whole_lines(descriptor: int) -> int:
    """The length of the file up to its last line end."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0

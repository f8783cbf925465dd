"""A run that crashed, as whoever resumes it sees it: is its driver really gone, and may its engines still be running?

A driver leaves word of itself in the info file of its run, which goes when the run ends in order, and touches it while it
lives. Resuming next to a living driver is refused. Where it is dead, the nodes are swept; a node that cannot be asked
is waited for until the lease of its engine is over.
"""

import contextlib
import glob
import json
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from disbatch.contexts.base import is_node_name
from disbatch.contexts.slurm import restarts
from disbatch.core.errors import UsageError
from disbatch.core.lease import heartbeat_s, margin_s
from disbatch.core.model import NodeSpec
from disbatch.runtime.contextsettings import ContextSettings
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.files import INFO, STATUS
from disbatch.runtime.folder import working_folder
from disbatch.runtime.remote import program_root
from disbatch.runtime.sweep import is_run_session, sweep, sweep_argv
from kvsstcp.errors import KvsError
from kvsstcp.infofile import read_info, read_private

LOCAL = "local"  # in place of a scheduler's name: the engine was forked by the driver
ASK_S = 3.0  # a driver that lives answers at once
SWEEP_S = 15.0  # for one node
AT_ONCE = 32
LOOK_S = 0.2


def last_words(facts: RunFacts, context: ContextSettings, joined: tuple[str, ...] = ()) -> tuple[str, ...]:
    """For the info file: what a resumption, or a driver that follows, has to know should this one die. There from the
    file's first moment, as that may be this one's last."""
    host = os.uname().nodename
    lines = [
        f"driver {host} {os.getpid()} {_started(os.getpid())}",
        f"session {facts.did}",
        f"lease {facts.lease_s:g}",
        *(["reattach", _folder_line(), *joined] if facts.reattach else []),
    ]
    for node in context.allocation.nodes:
        local = context.scheduler.is_local(node.name)
        lines.append(f"node {LOCAL} {host}" if local else f"node {context.scheduler.name} {node.name}")
    return tuple(lines)


def settle_crashed(
    status_files: tuple[str, ...], context: ContextSettings, note: Callable[[str], None]
) -> None:
    """Returns when nothing of the runs that wrote these files can still run. Raises UsageError when a driver lives."""
    if restarts(os.environ):
        return  # a job that was requeued: Slurm has killed all of it
    for path in status_files:
        if path.endswith(STATUS):
            crashed = look(path.removesuffix(STATUS))
            if crashed is not None:
                crashed.settle(path, context, note)


@dataclass(frozen=True, slots=True)
class Crashed:
    prefix: str
    host: str
    pid: int
    started: str
    did: str
    lease_s: float
    nodes: tuple[tuple[str, str], ...]  # how their engines were started, and their names
    job_id: str
    reattach: bool  # engines that others have brought wait for another driver
    fingerprint: str  # of the task list, where `reattach`
    folder: str  # in which it was started, where `reattach`

    @property
    def _info(self) -> str:
        return self.prefix + INFO

    def settle(self, path: str, context: ContextSettings, note: Callable[[str], None]) -> None:
        seen_alive = self.touched()
        self.refuse_living(path)
        unknown = [] if self._knows_all() else ["a host that has joined it"]
        left = [*self._not_swept(context), *unknown]
        until = seen_alive + heartbeat_s(self.lease_s) + self.lease_s + margin_s(self.lease_s)
        if left and until > time.time():
            note(
                f"the run that wrote {path} has crashed, and its tasks may still run on {', '.join(left)}: "
                f"waiting {until - time.time():.0f} s, until its lease is over"
            )
            while time.time() < until:
                time.sleep(min(LOOK_S, max(0.0, until - time.time())))
                if self.touched() > seen_alive:
                    raise UsageError(f"{path}: the run that writes it is not over, on {self.host}")
        elif not left:
            note(f"the run that wrote {path} has crashed; nothing of it runs any more")
        with contextlib.suppress(OSError):
            os.unlink(self._info)

    def refuse_living(self, path: str) -> None:
        """Raises UsageError when the driver lives."""
        if self.alive():
            raise UsageError(
                f"{path}: the run that writes it is not over (process {self.pid} on {self.host}); "
                "wait for its end, or stop it, before it is resumed"
            )

    @property
    def died_here(self) -> bool:
        """Whether its driver was a process of this machine, and is no more. Only for somebody who has not reached it: in
        another container of that name its process is not seen."""
        return self.host == os.uname().nodename and not self.alive()

    def touched(self) -> float:
        """When its driver last said that it lives, by the clock."""
        with contextlib.suppress(OSError):
            return os.stat(self._info).st_mtime
        return 0.0

    def alive(self) -> bool:
        """Whether the driver is seen to live."""
        if self.host == os.uname().nodename:
            return _started(self.pid) == self.started
        from kvsstcp.client import Client

        with contextlib.suppress(KvsError, OSError), Client(read_info(self._info), connect_timeout_s=ASK_S):
            return time.time() - self.touched() < 2 * heartbeat_s(self.lease_s) + margin_s(self.lease_s)
        return False

    def _knows_all(self) -> bool:
        """Whether every engine that left a log was on one of the nodes that are known."""
        ends = tuple(f"_{name}_engine.txt" for _, name in self.nodes)
        return all(log.endswith(ends) for log in glob.glob(glob.escape(self.prefix) + "_*_engine.txt"))

    def _not_swept(self, context: ContextSettings) -> list[str]:
        """Kills what is left of the run, and returns the nodes where that could not be done."""

        def clean(node: tuple[str, str]) -> bool:
            how, name = node
            if how == LOCAL:
                return name == os.uname().nodename and sweep(self.did)
            if how != context.scheduler.name:
                return False
            argv = context.scheduler.launch_argv(
                NodeSpec(name, 1, 1, 1), working_folder(), sweep_argv(self.did, program_root())
            )
            environ = context.scheduler.launch_environ(os.environ, context.launcher_environ)
            nothing = subprocess.DEVNULL
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                done = subprocess.run(
                    argv,
                    check=False,
                    env=environ,
                    stdin=nothing,
                    stdout=nothing,
                    stderr=nothing,
                    timeout=SWEEP_S,
                )
                return done.returncode == 0
            return False

        nodes = list(dict.fromkeys(self.nodes))
        if all(how == LOCAL for how, _ in nodes):  # no thread: engines are forked after this
            return [name for how, name in nodes if not clean((how, name))]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [name for (_, name), done in zip(nodes, pool.map(clean, nodes), strict=True) if not done]


def look(prefix: str) -> Crashed | None:
    """What the info file of a run says of its driver; None when there is none, or it says nothing. Raises UsageError when it
    is not to be believed: what it says has processes killed, and commands run on other hosts."""
    words: dict[str, list[str]] = {}
    nodes, folder = [], ""
    try:
        for line in _info_text(prefix + INFO).split("\n"):
            word, *rest = line.split()[:4] or [""]
            if word == "node" and len(rest) == 2:
                nodes.append((rest[0], rest[1]))
            elif word == "folder":
                folder = json.loads(line.partition(" ")[2])
            words.setdefault(word, rest)
        host, pid, started = words["driver"]
        (did,), (lease,) = words["session"], words["lease"]
        _check_words(prefix + INFO, did, nodes)
        run = " ".join(words["run"])
        waits, (fingerprint,) = "reattach" in words, words.get("list", [""])
        return Crashed(
            prefix, host, int(pid), started, did, float(lease), tuple(nodes), run, waits, fingerprint, folder
        )
    except (KeyError, ValueError):
        return None


def _info_text(path: str) -> str:
    """Empty when there is no such file. Raises UsageError."""
    try:
        return read_private(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(
            f"{path} says whether the run has ended, and cannot be read: {error.strerror}. A copy of the status file "
            "in a folder of your own can be resumed without it"
        ) from None


def _check_words(path: str, did: str, nodes: list[tuple[str, str]]) -> None:
    """Raises UsageError for a session or a node that no driver has written."""
    wrong = [name for _, name in nodes if not is_node_name(name)]
    if not is_run_session(did) or wrong:
        what = f"the node {wrong[0]!r}" if wrong else f"the session {did!r}"
        raise UsageError(f"{path} is damaged: no driver writes {what}; remove it if its run is over")


def _folder_line() -> str:
    return f"folder {json.dumps(working_folder())}"  # any name fits into a line


def _started(pid: int) -> str:
    """What tells a process from a later one of the same number: its start, in ticks since the machine's; empty when dead."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]

"""A sweep of this machine: kills all that is left of one engine, or of all engines of a run, and says whether it did.

Found are the tasks, by DISBATCH_SESSION in their environment (no secret; a task that is itself a disBatch hands it on),
the engine and its guard, by their process name, and whatever stands below any of these. The driver sweeps where a
launcher has ended: engine and guard may both be dead then, or stopped, and nobody left to kill what they ran.
The last argument is the session.
"""

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator

from disbatch.importpath import arguments, bootstrap

VARIABLE = "DISBATCH_SESSION"
RUN_BYTES = 8  # random; in hexadecimal digits they name a run
SECONDS = 5.0  # something that forks faster than it is killed, or waits for a dead file system, may be left
ROUND_S = 0.01


def is_run_session(did: str) -> bool:
    """Whether this is what drivers call their runs: a shorter text would be found in the marks of other runs, too."""
    return re.fullmatch(f"[0-9a-f]{{{2 * RUN_BYTES}}}", did) is not None


def session_id(did: str, sid: str) -> str:
    """What an engine and its tasks are found by; later sessions of the same process share it."""
    return f"{did}.{sid.partition('.')[0]}"


def process_name(session: str) -> bytes:
    """For engine and guard, which were forked and so cannot have a variable of their own (15 bytes, the kernel says)."""
    did, _, sid = session.partition(".")
    return f"dB{did[:6]}{sid[:7]}".encode("ascii")


def nested(session: str, environ_value: str) -> str:
    """The variable for tasks: a disBatch that itself runs as a task of another belongs to both."""
    return f"{environ_value}:{session}" if environ_value else session


def sweep(session: str, seconds: float = SECONDS) -> bool:
    """SIGKILL to all of a session, or of a whole run when `session` is its did alone; True once nothing is left."""
    end = time.monotonic() + seconds
    while True:
        found = [pid for pid in _of_session(session) if pid != os.getpid()]
        if not found:
            return True
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            return False
        time.sleep(ROUND_S)


def main() -> int:
    session = sys.argv[1]
    if not is_run_session(session.partition(".")[0]):
        print(f"{session!r} is no session of a run: nothing is killed", file=sys.stderr)
        return 2
    return 0 if sweep(session) else 1


def sweep_argv(session: str, root: str) -> tuple[str, ...]:
    return (*bootstrap("sweep"), *arguments(root), session)


def _of_session(session: str) -> Iterator[int]:
    """Processes that are marked, and all below them."""
    marked: set[int] = set()
    parents: dict[int, int] = {}
    name = process_name(session)
    variable, wanted = VARIABLE.encode() + b"=", session.encode()
    for text in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{text}/stat", "rb") as file:
                before, _, after = file.read().rpartition(b")")
            state, above_it = after.split(None, 2)[:2]
            if state in (b"Z", b"X"):
                continue
            pid = int(text)
            parents[pid] = int(above_it)
            comm = before.partition(b"(")[2]
            if comm.startswith(name) or _has(text, variable, wanted):
                marked.add(pid)
    yield from marked
    for pid, parent in parents.items():
        above, seen = parent, {pid}
        while above in parents and above not in seen and pid not in marked:
            if above in marked:
                marked.add(pid)
                yield pid
            seen.add(above)
            above = parents[above]


def _has(pid: str, variable: bytes, wanted: bytes) -> bool:
    with open(f"/proc/{pid}/environ", "rb") as file:
        data = file.read()
    if wanted not in data:
        return False
    for entry in data.split(b"\0"):
        if entry.startswith(variable):
            whole = b"." in wanted
            sessions = entry[len(variable) :].split(b":")
            return any(s == wanted if whole else s.startswith(wanted + b".") for s in sessions)
    return False

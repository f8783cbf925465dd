"""Who has sent SIGTERM to this engine: a task of its own, or somebody else. Told by the kernel, with the signal."""

import contextlib
import ctypes
import os
import signal
import struct
from typing import NamedTuple

from disbatch.runtime.sweep import VARIABLE

_INFO = struct.Struct(
    "=IiiI112x"
)  # signalfd_siginfo of linux/signalfd.h: signal, errno, code, pid, and what is not used
GENERATIONS = 1000  # a task is not further above the process that sent the signal


class Sender(NamedTuple):
    """`text` is for people. `tasks` are the ids of the tasks that may have sent it; None: any that runs."""

    text: str
    tasks: tuple[int, ...] | None


def open_signalfd(*signals: int) -> int:
    """A descriptor that becomes readable on these signals, which are blocked for it (spawned tasks get an empty mask)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    libc = ctypes.CDLL(None, use_errno=True)
    mask = (ctypes.c_ulong * (1024 // (8 * ctypes.sizeof(ctypes.c_ulong))))()  # sigset_t of glibc: 1024 bits
    libc.sigemptyset(mask)
    for signum in signals:
        libc.sigaddset(mask, signum)
    fd: int = libc.signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"signalfd: {os.strerror(error)}")
    return fd


def open_term_fd() -> int:
    """The same for SIGTERM, which an engine ignores before. An ignored signal would never be seen there."""
    fd = open_signalfd(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return fd


def read_sender(fd: int) -> int:
    """The process that sent the signal that waits there; 0 for one that cannot be seen from here."""
    try:
        data = os.read(fd, _INFO.size)
    except BlockingIOError:
        return 0
    return int(_INFO.unpack(data)[3])


def find_sender(pid: int, session: str) -> Sender:
    """`session` is the one of this engine, as its tasks have it in their environment."""
    if pid == 0:
        return Sender("from outside of its container", ())
    if not os.path.exists(f"/proc/{pid}"):
        return Sender(f"from process {pid}, which has ended", None)
    name = f"process {pid} ({_read(pid, 'comm').decode('utf-8', 'replace').strip()})"
    above = pid
    for _ in range(GENERATIONS):
        if above == os.getpid():
            return Sender(f"from {name}, which a task has started", None)
        task_id = _task(above, session)
        if task_id is not None:
            return Sender(f"from task {task_id}, {name}", (task_id,))
        above = _parent(above)
        if above <= 1:
            break
    return Sender(f"from {name}", ())


def _task(pid: int, session: str) -> int | None:
    """The task that this process belongs to; None where it is none of this engine, or has ended."""
    found: dict[bytes, bytes] = {}
    for entry in _read(pid, "environ").split(b"\0"):
        name, _, value = entry.partition(b"=")
        found[name] = value
    if found.get(VARIABLE.encode(), b"").rpartition(b":")[2] != session.encode():
        return None
    text = found.get(b"DISBATCH_TASKID", b"")
    slot = found.get(b"DISBATCH_CYLINDER_RANK", b"")
    return int(text) if text.isdigit() and slot.isdigit() else None  # per-engine commands have slot -1


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _read(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()
    return b""

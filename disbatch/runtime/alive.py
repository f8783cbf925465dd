"""What the kernel says of another process on this machine."""

import contextlib


def is_stopped(pid: int) -> bool:
    """Whether it exists and stands still, by SIGSTOP, Ctrl-Z or a debugger (proc(5): T and t)."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split(None, 1)[0] in (b"T", b"t")
    return False

"""Which system calls are made to fail, with which errors, and at which of their occurrences. Pure: nothing runs here.

The errors are those that the manual page of the call (section 2, or ERRORS of the file systems behind it) allows for
arguments that are right: what says that a program is wrong (EBADF, EFAULT, EINVAL) is left out, unless a kernel or a
sandbox can mean something else by it.
"""

import random
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_DESCRIPTORS = ("EMFILE", "ENFILE", "ENOMEM")
_FOLDER_CHANGE = ("EACCES", "EROFS", "EIO", "ENOSPC")

ERRORS: dict[str, tuple[str, ...]] = {
    # files
    "openat": ("EMFILE", "ENFILE", "ENOSPC", "EACCES", "EIO", "ENOMEM", "EINTR"),
    "read": ("EIO", "EINTR", "ENOMEM"),
    "pread64": ("EIO", "EINTR"),
    "write": ("ENOSPC", "EIO", "EDQUOT", "EINTR", "EPIPE"),
    "lseek": ("ESPIPE", "EOVERFLOW"),
    "newfstatat": ("EACCES", "EIO", "ENOMEM", "ESTALE"),
    "statx": ("EACCES", "EIO", "ENOMEM"),
    "access": ("EACCES", "EIO"),
    "readlink": ("EACCES", "EIO", "ENOMEM"),
    "getcwd": ("ENOENT", "EACCES", "ENOMEM"),
    "getdents64": ("EIO", "ENOENT"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT"),
    "fdatasync": ("EIO", "ENOSPC", "EDQUOT"),
    "ftruncate": ("EIO", "EINTR"),
    "fcntl": ("EAGAIN", "ENOLCK", "EMFILE"),
    "flock": ("ENOLCK", "EINTR"),
    "dup2": ("EBUSY", "EINTR"),
    "dup": ("EMFILE",),
    "chmod": _FOLDER_CHANGE,
    "fchmod": _FOLDER_CHANGE,
    "utimensat": ("EACCES", "EROFS", "EIO"),
    "unlink": ("EACCES", "EROFS", "EIO", "EBUSY"),
    "rename": (*_FOLDER_CHANGE, "EBUSY"),
    "link": (*_FOLDER_CHANGE, "EMLINK"),
    "mkdir": _FOLDER_CHANGE,
    "rmdir": _FOLDER_CHANGE,
    # descriptors of other things
    "pipe2": ("EMFILE", "ENFILE"),
    "memfd_create": _DESCRIPTORS,
    "epoll_create1": _DESCRIPTORS,
    "epoll_ctl": ("ENOSPC", "ENOMEM"),
    "epoll_wait": ("EINTR",),
    "eventfd2": _DESCRIPTORS,
    "signalfd4": (*_DESCRIPTORS, "ENODEV"),
    "timerfd_create": (*_DESCRIPTORS, "ENODEV"),
    "timerfd_settime": ("ECANCELED",),
    "pidfd_open": (*_DESCRIPTORS, "ENODEV", "ENOSYS"),
    "pidfd_send_signal": ("EPERM", "ENOSYS"),
    "poll": ("EINTR", "ENOMEM"),
    "select": ("EINTR", "ENOMEM"),
    "pselect6": ("EINTR", "ENOMEM"),
    "ioctl": ("ENOTTY", "EIO"),
    # sockets
    "socket": ("EMFILE", "ENFILE", "ENOBUFS", "EACCES", "EAFNOSUPPORT"),
    "socketpair": ("EMFILE", "ENFILE", "ENOMEM"),
    "bind": ("EADDRINUSE", "EACCES", "ENOMEM"),
    "listen": ("EADDRINUSE",),
    "connect": ("ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT", "EADDRNOTAVAIL"),
    "accept4": ("ECONNABORTED", "EMFILE", "ENFILE", "ENOBUFS", "EPERM", "EINTR"),
    "recvfrom": ("ECONNRESET", "ETIMEDOUT", "ENOMEM", "EINTR"),
    "recvmsg": ("ENOBUFS", "ENOMEM"),
    "sendto": ("ECONNRESET", "EPIPE", "ENOBUFS", "ENOMEM", "EINTR"),
    "sendmsg": ("ECONNRESET", "EPIPE", "ENOBUFS"),
    "shutdown": ("ENOTCONN",),
    "setsockopt": ("ENOPROTOOPT", "ENOMEM"),
    "getsockopt": ("ENOPROTOOPT",),
    "getsockname": ("ENOBUFS",),
    "getpeername": ("ENOTCONN", "ENOBUFS"),
    # processes
    "clone": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "vfork": ("EAGAIN", "ENOMEM"),
    "fork": ("EAGAIN", "ENOMEM"),
    "wait4": ("EINTR", "ECHILD"),
    "waitid": ("EINTR", "ECHILD"),
    "kill": ("EPERM", "ESRCH"),
    "setsid": ("EPERM",),
    "prctl": ("EINVAL", "EPERM"),
    "sched_getaffinity": ("EINVAL", "ESRCH"),
    "sched_setaffinity": ("EINVAL", "EPERM"),
    "prlimit64": ("EPERM",),
    "getrandom": ("EINTR", "ENOSYS"),
    "sysinfo": ("EPERM",),
    # memory
    "mmap": ("ENOMEM",),
    "mremap": ("ENOMEM",),
    "mprotect": ("ENOMEM",),
    "madvise": ("ENOMEM", "EAGAIN"),
}

EXCLUDED: dict[str, str] = {
    name: reason
    for names, reason in {
        "close": "strace leaves the call out, so the descriptor would stay open; Linux closes it whatever close(2) returns",
        "munmap": "the same: what the call frees would be kept",
        "brk": "the kernel's call returns the old end of the heap, no error; the C library would believe what strace returns",
        "rt_sigaction rt_sigprocmask sigaltstack getpid getppid gettid getuid geteuid getgid getegid getpgid getsid uname "
        "times getrusage clock_gettime clock_getres gettimeofday umask arch_prctl set_tid_address rt_sigreturn exit "
        "exit_group sched_yield rseq alarm setitimer": "fails for no arguments that are right",
        "futex set_robust_list": "the C library ends the process for an error that it does not know",
        "restart_syscall": "made by the kernel",
        "clock_nanosleep nanosleep": "fails with EINTR only, after which it is called again with what is left",
        "execve": "strace lets go of a process when it becomes another program",
    }.items()
    for name in names.split()
}

# Of a kind of call that a process makes often, these are tried in the full mode: mostly it is made by imports, which
# differ in nothing but the name of the module, and the run itself comes last.
FIRST = 20
SPREAD = 16  # at equal distances
LAST = 24
SEED = 20
MEMORY = (
    "mmap",
    "mremap",
    "mprotect",
)  # without it the interpreter itself may die, by a signal and without a word


class Case(NamedTuple):
    """The k-th call of this name in this process fails with this error."""

    target: str
    call: str
    error: str
    k: int

    def __str__(self) -> str:
        return f"{self.target}:{self.call}:{self.error}:when={self.k}"


Counts = Mapping[str, Mapping[str, int]]  # by process, by call: how often a run without a failure makes it


def unknown(counts: Counts) -> set[str]:
    """Calls that occur and of which this table says nothing."""
    return {call for calls in counts.values() for call in calls} - ERRORS.keys() - EXCLUDED.keys()


def occurrences(count: int) -> list[int]:
    """Which of 1..count are tried in the full mode."""
    if count <= FIRST + SPREAD + LAST:
        return list(range(1, count + 1))
    between = count - FIRST - LAST
    spread = (FIRST + 1 + between * number // SPREAD for number in range(SPREAD))
    return [*range(1, FIRST + 1), *spread, *range(count - LAST + 1, count + 1)]


def all_cases(counts: Counts) -> list[Case]:
    """The full mode, in a fixed order: the first failures of each kind stand before the later ones."""
    cases = [
        Case(target, call, error, k)
        for target, calls in counts.items()
        for call, count in calls.items()
        for k in occurrences(count)
        for error in ERRORS.get(call, ())
    ]
    return sorted(cases, key=lambda case: (case.k, case))


def sample(counts: Counts, size: int, seed: int = SEED) -> list[Case]:
    """`size` cases, the same each time for one seed: spread over processes, calls and errors first, then over k.

    Each (process, call) has its turn before one has a second, so a call made a thousand times does not crowd out one
    made once.
    """
    rng = random.Random(seed)
    piles: list[list[Case]] = []
    for target in sorted(counts):
        for call, count in sorted(counts[target].items()):
            pile = [Case(target, call, error, 0) for error in ERRORS.get(call, ())]
            rng.shuffle(pile)
            # k is a share of the count, which differs by a few from run to run
            picked = [case._replace(k=1 + int(rng.random() * count)) for case in pile * (1 + count // 20)]
            piles.append(list(dict.fromkeys(picked)))
    found: list[Case] = []
    while len(found) < size and any(piles):
        turn = [pile.pop(0) for pile in piles if pile]
        rng.shuffle(turn)
        found += turn
    return found[:size]


def parse_counts(lines: Iterable[str]) -> dict[str, int]:
    """Calls in what strace has written of one process or thread, by name."""
    counts: dict[str, int] = {}
    for line in lines:
        name, found, _ = line.partition("(")
        if found and name.isidentifier():
            counts[name] = counts.get(name, 0) + 1
    return counts

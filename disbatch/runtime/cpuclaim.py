"""The claim of one engine on the CPUs that it binds its tasks to. What is claimed is decided in `core.binding`.

Whoever else may use the same CPUs, and finds them claimed, leaves its tasks to the kernel, which then finds the CPUs that are
free. A claim is gone with the process, whatever ends it. It consists of two things:

* a lock on a file of the kernel that all processes of a machine have in common, containers included. No folder is such a place:
  containers have /tmp, /run, /dev, /sys and /proc of their own. The first namespace of a kind is: its inode number is fixed
  (`enum init_ns_ino` in Linux's nsfs.h, PROC_USER_INIT_INO before), and `flock` on it holds across all other namespaces. Container
  programs leave the time namespace alone. Where Linux has none (before 5.6), the user namespace serves.
* the name of a socket with the CPUs in it, which lets claims of different parts of a machine stand side by side. It is seen
  within one network namespace.

Anybody on the machine can hold either: then nothing is bound, and nobody waits.
"""

import contextlib
import fcntl
import os
import socket
from typing import NamedTuple

from disbatch.core.binding import BindRule, Plan, Surroundings, claims_whole_machine, make_plan
from disbatch.runtime.node import cpu_quota, read_cpus


class ClaimPlace(NamedTuple):
    """Where engines that share CPUs meet."""

    locks: tuple[
        tuple[str, int], ...
    ]  # path and inode number that it must have; the first one that exists counts
    names: bytes  # what names of sockets begin with
    network: str  # a file that is there in the machine's own network namespace only


# /proc/sys/net shows the reader's own network namespace, and this setting exists in the first one alone.
MACHINE = ClaimPlace(
    locks=(("/proc/self/ns/time", 0xEFFFFFFA), ("/proc/self/ns/user", 0xEFFFFFFD)),
    names=b"\0disbatch cpus ",
    network="/proc/sys/net/core/netdev_max_backlog",
)


class CpuClaim:
    """The CPUs of the slots, and the claim on them that lasts as long as this engine."""

    def __init__(self, rule: BindRule, slots: int, place: ClaimPlace = MACHINE) -> None:
        self._held = contextlib.ExitStack()
        self.plan = Plan((), "not asked for")
        if rule.need == 0 or slots == 1:
            return
        allowed = os.sched_getaffinity(0)
        on_node = os.cpu_count() or 1
        lock = self._open_lock(place)
        around = Surroundings(lock >= 0, os.path.exists(place.network), cpu_quota())
        self.plan = make_plan(rule, read_cpus(allowed), on_node, slots, around)
        exclusive = claims_whole_machine(len(allowed), on_node, around)
        if self.plan.sets and not (_take(lock, exclusive=exclusive) and self._take_name(place, allowed)):
            self.plan = Plan((), "another engine on this machine has bound its tasks to the same CPUs")
        if not self.plan.sets:
            self.close()

    def close(self) -> None:
        """Gives the claim up."""
        self._held.close()

    def _open_lock(self, place: ClaimPlace) -> int:
        """A descriptor of the lock; -1 where this process does not see the one that is the machine's."""
        for path, inode in place.locks:
            try:
                lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            except OSError:
                break
            self._held.callback(os.close, lock)
            return lock if os.fstat(lock).st_ino == inode else -1
        return -1

    def _take_name(self, place: ClaimPlace, cpus: set[int]) -> bool:
        name = place.names + b"%x" % sum(1 << cpu for cpu in cpus)
        if len(name) > 100:  # the kernel allows 108: on a node of more than 300 CPUs the ends must do
            name = name[:60] + name[-40:]
        claim = self._held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        try:
            claim.bind(name)
        except OSError:
            return False
        return True


def _take(lock: int, *, exclusive: bool) -> bool:
    try:
        fcntl.flock(lock, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

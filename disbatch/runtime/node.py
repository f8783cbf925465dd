"""What this node has for its engine: CPUs and how they hang together, memory. Read from /proc and /sys, once.

Nothing here is worth an engine: what cannot be read is taken for unknown.
"""

import contextlib
import os
import socket

from disbatch.core.binding import BindRule, Cpu, Plan, make_plan

CPU_FOLDER = "/sys/devices/system/cpu"
NUMA_FOLDER = "/sys/devices/system/node"
CGROUP_FOLDER = "/sys/fs/cgroup"


class CpuClaim:
    """The CPUs of the slots, and the claim on them that lasts as long as this engine.

    Another engine on this node that may use the same CPUs (a second run, a second context) leaves its tasks to the kernel,
    which then finds the CPUs that are free. The claim is a socket's name: it is gone with the process, whatever ends it.
    """

    def __init__(self, rule: BindRule, slots: int) -> None:
        self._socket: socket.socket | None = None
        self.plan = Plan((), "not asked for")
        if rule.need == 0 or slots == 1:
            return
        allowed = os.sched_getaffinity(0)
        self.plan = make_plan(rule, read_cpus(allowed), os.cpu_count() or 1, slots)
        if self.plan.sets and not self._claim(allowed):
            self.plan = Plan((), "another engine on this node has bound its tasks to the same CPUs")

    def _claim(self, cpus: set[int]) -> bool:
        name = b"\0disbatch cpus %x" % sum(1 << cpu for cpu in cpus)
        if len(name) > 100:  # the kernel allows 108: on a node of more than 300 CPUs the ends must do
            name = name[:60] + name[-40:]
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(name)
        except OSError:
            claim.close()
            return False
        self._socket = claim
        return True


def read_cpus(allowed: set[int]) -> tuple[Cpu, ...]:
    """The topology of these CPUs; each is a core of its own on one NUMA node where the kernel does not say."""
    numa = _numa_nodes()
    core: dict[int, int] = {}
    for number in sorted(allowed):
        if number not in core:
            siblings = parse_cpus(_text(f"{CPU_FOLDER}/cpu{number}/topology/thread_siblings_list"))
            core |= dict.fromkeys({number, *siblings}, min({number, *siblings}))
    return tuple(Cpu(number, core[number], numa.get(number, 0)) for number in sorted(allowed))


def parse_cpus(text: str) -> set[int]:
    """`0-3,8` as a set; empty for anything that is no such list."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            return set()
        found.update(range(int(first), int(last or first) + 1))
    return found


def memory_kib() -> int:
    """Memory of this node, or of the control group that this process is confined to where that is less; 0: unknown."""
    limits = [_number(line.split()[1]) for line in _text("/proc/meminfo").splitlines()[:1]]
    for line in _text("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            limits += _cgroup_limits(CGROUP_FOLDER, path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _cgroup_limits(CGROUP_FOLDER + "/memory", path, "memory.limit_in_bytes")
    return min(filter(None, limits), default=0)


def _cgroup_limits(root: str, path: str, name: str) -> list[int]:
    """Of the group and all above it, in KiB; 0 where there is none."""
    parts = [part for part in path.split("/") if part]
    folders = ["/".join([root, *parts[:depth]]) for depth in range(len(parts) + 1)]
    return [_number(_text(f"{folder}/{name}")) // 1024 for folder in folders]


def _numa_nodes() -> dict[int, int]:
    nodes: dict[int, int] = {}
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = os.listdir(NUMA_FOLDER)
    for name in names:
        if name.startswith("node") and name[4:].isdigit():
            nodes |= dict.fromkeys(parse_cpus(_text(f"{NUMA_FOLDER}/{name}/cpulist")), int(name[4:]))
    return nodes


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0  # "max": no limit


def _text(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 65536).decode("ascii", "replace")  # the kernel gives such a file in one piece
    except OSError:
        return ""
    finally:
        os.close(fd)

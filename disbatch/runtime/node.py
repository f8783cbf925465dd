"""What this node has for its engine: CPUs and how they hang together, memory. Read from /proc and /sys, once.

Nothing here is worth an engine: what cannot be read is taken for unknown.
"""

import contextlib
import math
import os
from collections.abc import Iterator

from disbatch.core.binding import Cpu

CPU_FOLDER = "/sys/devices/system/cpu"
NUMA_FOLDER = "/sys/devices/system/node"
CGROUP_FOLDER = "/sys/fs/cgroup"


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
    for folder in _control_groups("memory", _text("/proc/self/cgroup"), CGROUP_FOLDER):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits.append(_number(_text(f"{folder}/{name}")) // 1024)
    return min(filter(None, limits), default=0)


def cpu_quota(membership: str | None = None, root: str = CGROUP_FOLDER) -> float:
    """Processor time that control groups grant to this process, as a number of CPUs; infinite without a limit.

    `membership` is the text of /proc/self/cgroup. Read are `cpu.max` (version 2) and `cpu.cfs_quota_us` (version 1).
    """
    quota = math.inf
    text = _text("/proc/self/cgroup") if membership is None else membership
    for folder in _control_groups("cpu", text, root):
        words = _text(f"{folder}/cpu.max").split()
        words = words or [_text(f"{folder}/cpu.cfs_{what}_us").strip() for what in ("quota", "period")]
        if len(words) == 2 and (granted := _number(words[0])) and (period := _number(words[1])):
            quota = min(quota, granted / period)
    return quota


def _control_groups(controller: str, membership: str, root: str) -> Iterator[str]:
    """The folders of the groups that bound this process: its own, and all above it, of both versions.

    A container may see its own group at the root, whatever path it is told; what is not there has no limits to be read.
    """
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        mounts = [root, f"{root}/unified"] if controllers == "" else [f"{root}/{controller}"]
        if controllers and controller not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part]
        for mount in mounts:
            for depth in range(len(parts) + 1):
                yield "/".join([mount, *parts[:depth]])


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

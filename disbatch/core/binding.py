"""Which CPUs each slot's tasks run on: topology and slots in, disjoint sets of CPUs out. Reading /sys is the shell's.

A CPU is what the kernel and Slurm count: a hardware thread. A core is one or more of them (SMT siblings). Two slots share
a core only when there are more slots than cores, and a slot lies within one NUMA node when one has room for it.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from disbatch.core.plural import counted, noun


class BindRule(NamedTuple):
    """What a context knows of the CPUs of a node.

    Binding does harm when somebody else is bound to the same CPUs: his processes and ours would crowd on them while others
    idle, which the kernel would never allow. On the nodes of a batch system that is so where it has given the job a part of the
    node and has not confined it to that part: nothing is bound there. On a machine that was named by its user, whoever comes
    second among runs is left to the kernel (`runtime.cpuclaim`), and no slot takes more than it was given.
    """

    need: int  # CPUs that a task wants, at least; 0: nothing is to be bound
    owned: int  # CPUs or cores of the node that were given to this run
    confined: (
        bool  # fewer CPUs than the node has are a sign that a batch system has set the job's own ones apart
    )


NO_BINDING = BindRule(0, 0, False)


class Surroundings(NamedTuple):
    """What an engine knows of its machine beside the CPUs: whether others there hear of its claim, and a limit of time."""

    host_lock: bool = (
        True  # there is a lock that every engine of this machine sees, also from within a container
    )
    host_network: bool = (
        True  # this is the machine's own network namespace, so names of sockets are the machine's
    )
    quota_cpus: float = math.inf  # processor time that control groups grant, as a number of CPUs


PLAIN_MACHINE = Surroundings()


class Cpu(NamedTuple):
    number: int
    core: int  # the lowest number among its SMT siblings
    numa: int


class Plan(NamedTuple):
    """`sets` has the CPUs of each slot, in order, or is empty when nothing is bound; `why` says it for the log."""

    sets: tuple[frozenset[int], ...]
    why: str

    def __str__(self) -> str:
        slots = "; ".join(",".join(map(str, sorted(cpus))) for cpus in self.sets)
        return f"{self.why}: {slots}" if slots else self.why


def make_plan(
    rule: BindRule, cpus: tuple[Cpu, ...], on_node: int, slots: int, around: Surroundings = PLAIN_MACHINE
) -> Plan:
    """Divides `cpus`, those that the engine may use, among the slots. `on_node` counts the CPUs of the whole node.

    Every slot gets the same share, at least `rule.need`, and more where fewer slots were asked for than there are
    CPUs: `-t 2` on 16 of them is meant to give each task much, not to let 14 idle.
    """
    cores = len({cpu.core for cpu in cpus})
    if rule.need == 0:
        return Plan((), "not asked for")
    if slots * rule.need > len(cpus):
        return Plan(
            (),
            f"{counted(slots, 'slot')} of {rule.need} {noun(slots, 'needs', 'need')} more than the {counted(len(cpus), 'CPU')}",
        )
    if slots == 1:
        return Plan((), "one slot has all CPUs")
    if rule.confined and len(cpus) == on_node and len(cpus) > rule.owned:
        return Plan((), f"only {rule.owned} of the {len(cpus)} CPUs belong to this run")
    if around.quota_cpus < len(cpus):
        return Plan((), f"control groups grant the time of {around.quota_cpus:g} of the {len(cpus)} CPUs")
    if not around.host_lock:
        return Plan((), "in namespaces of its own, an engine does not see who else is bound on this machine")
    whole = rule.confined or cores <= rule.owned
    most = len(cpus) // slots if whole else rule.need
    return Plan(_divide(cpus, slots, rule.need, most), "each slot has CPUs of its own")


def claims_whole_machine(cpus: int, on_node: int, around: Surroundings) -> bool:
    """Return True if a claim must exclude every other one on this machine.

    Claims of a part of the CPUs stand side by side: a batch system gives each job its own ones. Two claims of the same part
    meet in the name of a socket, but only within one network namespace.
    """
    return cpus >= on_node or not around.host_network


def _divide(cpus: tuple[Cpu, ...], slots: int, need: int, most: int) -> tuple[frozenset[int], ...]:
    """The most generous share with which every slot has whole cores on one NUMA node; else whole cores; else CPUs."""
    units = _cores(cpus)
    shares = range(most, need - 1, -1)
    for one_node in (True, False):
        for share in shares:
            found = _pack(units, slots, share, one_node=one_node)
            if found:
                return found
    # more slots than cores: siblings stand side by side in this order, so that as few cores as can be are split
    row = [cpu for group in units.values() for core in group for cpu in core]
    share = most
    return tuple(frozenset(row[i * share : (i + 1) * share]) for i in range(slots))


def _cores(cpus: tuple[Cpu, ...]) -> Mapping[int, list[list[int]]]:
    """By NUMA node the cores, each as its CPUs; everything in the order of numbers."""
    cores: dict[tuple[int, int], list[int]] = defaultdict(list)
    for cpu in sorted(cpus, key=lambda c: (c.numa, c.core, c.number)):
        cores[cpu.numa, cpu.core].append(cpu.number)
    nodes: dict[int, list[list[int]]] = defaultdict(list)
    for (numa, _), numbers in cores.items():
        nodes[numa].append(numbers)
    return nodes


def _pack(
    units: Mapping[int, list[list[int]]], slots: int, share: int, *, one_node: bool
) -> tuple[frozenset[int], ...]:
    """Whole cores with at least `share` CPUs for each slot; nothing when they do not suffice."""
    free = [list(group) for group in units.values()]
    if not one_node:
        free = [[core for group in free for core in group]]
    sets: list[frozenset[int]] = []
    for group in free:
        while len(sets) < slots and sum(map(len, group)) >= share:
            taken: list[int] = []
            while len(taken) < share:
                taken += group.pop(0)
            sets.append(frozenset(taken))
    return tuple(sets) if len(sets) == slots else ()

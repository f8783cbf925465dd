"""Which CPUs each slot gets: disjoint, whole cores, one NUMA node, and nothing where the CPUs are not the run's own."""

import contextlib
import math
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.binding import BindRule, Cpu, Surroundings, claims_whole_machine, make_plan
from disbatch.runtime.cpuclaim import MACHINE, ClaimPlace, CpuClaim
from disbatch.runtime.node import cpu_quota, parse_cpus


def machine(nodes: int, cores: int, threads: int = 1) -> tuple[Cpu, ...]:
    """CPUs numbered as Linux does: the first threads of all cores, then the second ones."""
    count = nodes * cores
    return tuple(Cpu(t * count + c, c, c // cores) for t in range(threads) for c in range(count))


def bound(cpus: tuple[Cpu, ...], slots: int, need: int = 1) -> list[set[int]]:
    plan = make_plan(BindRule(need, len(cpus), False), cpus, len(cpus), slots)
    return [set(s) for s in plan.sets]


@st.composite
def machines(draw: st.DrawFn) -> tuple[Cpu, ...]:
    """Any machine, of which the engine may use any part: cores of one thread beside cores of two or four, too."""
    cpus: list[Cpu] = []
    number = 0
    for numa in range(draw(st.integers(1, 4))):
        for threads in draw(st.lists(st.sampled_from([1, 2, 2, 4]), min_size=1, max_size=12)):
            cpus += [Cpu(number + t, number, numa) for t in range(threads)]
            number += threads
    kept = draw(st.sets(st.sampled_from(cpus), min_size=1))
    return tuple(sorted(kept))


@given(machines(), st.integers(1, 40), st.integers(1, 8))
def test_slots_never_share_a_cpu_and_have_what_they_need(
    cpus: tuple[Cpu, ...], slots: int, need: int
) -> None:
    sets = bound(cpus, slots, need)
    if slots * need > len(cpus) or slots == 1:
        assert sets == []
        return
    assert len(sets) == slots
    used = Counter(number for s in sets for number in s)
    assert set(used.values()) <= {1} and set(used) <= {cpu.number for cpu in cpus}
    assert min(map(len, sets)) >= need


@given(machines(), st.integers(2, 40), st.integers(1, 8))
def test_no_core_is_split_where_whole_ones_suffice(cpus: tuple[Cpu, ...], slots: int, need: int) -> None:
    sizes = Counter(cpu.core for cpu in cpus)
    if slots * math.ceil(need / min(sizes.values())) > len(sizes):
        return
    core_of = {cpu.number: cpu.core for cpu in cpus}
    owners: dict[int, set[int]] = {}
    for slot, numbers in enumerate(bound(cpus, slots, need)):
        for number in numbers:
            owners.setdefault(core_of[number], set()).add(slot)
    assert all(len(slots_of) == 1 for slots_of in owners.values())


@given(st.integers(1, 4), st.integers(1, 12), st.sampled_from([1, 2]), st.integers(2, 40), st.integers(1, 8))
def test_no_slot_spans_numa_nodes_where_each_fits_into_one(
    nodes: int, cores: int, threads: int, slots: int, need: int
) -> None:
    cpus = machine(nodes, cores, threads)
    if slots > nodes * (cores // math.ceil(need / threads)):
        return
    numa = {cpu.number: cpu.numa for cpu in cpus}
    assert all(len({numa[number] for number in s}) == 1 for s in bound(cpus, slots, need))


def test_siblings_stay_together() -> None:
    assert bound(machine(1, 4, 2), 4) == [{0, 4}, {1, 5}, {2, 6}, {3, 7}]
    assert bound(machine(1, 4, 2), 4, 2) == [{0, 4}, {1, 5}, {2, 6}, {3, 7}]
    assert bound(machine(1, 4, 2), 2, 3) == [{0, 1, 4, 5}, {2, 3, 6, 7}]


def test_with_more_slots_than_cores_siblings_are_divided() -> None:
    assert bound(machine(1, 2, 2), 4) == [{0}, {2}, {1}, {3}]


def test_fewer_slots_get_all_there_is() -> None:
    assert bound(machine(2, 4), 2) == [{0, 1, 2, 3}, {4, 5, 6, 7}]
    assert bound(machine(1, 8), 3) == [{0, 1}, {2, 3}, {4, 5}]


def test_a_slot_that_fits_nowhere_spans_nodes() -> None:
    assert bound(machine(2, 3), 3, 2) == [{0, 1}, {2, 3}, {4, 5}]


EIGHT = machine(1, 4, 2)


@pytest.mark.parametrize(
    ("rule", "on_node", "slots", "binds"),
    [
        (BindRule(1, 8, False), 8, 4, True),  # all CPUs of the host
        (BindRule(1, 4, False), 8, 4, True),  # all its cores
        (BindRule(1, 3, False), 8, 3, True),  # a part of the host
        (
            BindRule(1, 4, True),
            8,
            4,
            False,
        ),  # a batch system that confines nobody: others have the other half
        (BindRule(1, 4, True), 16, 4, True),  # it has confined this job
        (BindRule(1, 8, True), 8, 4, True),  # the job has the node
        (BindRule(0, 8, False), 8, 4, False),  # --no-bind, or -c below 1
        (BindRule(3, 9, False), 8, 3, False),  # more than there is
        (BindRule(1, 8, False), 8, 1, False),  # nothing to divide
    ],
)
def test_where_slots_are_bound(rule: BindRule, on_node: int, slots: int, binds: bool) -> None:
    assert bool(make_plan(rule, EIGHT, on_node, slots).sets) == binds


def test_the_plan_says_what_it_is() -> None:
    assert str(make_plan(BindRule(1, 4, False), machine(1, 4), 4, 2)).endswith(": 0,1; 2,3")
    assert "only 4 of the 8" in str(make_plan(BindRule(1, 4, True), EIGHT, 8, 2))


def test_a_part_of_a_host_is_not_exceeded() -> None:
    """`-s host:2` on eight cores leaves six of them to others; all eight would be divided whole."""
    assert str(make_plan(BindRule(1, 2, False), machine(1, 8), 8, 2)).endswith(": 0; 1")
    assert str(make_plan(BindRule(2, 4, False), machine(1, 8), 8, 2)).endswith(": 0,1; 2,3")
    assert str(make_plan(BindRule(1, 8, False), machine(1, 8), 8, 2)).endswith(": 0,1,2,3; 4,5,6,7")


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3,8\n", {0, 1, 2, 3, 8}), ("5", {5}), ("", set()), ("x-y", set()), ("1-x", set())]
)
def test_lists_of_cpus(text: str, cpus: set[int]) -> None:
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize(
    ("around", "why"),
    [
        (Surroundings(), "each slot"),
        (Surroundings(quota_cpus=8.0), "each slot"),  # the time of all of them
        (Surroundings(quota_cpus=7.5), "control groups grant the time of 7.5 of the 8 CPUs"),
        (Surroundings(host_lock=False), "in namespaces of its own"),
        (Surroundings(host_network=False), "each slot"),  # the lock is enough
    ],
)
def test_nothing_is_bound_where_others_may_not_be_seen(around: Surroundings, why: str) -> None:
    plan = make_plan(BindRule(1, 8, False), EIGHT, 8, 4, around)
    assert plan.why.startswith(why) and bool(plan.sets) == (why == "each slot")


def test_claims_of_parts_stand_side_by_side_only_where_their_names_meet() -> None:
    assert claims_whole_machine(8, 8, Surroundings())
    assert not claims_whole_machine(4, 8, Surroundings())
    assert claims_whole_machine(4, 8, Surroundings(host_network=False))


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/docker/id\n", {"cpu.max": "50000 100000\n"}, 0.5),  # a container sees its own group at the root
        ("1:cpu,cpuacct:/a\n0::/\n", {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1\n"}, math.inf),
        (
            "1:cpu:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "400000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            4.0,
        ),
        ("1:cpuset:/a\n", {"cpuset/a/cpu.max": "50000 100000\n"}, math.inf),
    ],
)
def test_the_quota_of_control_groups(
    tmp_path: Path, membership: str, files: dict[str, str], quota: float
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cpu_quota(membership, str(tmp_path)) == quota


def place(path: Path, inode: int | None = None) -> ClaimPlace:
    number = path.stat().st_ino if inode is None else inode
    return ClaimPlace(((str(path) + ".none", 1), (str(path), number)), b"\0disbatch test %d " % number, "/")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU cannot be divided")
@pytest.mark.skipif(cpu_quota() < len(os.sched_getaffinity(0)), reason="a quota is in force here")
def test_one_claim_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    slots = len(os.sched_getaffinity(0))
    rule = BindRule(1, slots, False)
    with contextlib.closing(CpuClaim(rule, slots, place(path))) as first:
        assert len(first.plan.sets) == slots
        # from another network namespace, where the name of the socket would be free
        elsewhere = place(path)._replace(names=b"\0disbatch other %d" % path.stat().st_ino)
        second = CpuClaim(rule, slots, elsewhere)
        assert second.plan.sets == () and "another engine on this machine" in second.plan.why
    with contextlib.closing(CpuClaim(rule, slots, place(path))) as third:
        assert len(third.plan.sets) == slots
    assert "in namespaces" in CpuClaim(rule, slots, place(path, inode=1)).plan.why


def test_the_machines_lock_is_a_namespace_that_all_share() -> None:
    """With these numbers since Linux has them; `ls -i` on a machine, not in a container, shows them."""
    assert MACHINE.locks == (("/proc/self/ns/time", 4026531834), ("/proc/self/ns/user", 4026531837))

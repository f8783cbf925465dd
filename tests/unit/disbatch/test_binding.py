"""Which CPUs each slot gets: disjoint, whole cores, one NUMA node, and nothing where the CPUs are not the run's own."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.binding import BindRule, Cpu, make_plan
from disbatch.runtime.node import parse_cpus


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

"""Hosts and slots: tables of what `-s`, `-c` and `-t` give, and what is refused in which words."""

from fractions import Fraction

import pytest

from disbatch.contexts.base import NodeShare, allocate
from disbatch.contexts.ssh import parse_hosts
from disbatch.core.errors import UsageError


@pytest.mark.parametrize(
    ("texts", "hosts"),
    [
        (["localhost:4"], [("localhost", 4)]),
        (["localhost:7,otherhost:3"], [("localhost", 7), ("otherhost", 3)]),
        (["a:1", "b:2"], [("a", 1), ("b", 2)]),
        (["a:1,b:2", "a:3"], [("a", 4), ("b", 2)]),
        (["a:1,a:1"], [("a", 2)]),
        ([" a:1 , b:2 "], [("a", 1), ("b", 2)]),
        (["user@host.example.org:12"], [("user@host.example.org", 12)]),
        (["fe80::1:4"], [("fe80::1", 4)]),
    ],
)
def test_hosts(texts: list[str], hosts: list[tuple[str, int]]) -> None:
    assert [(share.name, share.cores) for share in parse_hosts(texts, "-s")] == hosts


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("localhost", "localhost"),
        ("localhost:0", "localhost:0"),
        ("h:abc", "h:abc"),
        ("h:-1", "h:-1"),
        ("a:1,h:1.5", "h:1.5"),
        ("h:", "h:"),
        (":4", ":4"),
        ("a:1,,b:1", ""),
        ("", ""),
        ("a:1,", ""),
        ("h:99999999999999999999999", "h:99999999999999999999999"),
        ("h:٣", "h:٣"),
        ("h:²", "h:²"),
        ("-oProxyCommand=x:4", "-oProxyCommand=x:4"),
        ("a b:4", "a b:4"),
    ],
)
def test_a_wrong_item_is_quoted(text: str, item: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_hosts([text], "DISBATCH_SSH_NODELIST")
    assert repr(item) in str(caught.value)
    assert "DISBATCH_SSH_NODELIST" in str(caught.value)
    assert "\n" not in str(caught.value)


def shares(*cores: int) -> list[NodeShare]:
    return [NodeShare(f"n{i}", count) for i, count in enumerate(cores)]


@pytest.mark.parametrize(
    ("cores", "per_task", "at_most", "slots", "told"),
    [
        (4, "1", None, 4, 1),
        (4, "2", None, 2, 2),
        (5, "2", None, 2, 2),
        (4, "0.5", None, 8, 1),
        (4, "1/3", None, 12, 1),
        (3, "1.5", None, 2, 1),
        (1, "0.1", None, 10, 1),
        (3, "0.1", None, 30, 1),
        (4, "1", 2, 2, 1),
        (4, "1", 4, 4, 1),
        (10, "2.5", None, 4, 2),
    ],
)
def test_slots(cores: int, per_task: str, at_most: int | None, slots: int, told: int) -> None:
    allocation = allocate(shares(cores), Fraction(per_task), at_most)
    (node,) = allocation.nodes
    assert (node.name, node.slots, node.cores, node.cores_per_task) == ("n0", slots, cores, told)
    assert allocation.warnings == ()


@pytest.mark.parametrize(
    ("cores", "at_most", "slots", "told"),
    [(16, 4, 4, 4), (16, 1, 1, 16), (10, 4, 4, 2), (4, 4, 4, 1), (4, 9, 4, 1), (4, None, 4, 1)],
)
def test_t_alone_divides_the_cores(cores: int, at_most: int | None, slots: int, told: int) -> None:
    allocation = allocate(shares(cores), None, at_most, bind=True)
    (node,) = allocation.nodes
    assert (node.slots, node.cores_per_task, node.bind.need) == (slots, told, told)
    assert bool(allocation.warnings) == ((at_most or 0) > cores)


def test_more_tasks_than_fit_are_cut_with_a_warning() -> None:
    allocation = allocate(shares(4, 8), Fraction(2), 3)
    assert [node.slots for node in allocation.nodes] == [2, 3]
    (warning,) = allocation.warnings
    assert "n0" in warning and "-t 3" in warning and "2" in warning


def test_a_warning_for_many_nodes_is_one_warning() -> None:
    (warning,) = allocate(shares(*[2] * 100), Fraction(1), 3).warnings
    assert warning.startswith("n0, n1, n2 and 97 more nodes: -t 3 is more than 2 cores")


def test_no_slot_anywhere_is_an_error_that_shows_the_arithmetic() -> None:
    with pytest.raises(UsageError) as caught:
        allocate(shares(1, 2), Fraction("2.5"), None)
    for part in ("n0", "1 core ", "n1", "2 cores", "2.5"):
        assert part in str(caught.value)


def test_nodes_without_a_slot_are_named_and_skipped() -> None:
    allocation = allocate(shares(1, 4, 1), Fraction(2), None)
    assert [node.name for node in allocation.nodes] == ["n1"]
    (warning,) = allocation.warnings
    assert "n0" in warning and "n2" in warning and "n1" not in warning

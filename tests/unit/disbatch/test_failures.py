"""Failures grouped by exit code and last error line, in bounded memory."""

import pytest

from disbatch.core.failures import MAX_GROUPS, FailureGroup, FailureGroups, last_line


def test_three_causes_not_three_thousand_rows() -> None:
    groups = FailureGroups()
    for task_id in range(3000):
        groups.add(task_id, *[(1, "a\nno such file\n"), (1, "killed"), (2, "killed")][task_id % 3])
    groups.add(5000, 2, "x\nkilled")
    assert groups.largest() == [
        FailureGroup(2, "killed", 1001, 2),
        FailureGroup(1, "no such file", 1000, 0),
        FailureGroup(1, "killed", 1000, 1),
    ]


def test_memory_is_bounded_when_every_message_differs() -> None:
    groups = FailureGroups()
    for task_id in range(MAX_GROUPS + 500):
        groups.add(task_id, 1, f"pid {task_id}")
    found = groups.largest()
    assert len(found) == MAX_GROUPS + 1
    assert sum(group.count for group in found) == MAX_GROUPS + 500
    assert found[0].count == 500


@pytest.mark.parametrize(
    ("snippet", "line"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one", "one"),
        ("one\ntwo\n\n", "two"),
        ("one\r\ntwo\r\n", "two"),
        ("a\x1b[31mred\x07", "a?[31mred?"),
    ],
)
def test_last_line(snippet: str, line: str) -> None:
    assert last_line(snippet) == line


def test_a_long_last_line_is_cut_to_a_terminal() -> None:
    assert len(last_line("x" * 500)) <= 80

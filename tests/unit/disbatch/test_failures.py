"""Failures grouped by exit code and last error line, in bounded memory."""

import pytest

from disbatch.core.failures import MAX_GROUPS, FailureGroup, FailureGroups, cause_of, last_line

LETTERS = str.maketrans("0123456789", "abcdefghij")


def test_three_causes_not_three_thousand_rows() -> None:
    groups = FailureGroups()
    for task_id in range(3000):
        groups.add(task_id, *[(1, "a\nno such file\n"), (1, "killed"), (2, "killed")][task_id % 3])
    groups.add(5000, 2, "x\nkilled")
    assert groups.largest() == [
        FailureGroup(2, "killed", 1001, 2, "killed"),
        FailureGroup(1, "no such file", 1000, 0, "no such file"),
        FailureGroup(1, "killed", 1000, 1, "killed"),
    ]


def test_numbers_make_no_other_cause_and_the_example_keeps_its_own() -> None:
    groups = FailureGroups()
    for number in (7, 12345, 9):
        groups.add(number, 2, f"pid {number}: cannot open /scratch/{'long/' * 20}{number}.dat")
    [group] = groups.largest()
    assert (group.count, group.task_id) == (3, 7) and group.last_line.endswith("long/7.dat")
    assert group.cause == cause_of(f"pid 1: cannot open /scratch/{'long/' * 20}123.dat")
    assert group.cause == cause_of(group.cause)


def test_memory_is_bounded_when_every_message_differs() -> None:
    groups = FailureGroups()
    for task_id in range(MAX_GROUPS + 500):
        groups.add(task_id, 1, f"pid {task_id}".translate(LETTERS))
    found = groups.largest()
    assert len(found) == MAX_GROUPS + 1
    assert sum(group.count for group in found) == MAX_GROUPS + 500
    assert found[0].count == 500


def snippet_of(text: str) -> str:
    """As an engine keeps it."""
    data = text.encode()
    kept = data if len(data) <= 40 else data[:40] + b"..." + data[40:][-40:]
    return kept.decode("utf-8", "replace")


def test_of_a_short_message_nothing_is_left_out() -> None:
    for text in (
        "x" * 40,
        "x" * 41,
        "mé" * 20,
        "cannot open /scratch/reads/5.fastq: No such file or directory",
    ):
        assert last_line(snippet_of(text + "\n")) == text
    assert (
        last_line(snippet_of("Traceback (most recent call last):\nMemoryError: of 21"))
        == "MemoryError: of 21"
    )
    assert "..." in last_line(snippet_of("x" * 80))  # it cannot be told from a longer one


@pytest.mark.parametrize(
    "tail", ["No such file or directory", "No such file or directory, code {n}, of the many there are"]
)
def test_a_gap_that_moves_with_a_number_makes_no_other_cause(tail: str) -> None:
    lines = [
        f"cannot open /scratch/reads/{n}.fastq in step {n}: {tail}".format(n=n) for n in (1, 22, 333, 4444)
    ]
    assert len({cause_of(snippet_of(line)) for line in lines}) == 1
    assert cause_of(snippet_of(lines[0])) != cause_of(
        snippet_of(lines[0].replace("dir", "my dir").replace("many", "few"))
    )


@pytest.mark.parametrize(
    ("snippet", "line"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one", "one"),
        ("one\ntwo\n\n", "two"),
        ("one\r\ntwo\r\n", "two"),
        ("a\x1b[31mred\x07", "a\\x1b[31mred\\x07"),
    ],
)
def test_last_line(snippet: str, line: str) -> None:
    assert last_line(snippet) == line


def test_a_long_last_line_is_cut_to_a_terminal() -> None:
    assert len(last_line("x" * 500)) <= 80

"""A cause is what the last lines of many failures have in common: whoever masks it again gets the same cause."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from report_builders import report_of, row, write

from disbatch.core.failures import FailureGroups, cause_of, last_line
from disbatch.core.printable import is_plain
from disbatch.core.status import SNIPPET_END

LONG = "RuntimeError: the solver did not converge within the maximum number of iterations (10000)"
PARTS = st.sampled_from(
    ["...", "....", "…", "..", "0", "12", "12345", " ", "\n", "\r", "\x1b[2J", "\u202e", "\u2028", "\x85", "\xa0", "é", "[/]", "x" * 30]
)  # fmt: skip
MESSAGES = st.lists(PARTS | st.text(max_size=12), max_size=25).map("".join)


def snippet_of(text: str) -> str:
    """As an engine keeps it: both ends, and a gap between them."""
    data = text.encode("utf-8", "replace")
    kept = (
        data if len(data) <= SNIPPET_END else data[:SNIPPET_END] + b"..." + data[SNIPPET_END:][-SNIPPET_END:]
    )
    return kept.decode("utf-8", "replace")


@given(MESSAGES)
@example(LONG)
@example("x" * 38 + "1 2...3" + "y" * 60)
@example("a 1 b...c 2 d...e 3 " * 9)
def test_masking_a_masked_cause_changes_nothing(message: str) -> None:
    for snippet in (message, snippet_of(message)):
        cause = cause_of(snippet)
        assert cause_of(cause) == cause and is_plain(cause) and len(cause) <= 72
        assert is_plain(last_line(snippet))


@given(st.lists(MESSAGES, max_size=6))
def test_a_group_is_found_under_its_cause(messages: list[str]) -> None:
    groups, again = FailureGroups(), FailureGroups()
    for number, message in enumerate(messages):
        groups.add(number, 1, snippet_of(message))
        again.add_cause(number, 1, cause_of(snippet_of(message)))
    assert [(g.count, g.cause) for g in groups.largest()] == [(g.count, g.cause) for g in again.largest()]


@pytest.mark.parametrize("tail", ["", " of run...ning 3", "....", " [/] \u202e\x1b[2J\u2028" + "w" * 10_000])
def test_the_report_of_a_message_longer_than_its_two_ends(tmp_path: Path, tail: str) -> None:
    rows = [row(n, 0, 1, code=1, err=snippet_of(LONG.replace("10000", str(10**n)) + tail)) for n in range(4)]
    [line] = report_of(write(tmp_path / "run_status.txt", *rows)).failures
    assert (line.count, line.nodes) == (4, 1) and is_plain(line.message)

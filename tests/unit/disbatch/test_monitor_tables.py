"""The monitor's tables as values: what fits, sorting, filtering, cells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_builders import GIB, context, engine, failure, running, snapshot

from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.tables import (
    CONTEXTS,
    ENGINES,
    FAILURES,
    MAX_ROWS,
    PADDING,
    TABLES,
    TASKS,
    Choice,
    Table,
    arrange,
    cut,
    first_choice,
    fitting,
    matches,
    sort_by,
    sort_by_next,
    widths,
)


def order_of(table: Table, snapshot: RunSnapshot, choice: Choice) -> list[str]:
    return arrange(table, snapshot, choice, 200).keys


def test_engines_come_by_rank_and_tasks_by_how_long_they_run() -> None:
    s = snapshot(
        engines=(engine(2), engine(0), engine(10)), tasks=(running(1, seconds=1), running(2, seconds=9))
    )
    assert order_of(ENGINES, s, first_choice(ENGINES)) == ["0", "2", "10"]
    assert order_of(TASKS, s, first_choice(TASKS)) == ["2", "1"]


def test_failures_come_as_they_are_the_newest_first() -> None:
    s = snapshot(failures=(failure(3), failure(9), failure(1)))
    assert order_of(FAILURES, s, first_choice(FAILURES)) == ["3", "9", "1"]


def test_sorting_by_a_column_and_again() -> None:
    s = snapshot(engines=(engine(0, failed=2), engine(1, failed=7), engine(2, failed=0)))
    choice = first_choice(ENGINES)
    sort_by(ENGINES, choice, "Failed")
    assert order_of(ENGINES, s, choice) == ["1", "0", "2"]  # the greatest first
    sort_by(ENGINES, choice, "Failed")
    assert order_of(ENGINES, s, choice) == ["2", "0", "1"]
    sort_by(ENGINES, choice, "Node")
    assert order_of(ENGINES, s, choice) == ["0", "1", "2"]
    sort_by(ENGINES, choice, "no such column")
    assert choice.order == "Node"


def test_sorting_goes_round_the_columns_that_are_shown() -> None:
    choice = first_choice(ENGINES)
    columns = fitting(ENGINES.columns, 50)
    seen = []
    for _ in range(len(columns)):
        sort_by_next(ENGINES, columns, choice)
        seen.append(choice.order)
    assert seen == [*[c.title for c in columns][1:], "#"]


def test_what_is_not_known_is_sorted_too() -> None:
    s = snapshot(
        engines=(engine(0, load=None, silent_s=None, mem_total_kib=None), engine(1), engine(2, load=9.0))
    )
    for title in ("Load", "Heard", "Memory"):
        choice = first_choice(ENGINES)
        sort_by(ENGINES, choice, title)
        assert order_of(ENGINES, s, choice)[-1] == "0"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", [0, 1, 2]),
        ("gpu", [2]),
        ("GPU", [2]),
        ("running node", [0, 1]),
        ("lost", [2]),
        ("nothing", []),
        ("  ", [0, 1, 2]),
    ],
)
def test_a_filter_wants_each_of_its_words_somewhere(words: str, found: list[int]) -> None:
    s = snapshot(engines=(engine(0), engine(1), engine(2, "gpu7", state="LOST", context="nodes")))
    made = arrange(ENGINES, s, Choice("#", False, words), 200)
    assert made.keys == [str(rank) for rank in found]
    assert (made.matching, made.of) == (len(found), 3)


def test_a_filter_finds_what_is_in_a_column_that_does_not_fit() -> None:
    s = snapshot(engines=(engine(0, context="FAR"), engine(1)))
    made = arrange(ENGINES, s, Choice("#", False, "far"), 40)
    assert made.keys == ["0"] and "Context" not in [c.title for c in made.columns]


def test_a_great_many_rows_are_cut_after_sorting() -> None:
    s = snapshot(engines=tuple(engine(rank, finished=rank) for rank in range(MAX_ROWS + 5)))
    choice = first_choice(ENGINES)
    sort_by(ENGINES, choice, "Ended")
    made = arrange(ENGINES, s, choice, 80)
    assert len(made.rows) == MAX_ROWS and made.keys[0] == str(MAX_ROWS + 4)
    assert (made.matching, made.of) == (MAX_ROWS + 5, MAX_ROWS + 5)


@given(st.sampled_from(TABLES), st.integers(1, 300))
def test_columns_fit_or_only_the_necessary_ones_are_left(table: Table, width: int) -> None:
    columns = fitting(table.columns, width)
    taken = sum(widths(columns, width)) + PADDING * len(columns)
    assert columns and (taken <= width or all(c.need == 0 for c in columns))
    assert [c for c in table.columns if c in columns] == list(columns)
    if any(c.grows for c in columns):
        assert taken >= width


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_the_necessary_columns_fit_into_80(table: Table) -> None:
    assert sum(c.width + PADDING for c in table.columns if c.need == 0) <= 78
    assert fitting(table.columns, 200) == table.columns
    assert all(len(c.title) < c.width for c in table.columns)  # there is room for the mark of the order


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_every_cell_is_text_that_leaves_the_cursor_where_it_is(table: Table) -> None:
    nasty = "a\tb\n\x1b[31mc\r"
    s = snapshot(
        engines=(engine(0, nasty, context=nasty),),
        contexts=(context(nasty),),
        tasks=(running(1, command=nasty),),
        failures=(failure(1, error=nasty)._replace(command=nasty),),
    )
    for row in table.rows(s):
        assert all(column.cell(row).isprintable() for column in table.columns)
        assert all(column.key(row) is not None for column in table.columns)


def test_cells_of_an_engine() -> None:
    cells = {c.title: c.cell(engine(3, "n3", busy=3, mem_used_kib=GIB // 2)) for c in ENGINES.columns}
    assert cells == {
        "#": "3", "Node": "n3", "Context": "SSH0", "State": "running", "Busy": "3/4", "Given": "15", "Ended": "10",
        "Failed": "1", "Heard": "2s", "Load": "1.5/16", "Memory": "0.5/64G",
    }  # fmt: skip


def test_cells_of_a_context() -> None:
    limit = next(c for c in CONTEXTS.columns if c.title == "Limit")
    assert limit.cell(context()) == "–" and limit.cell(context(limit=5000)) == "5,000"


def test_matches_needs_no_words() -> None:
    assert matches(TASKS, running(), "")


def test_cut() -> None:
    assert cut("abcdef", 6) == "abcdef" and cut("abcdefg", 6) == "abcde…" and cut("ab", 0) == "…"

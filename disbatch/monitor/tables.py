"""The tables of the monitor as values: columns, cells, what fits, sorting, filtering. Pure; drawn elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from disbatch.core.failures import MAX_RECENT
from disbatch.core.printable import printable
from disbatch.core.snapshot import MAX_RUNNING, ContextView, EngineView, FailureView, RunningView, RunSnapshot
from disbatch.monitor.progress import clock
from disbatch.monitor.words import ago, count, duration, exit_word, load, memory

MAX_ROWS = 1000  # drawn of one table; a filter finds the others
PADDING = 2  # blanks that a cell has around it

Row = Any  # one of the rows of a snapshot: each table knows its own


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    width: int  # that it has at least
    cell: Callable[[Row], str]
    key: Callable[[Row], Any]  # by which rows are sorted
    need: int = 0  # columns with the highest go first where there is no room for all
    falls: bool = False  # the greatest first, when it is sorted by for the first time
    right: bool = False
    grows: bool = False  # takes a share of what is left


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    title: str
    rows: Callable[[RunSnapshot], Sequence[Row]]
    row_key: Callable[[Row], str]
    columns: tuple[Column, ...]
    order: str  # the column that it is sorted by at first; nothing: as it comes
    empty: str  # said instead of rows
    most: int = 0  # rows that a snapshot has at most; 0: all that there are
    bound: str = ""  # said of them then

    def column(self, title: str) -> Column | None:
        return next((c for c in self.columns if c.title == title), None)


@dataclass(slots=True)
class Choice:
    """How somebody wants to see a table."""

    order: str
    falls: bool = False
    words: str = ""


@dataclass(frozen=True, slots=True)
class Arranged:
    """A table as it is to be drawn."""

    columns: tuple[Column, ...]
    rows: list[Row]
    matching: int  # rows that the filter lets through
    of: int  # all rows
    keys: list[str] = field(default_factory=list)


def first_choice(table: Table) -> Choice:
    column = table.column(table.order)
    return Choice(table.order, column.falls if column else False)


def sort_by(table: Table, choice: Choice, title: str) -> None:
    """Sorts by this column; by the same again: the other way round."""
    column = table.column(title)
    if column is None:
        return
    choice.falls = not choice.falls if choice.order == title else column.falls
    choice.order = title


def sort_by_next(table: Table, columns: Sequence[Column], choice: Choice) -> None:
    """Sorts by the column to the right of the present one, of those that are shown."""
    titles = [c.title for c in columns]
    at = titles.index(choice.order) + 1 if choice.order in titles else 0
    sort_by(table, choice, titles[at % len(titles)])


def arrange(table: Table, snapshot: RunSnapshot, choice: Choice, width: int) -> Arranged:
    """What is drawn in so many characters."""
    rows = table.rows(snapshot)
    columns = fitting(table.columns, width)
    matching = [row for row in rows if matches(table, row, choice.words)]
    column = table.column(choice.order)
    if column is not None:
        matching.sort(key=column.key, reverse=choice.falls)
    shown = matching[:MAX_ROWS]
    return Arranged(columns, shown, len(matching), len(rows), [table.row_key(row) for row in shown])


def matches(table: Table, row: Row, words: str) -> bool:
    """Whether each word stands in some cell, whatever its case, also in one that is not shown."""
    if not words:
        return True
    text = "\n".join(column.cell(row) for column in table.columns).lower()
    return all(word in text for word in words.lower().split())


def fitting(columns: Sequence[Column], width: int) -> tuple[Column, ...]:
    """The columns that there is room for, in their order; those that are always shown may be cut."""
    kept = list(columns)
    while len(kept) > 1 and sum(c.width + PADDING for c in kept) > width:
        neediest = max(c.need for c in kept)
        if neediest == 0:
            break
        kept.remove(next(c for c in reversed(kept) if c.need == neediest))
    return tuple(kept)


def widths(columns: Sequence[Column], width: int) -> list[int]:
    """Of the cells, where so many characters are to be filled."""
    taken = [c.width for c in columns]
    growing = [n for n, c in enumerate(columns) if c.grows]
    left = max(0, width - sum(taken) - PADDING * len(taken))
    for place, n in enumerate(growing):
        taken[n] += left // len(growing) + (place < left % len(growing))
    return taken


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _number(title: str, width: int, value: Callable[[Row], int], need: int = 0) -> Column:
    return Column(title, width, lambda row: count(value(row)), value, need, True, True)


def _known(value: float | None) -> tuple[bool, float]:
    """Sorts what is not known to one end."""
    return (value is not None, value or 0.0)


def _share(used: int | None, total: int | None) -> float | None:
    return used / total if used is not None and total else None


ENGINES = Table(
    "engines",
    "Engines",
    lambda s: s.engines,
    lambda e: str(e.rank),
    (
        Column("#", 4, lambda e: str(e.rank), lambda e: e.rank, right=True),
        Column("Node", 14, lambda e: printable(e.node), lambda e: e.node),
        Column("Context", 10, lambda e: printable(e.context), lambda e: e.context, need=4),
        Column("State", 8, lambda e: e.state.lower(), lambda e: e.state, need=1),
        Column("Busy", 7, lambda e: f"{e.busy}/{e.slots}", lambda e: e.busy, falls=True, right=True),
        _number("Given", 7, lambda e: e.assigned, need=5),
        _number("Ended", 7, lambda e: e.finished),
        _number("Failed", 7, lambda e: e.failed),
        Column("Heard", 6, lambda e: ago(e.silent_s), lambda e: _known(e.silent_s), 2, True, True),
        Column("Load", 8, lambda e: load(e.load, e.cpus), lambda e: _known(e.load), 2, True, True),
        Column(
            "Memory",
            9,
            lambda e: memory(e.mem_used_kib, e.mem_total_kib),
            lambda e: _known(_share(e.mem_used_kib, e.mem_total_kib)),
            3,
            True,
            True,
        ),
    ),
    "#",
    "no engine has been started yet",
)

CONTEXTS = Table(
    "contexts",
    "Contexts",
    lambda s: s.contexts,
    lambda c: str(c.label),
    (
        Column("Context", 14, lambda c: printable(c.label), lambda c: c.label),
        Column("State", 8, lambda c: c.state.lower(), lambda c: c.state),
        _number("Engines", 8, lambda c: c.engines),
        Column("Busy", 9, lambda c: f"{c.busy}/{c.slots}", lambda c: c.busy, falls=True, right=True),
        _number("Given", 8, lambda c: c.assigned, need=2),
        _number("Ended", 8, lambda c: c.finished),
        _number("Failed", 7, lambda c: c.failed),
        Column(
            "Limit",
            8,
            lambda c: "–" if c.limit is None else count(c.limit),
            lambda c: _known(c.limit),
            1,
            True,
            True,
        ),
    ),
    "",
    "there is no context yet",
)

TASKS = Table(
    "tasks",
    "Running",
    lambda s: s.tasks,
    lambda t: str(t.task_id),
    (
        Column("Task", 8, lambda t: str(t.task_id), lambda t: t.task_id, right=True),
        Column("Line", 8, lambda t: str(t.line_no), lambda t: t.line_no, 2, right=True),
        Column("Node", 14, lambda t: printable(t.node), lambda t: t.node, 1),
        Column("For", 8, lambda t: clock(t.seconds), lambda t: t.seconds, falls=True, right=True),
        Column("Command", 24, lambda t: printable(t.command), lambda t: t.command, grows=True),
    ),
    "For",
    "no task is running",
    MAX_RUNNING,
    f"the {MAX_RUNNING} that have been running longest",
)

FAILURES = Table(
    "failures",
    "Failures",
    lambda s: s.failures,
    lambda f: str(f.task_id),
    (
        Column("Task", 8, lambda f: str(f.task_id), lambda f: f.task_id, right=True),
        Column("Node", 14, lambda f: printable(f.node), lambda f: f.node, 2),
        Column("Exit", 7, lambda f: exit_word(f.returncode), lambda f: f.returncode, right=True),
        Column("After", 7, lambda f: duration(f.elapsed_s), lambda f: f.elapsed_s, 3, True, True),
        Column("Error", 28, lambda f: printable(f.error) or "–", lambda f: f.error, grows=True),
        Column("Command", 20, lambda f: printable(f.command), lambda f: f.command, 1, grows=True),
    ),
    "",
    "no task has failed",
    MAX_RECENT,
    f"the last {MAX_RECENT}; the status file has all",
)

TABLES = (ENGINES, TASKS, FAILURES, CONTEXTS)


def context_of(row: ContextView | EngineView) -> str:
    return row.context if isinstance(row, EngineView) else row.label


def tasks_of(snapshot: RunSnapshot, rank: int) -> list[RunningView]:
    """What runs on an engine, as far as it is among the rows of the snapshot."""
    return [task for task in snapshot.tasks if task.rank == rank]


def failures_of(snapshot: RunSnapshot, rank: int) -> list[FailureView]:
    return [failure for failure in snapshot.failures if failure.rank == rank]

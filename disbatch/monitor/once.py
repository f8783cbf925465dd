"""A snapshot as plain text, for where there is no terminal. Pure."""

from disbatch.core.printable import printable
from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.headline import figures, share, state_of, throughput
from disbatch.monitor.progress import clock
from disbatch.monitor.tables import (
    CONTEXTS,
    ENGINES,
    FAILURES,
    TABLES,
    TASKS,
    Column,
    Table,
    arrange,
    cut,
    first_choice,
    widths,
)
from disbatch.monitor.words import bars, rate

SHOWN_ROWS = {ENGINES.name: 40, TASKS.name: 20, FAILURES.name: 10, CONTEXTS.name: 10}
BAR_WIDTH = 40


def page(snapshot: RunSnapshot, title: str, width: int) -> str:
    """All of it, lines of so many characters at most."""
    lines = [f"{printable(title)}: {state_of(snapshot).text}, {clock(snapshot.elapsed_s)}"]
    done = share(snapshot)
    if done is not None:
        filled = round(done * BAR_WIDTH)
        total = f"{snapshot.finished:,} of {snapshot.total:,} tasks finished"
        lines.append(f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done:.0%}  {total}")
    lines.append("  ".join(word.text for word in figures(snapshot)))
    rates = throughput(snapshot.history, BAR_WIDTH)
    if rates:
        lines.append(f"{bars(rates)[0]} up to {rate(max(rates))}")
    for table in TABLES:
        if table.rows(snapshot):
            lines += ["", *_table(table, snapshot, width)]
    return "\n".join(line.rstrip() for line in lines)


def _table(table: Table, snapshot: RunSnapshot, width: int) -> list[str]:
    made = arrange(table, snapshot, first_choice(table), width)
    sizes = widths(made.columns, width)
    lines = [f"{table.title} ({made.of:,})"]
    lines.append(_line([c.title for c in made.columns], made.columns, sizes))
    shown = made.rows[: SHOWN_ROWS[table.name]]
    lines += [_line([c.cell(row) for c in made.columns], made.columns, sizes) for row in shown]
    if len(shown) < made.of:
        lines.append(f"… and {made.of - len(shown):,} more")
    return lines


def _line(cells: list[str], columns: tuple[Column, ...], sizes: list[int]) -> str:
    parts = []
    for text, column, size in zip(cells, columns, sizes, strict=True):
        kept = cut(text, size)
        parts.append(kept.rjust(size) if column.right else kept.ljust(size))
    return "  ".join(parts)

"""The report as text: tables on a terminal, the same without colours and lines anywhere else."""

from collections.abc import Sequence
from typing import IO, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from disbatch.core.printable import printable
from disbatch.report.model import CoreTime, NodeFigures, Report, RunFigures, TaskLine, Usage
from disbatch.report.words import bounded, core_hours, count, period, share, size, span

MOST_CHARS = 22  # of a node's name and the like, which a terminal of 80 columns has to hold beside a command
SHOWN_NODES = 20  # a terminal page; --json and the page have all
Column = tuple[str, str]  # heading and justification; "cut" is a column that takes the rest and may be cut


def print_report(report: Report, stream: IO[str], top: int) -> None:
    """Writes everything; as wide as the terminal, or as COLUMNS says, or 80."""
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        _Printer(console, top).report(report)
        return
    with console.capture() as captured:
        _Printer(console, top).report(report)
    stream.writelines(line.rstrip() + "\n" for line in captured.get().splitlines())


class _Printer:
    def __init__(self, console: Console, top: int) -> None:
        self.console = console
        self.top = top
        self.box = box.SIMPLE_HEAD if console.is_terminal else None

    def report(self, r: Report) -> None:
        for note in r.notes:
            self.console.print(_text(f"Note: {note}", "yellow"))
        self._head(r)
        if r.durations:
            self._figures(r)
        self._failures(r)
        self._longest(r.longest)
        self._nodes(r.nodes)
        if len(r.runs) > 1:
            self._runs(r.runs)
        self._leaks(r)
        if r.usage:
            self._usage(r.usage)
        self._advice(r.advice)

    def _head(self, r: Report) -> None:
        name = r.paths[0] if len(r.paths) == 1 else f"{len(r.paths)} status files"
        line = Text(f"{count(r.tasks, 'task')}", "bold")
        line.append(f", {r.failed:,} failed", "bold red" if r.failed else "bold green")
        for number, what in (
            (r.lost, "lost with their engine"),
            (r.earlier, "done in earlier runs"),
            (r.repaired, "failed at first, then went well"),
        ):
            if number:
                line.append(f", {number:,} {what}")
        self.console.print(line)
        if r.barriers or r.setup:
            extra = [count(r.barriers, "barrier")] if r.barriers else []
            if r.setup:
                failed = f", {r.setup_failed:,} of them failed" if r.setup_failed else ""
                extra.append(count(r.setup, "per-engine command") + failed)
            self.console.print(Text("besides " + " and ".join(extra)))
        when = f", {period(r.begin_s, r.end_s)}" if r.end_s else ""
        self.console.print(_text(name + when, "dim"))
        if not r.tasks:
            self.console.print("No task has finished yet.")

    def _figures(self, r: Report) -> None:
        d = r.durations
        assert d is not None
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style="bold")
        table.add_column()
        for name, value in figures(r):
            table.add_row(name, Text(value))
        self.console.print()
        self.console.print(table)

    def _failures(self, r: Report) -> None:
        if not r.failures:
            return
        columns = [
            ("Tasks", "right"),
            ("How", "left"),
            ("Last line on standard error", "cut"),
            ("Example", "left"),
        ]
        several = len(r.nodes) > 1
        if several:
            columns.append(("Nodes", "right"))
        rows = []
        for f in r.failures[: self.top]:
            example = f"task {f.example.task_id}"
            rows.append(
                [f"{f.count:,}", f.how, f.message, example, *([str(f.nodes or "")] if several else [])]
            )
        self._table("Failures", columns, rows)
        rest = r.failures[self.top :]
        if rest:
            self._more(f"{sum(f.count for f in rest):,} more, for {count(len(rest), 'other reason')}")

    def _longest(self, lines: Sequence[TaskLine]) -> None:
        columns = [("Duration", "right"), ("Task", "right"), ("Line", "right"), ("Node", "left"), ("Exit", "right"), ("Command", "cut")]  # fmt: skip
        rows = [
            [span(t.elapsed_s), str(t.task_id), str(t.line_no), t.node, str(t.returncode), t.command]
            for t in lines
        ]
        self._table("Longest tasks", columns, rows)

    def _nodes(self, nodes: Sequence[NodeFigures]) -> None:
        shown, title = nodes, "Nodes"
        if len(nodes) > SHOWN_NODES:
            shown = sorted(nodes, key=lambda node: node.busy_share)[:SHOWN_NODES]
            title = f"Nodes: the {SHOWN_NODES} least busy of {len(nodes):,}"
        columns = [("Node", "left"), ("Slots", "right"), ("Tasks", "right"), ("Failed", "right"), ("Median", "right"), ("Busy", "right"), ("", "left")]  # fmt: skip
        rows = [
            [n.name, str(n.slots), f"{n.tasks:,}", f"{n.failed:,}", span(n.median_s), share(n.busy_share), bar(n.busy_share)]
            for n in shown
        ]  # fmt: skip
        self._table(title, columns, rows)

    def _runs(self, runs: Sequence[RunFigures]) -> None:
        columns = [("Status file", "cut"), ("Took", "right"), ("Tasks", "right"), ("Failed", "right"), ("Slots", "right"), ("Busy", "right"), ("Tail", "right")]  # fmt: skip
        rows = [
            [r.path, span(r.wall_s), f"{r.tasks:,}", f"{r.failed:,}", str(r.slots),
             share(r.busy_slot_s / r.capacity_slot_s if r.capacity_slot_s else 0.0), span(r.tail.end_s - r.tail.begin_s)]
            for r in runs
        ]  # fmt: skip
        self._table("Runs", columns, rows)

    def _leaks(self, r: Report) -> None:
        if not r.leaks.tasks:
            return
        columns = [("Line", "right"), ("Tasks", "right"), ("Output", "right"), ("Errors", "right"), ("Command, for example", "cut")]  # fmt: skip
        rows = [
            [str(x.line_no), f"{x.tasks:,}", size(x.out_bytes), size(x.err_bytes), x.command]
            for x in r.leaks.largest[: self.top]
        ]
        self._table("Leaked output, by line of the task list", columns, rows)
        if r.leaks.lines > len(rows):
            self._more(f"{count(r.leaks.lines - len(rows), 'more line')}")

    def _usage(self, u: Usage) -> None:
        columns = [
            ("Memory", "right"),
            ("Task", "right"),
            ("Line", "right"),
            ("Node", "left"),
            ("Command", "cut"),
        ]
        rows = [
            [size(1024 * peak), str(t.task_id), str(t.line_no), t.node, t.command]
            for peak, t in u.largest[: self.top]
        ]
        self._table("Largest tasks", columns, rows)
        worst = [n for n in u.nodes if n.memory_kib]
        if worst:
            if not rows:
                self._title("Memory")
            node = max(worst, key=lambda n: n.largest_peak_kib * n.slots / n.memory_kib)
            self._more(
                f"{node.name} has {size(1024 * node.memory_kib)}; its {count(node.slots, 'slot')}, each with the largest "
                f"task there, would take {bounded(node.largest_peak_kib, node.vague_peak_kib, node.slots)}"
            )

    def _advice(self, advice: Sequence[str]) -> None:
        if not advice:
            return
        self._title("Advice")
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column()
        for sentence in advice:
            table.add_row("-", Text(printable(sentence)))
        self.console.print(table)

    def _table(self, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        if not rows:
            return
        self._title(title)
        shown = [[printable(cell) for cell in row] for row in rows]
        plain: dict[str, Any] = {} if self.box else {"pad_edge": False, "padding": (0, 2, 0, 0)}
        table = Table(box=self.box, show_edge=False, header_style="dim", **plain)
        for number, (heading, side) in enumerate(columns):
            widest = max(cell_len(text) for text in (heading, *(row[number] for row in shown)))
            cut = side == "cut"  # the one that gives way where the terminal is narrow
            table.add_column(
                heading,
                justify="right" if side == "right" else "left",
                no_wrap=not cut,  # rich narrows columns that may wrap; the cells themselves do not
                overflow="ellipsis",
                min_width=8 if cut else min(widest, MOST_CHARS),
                max_width=None if cut else MOST_CHARS,
            )
        for row in shown:
            table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
        self.console.print(table)

    def _title(self, title: str) -> None:
        self.console.print()
        self.console.print(Text(title, "bold"))

    def _more(self, text: str) -> None:
        self.console.print(_text(text, "dim"))


def _text(text: str, style: str) -> Text:
    return Text(printable(text), style)


def figures(r: Report) -> list[tuple[str, str]]:
    """The key figures in words, by name."""
    d = r.durations
    if d is None:
        return []
    found = [
        ("Durations", f"median {span(d.median_s)}, 95 % within {span(d.p95_s)}, longest {span(d.longest_s)}"),
        ("Took", took(r)),
        ("Slots", f"{slots(r)}, {share(r.busy_share)} busy"),
        ("Core-hours", core_words(r.core_time)),
        ("Tail", tail(r)),
    ]
    if r.usage:
        u = r.usage
        found.append(
            ("CPU", f"{share(u.efficiency)} of the cores' time (a slot has {u.cores_per_slot:.3g}, and uses {u.efficiency * u.cores_per_slot:.2g})")
        )  # fmt: skip
        peaks = (u.peak_median_kib, u.peak_p95_kib, u.peak_largest_kib)
        found.append(
            (
                "Memory",
                "median {}, 95 % within {}, largest {}".format(
                    *(bounded(p, u.vague_peak_kib) for p in peaks)
                ),
            )
        )
    return found


def took(r: Report) -> str:
    d = r.durations
    rate = f", {d.count / r.wall_s:.1f} tasks/s" if d and r.wall_s > 0 else ""
    return f"{span(r.wall_s)}{f' in {len(r.runs)} runs' if len(r.runs) > 1 else ''}{rate}"


def slots(r: Report) -> str:
    return f"{r.slots:,} on {count(len(r.nodes), 'node')}"


def core_words(c: CoreTime) -> str:
    """Core-hours used and idle, and where the idle ones went."""
    parts = [f"{core_hours(c.idle_tail_s)} in the tail"]
    if c.idle_barriers_s > 0:
        parts.append(f"{core_hours(c.idle_barriers_s)} before barriers")
    note = "" if c.known else "; one core a slot assumed"
    return f"{core_hours(c.used_s)} used, {core_hours(c.idle_s)} idle ({', '.join(parts)}){note}"


def tail(r: Report) -> str:
    """How long slots stood partly empty because nothing was left to begin."""
    ends = [run.tail for run in r.runs]
    last = sum(t.end_s - t.begin_s for t in ends)
    text = f"{span(last)} ({share(last / r.wall_s if r.wall_s else 0.0)} of the time)"
    waits = [t for run in r.runs for t in run.tails if t.line_no]
    if waits:
        text += f"; before {count(len(waits), 'barrier')} {span(sum(t.end_s - t.begin_s for t in waits))}"
    if len(waits) > 1:
        longest = max(waits, key=lambda t: t.end_s - t.begin_s)
        text += f", most before line {longest.line_no}: {span(longest.end_s - longest.begin_s)}"
    return text


def bar(part: float, width: int = 10) -> str:
    """A share as a small bar."""
    full = round(min(max(part, 0.0), 1.0) * width)
    return "▇" * full + "·" * (width - full)

"""The report as one page: tables written here, charts drawn by `page.js` with plotly, everything inside one file.

A content security policy in the page forbids every request, so that nothing can leave the machine that looks at it.
Commands and messages come from users' programs: each goes through `escape`, or through JSON and never into markup.
"""

import json
from collections.abc import Callable, Sequence
from html import escape as html_escape
from importlib import resources
from string import Template

from disbatch.core.errors import UsageError
from disbatch.core.printable import printable
from disbatch.core.status import StatusRecord
from disbatch.packages import install_command
from disbatch.report.charts import charts
from disbatch.report.model import Report, TaskLine
from disbatch.report.rows import Kind, Rows
from disbatch.report.terminal import figures
from disbatch.report.times import RunTimes
from disbatch.report.usage import UsageTable
from disbatch.report.words import bounded, core_hours, count, period, share, size, span

MAX_FAILED = 1000  # listed one by one
SHOWN_GROUPS = 10  # of failures; the others are folded away
Fetch = Callable[[int], StatusRecord]


def page(
    report: Report,
    runs: Sequence[RunTimes],
    rows: Rows,
    usages: Sequence[UsageTable | None],
    fetch: Fetch,
) -> str:
    """The whole page. Raises UsageError where plotly is not installed."""
    data = charts(report, runs, rows, usages, lambda row: printable(fetch(row).command))
    title = report.paths[0] if len(report.paths) == 1 else f"{len(report.paths)} status files"
    return Template(_asset("page.html")).substitute(
        title=escape(title),
        when=escape(period(report.begin_s, report.end_s)) if report.end_s else "no task has finished yet",
        notes="".join(f"<p class=note>{escape(note)}</p>" for note in report.notes),
        cards=_cards(report),
        advice=_advice(report),
        figures=_figures(report),
        failures=_failures(report, rows, fetch),
        longest=_tasks(report.longest),
        nodes=_nodes(report),
        runs=_runs(report),
        leaks=_leaks(report),
        usage=_usage(report),
        style=_asset("page.css"),
        script=_asset("page.js"),
        plotly=_plotly(),
        data=json_in_html(data),
    )


def escape(text: str) -> str:
    """Text as it can stand in the page, without what reorders or hides it."""
    return html_escape(printable(text))


def json_in_html(data: object) -> str:
    """JSON that can stand in a script element: no character of it can end the element or begin a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (resources.files("disbatch.report") / name).read_text(encoding="utf-8")


def _plotly() -> str:
    try:
        text = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError):
        raise UsageError(f"--html needs the package plotly: {install_command(['plotly'])}") from None
    return text.replace("</script", "<\\/script")


def _cards(r: Report) -> str:
    cards = [
        (f"{r.tasks:,}", "tasks", ""),
        (f"{r.failed:,}", "failed", "bad" if r.failed else "good"),
        (span(r.wall_s), "from first start to last end" if len(r.runs) < 2 else f"in {len(r.runs)} runs", ""),
        (share(r.busy_share), f"of {count(r.slots, 'slot')} busy", ""),
        (core_hours(r.core_time.used_s), f"core-hours used, {core_hours(r.core_time.idle_s)} idle", ""),
    ]
    if r.lost:
        cards.insert(2, (f"{r.lost:,}", "lost with their engine", "bad"))
    if r.earlier:
        cards.insert(2, (f"{r.earlier:,}", "done in earlier runs", ""))
    if r.repaired:
        cards.insert(2, (f"{r.repaired:,}", "failed at first, then went well", ""))
    return "".join(
        f'<div class="card {kind}"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for value, name, kind in cards
    )


def _advice(r: Report) -> str:
    if not r.advice:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in r.advice)
    return f"<section><h2>Advice</h2><ul>{items}</ul></section>"


def _figures(r: Report) -> str:
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in figures(r))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: str = "") -> str:
    """A table of plain texts. `numbers`: for each column `r` (to the right), `c` (code) or anything else."""
    kinds = [{"r": " class=r", "c": " class=c"}.get(letter, "") for letter in numbers.ljust(len(headings))]
    head = "".join(f"<th{kind}>{escape(text)}</th>" for text, kind in zip(headings, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _failures(r: Report, rows: Rows, fetch: Fetch) -> str:
    if not r.failures:
        return ""
    heading, kinds = ["Tasks", "How", "Last line on standard error", "Example", "Nodes"], "r c r"
    groups = [
        [
            f"{f.count:,}",
            f.how,
            f.message,
            f"task {f.example.task_id}, line {f.example.line_no}",
            f"{f.nodes:,}" if f.nodes else "",
        ]
        for f in r.failures
    ]
    some = table(heading, groups[:SHOWN_GROUPS], kinds)
    if rest := groups[SHOWN_GROUPS:]:
        some += f"<details><summary>{count(len(rest), 'more reason')}</summary>{table(heading, rest, kinds)}</details>"
    failed = [row for row in rows.final().values() if rows.code[row] and rows.kind[row] != Kind.BARRIER]
    lines = []
    for row in failed[:MAX_FAILED]:
        f = fetch(row)
        lines.append([str(f.task_id), str(f.line_no), f.node, str(f.returncode), span(f.elapsed_s), printable(f.err_snippet), printable(f.command)])  # fmt: skip
    more = f": the first {MAX_FAILED:,} of {len(failed):,}" if len(failed) > MAX_FAILED else ""
    every = table(["Task", "Line", "Node", "Exit", "Took", "Standard error", "Command"], lines, "rr rrcc")
    search = '<input id="filter" type="search" placeholder="Filter" aria-label="Filter failed tasks">'
    return _section(
        "Failures",
        some,
        f'<details id="failed"><summary>Failed tasks one by one{more}</summary>{search}{every}</details>',
    )


def _tasks(lines: Sequence[TaskLine]) -> str:
    rows = [
        [span(t.elapsed_s), str(t.task_id), str(t.line_no), t.node, str(t.returncode), t.command]
        for t in lines
    ]
    if not rows:
        return ""
    return _section(
        "Longest tasks", table(["Took", "Task", "Line", "Node", "Exit", "Command"], rows, "rrr rc")
    )


def _nodes(r: Report) -> str:
    rows = [
        [n.name, str(n.slots), f"{n.tasks:,}", f"{n.failed:,}", span(n.median_s), share(n.busy_share)]
        for n in r.nodes[:2000]
    ]
    heading = ["Node", "Slots", "Tasks", "Failed", "Median", "Busy"]
    if len(rows) < 2:  # the chart is for comparing
        return table(heading, rows, " rrrrr")
    return f"<details><summary>As a table</summary>{table(heading, rows, ' rrrrr')}</details>"


def _runs(r: Report) -> str:
    if len(r.runs) < 2:
        return ""
    rows = [
        [run.path, period(run.begin_s, run.end_s), span(run.wall_s), f"{run.tasks:,}", f"{run.failed:,}", str(run.slots),
         share(run.busy_slot_s / run.capacity_slot_s if run.capacity_slot_s else 0.0)]
        for run in r.runs
    ]  # fmt: skip
    return _section(
        "Runs", table(["Status file", "When", "Took", "Tasks", "Failed", "Slots", "Busy"], rows, "  rrrrr")
    )


def _leaks(r: Report) -> str:
    if not r.leaks.tasks:
        return ""
    rows = [
        [str(x.line_no), f"{x.tasks:,}", size(x.out_bytes), size(x.err_bytes), x.command]
        for x in r.leaks.largest
    ]
    more = r.leaks.lines - len(rows)
    rest = f"<p>and {count(more, 'more line')}</p>" if more > 0 else ""
    heading = ["Line", "Tasks", "Output", "Errors", "Command, for example"]
    return _section("Leaked output, by line of the task list", table(heading, rows, "rrrrc"), rest)


def _usage(r: Report) -> str:
    if r.usage is None:
        return ""
    rows = [
        [size(1024 * peak), str(t.task_id), str(t.line_no), t.node, t.command] for peak, t in r.usage.largest
    ]
    nodes = [
        [n.name, size(1024 * n.memory_kib), str(n.slots), bounded(n.largest_peak_kib, n.vague_peak_kib), bounded(n.largest_peak_kib, n.vague_peak_kib, n.slots),
         share(n.largest_peak_kib * n.slots / n.memory_kib)]
        for n in r.usage.nodes[:2000]
        if n.memory_kib
    ]  # fmt: skip
    heading = ["Node", "Has", "Slots", "Largest task", "In every slot", "Of what it has"]
    return _section(
        "Memory and CPU",
        '<div class=pair><div id="memory" class=chart></div><div id="cpu" class=chart></div></div>',
        table(["Memory", "Task", "Line", "Node", "Command"], rows, "rrr c") if rows else "",
        f"<details><summary>By node</summary>{table(heading, nodes, ' rrrrr')}</details>" if nodes else "",
    )
